//! The C library as C programs have it: what calls cost beside plain ones, and the example servers, one of threadlets
//! and one on epoll, under the same load.
//!
//! The library is installed into a folder and the programs of `crates/capi/examples` are compiled against it.
//! The costs are taken by `cost.c`, which prints the figures of each round. For the servers, threads of this
//! process ask for a file on a connection of its own each time, and compare what comes; segments of the servers
//! take turns.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use xtask::Install;

use crate::error::Trouble;
use crate::options::{CapiOptions, CapiWork};
use crate::report::Row;
use crate::samples::Samples;

/// Size of the file that is asked for.
const SIZE: usize = 4096;

/// Measures every work that is asked for.
pub(crate) fn run(options: &CapiOptions) -> Result<Vec<Row>, Trouble> {
    let programs = Programs::install(&options.common.dir())?;
    let mut rows = Vec::new();
    for work in options.works() {
        rows.extend(match work {
            CapiWork::Inline => inline(&programs, options)?,
            CapiWork::Server => servers(&programs, options)?,
        });
    }
    Ok(rows)
}

/// A folder with the installed library and what is compiled; removed when it is dropped.
#[derive(Debug)]
struct Programs(PathBuf);

impl Programs {
    fn install(dir: &Path) -> Result<Self, Trouble> {
        let root = dir.join(format!("syslet-bench-capi-{}", process::id()));
        fs::create_dir_all(&root).map_err(Trouble::io("making a folder"))?;
        let made = Self(root);
        let mut install = Install::new("/usr".into());
        install.destdir = Some(made.0.clone());
        install.release = !cfg!(debug_assertions);
        install.run().map_err(Trouble::io("installing the C library"))?;
        Ok(made)
    }

    /// Compiles an example; a command that runs it.
    fn command(&self, name: &str) -> Result<Command, Trouble> {
        let program = self.0.join(name);
        let usr = self.0.join("usr");
        let mut cc = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        cc.arg("-O2").arg("-I").arg(usr.join("include")).arg("-o").arg(&program);
        cc.arg(xtask::source().join("examples").join(name).with_extension("c"));
        cc.arg("-L").arg(usr.join("lib")).arg("-lsyslet");
        let status = cc.status().map_err(Trouble::io("starting the C compiler"))?;
        if !status.success() {
            return Err(Trouble::Io("compiling an example", io::Error::other(status.to_string())));
        }
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", usr.join("lib"));
        Ok(command)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The works of `cost.c`, by the names that it gives them.
const COSTS: [&str; 6] =
    ["getppid", "pread4k", "open_read_close", "open_read_close_atoms", "post_pop", "pop_nothing"];

/// What calls cost.
fn inline(programs: &Programs, options: &CapiOptions) -> Result<Vec<Row>, Trouble> {
    let mut cost = programs.command("cost")?;
    let output = cost.arg(options.rounds().to_string()).arg("raw").output();
    let output = output.map_err(Trouble::io("running cost"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(Trouble::Io("running cost", io::Error::other(output.status.to_string())));
    }
    let mut rows = Vec::new();
    for work in COSTS {
        let (mut plain, mut ours) = (Samples::default(), Samples::default());
        for line in text.lines() {
            let mut words = line.split(' ');
            if words.next() != Some(work) {
                continue;
            }
            let figures = (words.next().map(str::parse), words.next().map(str::parse));
            let (Some(Ok(one)), Some(Ok(other))) = figures else {
                return Err(Trouble::Io(
                    "reading what cost says",
                    io::ErrorKind::InvalidData.into(),
                ));
            };
            plain.push(one);
            ours.push(other);
        }
        rows.push(Row::new(work, "plain", &plain));
        rows.push(Row::new(work, "libsyslet", &ours).against(&ours, &plain));
    }
    Ok(rows)
}

/// A server that runs until this is dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(mut command: Command, root: &Path) -> Result<Self, Trouble> {
        let child = command.arg("0").arg(root).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(Trouble::io("starting a server"))?;
        let mut line = String::new();
        let output = child.stdout.take();
        let mut server = Self { child, address: String::new() };
        if let Some(output) = output {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(Trouble::io("talking to a server"))?;
        }
        server.address = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(server)
    }

    /// Asks for the file as often as there is time; how long each took, in nanoseconds.
    fn load(&self, clients: usize, time: Duration, wanted: &[u8]) -> Result<Samples, Trouble> {
        let start = Instant::now();
        let client = || {
            let mut samples = Samples::default();
            while start.elapsed() < time {
                samples.push(self.ask(wanted)?);
            }
            Ok(samples)
        };
        let ended: Vec<io::Result<Samples>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_| Err(io::Error::other("a panic"))))
                .collect()
        });
        let mut all = Samples::default();
        for samples in ended {
            all.append(samples.map_err(|error| Trouble::Work("server", error))?);
        }
        Ok(all)
    }

    fn ask(&self, wanted: &[u8]) -> io::Result<f64> {
        let start = Instant::now();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"GET /file HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::with_capacity(wanted.len());
        stream.read_to_end(&mut answer)?;
        let nanos = start.elapsed().as_nanos() as f64;
        if answer == wanted { Ok(nanos) } else { Err(io::Error::other("wrong bytes")) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The three servers, each asked for a file that is cached.
fn servers(programs: &Programs, options: &CapiOptions) -> Result<Vec<Row>, Trouble> {
    let root = programs.0.join("web");
    fs::create_dir_all(&root).map_err(Trouble::io("making a folder"))?;
    let body: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    fs::write(root.join("file"), &body).map_err(Trouble::io("writing a file"))?;
    let mut wanted = format!("HTTP/1.0 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").into_bytes();
    wanted.extend_from_slice(&body);
    let names = ["webepoll", "webkevent", "webthreadlet"];
    let mut servers = Vec::new();
    for name in names {
        servers.push(Server::start(programs.command(name)?, &root)?);
    }
    let mut latency = names.map(|_| Samples::default());
    let mut rate = names.map(|_| Samples::default());
    for round in 0..options.segments() {
        // Who follows whom changes from round to round.
        for turn in 0..names.len() {
            let at = (round + turn) % names.len();
            let samples = servers[at].load(options.clients(), options.segment(), &wanted)?;
            rate[at].push(samples.len() as f64 / options.segment().as_secs_f64());
            latency[at].append(samples);
        }
    }
    let mut rows = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let mut row = Row::new("server", name, &latency[at]);
        row.more.per_second = Some(rate[at].median().round());
        if at > 0 {
            let ratio = rate[at].paired(&rate[0], |ours, theirs| ours / theirs);
            row.more.ratio_median = Some(crate::report::thousandths(ratio.median()));
            row.more.remark = Some("ratio of requests in a second".to_owned());
        }
        rows.push(row);
    }
    Ok(rows)
}
