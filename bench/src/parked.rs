//! Calls that wait without a thread: parking one and waking it, a million at once, and what a call
//! costs that must have a thread.
//!
//! # Safety
//!
//! Calls name leaked memory and descriptors that stay open until all calls have ended.

#![allow(unsafe_code, reason = "makes system calls by number, as the library's users do")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use syslet::{Attach, Call, Pending, Submitted, hold_files_at_once, stats, submit};

use crate::dice::Dice;
use crate::error::Trouble;
use crate::guest::{Path, on_guest_as, on_thread, placement};
use crate::options::{ParkedOptions, ParkedWork, Place};
use crate::report::{Row, rounded};
use crate::samples::Samples;

/// What this bench must make: a call that is refused is a mistake of its own.
fn go(nr: libc::c_long, args: [usize; 6]) -> Result<Submitted, Trouble> {
    let call = Call::new(nr as usize, args);
    // SAFETY: as the module says.
    unsafe { submit(call) }.map_err(|error| Trouble::Refused("parked", error.to_string()))
}

fn leak<T>(value: T) -> usize {
    std::ptr::from_mut(Box::leak(Box::new(value))) as usize
}

pub(crate) fn run(options: &ParkedOptions) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    if options.works().iter().any(|work| matches!(work, ParkedWork::Million)) {
        // First, for the crew of a guest stays for a while.
        rows.extend(on_thread("bench-pool", || million(options.calls(), "syslet-pool"))?);
        if !options.common.quick {
            rows.iter_mut().for_each(bound_threads);
        }
    }
    for work in options.works() {
        let place = placement(Place::Follow, options.common.cpu)?;
        rows.extend(on_guest_as(
            &Attach::new().placement(place).max_crew(MOST_CREW),
            || match work {
                ParkedWork::Wake => wake(options.rounds()),
                ParkedWork::Late => late(options.sleeps()),
                ParkedWork::Million => million(options.calls(), "syslet-follow"),
                ParkedWork::Away => away(options.away()),
            },
        )?);
    }
    Ok(rows)
}

/// Crew threads that calls may have which must have one: the most that the library takes.
const MOST_CREW: usize = 4096;

/// Threads that the process may have while a million calls are parked, without a guest. With one there are twelve: its
/// home and the crew too.
const MOST_THREADS: usize = 8;

/// More threads are a fault of the row.
fn bound_threads(row: &mut Row) {
    let Some(threads) = row.more.threads.filter(|&threads| threads > MOST_THREADS) else { return };
    let too_many = format!("{threads} threads without a guest, more than {MOST_THREADS}");
    row.fault = Some(row.fault.iter().cloned().chain([too_many]).collect::<Vec<_>>().join("; "));
}

/// Times that are taken together.
const BATCH: usize = 200;

/// Parks so many reads of one byte, each of which comes at once: nanoseconds of each.
fn park(mine: &UnixStream, mut theirs: &UnixStream, byte: usize) -> Result<f64, Trouble> {
    let begun = Instant::now();
    for _ in 0..BATCH {
        let read = go(libc::SYS_read, [mine.as_raw_fd() as usize, byte, 1, 0, 0, 0])?;
        theirs.write_all(&[1]).map_err(Trouble::io("writing"))?;
        read.wait().result().map_err(|error| Trouble::Work("park_wake", error))?;
    }
    Ok(begun.elapsed().as_nanos() as f64 / BATCH as f64)
}

/// One byte to and from a socketpair that is watched in between: bare, by parking, and with its file held meanwhile.
fn wake(rounds: usize) -> Result<Vec<Row>, Trouble> {
    let (mine, theirs) = UnixStream::pair().map_err(Trouble::io("making a socketpair"))?;
    let byte = leak(0u8);
    let (mut bare, mut parked, mut held) =
        (Samples::default(), Samples::default(), Samples::default());
    let epoll = Epoll::new(&mine)?;
    let before = stats().parked_in_all;
    for _ in 0..rounds {
        let begun = Instant::now();
        for _ in 0..BATCH {
            epoll.arm(&mine)?;
            (&theirs).write_all(&[1]).map_err(Trouble::io("writing"))?;
            epoll.wait()?;
            (&mine).read_exact(&mut [0]).map_err(Trouble::io("reading"))?;
        }
        bare.push(begun.elapsed().as_nanos() as f64 / BATCH as f64);
        parked.push(park(&mine, &theirs, byte)?);
    }
    let calls = (rounds * BATCH) as u64;
    let count = stats().parked_in_all - before;
    let mut row = Row::new("park_wake", "syslet-follow", &parked).against(&parked, &bare);
    row.more.batch = Some(BATCH);
    row.more.parked = Some(count);
    // A call that is preempted while it is tried may find its byte there afterwards.
    let strays = calls - count.min(calls);
    row.fault = (strays > calls / 1000).then(|| format!("{count} of {calls} calls were parked"));
    // Not in turn with the others: the keeper goes on looking for something to do for a while.
    hold_files_at_once(true);
    let first = go(libc::SYS_read, [mine.as_raw_fd() as usize, byte, 1, 0, 0, 0])?;
    let is_held = stats().held == 1;
    (&theirs).write_all(&[1]).map_err(Trouble::io("writing"))?;
    first.wait().result().map_err(|error| Trouble::Work("park_wake", error))?;
    for _ in 0..rounds / 4 {
        held.push(park(&mine, &theirs, byte)?);
    }
    hold_files_at_once(false);
    let mut held_row = Row::new("park_wake", "syslet-follow-held", &held);
    held_row.more.batch = Some(BATCH);
    held_row.fault = (!is_held).then(|| "the file of a parked call was not held".to_owned());
    Ok(vec![Row::new("park_wake", "epoll-oneshot", &bare), row, held_row])
}

/// How much later than asked for sleeps end: in the kernel, and parked with a thousand others.
fn late(sleeps: usize) -> Result<Vec<Row>, Trouble> {
    let mut dice = Dice(7);
    let mut time = || Duration::from_nanos(200_000 + dice.below(2_000_000));
    let sleep = |time: Duration| {
        let spec = [time.as_secs(), u64::from(time.subsec_nanos())];
        go(libc::SYS_nanosleep, [leak(spec), 0, 0, 0, 0, 0])
    };
    let others: Vec<_> =
        (0..1000).map(|_| sleep(Duration::from_secs(3600))).collect::<Result<_, _>>()?;
    let (mut plain, mut parked) = (Samples::default(), Samples::default());
    for _ in 0..sleeps {
        let asked = time();
        let begun = Instant::now();
        std::thread::sleep(asked);
        plain.push((begun.elapsed() - asked).as_nanos() as f64);
        let asked = time();
        let begun = Instant::now();
        let answer = sleep(asked)?.wait().result();
        parked.push((begun.elapsed() - asked).as_nanos() as f64);
        answer.map_err(|error| Trouble::Work("sleep_late", error))?;
    }
    for other in others {
        if let Submitted::Pending(other) = other {
            other.cancel();
            other.wait();
        }
    }
    let row = Row::new("sleep_late", "syslet-follow", &parked);
    Ok(vec![Row::new("sleep_late", "nanosleep", &plain), row])
}

/// An epoll with one descriptor.
#[derive(Debug)]
struct Epoll(i32);

impl Epoll {
    fn new(watched: &UnixStream) -> Result<Self, Trouble> {
        // SAFETY: numbers.
        let epoll = Self(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
        epoll.control(libc::EPOLL_CTL_ADD, watched)?;
        Ok(epoll)
    }

    fn arm(&self, watched: &UnixStream) -> Result<(), Trouble> {
        self.control(libc::EPOLL_CTL_MOD, watched)
    }

    fn control(&self, how: i32, watched: &UnixStream) -> Result<(), Trouble> {
        let events = (libc::EPOLLIN | libc::EPOLLONESHOT) as u32;
        let mut event = libc::epoll_event { events, u64: 0 };
        // SAFETY: live.
        let answer = unsafe { libc::epoll_ctl(self.0, how, watched.as_raw_fd(), &mut event) };
        if answer == 0 { Ok(()) } else { Err(Trouble::Io("epoll_ctl", io::Error::last_os_error())) }
    }

    fn wait(&self) -> Result<(), Trouble> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: live.
        match unsafe { libc::epoll_wait(self.0, &mut event, 1, -1) } {
            1 => Ok(()),
            _ => Err(Trouble::Io("epoll_wait", io::Error::last_os_error())),
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: ours.
        unsafe { libc::close(self.0) };
    }
}

/// A tenth of the calls are reads, on at most this many pipes.
const FILES: usize = 8192;

/// Everything parked at once: nine tenths sleeps, the rest reads.
fn million(calls: usize, way: &str) -> Result<Vec<Row>, Trouble> {
    raise_aio_limit(calls / 10);
    // What an earlier measure has left to the allocator would not be counted.
    // SAFETY: gives free memory back.
    unsafe { libc::malloc_trim(0) };
    let files = FILES.min(raise_file_limit() / 4).min(calls / 10).max(1);
    let mut pipes: Vec<_> = (0..files)
        .map(connection)
        .collect::<Result<_, _>>()
        .map_err(Trouble::io("making pipes and sockets"))?;
    let bytes = leak([0u8; FILES]);
    // All sleeps end within the second after the last could have been armed at the target's speed,
    // in an order that is not that of their making.
    let base = Duration::from_secs(2 + calls as u64 / 200_000);
    let before = resident();
    let counted = stats().parked_in_all;
    let mut pending: Vec<(u64, Pending)> = Vec::with_capacity(calls);
    let mut reads = Vec::with_capacity(calls / 10 + 1);
    let mut arm = Samples::default();
    let begun = Instant::now();
    // Points in time, not times from now: who is preempted between the two would change the order.
    let first = monotonic() + base;
    let mut mark = begun;
    for at in 0..calls {
        if at % 10 == 9 {
            let file = (at / 10) % files;
            let number = pipes[file].0.as_raw_fd() as usize;
            let read = go(libc::SYS_read, [number, bytes + file, 1, 0, 0, 0])?;
            if let Submitted::Pending(read) = read {
                reads.push(read);
            }
        } else {
            let spread = (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 34; // below 2^30: a second
            let time = first + Duration::from_nanos(spread);
            let time = libc::timespec {
                tv_sec: time.as_secs() as i64,
                tv_nsec: i64::from(time.subsec_nanos()),
            };
            // Read before the call returns: what is parked keeps the time itself.
            let address = std::ptr::from_ref(&time) as usize;
            let (clock, until) = (libc::CLOCK_MONOTONIC as usize, libc::TIMER_ABSTIME as usize);
            let args = [clock, until, address, 0, 0, 0];
            if let Submitted::Pending(sleep) = go(libc::SYS_clock_nanosleep, args)? {
                pending.push((spread, sleep));
            }
        }
        if at % 1000 == 999 {
            let now = Instant::now();
            arm.push((now - mark).as_nanos() as f64 / 1000.0);
            mark = now;
        }
    }
    let armed = begun.elapsed();
    let parked = stats().parked;
    let memory = resident().saturating_sub(before) as f64 / calls as f64;
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let count = reads.len();
    let waking = Instant::now();
    for at in 0..count {
        pipes[at % files].1.write_all(&[1]).map_err(Trouble::io("writing"))?;
    }
    for read in reads {
        read.wait().result().map_err(|error| Trouble::Work("parked", error))?;
    }
    let woken = waking.elapsed();
    // In the order of their times: half-way through, whatever has ended must have ended after all that
    // were to end before it. Looked at from the last to the first, for time goes on meanwhile.
    pending.sort_by_key(|(spread, _)| *spread);
    let sleeps = pending.len();
    std::thread::sleep(
        (begun + base + Duration::from_millis(500)).saturating_duration_since(Instant::now()),
    );
    let mut seen_done = false;
    let mut disorder = 0;
    for (_, sleep) in pending.iter().rev() {
        let done = sleep.is_done();
        seen_done |= done;
        disorder += usize::from(seen_done && !done);
    }
    for (_, sleep) in pending {
        sleep.wait().result().map_err(|error| Trouble::Work("parked", error))?;
    }
    let in_all = stats().parked_in_all - counted;
    let mut row = Row::new("parked", format!("{way}-{sleeps}-sleeps-{count}-reads"), &arm);
    row.more.batch = Some(1000);
    row.more.parked = Some(in_all);
    row.more.per_second = Some((calls as f64 / armed.as_secs_f64()).round());
    row.more.bytes_per_call = Some(rounded(memory));
    row.more.threads = Some(threads);
    row.more.woken_per_second = Some((count as f64 / woken.as_secs_f64()).round());
    row.fault = (disorder > 0 || left() != 0)
        .then(|| format!("{disorder} out of order, {} left, {parked} of {calls} parked", left()));
    Ok(vec![row])
}

/// A pipe, or, every other time, a pair of sockets: where a read waits, and where it is fed.
fn connection(number: usize) -> io::Result<(OwnedFd, File)> {
    if number.is_multiple_of(2) {
        let (reader, writer) = io::pipe()?;
        return Ok((reader.into(), File::from(OwnedFd::from(writer))));
    }
    let (reader, writer) = UnixStream::pair()?;
    Ok((reader.into(), File::from(OwnedFd::from(writer))))
}

/// The time by CLOCK_MONOTONIC.
fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: live.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn left() -> usize {
    stats().parked
}

/// Lets the system have enough polls in kernel AIO, where that is allowed: else the rest is watched by
/// the second way.
fn raise_aio_limit(reads: usize) {
    let path = "/proc/sys/fs/aio-max-nr";
    let now = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<usize>().ok());
    if now.is_some_and(|now| now < 4 * reads) {
        let _ = std::fs::write(path, (4 * reads).to_string());
    }
}

/// Descriptors that this process may have, after asking for as many as possible.
fn raise_file_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: live.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: live.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(FILES)
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Calls that need a thread each: bytes moved out of a pipe by splice(2), which cannot be tried. Those
/// that find none wait for one.
fn away(calls: usize) -> Result<Vec<Row>, Trouble> {
    let (reader, mut writer) = io::pipe().map_err(Trouble::io("making a pipe"))?;
    let null = File::options().write(true).open("/dev/null");
    let null = null.map_err(Trouble::io("opening /dev/null"))?;
    let (from, to) = (reader.as_raw_fd() as usize, null.as_raw_fd() as usize);
    let (before, path) = (resident(), Path::now());
    let mut time = Samples::default();
    let mut pending = Vec::with_capacity(calls);
    for _ in 0..calls {
        let begun = Instant::now();
        let taken = go(libc::SYS_splice, [from, 0, to, 0, 1, 0])?;
        time.push(begun.elapsed().as_nanos() as f64);
        if let Submitted::Pending(taken) = taken {
            pending.push(taken);
        }
    }
    let count = pending.len();
    let patience = Instant::now() + Duration::from_secs(30);
    while stats().crew < count.min(stats().crew_limit) && Instant::now() < patience {
        std::thread::yield_now();
    }
    let memory = resident().saturating_sub(before) as f64 / count.max(1) as f64;
    let crew = stats().crew;
    for chunk in vec![1u8; count].chunks(4096) {
        writer.write_all(chunk).map_err(Trouble::io("writing"))?;
    }
    for taken in pending {
        taken.wait().result().map_err(|error| Trouble::Work("away", error))?;
    }
    let mut row = Row::new("away", "splice", &time);
    row.more.bytes_per_call = Some(rounded(memory));
    row.more.threads = Some(crew);
    row.more.queued = Some(Path::now().unprotected - path.unprotected);
    row.fault = (count < calls).then(|| format!("{count} of {calls} calls were away"));
    Ok(vec![row])
}

#[cfg(test)]
mod tests {
    use super::{MOST_THREADS, Row, Samples, bound_threads};

    #[test]
    fn too_many_threads_are_a_fault_beside_others() {
        let row = |threads, fault: Option<&str>| {
            let mut row = Row::new("parked", "syslet-pool", &Samples::default());
            row.more.threads = Some(threads);
            row.fault = fault.map(str::to_owned);
            bound_threads(&mut row);
            row.fault
        };
        assert_eq!(row(MOST_THREADS, None), None);
        assert_eq!(row(MOST_THREADS, Some("lost")).as_deref(), Some("lost"));
        assert!(row(MOST_THREADS + 1, None).is_some_and(|fault| fault.starts_with("9 threads")));
        assert!(row(9, Some("lost")).is_some_and(|fault| fault.starts_with("lost; 9 threads")));
    }
}
