//! The servers, as processes: this program, started as `bench serve`.
//!
//! A server says on its standard output where it listens, and for each line on its standard input what the library
//! has counted. When the input ends, so does the server.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use file_server::{Config, Files};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::name;
use crate::error::Trouble;
use crate::options::{ServeOptions, ServerOptions};

/// How long requests may take when the server is to end.
const GRACE: Duration = Duration::from_secs(10);

/// What the library has counted in a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) inline: u64,
    pub(super) handed_off: u64,
    pub(super) unprotected: u64,
    pub(super) rescued: u64,
    /// Closures that are away now.
    pub(super) outstanding: u64,
}

impl Counts {
    fn now() -> Self {
        let stats = syslet::stats();
        Self {
            inline: stats.total.inline,
            handed_off: stats.total.handed_off,
            unprotected: stats.total.in_place + stats.total.queued,
            rescued: stats.rescued,
            outstanding: stats.outstanding as u64,
        }
    }

    pub(super) fn since(self, before: Self) -> Self {
        Self {
            inline: self.inline - before.inline,
            handed_off: self.handed_off - before.handed_off,
            unprotected: self.unprotected - before.unprotected,
            rescued: self.rescued - before.rescued,
            outstanding: self.outstanding,
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.inline += more.inline;
        self.handed_off += more.handed_off;
        self.unprotected += more.unprotected;
        self.rescued += more.rescued;
    }

    pub(super) fn calls(self) -> u64 {
        self.inline + self.handed_off + self.unprotected
    }
}

/// A server that runs.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(super) address: SocketAddr,
}

impl Child {
    pub(super) fn start(way: Files, root: &Path, options: &ServerOptions) -> Result<Self, Trouble> {
        let program = std::env::current_exe().map_err(Trouble::io("finding this program"))?;
        let mut process = Command::new(program)
            .args(["serve", "--files", name(way), "--workers", &options.workers.to_string()])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Trouble::io("starting a server"))?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            unreachable!("both are pipes");
        };
        let mut output = BufReader::new(output);
        let address = line(&mut output)?.trim().parse();
        let address = address.map_err(|_| talking(io::ErrorKind::InvalidData.into()))?;
        Ok(Self { process, input: Some(input), output, address })
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What the library has counted there.
    pub(super) fn counts(&mut self) -> Result<Counts, Trouble> {
        let input = self.input.as_mut().ok_or_else(|| talking(io::ErrorKind::BrokenPipe.into()))?;
        input.write_all(b"\n").map_err(talking)?;
        let line = line(&mut self.output)?;
        serde_json::from_str(&line).map_err(|error| talking(error.into()))
    }

    /// Threads, descriptors and kilobytes of memory that it has.
    pub(super) fn held(&self) -> Result<Held, Trouble> {
        let proc = |name: &str| format!("/proc/{}/{name}", self.id());
        let count = |name| Ok::<_, io::Error>(fs::read_dir(proc(name))?.count());
        let read = || {
            let status = fs::read_to_string(proc("status"))?;
            let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let memory = memory.and_then(|text| text.trim().split(' ').next()?.parse().ok());
            Ok(Held {
                threads: count("task")?,
                descriptors: count("fd")?,
                memory: memory.unwrap_or(0),
            })
        };
        read().map_err(Trouble::io("reading /proc/PID"))
    }

    /// Ends it, and checks that it ended well.
    pub(super) fn end(mut self) -> Result<(), Trouble> {
        drop(self.input.take());
        let status = self.process.wait().map_err(Trouble::io("waiting for a server"))?;
        if !status.success() {
            let error = io::Error::other(format!("it ended with {status}"));
            return Err(Trouble::Io("a server", error));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait(); // it was waited for, or the bench has failed
    }
}

/// What a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) threads: usize,
    pub(super) descriptors: usize,
    pub(super) memory: u64,
}

fn talking(error: io::Error) -> Trouble {
    Trouble::Io("talking with a server", error)
}

fn line(output: &mut impl BufRead) -> Result<String, Trouble> {
    let mut line = String::new();
    output.read_line(&mut line).map_err(talking)?;
    Ok(line)
}

/// Is the server.
pub(crate) fn serve(options: &ServeOptions) -> Result<(), Trouble> {
    let ServeOptions { root, files, workers, .. } = options;
    let config = Config { root: root.clone(), files: *files, quiet: true, grace: GRACE };
    let runtime =
        file_server::runtime(*files, *workers).map_err(Trouble::io("building a runtime"))?;
    let (ended, end) = oneshot::channel::<()>();
    let serve = async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        thread::Builder::new().name("bench-control".to_owned()).spawn(move || {
            let _ = control(); // the bench has gone
            drop(ended);
        })?;
        let end = async {
            let _ = end.await;
        };
        file_server::serve(listener, config, end).await
    };
    let served = runtime.block_on(runtime.spawn(serve)).map_err(io::Error::from);
    served.and_then(|served| served).map_err(Trouble::io("serving"))
}

fn control() -> io::Result<()> {
    for line in io::stdin().lines() {
        line?;
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &Counts::now())?;
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}
