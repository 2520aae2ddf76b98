//! The C library as C programs have it: what calls cost beside plain ones, and the example servers, one of threadlets
//! and one on epoll, under the same load.
//!
//! The library is installed into a folder and the programs of `crates/capi/examples` are compiled against it.
//! The costs are taken by `cost.c`, which prints the figures of each round, and what the library has counted. For the
//! servers, threads of this process ask for a file on a connection of its own each time, and compare what comes;
//! segments of the servers take turns.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path as FilePath, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use xtask::Install;

use crate::error::Trouble;
use crate::guest::Path;
use crate::onlooker::Sight;
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
    fn install(dir: &FilePath) -> Result<Self, Trouble> {
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

/// A work of `cost.c`.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// The name that it gives it.
    name: &'static str,
    /// Calls, functions and chains that doing it once takes, and completions that come to the queue.
    calls: u64,
    pushed: u64,
}

const COSTS: [Cost; 6] = [
    // Never waits, so nothing stands by (`calls::Getppid`).
    Cost { name: "getppid", calls: 0, pushed: 0 },
    Cost { name: "pread4k", calls: 1, pushed: 0 },
    Cost { name: "open_read_close", calls: 1, pushed: 0 },
    Cost { name: "open_read_close_atoms", calls: 1, pushed: 0 },
    Cost { name: "post_pop", calls: 0, pushed: 1 },
    Cost { name: "pop_nothing", calls: 0, pushed: 0 },
];

/// How often `cost.c` does a work in a round (`CALLS`).
const IN_A_ROUND: u64 = 64;

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
        for line in text.lines().filter_map(|line| said_of(work.name, line)) {
            let [one, other] = numbers(line)?;
            plain.push(one);
            ours.push(other);
        }
        let counted =
            text.lines().find_map(|line| said_of(work.name, line.strip_prefix("counted ")?));
        let [inline, handed_off, unprotected, pushed] = numbers(counted.unwrap_or_default())?;
        let path = Path { inline, handed_off, unprotected, ..Path::default() };
        let mut row = Row::new(work.name, "libsyslet", &ours).against(&ours, &plain);
        row.more.inline = Some(inline);
        row.more.handed_off = Some(handed_off);
        row.fault = work.fault(ours.len() as u64 * IN_A_ROUND, path, pushed);
        rows.push(Row::new(work.name, "plain", &plain));
        rows.push(row);
    }
    Ok(rows)
}

impl Cost {
    /// What is wrong with what the library has counted while it was done `times` times, and plainly.
    fn fault(self, times: u64, path: Path, pushed: u64) -> Option<String> {
        let expected = self.pushed * times;
        let queue =
            || format!("{expected} completions should come to the queue, but {pushed} came");
        path.not_inline(self.calls * times).or_else(|| (pushed != expected).then(queue))
    }
}

/// What follows a name in a line.
fn said_of<'a>(name: &str, line: &'a str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(' ')
}

fn numbers<T: FromStr, const N: usize>(text: &str) -> Result<[T; N], Trouble> {
    let numbers: Option<Vec<T>> = text.split(' ').map(|word| word.parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| numbers.try_into().ok());
    numbers.ok_or(Trouble::Io("reading what cost says", io::ErrorKind::InvalidData.into()))
}

/// A server that runs until this is dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(mut command: Command, root: &FilePath) -> Result<Self, Trouble> {
        Sight::allow(&mut command);
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

/// What is wrong with how a server, which has answered `count` requests, was seen to work.
fn fault(name: &str, count: u64, sight: &Sight) -> Option<String> {
    let Sight { in_epoll, watched, .. } = sight;
    // Each has one socket at least, on which it listens.
    let wrong = match name {
        "webepoll" => sight.stats.is_some() || *in_epoll == 0,
        "webkevent" => sight.stats.is_none() || *in_epoll > 0 || *watched == 0,
        _ => sight.stats.is_none() || *in_epoll > 0 || sight.calls() < count,
    };
    let uses = if sight.stats.is_some() { "uses the library" } else { "does without the library" };
    let calls = sight.calls();
    wrong.then(|| {
        format!(
            "{count} requests were answered, but it {uses}: {calls} functions, {watched} files watched; and has \
             {in_epoll} in an epoll"
        )
    })
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
        let sight = Sight::of(servers[at].child.id())?;
        row.fault = fault(name, latency[at].len() as u64, &sight);
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
