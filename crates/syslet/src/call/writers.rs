//! Writers of one file wait for each other on its lock in the kernel, each with a thread. So only some of
//! a descriptor's writes are away at a time; the others wait here, in the order they came.
//!
//! Counted are descriptors, not files: a file that is written by several descriptors may have as many
//! writers for each.

use std::collections::VecDeque;

use crate::crew::{Engine, Job};
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering, lock};

/// Descriptors that are told apart; higher ones share their places.
const NUMBERS: usize = 4096;
/// Writes of one descriptor that are away at a time, unless asked otherwise: more than a disk does at
/// once, and a small part of the crew.
pub(crate) const DEFAULT_WRITERS: usize = 32;

/// The desk where writes are counted and wait.
#[derive(Debug)]
pub(crate) struct Writers {
    away: Box<[AtomicU32]>,
    limit: AtomicU32,
    /// Writes that wait, with their descriptors' places.
    waiting: Mutex<VecDeque<(usize, Job)>>,
    /// Their number.
    count: AtomicUsize,
}

impl Writers {
    pub(crate) fn new() -> Self {
        Self {
            away: (0..NUMBERS).map(|_| AtomicU32::new(0)).collect(),
            limit: AtomicU32::new(DEFAULT_WRITERS as u32),
            waiting: Mutex::new(VecDeque::new()),
            count: AtomicUsize::new(0),
        }
    }

    /// Most writes of one descriptor that are away at a time, from now on.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit.clamp(1, i32::MAX as usize) as u32, Ordering::Relaxed);
    }

    /// True if as many writes of `descriptor` are away as may be.
    #[inline(always)]
    pub(super) fn full(&self, descriptor: usize) -> bool {
        let away = self.away[descriptor % NUMBERS].load(Ordering::Relaxed);
        // One that has ended before its handoff was counted leaves less than nothing.
        away as i32 >= self.limit.load(Ordering::Relaxed) as i32
    }

    /// A write of `descriptor` has gone away.
    pub(super) fn enter(&self, descriptor: usize) {
        self.away[descriptor % NUMBERS].fetch_add(1, Ordering::SeqCst);
    }

    /// The next write of `descriptor` that waits, if there is room for it: it is counted.
    fn next(&self, descriptor: usize) -> Option<Job> {
        let place = descriptor % NUMBERS;
        let mut waiting = lock(&self.waiting);
        if self.full(descriptor) {
            return None;
        }
        let at = waiting.iter().position(|(other, _)| *other == place)?;
        self.enter(descriptor);
        self.count.fetch_sub(1, Ordering::SeqCst);
        waiting.remove(at).map(|(_, job)| job)
    }
}

impl Engine {
    /// A write of `descriptor` that was away is over: the next may go.
    pub(super) fn writer_left(&self, descriptor: usize) {
        self.writers.away[descriptor % NUMBERS].fetch_sub(1, Ordering::SeqCst);
        self.start_writer(descriptor);
    }

    /// Has `job`, which writes to `descriptor` and says [`writer_left`](Self::writer_left) when it is
    /// over, wait for its turn.
    pub(super) fn queue_writer(&self, descriptor: usize, job: Job) {
        self.writers.count.fetch_add(1, Ordering::SeqCst);
        lock(&self.writers.waiting).push_back((descriptor % NUMBERS, job));
        // Those that were away may have left before they could see it.
        self.start_writer(descriptor);
    }

    fn start_writer(&self, descriptor: usize) {
        if self.writers.count.load(Ordering::SeqCst) > 0
            && let Some(job) = self.writers.next(descriptor)
        {
            self.enqueue(job);
        }
    }
}
