//! Points in time: one heap for each clock, and the thread that waits for its top.
//!
//! A million timers are an array of 16-byte entries. Adding one is, on average, a few comparisons;
//! taking one out is a walk of the heap's depth, ten steps for a million. Each call knows its index.

use std::sync::Arc;

use syslet_sys::futex;
use syslet_sys::uapi::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};

use super::op::{NEVER, NOWHERE, Parked};
use crate::sync::{AtomicU32, Mutex, Ordering, lock};

/// Children of a node: four, so that they share a cache line.
const ARITY: usize = 4;
/// Calls that are finished in one go, so that the heap is not locked for each.
const BATCH: usize = 64;

/// The clock of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// CLOCK_MONOTONIC; all relative times.
    Monotonic,
    /// CLOCK_REALTIME, which may be set.
    Realtime,
}

impl Clock {
    /// What it shows, in nanoseconds.
    pub(crate) fn now(self) -> u64 {
        let clock = match self {
            Self::Monotonic => CLOCK_MONOTONIC,
            Self::Realtime => CLOCK_REALTIME,
        };
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        clock_gettime(clock as i32, &mut now);
        Timespec { sec: now.tv_sec, nsec: now.tv_nsec }.as_nanos()
    }
}

/// By the vDSO: no system call.
#[allow(unsafe_code, reason = "libc's clock_gettime")]
fn clock_gettime(clock: i32, now: &mut libc::timespec) {
    // SAFETY: writes the structure, which is borrowed.
    unsafe { libc::clock_gettime(clock, now) };
}

#[derive(Debug)]
struct Entry {
    at: u64,
    call: Arc<Parked>,
}

/// A heap whose elements know where they are.
#[derive(Debug, Default)]
struct Heap(Vec<Entry>);

impl Heap {
    fn top(&self) -> u64 {
        self.0.first().map_or(NEVER, |entry| entry.at)
    }

    fn push(&mut self, call: Arc<Parked>) {
        let at = self.0.len();
        self.0.push(Entry { at: call.deadline(), call });
        self.rise(at);
    }

    fn remove(&mut self, at: usize) -> Arc<Parked> {
        let removed = self.0.swap_remove(at).call;
        removed.timer.store(NOWHERE, Ordering::Relaxed);
        if at < self.0.len() {
            self.sink(at);
            self.rise(at);
        }
        removed
    }

    /// Notes where the entry is.
    fn note(&self, at: usize) {
        self.0[at].call.timer.store(at as u32, Ordering::Relaxed);
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.0[parent].at <= self.0[at].at {
                break;
            }
            self.0.swap(parent, at);
            self.note(at);
            at = parent;
        }
        self.note(at);
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let first = at * ARITY + 1;
            let children = first..(first + ARITY).min(self.0.len());
            let Some(least) = children.min_by_key(|child| self.0[*child].at) else { break };
            if self.0[at].at <= self.0[least].at {
                break;
            }
            self.0.swap(at, least);
            self.note(at);
            at = least;
        }
        self.note(at);
    }
}

/// The timers of one clock.
#[derive(Debug)]
pub(super) struct Timers {
    clock: Clock,
    /// Protects itself and the calls' indices; nothing is finished under it.
    heap: Mutex<Heap>,
    /// Changes when the thread must look again; the thread sleeps on it.
    bell: AtomicU32,
}

impl Timers {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, heap: Mutex::new(Heap::default()), bell: AtomicU32::new(0) }
    }

    /// Adds a call, which must not be among the timers.
    pub(super) fn add(&self, call: Arc<Parked>) {
        let earliest = {
            let mut heap = lock(&self.heap);
            let before = heap.top();
            heap.push(call);
            let earliest = heap.top() < before;
            if earliest {
                // Under the lock, so that the thread's look at the top and its sleep see one or the
                // other.
                self.bell.fetch_add(1, Ordering::Release);
            }
            earliest
        };
        if earliest {
            futex::wake(&self.bell, 1);
        }
    }

    /// Calls the thread for something else than a timer.
    pub(super) fn ring(&self) {
        self.bell.fetch_add(1, Ordering::Release);
        futex::wake(&self.bell, 1);
    }

    /// Takes a call out, if it is there.
    pub(super) fn remove(&self, call: &Parked) {
        let removed = {
            let mut heap = lock(&self.heap);
            let at = call.timer.load(Ordering::Relaxed) as usize;
            (at < heap.0.len()).then(|| heap.remove(at))
        };
        drop(removed);
    }

    /// Moves the calls whose time has come to `due`, in order; returns the bell's state and when the
    /// next one's time comes.
    fn take_due(&self, now: u64, due: &mut Vec<Arc<Parked>>) -> (u32, u64) {
        let mut heap = lock(&self.heap);
        while due.len() < BATCH && heap.top() <= now {
            due.push(heap.remove(0));
        }
        (self.bell.load(Ordering::Acquire), heap.top())
    }

    /// Finishes calls at their times, by `expired`, for ever.
    /// `called` is done whenever the bell has rung.
    pub(super) fn run(&self, expired: impl Fn(&Arc<Parked>), called: impl Fn()) -> ! {
        let mut due = Vec::with_capacity(BATCH);
        let mut heard = 0;
        loop {
            let rung = self.bell.load(Ordering::Acquire);
            if rung != heard {
                heard = rung;
                called();
            }
            let (bell, next) = self.take_due(self.clock.now(), &mut due);
            due.iter().for_each(&expired);
            if !due.is_empty() {
                due.clear();
                continue;
            }
            if bell == heard {
                self.sleep(bell, next);
            }
        }
    }

    fn sleep(&self, bell: u32, until: u64) {
        let time = Timespec::from_nanos(until);
        match (until, self.clock) {
            (NEVER, _) => futex::wait_until(&self.bell, bell, None),
            (_, Clock::Monotonic) => futex::wait_until(&self.bell, bell, Some(&time)),
            (_, Clock::Realtime) => futex::wait_until_realtime(&self.bell, bell, &time),
        };
    }
}
