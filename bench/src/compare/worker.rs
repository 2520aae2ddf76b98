//! Threads that do a batch when it is their turn.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Instant;

use futures_lite::future::block_on;
use futures_util::future::try_join_all;
use syslet::{Placement, Threadlet, threadlet};

use super::files::Targets;
use super::witness::{Server, Witness, name, rings as rings_of};
use super::{aio, libuv, operations, raw, rings, runtimes, tasks, tokio_fs_uring};
use crate::calls::{Plain, Submit};
use crate::cold::bytes_read_by;
use crate::error::Trouble;
use crate::guest::{Path, attach};
use crate::options::{CompareWay, CompareWork};

/// What a batch gave.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Of each work.
    pub(super) nanos: f64,
    pub(super) path: Path,
    pub(super) strays: u64,
    /// Requests that the way's ring has taken, or nanoseconds of CPU time of its threads.
    pub(super) witnessed: u64,
    /// Bytes that came from the disk.
    pub(super) from_disk: u64,
}

/// What is to be done, and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) work: CompareWork,
    pub(super) size: usize,
}

/// The thread of a way.
#[derive(Debug)]
pub(super) struct Worker {
    way: CompareWay,
    /// Nothing while it is dropped: the thread ends then.
    orders: Option<Sender<Order>>,
    answers: Receiver<io::Result<Batch>>,
    thread: Option<JoinHandle<()>>,
    server: Server,
    witness: Witness,
}

impl Worker {
    /// An error if there is no such way here.
    pub(super) fn start(
        way: CompareWay,
        targets: &'static Targets,
        depth: usize,
    ) -> Result<Self, Trouble> {
        let (orders, wanted) = mpsc::channel();
        let (done, answers) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let serve = Serve { way, targets, depth, wanted, done, ready };
        let unable = serve.ready.clone();
        let body = move || {
            if let Err(error) = run(serve) {
                let _ = unable.send(Err(error)); // heard unless it was ready already; then an answer is missed
            }
        };
        let before = rings_of(std::process::id());
        let thread = thread::Builder::new().name(name(way, depth)).spawn(body);
        let thread = thread.map_err(Trouble::io("starting a thread"))?;
        let server = match is_ready.recv() {
            Ok(server) => server?,
            Err(_) => {
                return Err(Trouble::Refused(way.name(), "its thread has ended".to_owned()));
            }
        };
        let witness = Witness::of(way, depth, server, &before);
        if witness.has_no_ring() {
            return Err(Trouble::Refused(way.name(), "it has made no ring".to_owned()));
        }
        Ok(Self { way, orders: Some(orders), answers, thread: Some(thread), server, witness })
    }

    /// Does the work `size` times, and asks what became of that.
    pub(super) fn watched(&self, work: CompareWork, size: usize) -> Result<Batch, Trouble> {
        let asking = || Trouble::io("asking the kernel what a way has done");
        let read = || if work.is_cold() { bytes_read_by(self.server.process) } else { Ok(0) };
        let (notes, bytes) = (self.witness.now().map_err(asking())?, read()?);
        let mut batch = self.batch(work, size)?;
        batch.witnessed += self.witness.now().map_err(asking())?.since(&notes);
        batch.from_disk = read()?.saturating_sub(bytes);
        Ok(batch)
    }

    /// Does the work `size` times.
    pub(super) fn batch(&self, work: CompareWork, size: usize) -> Result<Batch, Trouble> {
        let orders = self.orders.as_ref().expect("it is not dropped");
        // If the thread has ended, there is no answer either.
        let _ = orders.send(Order { work, size });
        let ended = || Err(io::Error::other("its thread has ended"));
        let answer = self.answers.recv().unwrap_or_else(|_| ended());
        answer.map_err(|error| {
            let error = io::Error::new(error.kind(), format!("{}: {error}", self.way.name()));
            Trouble::Work(work.name(), error)
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has been printed
        }
    }
}

/// The thread's side.
#[derive(Debug)]
pub(super) struct Serve {
    pub(super) way: CompareWay,
    pub(super) targets: &'static Targets,
    pub(super) depth: usize,
    pub(super) wanted: Receiver<Order>,
    pub(super) done: Sender<io::Result<Batch>>,
    pub(super) ready: Sender<Result<Server, Trouble>>,
}

/// Does what is wanted until nothing is any more.
fn run(serve: Serve) -> Result<(), Trouble> {
    let Serve { targets, depth, .. } = serve;
    match serve.way {
        CompareWay::Plain => serve.each(|work| raw::once(work, targets, 0, &Plain)),
        CompareWay::Submit => {
            let _attached = attach(Placement::Follow)?;
            serve.each(|work| match depth {
                1 => raw::once(work, targets, 0, &Submit),
                _ => raw::submitted(work, targets, depth),
            });
        }
        CompareWay::Threadlet => {
            let _attached = attach(Placement::Follow)?;
            let begin = |work, slot| threadlet(move || raw::once(work, targets, slot, &Plain));
            serve.each(|work| match depth {
                1 => begin(work, 0).join(),
                _ => {
                    let begun: Vec<_> = (0..depth).map(|slot| begin(work, slot)).collect();
                    let ended: Vec<_> = begun.into_iter().map(Threadlet::join).collect();
                    ended.into_iter().collect()
                }
            });
        }
        CompareWay::SysletFs => {
            let _attached = attach(Placement::Follow)?;
            let mut operations = operations::Operations::new(targets, depth)?;
            serve.each(|work| operations.together(work));
        }
        CompareWay::Blocking => {
            let caller = thread::current().id();
            serve.each_counted(|work| {
                let closure = move |slot| move || by(caller, work, targets, slot);
                let all = (0..depth).map(|slot| blocking::unblock(closure(slot)));
                let strays = strays(block_on(try_join_all(all))?);
                Ok(Told { strays, witnessed: 0 })
            });
        }
        CompareWay::IoUring => {
            let ring = rings::Ring::new(targets, depth);
            let mut ring = ring.map_err(Trouble::io("io_uring_setup"))?;
            serve.each(|work| ring.together(work));
        }
        CompareWay::KernelAio => {
            let aio = aio::Kernel::new(targets, depth);
            let mut aio = aio.map_err(Trouble::io("io_setup"))?;
            serve.each_counted(|work| {
                aio.together(work)?;
                Ok(Told { strays: 0, witnessed: aio.in_ring() })
            });
        }
        CompareWay::GlibcAio => {
            let mut aio = aio::Posix::new(targets, depth);
            serve.each(|work| aio.together(work));
        }
        CompareWay::Libuv => libuv::run(serve)?,
        CompareWay::TokioFsUring => tokio_fs_uring::run(serve)?,
        CompareWay::Compio | CompareWay::TokioUring => runtimes::run(serve)?,
        CompareWay::TokioFs
        | CompareWay::SpawnBlocking
        | CompareWay::BlockInPlace
        | CompareWay::SysletTokioFs
        | CompareWay::Unblock => tasks::run(serve)?,
    }
    Ok(())
}

/// Does a work plainly; true if that is by another thread than `caller`.
pub(super) fn by(
    caller: ThreadId,
    work: CompareWork,
    targets: &Targets,
    slot: usize,
) -> io::Result<bool> {
    raw::once(work, targets, slot, &Plain).map(|()| thread::current().id() != caller)
}

/// How many of them were done by the caller.
pub(super) fn strays(elsewhere: Vec<bool>) -> u64 {
    elsewhere.into_iter().filter(|&elsewhere| !elsewhere).count() as u64
}

impl Serve {
    /// `together` does the work as often as several can be under way.
    pub(super) fn each(&self, mut together: impl FnMut(CompareWork) -> io::Result<()>) {
        self.each_counted(|work| together(work).map(|()| Told::default()));
    }

    /// The same; `together` says what it has seen.
    fn each_counted(&self, mut together: impl FnMut(CompareWork) -> io::Result<Told>) {
        let _ = self.ready.send(Ok(Server::here()));
        while let Ok(Order { work, size }) = self.wanted.recv() {
            let mut timed = Timed::start();
            let done = (0..size / self.depth).try_for_each(|_| {
                let told = together(work)?;
                timed.strays += told.strays;
                timed.witnessed += told.witnessed;
                Ok(())
            });
            let _ = self.done.send(done.map(|()| timed.batch(size)));
        }
    }
}

/// A batch that is under way.
#[derive(Debug)]
pub(super) struct Timed {
    before: Path,
    start: Instant,
    pub(super) strays: u64,
    witnessed: u64,
}

/// What a way has seen itself.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// Times that it was not the thread that it should be.
    strays: u64,
    /// Requests that its ring has taken.
    witnessed: u64,
}

impl Timed {
    pub(super) fn start() -> Self {
        Self { before: Path::now(), start: Instant::now(), strays: 0, witnessed: 0 }
    }

    /// It is over: `size` works were done.
    pub(super) fn batch(self, size: usize) -> Batch {
        let nanos = self.start.elapsed().as_nanos() as f64 / size as f64;
        let mut path = Path::default();
        path.add_since(self.before);
        let Self { strays, witnessed, .. } = self;
        Batch { nanos, path, strays, witnessed, from_disk: 0 }
    }
}

/// Defines a function that serves with `$slot`s, each of which does one work at a time.
macro_rules! serves {
    ($serve:ident, $slot:ident) => {
        async fn $serve(
            serve: $crate::compare::worker::Serve,
        ) -> Result<(), $crate::error::Trouble> {
            use futures_util::future::try_join_all;
            use $crate::compare::worker::{Order, Serve, Timed};
            use $crate::error::Trouble;

            let Serve { targets, depth, wanted, done, ready, .. } = serve;
            let slots = try_join_all((0..depth).map(|at| $slot::new(targets, at)));
            let mut slots = slots.await.map_err(Trouble::io("opening the file"))?;
            let _ = ready.send(Ok($crate::compare::witness::Server::here()));
            while let Ok(Order { work, size }) = wanted.recv() {
                let timed = Timed::start();
                let mut result = Ok(());
                for _ in 0..size / depth {
                    result = match &mut slots[..] {
                        [slot] => slot.once(work).await,
                        slots => {
                            let all = slots.iter_mut().map(|slot| slot.once(work));
                            try_join_all(all).await.map(drop)
                        }
                    };
                    if result.is_err() {
                        break;
                    }
                }
                let _ = done.send(result.map(|()| timed.batch(size)));
            }
            Ok(())
        }
    };
}

pub(super) use serves;
