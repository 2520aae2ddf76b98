//! Writers of one file wait for each other on its lock in the kernel, each with a thread. So only some of
//! a file's writes are away at a time; the others wait here, in the order they came; but what is left of a write of
//! which a part is written goes on before others begin.
//!
//! A file has a *place*, by its device and inode. To ask for them costs a system call, so it is remembered of
//! descriptors: it is asked for by the first write of a number, and again by each that takes a crew thread, because the
//! number may name another file by now. A call finds its place once and is counted there to its end, whatever the
//! number comes to mean; so the first write of a guest's that waits for another file is counted at the old place, for
//! as long as it waits.
//!
//! Who holds a [`Turn`] waits for no other: a chain has one for the step that writes, and no longer; and nobody hears
//! of the end of a write before its turn was given back.
//!
//! A turn is held from when the write is queued for a crew thread. That may be long in coming, and wait for a guest: so
//! where the crew is used up a guest's write does not wait in line, and one of each guest's is beyond the bound.

use syslet_sys::descriptor;

use super::kinds::Kind;
use super::number::Call;
pub(super) use super::turns::End;
use super::turns::{Turns, Waits};
use crate::crew::{Engine, Job};
use crate::sync::{AtomicU32, Ordering};

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
    turns: Turns<Job>,
    /// The places of descriptors' files, as far as they are known.
    places: Box<[AtomicU32]>,
}

impl Waits for Job {
    fn is_wanted(&self) -> bool {
        Self::is_wanted(self)
    }

    fn begin_turn(&self) -> bool {
        Self::begin_turn(self)
    }
}

impl Writers {
    pub(crate) fn new() -> Self {
        Self {
            turns: Turns::new(PLACES, DEFAULT_WRITERS as u32),
            places: (0..NUMBERS).map(|_| AtomicU32::new(UNKNOWN)).collect(),
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
        self.turns.full(place.0)
    }

    /// A guest was taken out of `write`: it is counted, and the next one of its descriptor where the file is that the
    /// number names now.
    #[cold]
    pub(super) fn gone_away(&self, write: Write) {
        if write.place != Place::NONE {
            self.turns.enter(write.place.0);
        }
        let _ = self.learn(write.descriptor);
    }

    fn try_enter(&self, place: Place) -> bool {
        place == Place::NONE || self.turns.try_enter(place.0)
    }

    /// One of those that wait was taken out by its cancel, or by who waits for it.
    pub(super) fn withdrawn(&self) {
        self.turns.withdrawn();
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
    fn place_with_room(&self, descriptor: usize) -> Result<Place, Place> {
        let mut place = self.writers.place(descriptor);
        if self.writers.full(place) {
            place = self.writers.learn(descriptor); // the number may name another file by now
            if self.writers.full(place) {
                return Err(place);
            }
        }
        Ok(place)
    }

    /// As [`place_with_room`](Self::place_with_room), of a guest's write. If there is no room, and none for those that
    /// have their turns to find a crew thread, it goes on beyond the bound, unless `or_busy`: they may wait for this
    /// guest.
    pub(super) fn place_of_guest(&self, descriptor: usize, or_busy: bool) -> Result<Place, Place> {
        let may_wait = |place| if or_busy || self.has_room() { Err(place) } else { Ok(place) };
        self.place_with_room(descriptor).or_else(may_wait)
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
        self.writers.turns.leave(place.0);
        self.start_writers(place.0);
    }

    /// Most writes of one file that are away at a time, from now on.
    pub(crate) fn limit_writers(&self, limit: usize) {
        let limit = limit.clamp(1, i32::MAX as usize) as u32;
        let waited_for = self.writers.turns.set_limit(limit);
        waited_for.into_iter().for_each(|place| self.start_writers(place));
    }

    /// Has `job`, which writes, wait for its turn.
    pub(super) fn queue_writer(&self, place: Place, job: Job, end: End) {
        self.writers.turns.queue(place.0, job, end);
        self.start_writers(place.0);
    }

    fn start_writers(&self, place: u32) {
        while self.writers.turns.is_waited_for(place)
            && let Some(job) = self.writers.turns.next(place)
        {
            self.enqueue(job);
        }
    }
}
