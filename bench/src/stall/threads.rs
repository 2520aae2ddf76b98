//! Loops that are threads of their own: without a runtime.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path as FilePath, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use io_uring::{IoUring, opcode, types};
use rustix::event::{PollFd, PollFlags, poll};
use syslet::{Operation, Threadlet, threadlet};

use super::ticks::Ticks;
use super::witness::Witness;
use super::{Outcomes, SIZE, Segment, slow_read, slow_reader};
use crate::error::Trouble;
use crate::guest::{self, Path, on_guest, on_thread};
use crate::options::{Place, StallOptions, StallWay};

/// Threads of the pool: more than calls are ever under way at once.
const POOL: usize = 32;

/// Entries of the ring.
const ENTRIES: u32 = 64;

/// What a call brings.
type Brought = (io::Result<usize>, Vec<u8>);

/// How a loop makes slow calls.
trait Calls {
    /// Begins one. What this takes holds the loop up.
    fn begin(&mut self, witness: &Arc<Witness>) -> io::Result<()>;

    /// Counts those that have ended. Does not wait.
    fn reap(&mut self, outcomes: &mut Outcomes) -> io::Result<()>;

    /// Waits for the others.
    fn finish(self, outcomes: &mut Outcomes, witness: &Witness) -> io::Result<()>;
}

pub(super) fn segment(
    options: &StallOptions,
    way: StallWay,
    file: &FilePath,
) -> Result<Segment, Trouble> {
    let path = file.to_owned();
    let pinned = matches!(way, StallWay::ThreadletPinned | StallWay::SysletFsPinned);
    let place = if pinned { Place::Pinned } else { Place::Follow };
    let placement = || guest::placement(place, options.common.cpu);
    match way {
        StallWay::Alone => on_thread("bench-loop", || turn(options, way, Alone)),
        StallWay::Plain => on_thread("bench-loop", || turn(options, way, Plain::new(path))),
        StallWay::Pool => {
            let pool = Pool::start(path).map_err(Trouble::io("starting a pool"))?;
            on_thread("bench-loop", || turn(options, way, pool))
        }
        StallWay::IoUring => {
            let ring = Ring::new(path).map_err(Trouble::io("io_uring_setup"))?;
            on_thread("bench-loop", || turn(options, way, ring))
        }
        StallWay::Threadlet | StallWay::ThreadletPinned => on_guest(placement()?, || {
            turn(options, way, Threadlets { path, away: VecDeque::new() })
        }),
        StallWay::SysletFs | StallWay::SysletFsPinned => on_guest(placement()?, || {
            turn(options, way, Operations { path, away: VecDeque::new() })
        }),
        StallWay::ThreadletPool => on_thread("bench-loop", || {
            turn(options, way, Threadlets { path, away: VecDeque::new() })
        }),
        _ => unreachable!("a task of a runtime"),
    }
}

fn turn(options: &StallOptions, way: StallWay, calls: impl Calls) -> Result<Segment, Trouble> {
    let before = Path::now();
    let witness = Arc::new(Witness::start());
    let (ticks, outcomes) =
        ticking(options, calls, &witness).map_err(|error| Trouble::Work("stall", error))?;
    let mut path = Path::default();
    path.add_since(before);
    let seen = witness.seen(way, outcomes.calls());
    Ok(Segment { ticks, outcomes, path, seen })
}

fn ticking(
    options: &StallOptions,
    mut calls: impl Calls,
    witness: &Arc<Witness>,
) -> io::Result<(Ticks, Outcomes)> {
    let mut outcomes = Outcomes::default();
    let mut ticks = Ticks::start(options.segment())?;
    while !ticks.are_over() {
        poll(&mut [PollFd::from_borrowed_fd(ticks.timer(), PollFlags::IN)], None)?;
        ticks.serve()?;
        calls.reap(&mut outcomes)?;
        if ticks.call_is_due() {
            calls.begin(witness)?;
        }
    }
    calls.finish(&mut outcomes, witness)?;
    Ok((ticks, outcomes))
}

/// No calls: what the machine itself does to a loop.
struct Alone;

impl Calls for Alone {
    fn begin(&mut self, _: &Arc<Witness>) -> io::Result<()> {
        Ok(())
    }

    fn reap(&mut self, _: &mut Outcomes) -> io::Result<()> {
        Ok(())
    }

    fn finish(self, _: &mut Outcomes, _: &Witness) -> io::Result<()> {
        Ok(())
    }
}

/// The loop makes the call itself.
struct Plain {
    path: PathBuf,
    brought: Option<Brought>,
}

impl Plain {
    fn new(path: PathBuf) -> Self {
        Self { path, brought: None }
    }
}

impl Calls for Plain {
    fn begin(&mut self, witness: &Arc<Witness>) -> io::Result<()> {
        self.brought = Some(slow_read(&self.path, witness));
        Ok(())
    }

    fn reap(&mut self, outcomes: &mut Outcomes) -> io::Result<()> {
        self.brought.take().map_or(Ok(()), |(result, bytes)| outcomes.count(result, &bytes))
    }

    fn finish(mut self, outcomes: &mut Outcomes, _: &Witness) -> io::Result<()> {
        self.reap(outcomes)
    }
}

/// What a thread of the pool is to read, and whom to tell that it does.
type Work = (PathBuf, Arc<Witness>);

/// Threads that wait for work.
struct Pool {
    path: PathBuf,
    work: Sender<Work>,
    ended: Receiver<Brought>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn start(path: PathBuf) -> io::Result<Self> {
        let (work, wanted) = mpsc::channel::<Work>();
        let (end, ended) = mpsc::channel();
        let wanted = Arc::new(Mutex::new(wanted));
        let start = |_| {
            let (wanted, end) = (Arc::clone(&wanted), end.clone());
            thread::Builder::new().name("bench-pool".to_owned()).spawn(move || {
                loop {
                    // The guard goes before the work: the next thread may wait for some.
                    let next = wanted.lock().map(|wanted| wanted.recv());
                    let Ok(Ok((path, witness))) = next else { return };
                    if end.send(slow_read(&path, &witness)).is_err() {
                        return;
                    }
                }
            })
        };
        let threads = (0..POOL).map(start).collect::<io::Result<_>>()?;
        Ok(Self { path, work, ended, threads })
    }
}

impl Calls for Pool {
    fn begin(&mut self, witness: &Arc<Witness>) -> io::Result<()> {
        let work = (self.path.clone(), Arc::clone(witness));
        self.work.send(work).map_err(|_| io::Error::other("the pool has ended"))
    }

    fn reap(&mut self, outcomes: &mut Outcomes) -> io::Result<()> {
        self.ended.try_iter().try_for_each(|(result, bytes)| outcomes.count(result, &bytes))
    }

    fn finish(self, outcomes: &mut Outcomes, _: &Witness) -> io::Result<()> {
        drop(self.work); // the threads end when there is no more
        for thread in self.threads {
            thread.join().map_err(|_| io::Error::other("a thread of the pool has panicked"))?;
        }
        self.ended.try_iter().try_for_each(|(result, bytes)| outcomes.count(result, &bytes))
    }
}

/// Closures that the loop runs itself until they sleep.
struct Threadlets {
    path: PathBuf,
    away: VecDeque<Threadlet<Brought>>,
}

impl Calls for Threadlets {
    fn begin(&mut self, witness: &Arc<Witness>) -> io::Result<()> {
        self.away.push_back(threadlet(slow_reader(&self.path, witness)));
        Ok(())
    }

    fn reap(&mut self, outcomes: &mut Outcomes) -> io::Result<()> {
        while self.away.front().is_some_and(Threadlet::is_finished) {
            let Some(ended) = self.away.pop_front() else { break };
            let (result, bytes) = ended.join();
            outcomes.count(result, &bytes)?;
        }
        Ok(())
    }

    fn finish(self, outcomes: &mut Outcomes, _: &Witness) -> io::Result<()> {
        for away in self.away {
            let (result, bytes) = away.join();
            outcomes.count(result, &bytes)?;
        }
        Ok(())
    }
}

/// Operations of [`syslet::fs`].
struct Operations {
    path: PathBuf,
    away: VecDeque<Operation<Brought>>,
}

impl Calls for Operations {
    fn begin(&mut self, _: &Arc<Witness>) -> io::Result<()> {
        let file = syslet::fs::File::open(&self.path).wait()?;
        self.away.push_back(file.read_at(vec![0; SIZE], 0));
        Ok(())
    }

    fn reap(&mut self, outcomes: &mut Outcomes) -> io::Result<()> {
        while self.away.front_mut().is_some_and(Operation::is_done) {
            let Some(ended) = self.away.pop_front() else { break };
            let (result, bytes) = ended.wait();
            outcomes.count(result, &bytes)?;
        }
        Ok(())
    }

    fn finish(self, outcomes: &mut Outcomes, _: &Witness) -> io::Result<()> {
        for away in self.away {
            let (result, bytes) = away.wait();
            outcomes.count(result, &bytes)?;
        }
        Ok(())
    }
}

/// A raw ring, submitted to at once.
struct Ring {
    ring: IoUring,
    path: PathBuf,
    /// What is under way: the file and where its bytes go, by the entry's number.
    under_way: Vec<Option<(std::fs::File, Box<[u8; SIZE]>)>>,
}

impl Ring {
    fn new(path: PathBuf) -> io::Result<Self> {
        let under_way = (0..ENTRIES).map(|_| None).collect();
        Ok(Self { ring: IoUring::new(ENTRIES)?, path, under_way })
    }
}

impl Calls for Ring {
    fn begin(&mut self, _: &Arc<Witness>) -> io::Result<()> {
        let free = self.under_way.iter().position(Option::is_none);
        let at = free.ok_or_else(|| io::Error::other("the ring is full"))?;
        let file = std::fs::File::open(&self.path)?;
        let mut bytes = Box::new([0; SIZE]);
        let read = opcode::Read::new(types::Fd(file.as_raw_fd()), bytes.as_mut_ptr(), SIZE as u32);
        let entry = read.offset(0).build().user_data(at as u64);
        self.under_way[at] = Some((file, bytes));
        push(&mut self.ring, &entry)?;
        self.ring.submit()?;
        Ok(())
    }

    fn reap(&mut self, outcomes: &mut Outcomes) -> io::Result<()> {
        for completion in self.ring.completion() {
            let ended = self.under_way[completion.user_data() as usize].take();
            let (_, bytes) = ended.ok_or_else(|| io::Error::other("a completion of no call"))?;
            let result = match completion.result() {
                result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
                result => Ok(result as usize),
            };
            outcomes.count(result, &bytes[..])?;
        }
        Ok(())
    }

    fn finish(mut self, outcomes: &mut Outcomes, witness: &Witness) -> io::Result<()> {
        while self.under_way.iter().any(Option::is_some) {
            self.ring.submit_and_wait(1)?;
            self.reap(outcomes)?;
        }
        witness.ring(self.ring.as_raw_fd() as u32)
    }
}

impl Drop for Ring {
    /// The kernel writes to the buffers until the calls have ended.
    fn drop(&mut self) {
        let mut ignored = Outcomes::default();
        while self.under_way.iter().any(Option::is_some) {
            let waited = self.ring.submit_and_wait(1).is_ok();
            if !waited || self.reap(&mut ignored).is_err() {
                std::mem::take(&mut self.under_way).into_iter().for_each(std::mem::forget);
            }
        }
    }
}

#[allow(unsafe_code, reason = "an entry of the submission queue")]
fn push(ring: &mut IoUring, entry: &io_uring::squeue::Entry) -> io::Result<()> {
    // SAFETY: the entry's file and buffer are kept, where they are, until its completion is reaped.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)
}
