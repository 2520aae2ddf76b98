//! The load: many connections, of which few ask, each with one request under way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::answer::{REQUEST, RESPONSE};
use super::epoll;
use crate::error::Trouble;
use crate::onlooker::Sight;
use crate::options::{KeventOptions, KeventWay};
use crate::report::Row;
use crate::samples::Samples;

/// A server, which ends when this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(way: KeventWay) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve-kevent", "--way", way.name()]);
        Sight::allow(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, address })
    }

    /// CPU time so far, of all its threads.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_millis(10 * (ticks(11) + ticks(12))) // 100 ticks a second, whatever the kernel's
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// One that asks.
struct Client {
    stream: TcpStream,
    asked: Instant,
    read: usize,
}

impl Client {
    fn ask(&mut self) -> io::Result<()> {
        self.asked = Instant::now();
        self.read = 0;
        self.stream.write_all(REQUEST)
    }

    /// Reads what there is; true if that is all of the answer.
    fn receive(&mut self) -> io::Result<bool> {
        let mut bytes = [0; RESPONSE.len()];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                if bytes[..count] != RESPONSE[self.read..self.read + count] {
                    return Err(io::Error::other("wrong bytes"));
                }
                self.read += count;
                Ok(self.read == RESPONSE.len())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Has every client ask for a while; how long each answer took.
fn segment(clients: &mut [Client], time: Duration) -> io::Result<Samples> {
    let waits = epoll::Epoll::new()?;
    let mut room = epoll::room(clients.len());
    for (at, client) in clients.iter_mut().enumerate() {
        waits.add(client.stream.as_raw_fd(), libc::EPOLLIN as u32, at as u64)?;
        client.ask()?;
    }
    let (begun, mut samples, mut waiting) = (Instant::now(), Samples::default(), clients.len());
    while waiting > 0 {
        let count = waits.wait(&mut room)?;
        for event in &room[..count] {
            let client = &mut clients[event.u64 as usize];
            if !client.receive()? {
                continue;
            }
            samples.push(client.asked.elapsed().as_nanos() as f64);
            if begun.elapsed() < time {
                client.ask()?;
            } else {
                waiting -= 1;
            }
        }
    }
    Ok(samples)
}

/// What the segments of a server gave.
#[derive(Default)]
struct Figures {
    latency: Samples,
    per_second: Samples,
    cpu: Samples,
}

/// Servers with the same number of connections.
fn with(options: &KeventOptions, connections: usize) -> io::Result<Vec<Row>> {
    let (ways, left_out): (Vec<KeventWay>, Vec<KeventWay>) =
        options.ways().iter().copied().partition(|way| way.most() >= connections);
    // One after the other: each has all the descriptors that there are, and the machine.
    let mut rows = Vec::new();
    let mut epoll: Option<Samples> = None;
    for way in epoll_first(&ways) {
        let server = Server::start(way)?;
        let mut all = (0..connections)
            .map(|_| {
                Ok(Client { stream: connect(server.address)?, asked: Instant::now(), read: 0 })
            })
            .collect::<io::Result<Vec<_>>>()?;
        // The last to connect: all others are served by then.
        let idle = connections.saturating_sub(options.active);
        let asking = &mut all[idle..];
        asking.iter().try_for_each(|client| client.stream.set_nonblocking(true))?;
        segment(asking, options.window() / 10)?; // warms up
        let mut figures = Figures::default();
        for _ in 0..options.segments() {
            let (before, begun) = (server.cpu(), Instant::now());
            let samples = segment(asking, options.window())?;
            let (count, cpu) = (samples.len() as f64, server.cpu() - before);
            figures.per_second.push(count / begun.elapsed().as_secs_f64());
            figures.cpu.push(cpu.as_nanos() as f64 / count);
            figures.latency.append(samples);
        }
        let sight = Sight::of(server.child.id()).map_err(io::Error::other)?;
        let mut row = Row::new("server", way.name(), &figures.latency);
        row.fault = fault(way, connections, figures.latency.len() as u64, &sight);
        row.more.depth = Some(connections);
        row.more.per_second = Some(figures.per_second.median().round());
        row.more.cpu_ns_per_call = Some(figures.cpu.median().round());
        row.more.p999_ns = Some(figures.latency.quantile(0.999));
        if way == KeventWay::Epoll {
            epoll = Some(figures.per_second);
        } else if let Some(epoll) = &epoll {
            let ratio = figures.per_second.paired(epoll, |ours, theirs| ours / theirs).median();
            row.more.remark = Some(format!("{ratio:.2} of epoll's requests a second"));
        }
        rows.push(row);
    }
    for way in left_out {
        let (name, most) = (way.name(), way.most());
        let why = format!("{name} are left out: a thread for each connection, {most} at most");
        let Some(row) = rows.last_mut() else { return Err(io::Error::other(why)) };
        let remark = row.more.remark.take().map_or(String::new(), |remark| remark + "; ");
        row.more.remark = Some(remark + &why);
    }
    Ok(rows)
}

/// What is wrong with how a server, which has answered `count` requests and whose clients have all been answered, was
/// seen to work.
fn fault(way: KeventWay, connections: usize, count: u64, sight: &Sight) -> Option<String> {
    let Sight { stats, in_epoll, watched } = sight;
    let stats = stats.clone().unwrap_or_default();
    let calls = sight.calls();
    // What was just answered may be about to be parked or to sleep again.
    let most = connections - connections.div_ceil(10);
    let right = match way {
        KeventWay::Epoll => sight.stats.is_none() && *in_epoll > connections,
        KeventWay::Kevent => *watched > connections && *in_epoll == 0 && calls == 0,
        KeventWay::Calls => {
            *in_epoll == 0
                && *watched == 0
                && stats.parked >= most
                && stats.parked_in_all >= count / 2
        }
        KeventWay::Threadlets => {
            *in_epoll == 0
                && *watched == 0
                && stats.outstanding >= most
                && calls >= connections as u64
        }
    };
    (!right).then(|| {
        let (parked, parked_in_all, away) = (stats.parked, stats.parked_in_all, stats.outstanding);
        format!(
            "of {connections} connections, with {count} answers: {in_epoll} in an epoll, {watched} in the event queue, \
             {parked} with a call parked ({parked_in_all} in all), {away} with a thread; {calls} calls of guests"
        )
    })
}

/// The ways in their order, but epoll, which the others are compared with, before them.
fn epoll_first(ways: &[KeventWay]) -> impl Iterator<Item = KeventWay> {
    let others = ways.iter().filter(|&&way| way != KeventWay::Epoll);
    ways.iter().filter(|&&way| way == KeventWay::Epoll).chain(others).copied()
}

/// The servers with each number of connections that is asked for.
pub(super) fn run(options: &KeventOptions) -> Vec<Result<Vec<Row>, Trouble>> {
    let trouble = |error| Trouble::Work("server", error);
    let with = |&connections: &usize| with(options, connections).map_err(trouble);
    options.connections().iter().map(with).collect()
}
