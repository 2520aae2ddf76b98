//! Calls that wait: how long until the caller goes on.
//!
//! The call is a read from an empty pipe, which the caller itself fills afterwards: were it not handed
//! off, the bench would hang rather than print a wrong figure.
//!
//! # Safety
//!
//! A read goes to a byte that is leaked and never accessed but by the kernel, from a pipe that is
//! closed only after the read's answer (clause *memory*).

#![allow(unsafe_code, reason = "makes system calls by number, as the library's users do")]

use std::fs::File;
use std::hint::spin_loop;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use syslet::{Call, Placement, Submitted};
use syslet_sys::arch;

use crate::ending;
use crate::error::Trouble;
use crate::guest::{Path, on_guest, on_thread, pin, placement, usable_cpus};
use crate::options::{HandoffOptions, HandoffSize, HandoffWork, Place};
use crate::report::Row;
use crate::samples::Samples;
use crate::upkeep;

/// Measures every work that is asked for.
pub(crate) fn run(options: &HandoffOptions) -> Result<Vec<Row>, Trouble> {
    let size = options.size();
    let mut rows = Vec::new();
    for work in options.works() {
        match work {
            HandoffWork::AttachDetach => rows.extend(upkeep::attach_detach(options)?),
            HandoffWork::Idle => rows.extend(upkeep::idle(options)?),
            HandoffWork::Handoff => rows.extend(in_both(options, |p, g| quiet(p, g, &size))?),
            HandoffWork::HandoffBusy => rows.extend(in_both(options, |p, g| busy(p, g, &size))?),
            HandoffWork::EndBusy => rows.extend(ending::run(options)?),
            HandoffWork::HandoffCpu => {
                rows.extend(in_both(options, |p, g| computing(p, g, &size))?)
            }
        }
    }
    Ok(rows)
}

/// Measures a work with guests of both placements, one after the other.
fn in_both(
    options: &HandoffOptions,
    measure: impl Fn(Place, Placement) -> Result<Vec<Row>, Trouble>,
) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    for place in Place::BOTH {
        rows.extend(measure(place, placement(place, options.common.cpu)?)?);
    }
    Ok(rows)
}

/// The two ways to wait for a byte of a pipe.
#[derive(Debug, Clone, Copy)]
enum Way {
    Submit,
    Threadlet,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Submit, Self::Threadlet];

    fn named(self, place: Place, behind: &str) -> String {
        let way = match self {
            Self::Submit => "submit",
            Self::Threadlet => "threadlet",
        };
        format!("{way}-{}{behind}", place.name())
    }
}

/// On CPUs with nothing else to do: back to back, and after a pause in which the sentinel went to
/// sleep. Beside them, as a measure of the machine, a hop to another thread and back: like a handoff,
/// two threads that sleep are woken one after the other.
fn quiet(place: Place, guest: Placement, size: &HandoffSize) -> Result<Vec<Row>, Trouble> {
    let awake = (size.awake, Duration::ZERO, "-awake");
    let asleep = (size.asleep, size.pause, "-asleep");
    let mut rows = Vec::new();
    for (n, pause, behind) in [awake, asleep] {
        let samples = on_thread("bench-hop", || hops(guest, n, pause))?;
        let mut row = Row::new("handoff", format!("hop-{}{behind}", place.name()), &samples);
        row.more.placement = Some(place.name().into());
        rows.push(row);
    }
    for way in Way::BOTH {
        for (n, pause, behind) in [awake, asleep] {
            let measured = on_guest(guest, || waits(way, n, pause))?;
            rows.push(row("handoff", way.named(place, behind), place, n, measured));
        }
    }
    Ok(rows)
}

/// While threads of the same process keep every CPU busy.
fn busy(place: Place, guest: Placement, size: &HandoffSize) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    for way in Way::BOTH {
        let n = size.busy;
        let measured = with_hogs(|| on_guest(guest, || waits(way, n, Duration::ZERO)))?;
        rows.push(row("handoff-busy", way.named(place, ""), place, n, measured));
    }
    Ok(rows)
}

/// A closure that computes and does not sleep: how long it holds its caller up.
fn computing(place: Place, guest: Placement, size: &HandoffSize) -> Result<Vec<Row>, Trouble> {
    let closure = size.closure;
    let compute = move || {
        let start = Instant::now();
        while start.elapsed() < closure {
            spin_loop();
        }
    };
    let once = || {
        sleep(size.pause);
        let start = Instant::now();
        let threadlet = syslet::threadlet(compute);
        let nanos = start.elapsed().as_nanos() as f64;
        threadlet.join();
        Ok(nanos)
    };
    let measured = on_guest(guest, || repeated(size.computing, once))?;
    let way = Way::Threadlet.named(place, "");
    Ok(vec![row("handoff-cpu", way, place, size.computing, measured)])
}

fn row(
    work: &'static str,
    way: String,
    place: Place,
    calls: usize,
    (samples, path): (Samples, Path),
) -> Row {
    let mut row = Row::new(work, way, &samples);
    row.more.placement = Some(place.name().into());
    row.more.inline = Some(path.inline);
    row.more.handed_off = Some(path.handed_off);
    row.more.queued = Some(path.unprotected);
    row.more.rescued = Some(path.rescued);
    row.fault = path.not_handed_off(calls as u64);
    row
}

/// `n` waits, with a pause before each: from the call until the caller goes on.
fn waits(way: Way, n: usize, pause: Duration) -> Result<(Samples, Path), Trouble> {
    let mut pipe = Pipe::new()?;
    pipe.wait_once(way)?; // makes what the first handoff makes
    repeated(n, || {
        if !pause.is_zero() {
            sleep(pause);
        }
        pipe.wait_once(way)
    })
}

/// `n` hops from the calling thread, which is not attached, to another and back.
fn hops(place: Placement, n: usize, pause: Duration) -> Result<Samples, Trouble> {
    if let Placement::Pinned(cpu) = place {
        pin(cpu)?; // and the other, which inherits it
    }
    let (ask, asked) = mpsc::sync_channel(1);
    let (answer, answered) = mpsc::sync_channel(1);
    let mut samples = Samples::default();
    thread::scope(|scope| {
        scope.spawn(move || asked.into_iter().try_for_each(|()| answer.send(())));
        for _ in 0..n {
            if !pause.is_zero() {
                sleep(pause);
            }
            let start = Instant::now();
            let hop = ask.send(()).is_ok() && answered.recv().is_ok();
            samples.push(start.elapsed().as_nanos() as f64);
            assert!(hop, "the other thread lives as long as `ask`");
        }
        drop(ask);
    });
    Ok(samples)
}

/// Does `once` `n` times. The figures are of those that were not queued for want of a crew thread: in
/// a queue a call is put down faster than by any handoff.
fn repeated(
    n: usize,
    mut once: impl FnMut() -> Result<f64, Trouble>,
) -> Result<(Samples, Path), Trouble> {
    let (mut samples, mut path) = (Samples::default(), Path::default());
    for _ in 0..n {
        let (before, queued) = (Path::now(), path.unprotected);
        let nanos = once()?;
        path.add_since(before);
        if path.unprotected == queued {
            samples.push(nanos);
        }
    }
    Ok((samples, path))
}

/// An empty pipe.
#[derive(Debug)]
struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    /// Where a spliced byte goes.
    null: File,
    /// Where a byte that is read goes.
    byte: usize,
}

impl Pipe {
    fn new() -> Result<Self, Trouble> {
        let (reader, writer) = io::pipe().map_err(Trouble::io("making a pipe"))?;
        let null = File::options().write(true).open("/dev/null");
        let null = null.map_err(Trouble::io("opening /dev/null"))?;
        Ok(Self { reader, writer, null, byte: Box::into_raw(Box::new(0u8)) as usize })
    }

    /// Waits for a byte, then sends it. Returns the nanoseconds until the wait let the caller go on.
    fn wait_once(&mut self, way: Way) -> Result<f64, Trouble> {
        let args = [self.reader.as_raw_fd() as usize, self.byte, 1, 0, 0, 0];
        let (nanos, answer) = match way {
            Way::Submit => self.submit()?,
            Way::Threadlet => self.threadlet(args)?,
        };
        match answer {
            1 => Ok(nanos),
            answer => Err(Trouble::Work("handoff", io::Error::from_raw_os_error(-answer as i32))),
        }
    }

    /// By splice(2), which has no other way to wait than to sleep: a read would be parked.
    fn submit(&mut self) -> Result<(f64, isize), Trouble> {
        let (from, to) = (self.reader.as_raw_fd() as usize, self.null.as_raw_fd() as usize);
        let call = Call::new(libc::SYS_splice as usize, [from, 0, to, 0, 1, 0]);
        let start = Instant::now();
        // SAFETY: clause memory.
        let submitted = unsafe { syslet::submit(call) };
        let nanos = start.elapsed().as_nanos() as f64;
        match submitted {
            Ok(Submitted::Done(ret)) => Ok((nanos, ret.raw())),
            Ok(Submitted::Pending(pending)) => {
                self.send()?;
                Ok((nanos, pending.wait().raw()))
            }
            Err(error) => Err(Trouble::Refused("handoff", error.to_string())),
        }
    }

    fn threadlet(&mut self, args: [usize; 6]) -> Result<(f64, isize), Trouble> {
        let start = Instant::now();
        // SAFETY: clause memory.
        let read = move || unsafe { arch::syscall(libc::SYS_read as usize, args) };
        let threadlet = syslet::threadlet(read);
        let nanos = start.elapsed().as_nanos() as f64;
        if !threadlet.was_inline() {
            self.send()?;
        }
        Ok((nanos, threadlet.join()))
    }

    fn send(&mut self) -> Result<(), Trouble> {
        self.writer.write_all(&[1]).map_err(Trouble::io("writing to the pipe"))
    }
}

/// Runs `f` while one thread for each CPU spins there.
pub(crate) fn with_hogs<R>(f: impl FnOnce() -> Result<R, Trouble>) -> Result<R, Trouble> {
    let cpus = usable_cpus()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for &cpu in &cpus {
            let stop = &stop;
            // Left unpinned if that is refused: the scheduler spreads them, if later.
            scope.spawn(move || {
                let _ = pin(cpu);
                spin(stop);
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        stop.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn spin(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        spin_loop();
    }
}
