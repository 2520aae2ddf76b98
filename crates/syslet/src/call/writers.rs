//! Writers of one file wait for each other on its lock in the kernel, each with a thread. So only some of
//! a file's writes are away at a time; the others wait here, in the order they came.
//!
//! A file has a *place*, by its device and inode. To ask for them costs a system call, so it is remembered of
//! descriptors: it is asked for by the first write of a number, and again by each that waits, because the number may
//! name another file by now. A call finds its place once and is counted there to its end, whatever the number comes
//! to mean; so the first write of a guest's that waits for another file is counted at the old place.
//!
//! Who holds a [`Turn`] waits for no other: a chain has one for the step that writes, and no longer.

use std::collections::VecDeque;

use syslet_sys::descriptor;

use super::kinds::Kind;
use super::number::Call;
use crate::crew::{Engine, Job};
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering, lock};

/// Files that are told apart, nearly: those that share a place share its bound.
const PLACES: usize = 4096;
/// Descriptors of which it is remembered; higher ones share what is.
const NUMBERS: usize = 4096;
/// Of descriptors that nobody has asked about.
const UNKNOWN: u32 = u32::MAX;
/// Writes of one file that are away at a time, unless asked otherwise: more than a disk does at
/// once, and a small part of the crew.
pub(crate) const DEFAULT_WRITERS: usize = 32;

/// Where the writes of a file are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// Of a call that does not write, or not to a file: there is always room, and nothing is counted.
    pub(crate) const NONE: Self = Self(0);
}

/// A write that a guest makes: what whoever goes on with the guest during it has to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(super) place: Place,
    pub(super) descriptor: usize,
}

/// What a write of a file needs to be made by a crew thread; others need none, and theirs says nothing. Given back when
/// it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    engine: &'static Engine,
    place: Place,
}

impl Turn {
    /// Of what does not write.
    pub(super) fn of_none(engine: &'static Engine) -> Self {
        Self { engine, place: Place::NONE }
    }

    /// Of a write that is counted at `place` already.
    pub(super) fn counted(engine: &'static Engine, place: Place) -> Self {
        Self { engine, place }
    }

    /// Of which engine.
    pub(super) fn engine(&self) -> &'static Engine {
        self.engine
    }

    /// The same, unless it is that of what does not write.
    pub(super) fn if_counted(self) -> Option<Self> {
        (self.place != Place::NONE).then_some(self)
    }

    /// Leaves the count as it is: the caller keeps the place in mind.
    pub(super) fn into_place(self) -> Place {
        let place = self.place;
        std::mem::forget(self);
        place
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.engine.writer_left(self.place);
    }
}

/// The desk where writes are counted and wait.
#[derive(Debug)]
pub(crate) struct Writers {
    away: Box<[AtomicU32]>,
    /// The places of descriptors' files, as far as they are known.
    places: Box<[AtomicU32]>,
    limit: AtomicU32,
    /// Writes that wait, with their places.
    waiting: Mutex<VecDeque<(Place, Job)>>,
    /// Their number.
    count: AtomicUsize,
}

impl Writers {
    pub(crate) fn new() -> Self {
        Self {
            away: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            places: (0..NUMBERS).map(|_| AtomicU32::new(UNKNOWN)).collect(),
            limit: AtomicU32::new(DEFAULT_WRITERS as u32),
            waiting: Mutex::new(VecDeque::new()),
            count: AtomicUsize::new(0),
        }
    }

    /// Where writes of `descriptor` are counted, as far as it is known.
    #[inline(always)]
    pub(super) fn place(&self, descriptor: usize) -> Place {
        match self.places[descriptor % NUMBERS].load(Ordering::Relaxed) {
            UNKNOWN => self.learn(descriptor),
            place => Place(place),
        }
    }

    /// The same, as the kernel says it: for the next ones too.
    #[cold]
    pub(super) fn learn(&self, descriptor: usize) -> Place {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15; // of Fibonacci hashing
        let Ok(stat) = descriptor::stat(descriptor as i32) else { return Place::NONE };
        let spread = (stat.ino ^ stat.dev.rotate_left(32)).wrapping_mul(SPREAD);
        let place = match Kind::of(&stat).is_storage() {
            true => ((spread >> (u64::BITS - PLACES.ilog2())) as u32).max(1),
            // Its writers wait for readers, not for each other; and eventfds share one inode.
            false => Place::NONE.0,
        };
        self.places[descriptor % NUMBERS].store(place, Ordering::Relaxed);
        Place(place)
    }

    /// True if as many writes are away as may be.
    #[inline(always)]
    pub(super) fn full(&self, place: Place) -> bool {
        let away = self.away[place.0 as usize].load(Ordering::Relaxed);
        // One that has ended before its handoff was counted leaves less than nothing.
        away as i32 >= self.limit.load(Ordering::Relaxed) as i32
    }

    /// A guest was taken out of `write`: it is counted, and the next one of its descriptor where the file is that the
    /// number names now.
    #[cold]
    pub(super) fn gone_away(&self, write: Write) {
        self.enter(write.place);
        let _ = self.learn(write.descriptor);
    }

    /// A write has gone away.
    fn enter(&self, place: Place) {
        if place != Place::NONE {
            self.away[place.0 as usize].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A write goes away, if there is room.
    fn try_enter(&self, place: Place) -> bool {
        let limit = self.limit.load(Ordering::Relaxed) as i32;
        let one_more = |away: u32| ((away as i32) < limit).then(|| away.wrapping_add(1));
        let away = &self.away[place.0 as usize];
        place == Place::NONE
            || away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    /// The next write that waits, at this place or at any, and for which there is room: it is counted.
    fn next(&self, wanted: Option<Place>) -> Option<Job> {
        let mut waiting = lock(&self.waiting);
        if wanted.is_some_and(|place| self.full(place)) {
            return None;
        }
        let may_go = |place| wanted.unwrap_or(place) == place && self.try_enter(place);
        loop {
            let at = waiting.iter().position(|(place, _)| may_go(*place))?;
            let (place, job) = waiting.remove(at)?;
            self.count.fetch_sub(1, Ordering::SeqCst);
            if job.begin_turn() {
                return Some(job);
            }
            self.away[place.0 as usize].fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// One of those that wait was taken out by its cancel, or by who waits for it.
    pub(super) fn withdrawn(&self) {
        let gone: Vec<_> = {
            let mut waiting = lock(&self.waiting);
            let gone = waiting.iter().position(|(_, job)| !job.is_wanted());
            gone.and_then(|at| waiting.remove(at)).into_iter().collect()
        };
        self.count.fetch_sub(gone.len(), Ordering::SeqCst);
    }
}

impl Engine {
    /// As [`turn`](Self::turn), at a place that is known.
    pub(super) fn turn_at(&'static self, place: Place) -> Result<Turn, Place> {
        let entered = self.writers.try_enter(place);
        if entered { Ok(Turn::counted(self, place)) } else { Err(place) }
    }

    /// Where a write of `descriptor` is counted, as far as it is known; if there is no room: where it has to wait.
    #[inline(always)]
    pub(super) fn place_with_room(&self, descriptor: usize) -> Result<Place, Place> {
        let mut place = self.writers.place(descriptor);
        if self.writers.full(place) {
            place = self.writers.learn(descriptor); // the number may name another file by now
            if self.writers.full(place) {
                return Err(place);
            }
        }
        Ok(place)
    }

    /// A turn for `call`, which a crew thread is about to make. If there is no room: where it has to wait for one.
    pub(super) fn turn(&'static self, call: &Call) -> Result<Turn, Place> {
        let writes = syslet_catalog::class(call.nr() as u32).writes();
        let place = if writes { self.writers.learn(call.args()[0]) } else { Place::NONE };
        self.turn_at(place)
    }

    /// A write that was away is over: the next may go.
    pub(super) fn writer_left(&self, place: Place) {
        if place == Place::NONE {
            return;
        }
        self.writers.away[place.0 as usize].fetch_sub(1, Ordering::SeqCst);
        self.start_writers(Some(place));
    }

    /// Most writes of one file that are away at a time, from now on.
    pub(crate) fn limit_writers(&self, limit: usize) {
        let limit = limit.clamp(1, i32::MAX as usize) as u32;
        self.writers.limit.store(limit, Ordering::SeqCst);
        self.start_writers(None);
    }

    /// Has `job`, which writes, wait for its turn.
    pub(super) fn queue_writer(&self, place: Place, job: Job) {
        self.writers.count.fetch_add(1, Ordering::SeqCst);
        lock(&self.writers.waiting).push_back((place, job));
        // Those that were away may have left before they could see it.
        self.start_writers(Some(place));
    }

    fn start_writers(&self, place: Option<Place>) {
        while self.writers.count.load(Ordering::SeqCst) > 0
            && let Some(job) = self.writers.next(place)
        {
            self.enqueue(job);
        }
    }
}
