//! Where calls were made that are none of the library's, whose own counters tell of those.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};

use crate::compare::{THREADS_NS, taken, times};
use crate::on_tokio::WORKER;
use crate::options::StallWay;

/// What is known of the calls of a segment.
#[derive(Debug)]
pub(super) struct Witness {
    caller: ThreadId,
    here: AtomicU64,
    elsewhere: AtomicU64,
    by_ring: AtomicU64,
    /// The runtime's threads at the beginning, and their CPU time.
    threads: BTreeMap<u32, u64>,
}

impl Witness {
    /// Of the calls of this thread.
    pub(super) fn start() -> Self {
        let [here, elsewhere, by_ring] = [const { AtomicU64::new(0) }; 3];
        let (caller, threads) = (thread::current().id(), times(WORKER, 0));
        Self { caller, here, elsewhere, by_ring, threads }
    }

    /// A call is made on this thread.
    pub(super) fn call(&self) {
        let is_here = thread::current().id() == self.caller;
        if is_here { &self.here } else { &self.elsewhere }.fetch_add(1, Ordering::Relaxed);
    }

    /// All calls were requests of a ring, which is about to go.
    pub(super) fn ring(&self, ring: u32) -> io::Result<()> {
        self.by_ring.store(taken(std::process::id(), ring)?, Ordering::Relaxed);
        Ok(())
    }

    /// How many of `calls` were seen to be made as the way's name says; of the library's all.
    pub(super) fn seen(&self, way: StallWay, calls: u64) -> u64 {
        let seen = match way {
            StallWay::Plain | StallWay::TokioPlain => self.here.load(Ordering::Relaxed),
            StallWay::Pool | StallWay::SpawnBlocking | StallWay::ThreadletPool => {
                self.elsewhere.load(Ordering::Relaxed)
            }
            StallWay::IoUring => self.by_ring.load(Ordering::Relaxed),
            // Nobody can ask its closures: its threads have had CPU time.
            StallWay::TokioFs => self.threads_time() / THREADS_NS,
            _ => calls,
        };
        seen.min(calls)
    }

    /// CPU time of the runtime's threads that have come since.
    fn threads_time(&self) -> u64 {
        let now = times(WORKER, 0);
        let fresh = now.iter().filter(|(thread, _)| !self.threads.contains_key(thread));
        fresh.map(|(_, nanos)| nanos).sum()
    }
}

/// Where the calls of a way should be seen.
pub(super) fn place(way: StallWay) -> &'static str {
    match way {
        StallWay::Plain | StallWay::TokioPlain => "on the loop's thread",
        StallWay::IoUring => "in the ring",
        _ => "on threads of the pool",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_count_where_they_are_made() {
        let witness = Witness::start();
        witness.call();
        thread::scope(|scope| {
            scope.spawn(|| witness.call());
            scope.spawn(|| witness.call());
        });
        assert_eq!((witness.seen(StallWay::Plain, 3), witness.seen(StallWay::Pool, 3)), (1, 2));
        assert_eq!(
            (witness.seen(StallWay::IoUring, 3), witness.seen(StallWay::TokioFs, 3)),
            (0, 0)
        );
        assert_eq!(witness.seen(StallWay::Threadlet, 3), 3);
    }
}
