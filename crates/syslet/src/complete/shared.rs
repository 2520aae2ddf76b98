//! A completion queue without its handle: what the handle and the slots of operations that are away
//! share.
//!
//! Three parts: the ring (`ring.rs`), the registry of what is away and of what did not fit into the ring
//! (`registry.rs`), and the bell for those who wait (`bell.rs`). README.md has the protocol with its
//! argument.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::bell::{Bell, EventFd};
use super::registry::{Marks, OpId, Operation, Registry};
use super::ring::{Left, Record, Ring};
use super::slot::{Outcome, close};
use super::tasks::Place;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// What the parts share: with the handle, and with the slots of operations that are away.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) ring: Ring,
    pub(super) bell: Bell,
    /// Also guards the order of what overflows. No code of the user's runs under it.
    pub(super) registry: Mutex<Registry>,
    pub(super) overflowed: AtomicU64,
    /// Of which life of the process this queue is.
    pub(super) generation: u32,
}

impl Shared {
    /// Duty: the capacity is one that [`Ring::new`] takes.
    pub(crate) fn new(capacity: usize, generation: u32) -> Self {
        Self {
            ring: Ring::new(capacity),
            bell: Bell::new(),
            registry: Mutex::new(Registry::new()),
            overflowed: AtomicU64::new(0),
            generation,
        }
    }

    /// Enters an operation that is away: its slot is to be given the ticket.
    pub(crate) fn enter(
        self: &Arc<Self>,
        marks: Marks,
        operation: Operation,
        closure: bool,
    ) -> (OpId, Ticket) {
        let id = lock(&self.registry).enter(marks, operation, closure);
        (id, Ticket { index: id.index(), queue: Arc::clone(self) })
    }

    /// Takes over the result of an operation that is away. Allocates nothing.
    fn deliver(&self, index: u32, outcome: Outcome) {
        let (place, operation) = {
            let mut registry = lock(&self.registry);
            let record = record_of(registry.user_data(index), outcome);
            let place = self.push_in_order(&record);
            if place.is_some() {
                (place, registry.remove(index))
            } else {
                self.one_more_waits();
                (place, registry.overflow(index, record))
            }
        };
        self.announce(place);
        drop(operation);
    }

    /// Takes over what is not away, and never was.
    #[inline]
    pub(crate) fn post(&self, record: Record) {
        let place = self.push_in_order(&record).or_else(|| self.post_slowly(record));
        self.announce(place);
    }

    #[cold]
    fn post_slowly(&self, record: Record) -> Option<u64> {
        let mut registry = lock(&self.registry);
        let place = self.push_in_order(&record);
        if place.is_none() {
            self.one_more_waits();
            registry.overflow_new(record);
        }
        place
    }

    /// Puts a record into the ring, unless it must queue up behind others that wait for room. With the
    /// lock held, `None` means that it must wait; without, that it may have to.
    #[inline(always)]
    fn push_in_order(&self, record: &Record) -> Option<u64> {
        if self.has_backlog() { None } else { self.ring.push(record) }
    }

    /// Duty: the lock is held.
    fn one_more_waits(&self) {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        // Release: pairs with the acquire in `has_backlog`: who comes after this does not overtake it.
        self.ring.backlog().fetch_add(1, Ordering::Release);
    }

    /// True if something waits for room.
    #[inline(always)]
    fn has_backlog(&self) -> bool {
        // Acquire: pairs with the release in `one_more_waits`.
        self.ring.backlog().load(Ordering::Acquire) != 0
    }

    /// Completions that are there; one that is being moved to the ring may be counted twice, and is not missed.
    pub(super) fn len(&self) -> usize {
        let backlog = self.backlog();
        // After that: see *No lost wake-up* in this folder's README.md.
        self.ring.len() + backlog
    }

    pub(super) fn backlog(&self) -> usize {
        self.ring.backlog().load(Ordering::Acquire) as usize
    }

    /// Tells who waits. `place`: where in the ring the record went.
    #[inline]
    fn announce(&self, place: Option<u64>) {
        // A record that comes late into its place uncovers those behind it, whose own wake-ups found
        // nothing: then one thread is not enough.
        let uncovers = || place.is_some_and(|at| self.ring.is_filled(at + 1)) || self.has_backlog();
        self.bell.ring(uncovers);
    }

    /// Takes the oldest record that waits for room out of the registry.
    fn unwait(&self, registry: &mut Registry) {
        registry.drop_oldest();
        // Release: who sees it sees the record in the ring, or taken.
        self.ring.backlog().fetch_sub(1, Ordering::Release);
    }

    /// Moves what waits for room into the ring, as far as there is room.
    fn refill(&self, registry: &mut Registry) {
        while let Some(record) = registry.oldest()
            && self.ring.push(&record).is_some()
        {
            self.unwait(registry);
        }
    }

    /// Finds the oldest record when the ring has shown none, or some wait for room. With `read`, it
    /// stays where it is.
    ///
    /// If nothing is in the ring but positions that consumers have taken and not given back, nothing can
    /// be moved there, and the oldest record is one that waits. Not so if a producer has a position and
    /// has not filled it: its record is older, and it will ring the bell.
    #[cold]
    fn take_behind(&self, read: bool) -> Option<Record> {
        let mut registry = lock(&self.registry);
        self.refill(&mut registry);
        let found = if read { self.ring.peek() } else { self.ring.pop() };
        if found.is_some() || !self.ring.is_taken_out() {
            return found;
        }
        let record = registry.oldest();
        if record.is_some() && !read {
            self.unwait(&mut registry);
        }
        record
    }

    /// Takes the oldest record out.
    ///
    /// Here and below `backlog` is read before the ring: records move from there to here, so what is seen
    /// in neither was not overlooked on its way.
    #[inline]
    pub(crate) fn take_one(&self) -> Option<Record> {
        let backlog = self.has_backlog();
        let record = self.ring.pop();
        if backlog { self.take_one_slowly(record) } else { record }
    }

    /// There may be room in the ring for what waits.
    pub(super) fn make_room(&self) {
        self.refill(&mut lock(&self.registry));
    }

    #[cold]
    fn take_one_slowly(&self, record: Option<Record>) -> Option<Record> {
        if record.is_some() {
            self.make_room();
            return record;
        }
        self.take_behind(false)
    }

    /// Takes up to `limit` records out and hands them to `f`; says how many.
    pub(super) fn take_many(&self, limit: usize, mut f: impl FnMut(Record)) -> usize {
        let mut taken = 0;
        loop {
            let backlog = self.has_backlog();
            taken += self.ring.pop_many(limit - taken, &mut f);
            if !backlog {
                return taken;
            }
            if taken == limit {
                self.refill(&mut lock(&self.registry));
                return taken;
            }
            let Some(record) = self.take_behind(false) else { return taken };
            f(record);
            taken += 1;
        }
    }

    /// The oldest record, which stays.
    pub(super) fn peek(&self) -> Option<Record> {
        let backlog = self.has_backlog();
        let record = self.ring.peek();
        if record.is_none() && backlog { self.take_behind(true) } else { record }
    }

    /// How many records can be taken at this instant; no more than `limit` are looked for in the ring.
    fn ready(&self, limit: usize) -> usize {
        let backlog = self.has_backlog();
        let (filled, _) = self.ring.ready(limit);
        if filled >= limit || !backlog { filled } else { self.ready_behind(limit) }
    }

    /// With the lock held nothing moves, so nothing is counted twice.
    #[cold]
    fn ready_behind(&self, limit: usize) -> usize {
        let _registry = lock(&self.registry);
        let (filled, all) = self.ring.ready(limit);
        if all { filled + self.backlog() } else { filled }
    }

    /// Waits until `min` records can be taken, or until `deadline`.
    pub(crate) fn wait(&self, min: usize, deadline: Option<Instant>) -> usize {
        let ready = self.ready(min);
        if ready >= min {
            return ready;
        }
        self.bell.wait(min, deadline, || self.ready(min))
    }

    /// Takes one record out, or registers the task, in the place that its future has.
    pub(crate) fn poll_take(
        &self,
        context: &Context<'_>,
        place: Option<&mut Place>,
    ) -> Poll<Record> {
        if let Some(record) = self.take_one() {
            return Poll::Ready(record);
        }
        self.bell.register(context.waker(), place);
        self.take_one().map_or(Poll::Pending, Poll::Ready)
    }

    /// Has the eventfd told of what comes from now on, and of what is there.
    pub(super) fn attach(&self, eventfd: EventFd) {
        let old = self.bell.attach(eventfd);
        // After that: what comes between the two would be told by neither.
        if self.len() > 0 {
            self.bell.nudge();
        }
        drop(old);
    }

    /// The handle is gone: what is away stays with nobody.
    pub(crate) fn abandon(&self) {
        let mut chunk = 0;
        loop {
            let next = lock(&self.registry).abandon(chunk);
            let Some((at, operation)) = next else { return };
            chunk = at;
            operation.slot().recall();
        }
    }
}

/// Nobody is left who could pop: what calls have made is closed.
impl Drop for Shared {
    fn drop(&mut self) {
        while self.take_many(usize::MAX, |record| close_left(&record)) > 0 {}
    }
}

pub(super) fn close_left(record: &Record) {
    match record.left {
        Left::Nothing => {}
        Left::Descriptor => close(record.res as i32),
        Left::Descriptors(one, other) => {
            close(one);
            close(other);
        }
    }
}

pub(super) fn record_of(user_data: u64, outcome: Outcome) -> Record {
    let (res, left) = match outcome {
        Outcome::Number(res) => (res as i64, Left::Nothing),
        Outcome::Descriptor(descriptor) => (i64::from(descriptor), Left::Descriptor),
        Outcome::Descriptors(one, other) => (0, Left::Descriptors(one, other)),
        other @ (Outcome::Empty | Outcome::Owned(..)) => {
            unreachable!("an operation of a queue ends with a number, not {other:?}")
        }
    };
    Record { user_data, res, left }
}

/// What a slot holds whose result goes to a queue. Small: there is little room in a slot.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    index: u32,
    queue: Arc<Shared>,
}

impl Ticket {
    /// Once for each operation.
    pub(super) fn deliver(self, outcome: Outcome) {
        self.queue.deliver(self.index, outcome);
    }
}
