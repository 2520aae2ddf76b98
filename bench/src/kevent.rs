//! The event queue beside epoll: what an event costs that is there, what adding costs, what idling costs, and the same
//! server in four ways.

mod answer;
mod idle;
mod load;
mod servers;

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use syslet_kevent::{Clock, Event, Flags, Queue, Source};

use crate::chain;
use crate::cost::Sentinels;
use crate::error::Trouble;
use crate::onlooker::{in_epoll_here, watched_here};
use crate::options::{KeventOptions, KeventWork};
use crate::report::Row;
use crate::samples::Samples;

pub(crate) use self::servers::serve;

/// Why there is no third way.
const WITHOUT: &str = "libkqueue is not compared: Debian 12 has no package of it";
/// Events that are fetched at a time.
const ROOM: usize = 256;

/// Measures every work that is asked for. What cannot be measured is added to `lost`, unless nothing can be.
pub(crate) fn run(options: &KeventOptions, lost: &mut Vec<String>) -> Result<Vec<Row>, Trouble> {
    limit::raise();
    let mut rows = Vec::new();
    let mut first = None;
    for work in options.works() {
        let measured = match work {
            KeventWork::Events => vec![events(options)],
            KeventWork::Timers => vec![timers(options).map(|row| vec![row])],
            KeventWork::Idle => vec![idle::run(options)],
            KeventWork::Server => load::run(options),
        };
        for measured in measured {
            match measured {
                Ok(more) => rows.extend(more),
                Err(trouble) => {
                    lost.push(chain(&trouble));
                    first = first.or(Some(trouble));
                }
            }
        }
    }
    match first {
        Some(trouble) if rows.is_empty() => Err(trouble),
        _ => Ok(rows),
    }
}

/// Something that tells which of its sockets can be read.
trait Teller {
    /// Waits for events; how many there were, at least one.
    fn fetch(&mut self) -> io::Result<usize>;

    /// Sockets that the kernel watches for it.
    fn watched(&self) -> usize;
}

struct Epoll {
    epoll: epoll::Epoll,
    room: Vec<libc::epoll_event>,
}

impl Epoll {
    fn of(sockets: &[(UnixStream, UnixStream)]) -> io::Result<Self> {
        let epoll = epoll::Epoll::new()?;
        for (at, (mine, _)) in sockets.iter().enumerate() {
            epoll.add(mine.as_raw_fd(), (libc::EPOLLIN | libc::EPOLLET) as u32, at as u64)?;
        }
        Ok(Self { epoll, room: epoll::room(ROOM) })
    }
}

impl Teller for Epoll {
    fn fetch(&mut self) -> io::Result<usize> {
        self.epoll.wait(&mut self.room)
    }

    fn watched(&self) -> usize {
        in_epoll_here(self.epoll.as_fd())
    }
}

struct Ours {
    queue: Queue,
    events: Vec<Event>,
}

impl Ours {
    fn of(sockets: &[(UnixStream, UnixStream)]) -> io::Result<Self> {
        let queue = Queue::new()?;
        let source = |(at, (mine, _)): (usize, &(UnixStream, UnixStream))| {
            Source::recv(mine).with(Flags::ET).user_data(at as u64)
        };
        let sources: Vec<_> = sockets.iter().enumerate().map(source).collect();
        for added in queue.add_all(&sources) {
            added?;
        }
        Ok(Self { queue, events: Vec::with_capacity(ROOM) })
    }
}

impl Teller for Ours {
    fn fetch(&mut self) -> io::Result<usize> {
        self.events.clear();
        self.queue.fetch(&mut self.events, 1, ROOM, None)
    }

    fn watched(&self) -> usize {
        self.queue.sources().min(watched_here())
    }
}

/// One round: all sockets become ready, are told, and are read. The time of the telling, and of all, for each.
fn round(teller: &mut dyn Teller, sockets: &[(UnixStream, UnixStream)]) -> io::Result<[f64; 2]> {
    let begun = Instant::now();
    for (_, theirs) in sockets {
        (&*theirs).write_all(b"!")?;
    }
    let written = Instant::now();
    let mut told = 0;
    while told < sockets.len() {
        told += teller.fetch()?;
    }
    let told_at = Instant::now();
    for (mine, _) in sockets {
        (&*mine).read_exact(&mut [0])?;
    }
    let nanos = |time: std::time::Duration| time.as_nanos() as f64 / sockets.len() as f64;
    Ok([nanos(told_at - written), nanos(begun.elapsed())])
}

/// Events of many ready sockets, in turns with epoll.
fn events(options: &KeventOptions) -> Result<Vec<Row>, Trouble> {
    let trouble = |error| Trouble::Work("events", error);
    let pairs =
        || (0..options.sockets()).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>();
    let sockets = [pairs().map_err(trouble)?, pairs().map_err(trouble)?];
    let mut epoll = Epoll::of(&sockets[0]).map_err(trouble)?;
    let mut ours = Ours::of(&sockets[1]).map_err(trouble)?;
    let mut samples = vec![[Samples::default(), Samples::default()]; 2];
    for round_number in 0..options.rounds() + 1 {
        for turn in 0..2 {
            let at = (round_number + turn) % 2;
            let teller: &mut dyn Teller = if at == 0 { &mut epoll } else { &mut ours };
            let times = round(teller, &sockets[at]).map_err(trouble)?;
            if round_number > 0 {
                samples[at].iter_mut().zip(times).for_each(|(samples, time)| samples.push(time));
            }
        }
    }
    let watched = [epoll.watched(), ours.watched()];
    let mut rows = Vec::new();
    for (part, work) in ["events_told", "events_written_told_read"].into_iter().enumerate() {
        for (at, way) in ["epoll-et", "kevent-et"].into_iter().enumerate() {
            let row = Row::new(work, way, &samples[at][part]);
            let mut row =
                if at == 0 { row } else { row.against(&samples[1][part], &samples[0][part]) };
            row.fault = too_few(watched[at], options.sockets());
            row.more.batch = Some(options.sockets());
            row.more.per_second = Some((1e9 / row.median_ns).round());
            if at > 0 {
                row.more.remark = Some(WITHOUT.to_owned());
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// What is wrong if so many of `wanted` sources were there at the end.
fn too_few(there: usize, wanted: usize) -> Option<String> {
    (there < wanted).then(|| format!("{there} of {wanted} sources were there"))
}

/// Adding timers that do not fire meanwhile.
fn timers(options: &KeventOptions) -> Result<Row, Trouble> {
    let trouble = |error| Trouble::Work("timers", error);
    let (mut samples, mut cpu) = (Samples::default(), Samples::default());
    let count = options.timers();
    let mut fewest = usize::MAX;
    for _ in 0..5 {
        let queue = Queue::new().map_err(trouble)?;
        let begun = Instant::now();
        let first = Clock::Monotonic.now() + 3_600_000_000_000;
        let add_all = || {
            for id in 0..count {
                // In no order.
                let at = first + (id * 7919 % count) * 1000;
                queue.add(Source::timer(id, Clock::Monotonic, at, 0)).map_err(trouble)?;
            }
            Ok(())
        };
        let (spent, ()) = Sentinels::none().spent_in(add_all)?;
        samples.push(begun.elapsed().as_nanos() as f64 / count as f64);
        cpu.push(spent.total() / count as f64);
        fewest = fewest.min(queue.sources());
    }
    let mut row = Row::new("timers_added", "kevent", &samples);
    row.fault = too_few(fewest, count as usize);
    row.more.batch = Some(count as usize);
    row.more.cpu_ns_per_call = Some(cpu.median().round());
    row.more.remark = Some(format!("{:.1} ms in all", row.median_ns * count as f64 / 1e6));
    Ok(row)
}

mod limit {
    //! As many descriptors as may be.
    #![allow(unsafe_code, reason = "setrlimit(2)")]

    /// Raises the limit as far as it goes.
    pub(super) fn raise() {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is written.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the structure is read.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
}

mod epoll {
    //! epoll(7), as a program uses it.
    #![allow(unsafe_code, reason = "epoll(7)")]

    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

    #[derive(Debug)]
    pub(super) struct Epoll(OwnedFd);

    fn checked(answer: i32) -> io::Result<i32> {
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
    }

    pub(super) fn room(events: usize) -> Vec<libc::epoll_event> {
        vec![libc::epoll_event { events: 0, u64: 0 }; events]
    }

    impl Epoll {
        pub(super) fn new() -> io::Result<Self> {
            // SAFETY: no memory.
            let number = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
            // SAFETY: it is new.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(number) }))
        }

        pub(super) fn add(&self, number: RawFd, events: u32, data: u64) -> io::Result<()> {
            let mut event = libc::epoll_event { events, u64: data };
            let (epoll, add) = (self.0.as_raw_fd(), libc::EPOLL_CTL_ADD);
            // SAFETY: the event is read.
            checked(unsafe { libc::epoll_ctl(epoll, add, number, &mut event) }).map(|_| ())
        }

        pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        pub(super) fn wait(&self, room: &mut [libc::epoll_event]) -> io::Result<usize> {
            let (epoll, most) = (self.0.as_raw_fd(), room.len() as i32);
            // SAFETY: as many events as there is room for.
            let answer = unsafe { libc::epoll_wait(epoll, room.as_mut_ptr(), most, -1) };
            checked(answer).map(|count| count as usize)
        }
    }
}
