//! Works that another program does: it is told what to do by lines.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::witness::Server;
use super::worker::{Batch, Order, Serve};
use crate::error::Trouble;

/// Serves by a process that is started with the names of file and directory, and the depth.
pub(super) fn run(serve: Serve, name: &'static str, command: Command) -> Result<(), Trouble> {
    let mut program = Program::start(&serve, name, command)?;
    let _ = serve.ready.send(Ok(Server::of(program.child.id())));
    while let Ok(order) = serve.wanted.recv() {
        let _ = serve.done.send(program.batch(order));
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
    fn start(serve: &Serve, name: &'static str, mut command: Command) -> Result<Self, Trouble> {
        let Serve { targets, depth, .. } = serve;
        command.arg(targets.file.path).arg(targets.listed.path).arg(depth.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(Trouble::io("starting its program"))?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut program = Self { child, orders, answers };
        // From then on the file of the program is not needed any more.
        match program.answer() {
            Ok(line) if line == "ready" => Ok(program),
            Ok(line) => Err(Trouble::Refused(name, line)),
            Err(error) => Err(Trouble::Io("starting its program", error)),
        }
    }

    /// It answers with the nanoseconds of all works, and of the CPU time of its threads if it knows them.
    fn batch(&mut self, Order { work, size }: Order) -> io::Result<Batch> {
        let mut orders = self.orders.as_ref().expect("it is not dropped");
        writeln!(orders, "{} {size}", work.name())?;
        let line = self.answer()?;
        let mut numbers = line.split(' ').map(str::parse::<u64>);
        let (nanos, threads) = (numbers.next(), numbers.next().transpose());
        let (Some(Ok(nanos)), Ok(threads)) = (nanos, threads) else {
            return Err(io::Error::other(line));
        };
        let nanos = nanos as f64 / size as f64;
        Ok(Batch { nanos, witnessed: threads.unwrap_or(0), ..Batch::default() })
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
