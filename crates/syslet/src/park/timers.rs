//! Points in time: one heap for each clock, and the thread that waits for its top.
//!
//! A million timers are an array of 16-byte entries. Adding one is, on average, a few comparisons;
//! taking one out is a walk of the heap's depth, ten steps for a million. Each call knows its index.

use std::sync::Arc;

use syslet_sys::futex;
use syslet_sys::uapi::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec};

use super::op::{NEVER, NOWHERE, Parked};
use super::source::Timed;
use crate::sync::{AtomicU32, Mutex, Ordering, lock};

/// Children of a node: four, so that they share a cache line.
const ARITY: usize = 4;
/// Calls that are finished in one go, so that the heap is not locked for each.
const BATCH: usize = 64;

/// The clock of a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// CLOCK_MONOTONIC; all relative times.
    Monotonic,
    /// CLOCK_REALTIME, which may be set.
    Realtime,
}

impl Clock {
    /// What it shows, in nanoseconds.
    pub fn now(self) -> u64 {
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
struct Entry<T: ?Sized> {
    at: u64,
    what: Arc<T>,
}

/// What stands in a heap and knows where.
pub(super) trait Indexed {
    /// Its index, or [`NOWHERE`]; changed under the heap's lock.
    fn index(&self) -> &AtomicU32;
}

impl Indexed for Parked {
    fn index(&self) -> &AtomicU32 {
        &self.timer
    }
}

impl Indexed for dyn Timed {
    fn index(&self) -> &AtomicU32 {
        self.place()
    }
}

/// A heap whose elements know where they are.
#[derive(Debug)]
struct Heap<T: Indexed + ?Sized>(Vec<Entry<T>>);

impl<T: Indexed + ?Sized> Default for Heap<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Indexed + ?Sized> Heap<T> {
    fn top(&self) -> u64 {
        self.0.first().map_or(NEVER, |entry| entry.at)
    }

    fn push(&mut self, time: u64, what: Arc<T>) {
        let at = self.0.len();
        self.0.push(Entry { at: time, what });
        self.rise(at);
    }

    fn remove(&mut self, at: usize) -> Arc<T> {
        let removed = self.0.swap_remove(at).what;
        removed.index().store(NOWHERE, Ordering::Relaxed);
        if at < self.0.len() {
            self.sink(at);
            self.rise(at);
        }
        removed
    }

    /// Notes where the entry is.
    fn note(&self, at: usize) {
        self.0[at].what.index().store(at as u32, Ordering::Relaxed);
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
    heap: Mutex<Heap<Parked>>,
    /// The same for what surfaces have told at a time.
    alarms: Mutex<Heap<dyn Timed>>,
    /// Changes when the thread must look again; the thread sleeps on it.
    bell: AtomicU32,
}

impl Timers {
    pub(super) fn new(clock: Clock) -> Self {
        let (heap, alarms) = (Mutex::new(Heap::default()), Mutex::new(Heap::default()));
        Self { clock, heap, alarms, bell: AtomicU32::new(0) }
    }

    /// Adds a call, which must not be among the timers.
    pub(super) fn add(&self, call: Arc<Parked>) {
        self.add_at(call.deadline(), call);
    }

    /// The same, for `at`.
    pub(super) fn add_at(&self, at: u64, call: Arc<Parked>) {
        self.add_to(&self.heap, at, call);
    }

    /// Adds an alarm, which must not be among the timers.
    pub(super) fn add_alarm(&self, at: u64, alarm: Arc<dyn Timed>) {
        self.add_to(&self.alarms, at, alarm);
    }

    fn add_to<T: Indexed + ?Sized>(&self, heap: &Mutex<Heap<T>>, at: u64, what: Arc<T>) {
        let earliest = {
            let mut heap = lock(heap);
            let before = heap.top();
            heap.push(at, what);
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
    ///
    /// May be called by a signal handler.
    pub(super) fn ring(&self) {
        self.bell.fetch_add(1, Ordering::Release);
        futex::wake(&self.bell, 1);
    }

    /// Takes a call out, if it is there.
    pub(super) fn remove(&self, call: &Parked) {
        Self::remove_from(&self.heap, call);
    }

    /// Takes an alarm out, if it is there.
    pub(super) fn remove_alarm(&self, alarm: &(dyn Timed + 'static)) {
        Self::remove_from(&self.alarms, alarm);
    }

    fn remove_from<T: Indexed + ?Sized>(heap: &Mutex<Heap<T>>, what: &T) {
        let removed = {
            let mut heap = lock(heap);
            let at = what.index().load(Ordering::Relaxed) as usize;
            (at < heap.0.len()).then(|| heap.remove(at))
        };
        drop(removed);
    }

    /// Moves what is due of one heap to `due`, in order; returns the bell's state and when the next
    /// one's time comes.
    fn take_due<T: Indexed + ?Sized>(
        &self,
        heap: &Mutex<Heap<T>>,
        now: u64,
        due: &mut Vec<Arc<T>>,
    ) -> (u32, u64) {
        let mut heap = lock(heap);
        while due.len() < BATCH && heap.top() <= now {
            due.push(heap.remove(0));
        }
        (self.bell.load(Ordering::Acquire), heap.top())
    }

    /// Finishes calls at their times, by `expired`, for ever, and tells of alarms.
    /// `called` is done whenever the bell has rung.
    pub(super) fn run(&self, expired: impl Fn(&Arc<Parked>), called: impl Fn()) -> ! {
        let mut due = Vec::with_capacity(BATCH);
        let mut alarms = Vec::with_capacity(BATCH);
        let mut heard = 0;
        loop {
            let rung = self.bell.load(Ordering::Acquire);
            if rung != heard {
                heard = rung;
                called();
            }
            let now = self.clock.now();
            // What is added to the first heap after this look has changed `bell`, which is the older of
            // the two: so the sleep below is not begun, or ended.
            let (bell, call) = self.take_due(&self.heap, now, &mut due);
            let (_, alarm) = self.take_due(&self.alarms, now, &mut alarms);
            due.iter().for_each(&expired);
            alarms.drain(..).for_each(|alarm| self.tell(alarm));
            if !due.is_empty() || call.min(alarm) <= now {
                due.clear();
                continue;
            }
            if bell == heard {
                self.sleep(bell, call.min(alarm));
            }
        }
    }

    /// The time of `alarm` has come.
    fn tell(&self, alarm: Arc<dyn Timed>) {
        let Some(again) = Arc::clone(&alarm).expire() else { return };
        self.add_alarm(again, Arc::clone(&alarm));
        if alarm.is_over() {
            // Ended meanwhile, by somebody who found it in no heap.
            self.remove_alarm(&*alarm);
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
