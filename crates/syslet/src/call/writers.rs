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

    /// The next write that waits, of `descriptor` or of any, and for which there is room: it is counted.
    fn next(&self, descriptor: Option<usize>) -> Option<Job> {
        let wanted = descriptor.map(|descriptor| descriptor % NUMBERS);
        let mut waiting = lock(&self.waiting);
        if wanted.is_some_and(|place| self.full(place)) {
            return None;
        }
        let may_go = |place| wanted.unwrap_or(place) == place && !self.full(place);
        let at = waiting.iter().position(|(place, _)| may_go(*place))?;
        let (place, job) = waiting.remove(at)?;
        self.enter(place);
        self.count.fetch_sub(1, Ordering::SeqCst);
        Some(job)
    }
}

impl Engine {
    /// A write of `descriptor` that was away is over: the next may go.
    pub(super) fn writer_left(&self, descriptor: usize) {
        self.writers.away[descriptor % NUMBERS].fetch_sub(1, Ordering::SeqCst);
        self.start_writers(Some(descriptor));
    }

    /// Most writes of one descriptor that are away at a time, from now on.
    pub(crate) fn limit_writers(&self, limit: usize) {
        let limit = limit.clamp(1, i32::MAX as usize) as u32;
        self.writers.limit.store(limit, Ordering::SeqCst);
        self.start_writers(None);
    }

    /// Has `job`, which writes to `descriptor` and says [`writer_left`](Self::writer_left) when it is
    /// over, wait for its turn.
    pub(super) fn queue_writer(&self, descriptor: usize, job: Job) {
        self.writers.count.fetch_add(1, Ordering::SeqCst);
        lock(&self.writers.waiting).push_back((descriptor % NUMBERS, job));
        // Those that were away may have left before they could see it.
        self.start_writers(Some(descriptor));
    }

    fn start_writers(&self, descriptor: Option<usize>) {
        while self.writers.count.load(Ordering::SeqCst) > 0
            && let Some(job) = self.writers.next(descriptor)
        {
            self.enqueue(job);
        }
    }
}
