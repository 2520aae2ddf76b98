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

use std::collections::{HashMap, VecDeque};

use syslet_sys::descriptor;

use super::kinds::Kind;
use super::number::Call;
use crate::crew::{Engine, Job};
use crate::sync::{AtomicU32, Mutex, Ordering, lock};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// How many writes of a place are away, and wait.
#[derive(Debug, Default)]
struct Count {
    away: AtomicU32,
    /// Those too that were taken out by a cancel, or by who waits for them, and lie there still.
    waiting: AtomicU32,
}

/// The desk where writes are counted and wait.
#[derive(Debug)]
#[repr(align(128))] // what each write reads is changed by few
pub(crate) struct Writers {
    counts: Box<[Count]>,
    /// The places of descriptors' files, as far as they are known.
    places: Box<[AtomicU32]>,
    limit: AtomicU32,
    lines: Mutex<Lines>,
}

/// Writes that wait, by their places.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lines {
    /// None of them is empty.
    lines: HashMap<Place, VecDeque<Job>>,
    /// How many lie there in all, and how many of these mean nothing any more, about.
    all: usize,
    dead: usize,
}

/// So few that mean nothing are left where they are.
const FEW_DEAD: usize = 32;

impl Lines {
    fn push(&mut self, place: Place, job: Job, end: End) {
        let line = self.lines.entry(place).or_default();
        match end {
            End::Back => line.push_back(job),
            End::Front => line.push_front(job),
        }
        self.all += 1;
    }

    fn pop(&mut self, place: Place) -> Option<Job> {
        let line = self.lines.get_mut(&place)?;
        let job = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&place);
        }
        self.all -= 1;
        Some(job)
    }

    /// Takes out what means nothing any more, if that is much; of which places it was.
    fn sweep(&mut self) -> Vec<(Place, Job)> {
        let mut dead = Vec::new();
        if self.dead > FEW_DEAD.max(self.all / 2) {
            for (place, line) in &mut self.lines {
                let all = std::mem::take(line).into_iter();
                let (wanted, gone): (VecDeque<_>, VecDeque<_>) = all.partition(Job::is_wanted);
                *line = wanted;
                dead.extend(gone.into_iter().map(|job| (*place, job)));
            }
            self.lines.retain(|_, line| !line.is_empty());
            self.all -= dead.len();
            self.dead = 0;
        }
        dead
    }
}

/// Where in its line a write waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Back,
    Front,
}

impl Writers {
    pub(crate) fn new() -> Self {
        Self {
            counts: (0..PLACES).map(|_| Count::default()).collect(),
            places: (0..NUMBERS).map(|_| AtomicU32::new(UNKNOWN)).collect(),
            limit: AtomicU32::new(DEFAULT_WRITERS as u32),
            lines: Mutex::default(),
        }
    }

    fn count(&self, place: Place) -> &Count {
        &self.counts[place.0 as usize]
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
        let away = self.count(place).away.load(Ordering::Relaxed);
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
            self.count(place).away.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn leave(&self, place: Place) {
        self.count(place).away.fetch_sub(1, Ordering::SeqCst);
    }

    /// A write goes away, if there is room, whoever waits.
    fn enter_first(&self, place: Place) -> bool {
        // SeqCst, both: either who leaves, or raises the limit, finds who waits (`start_writers`), or this finds room.
        let limit = self.limit.load(Ordering::SeqCst) as i32;
        let one_more = |away: u32| ((away as i32) < limit).then(|| away.wrapping_add(1));
        self.count(place).away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    /// A write goes away, if there is room and nobody waits.
    fn try_enter(&self, place: Place) -> bool {
        place == Place::NONE
            || (self.count(place).waiting.load(Ordering::SeqCst) == 0 && self.enter_first(place))
    }

    /// The next write that waits at this place, if there is room for one: it is counted.
    fn next(&self, place: Place) -> Option<Job> {
        let mut dead = Vec::new(); // dropped without the lock
        let mut lines = lock(&self.lines);
        if !lines.lines.contains_key(&place) || !self.enter_first(place) {
            return None;
        }
        while let Some(job) = lines.pop(place) {
            self.count(place).waiting.fetch_sub(1, Ordering::SeqCst);
            if job.begin_turn() {
                return Some(job);
            }
            lines.dead = lines.dead.saturating_sub(1);
            dead.push(job);
        }
        self.leave(place);
        None
    }

    /// One of those that wait was taken out by its cancel, or by who waits for it.
    pub(super) fn withdrawn(&self) {
        let dead = {
            let mut lines = lock(&self.lines);
            lines.dead += 1;
            lines.sweep()
        };
        for (place, _) in &dead {
            self.count(*place).waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Places where somebody waits.
    fn waited_for(&self) -> Vec<Place> {
        lock(&self.lines).lines.keys().copied().collect()
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

    /// As [`place_with_room`](Self::place_with_room), of a guest's write. If there is no room, and none for those that
    /// have their turns to find a crew thread, it goes on beyond the bound: they may wait for this guest.
    pub(super) fn place_of_guest(&self, descriptor: usize) -> Result<Place, Place> {
        self.place_with_room(descriptor)
            .or_else(|place| if self.has_room() { Err(place) } else { Ok(place) })
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
        self.writers.leave(place);
        self.start_writers(place);
    }

    /// Most writes of one file that are away at a time, from now on.
    pub(crate) fn limit_writers(&self, limit: usize) {
        let limit = limit.clamp(1, i32::MAX as usize) as u32;
        self.writers.limit.store(limit, Ordering::SeqCst);
        self.writers.waited_for().into_iter().for_each(|place| self.start_writers(place));
    }

    /// Has `job`, which writes, wait for its turn.
    pub(super) fn queue_writer(&self, place: Place, job: Job, end: End) {
        // Counted first: who leaves from here on finds it, or waits for the lock.
        self.writers.count(place).waiting.fetch_add(1, Ordering::SeqCst);
        lock(&self.writers.lines).push(place, job, end);
        // Those that were away may have left before they could see it.
        self.start_writers(place);
    }

    fn start_writers(&self, place: Place) {
        while self.writers.count(place).waiting.load(Ordering::SeqCst) > 0
            && let Some(job) = self.writers.next(place)
        {
            self.enqueue(job);
        }
    }
}
