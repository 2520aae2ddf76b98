//! The works as libuv does them: a program in C, which is compiled here and told what to do.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::files::Targets;
use super::worker::{Batch, Order, Serve};
use crate::error::Trouble;
use crate::guest::Path;
use crate::scratch::Scratch;

const SOURCE: &str = include_str!("libuv.c");

/// Serves by a process.
pub(super) fn run(serve: Serve) -> Result<(), Trouble> {
    let mut program = Program::start(serve.targets, serve.depth)?;
    let _ = serve.ready.send(Ok(()));
    while let Ok(order) = serve.wanted.recv() {
        let nanos = program.batch(order);
        let path = Path::default();
        let _ = serve.done.send(nanos.map(|nanos| Batch { nanos, path, strays: 0 }));
    }
    Ok(())
}

/// The process; it ends when it is dropped.
#[derive(Debug)]
struct Program {
    child: Child,
    /// Nothing while it is dropped: what it reads is over then.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Program {
    fn start(targets: &Targets, depth: usize) -> Result<Self, Trouble> {
        let scratch = Scratch::make(&std::env::temp_dir(), &format!("libuv-{depth}"))?;
        let (source, program) = (scratch.path().join("libuv.c"), scratch.path().join("libuv"));
        fs::write(&source, SOURCE).map_err(Trouble::io("writing its program"))?;
        let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        cc.arg("-O2").arg("-o").arg(&program).arg(&source).arg("-luv");
        let output = cc.output().map_err(Trouble::io("starting the C compiler"))?;
        if !output.status.success() {
            let why = "it is not installed, or not as a C library (Debian's libuv1-dev)";
            return Err(Trouble::Refused("libuv", why.to_owned()));
        }
        let mut command = Command::new(program);
        command.arg(targets.file.path).arg(targets.listed.path).arg(depth.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Trouble::io("starting its program"))?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut program = Self { child, orders, answers };
        // From then on the file of the program is not needed any more.
        match program.answer() {
            Ok(line) if line == "ready" => Ok(program),
            Ok(line) => Err(Trouble::Refused("libuv", line)),
            Err(error) => Err(Trouble::Io("starting its program", error)),
        }
    }

    /// Nanoseconds of each work.
    fn batch(&mut self, Order { work, size }: Order) -> io::Result<f64> {
        let mut orders = self.orders.as_ref().expect("it is not dropped");
        writeln!(orders, "{} {size}", work.name())?;
        let line = self.answer()?;
        line.parse().map(|nanos: f64| nanos / size as f64).map_err(|_| io::Error::other(line))
    }

    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err(io::Error::other("its program has ended")),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait(); // it ends by itself; how does not matter any more
    }
}
