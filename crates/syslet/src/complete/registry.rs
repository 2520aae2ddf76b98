//! What a completion queue knows of operations that are away, and of those that wait for room in its
//! ring.
//!
//! A table that grows by chunks and never moves an entry. An id is the index of an entry and its
//! generation, which counts how often the entry was used; an entry whose generation is used up is not
//! used again, so no id ever names two operations.
//!
//! | state | until |
//! |---|---|
//! | `Free` | the next operation is sent to the queue |
//! | `Away` | the operation ends: its record goes to the ring, the entry is free |
//! | `Ended` | the same, but the ring was full: the record waits here, linked in the order of arrival |
//!
//! So what overflows needs no memory that the operation did not have from the start.

use std::sync::Arc;

#[cfg(loom)]
use super::Holder;
use super::ring::Record;
#[cfg(not(loom))]
use crate::call::PendingCall;

/// What is away.
#[cfg(not(loom))]
pub(super) type Operation = Arc<dyn PendingCall>;
/// Models need no more than the slot.
#[cfg(loom)]
pub(super) type Operation = Arc<dyn Holder>;

/// Entries in a chunk.
const CHUNK: usize = if cfg!(loom) { 4 } else { 1024 };
/// No entry.
const NONE: u32 = u32::MAX;

/// Names an operation that was sent to a queue. No other operation of that queue ever has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId(u64);

impl OpId {
    /// Of an operation that had ended when it was queued: nothing has this number.
    pub(super) const ENDED: Self = Self(0);

    fn new(generation: u32, index: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(index))
    }

    /// The id as a number.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The id that [`raw`](Self::raw) gave. Any number is harmless: it names an operation or none.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(super) fn index(self) -> u32 {
        self.0 as u32
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What an operation can be found by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    pub(crate) user_data: u64,
    /// Descriptors that its call was given; negative: none.
    pub(crate) descriptors: [i32; 2],
}

#[derive(Debug)]
enum State {
    Free { next: u32 },
    Away { operation: Operation, closure: bool },
    Ended { record: Record, next: u32 },
}

#[derive(Debug)]
struct Entry {
    /// From 1 on.
    generation: u32,
    marks: Marks,
    state: State,
}

/// An operation that was asked for.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// A call.
    Call(Operation),
    /// A closure.
    Closure(Operation),
}

/// See the module. Everything is under the queue's lock.
#[derive(Debug)]
pub(super) struct Registry {
    chunks: Vec<Box<[Entry]>>,
    free: u32,
    /// First and last of the `Ended`.
    first: u32,
    last: u32,
    away: usize,
}

impl Registry {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, first: NONE, last: NONE, away: 0 }
    }

    fn entry(&mut self, index: u32) -> Option<&mut Entry> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }

    /// Operations that are away.
    pub(super) fn away(&self) -> usize {
        self.away
    }

    /// Puts a state into an unused entry. Allocates if there is none.
    fn occupy(&mut self, marks: Marks, state: State) -> OpId {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let entry = self.entry(index).expect("the list of free entries holds entries");
        let old = std::mem::replace(&mut entry.state, state);
        entry.marks = marks;
        let id = OpId::new(entry.generation, index);
        let State::Free { next } = old else { unreachable!("a free entry is free") };
        self.free = next;
        id
    }

    #[cold]
    fn grow(&mut self) {
        let start = u32::try_from(self.chunks.len() * CHUNK).expect("2^32 operations fit nowhere");
        let marks = Marks { user_data: 0, descriptors: [-1; 2] };
        let entry = |at: usize| {
            let next = if at + 1 == CHUNK { NONE } else { start + at as u32 + 1 };
            Entry { generation: 1, marks, state: State::Free { next } }
        };
        self.chunks.push((0..CHUNK).map(entry).collect());
        self.free = start;
    }

    /// Ends the use of an entry.
    fn vacate(&mut self, index: u32) -> State {
        let free = self.free;
        let entry = self.entry(index).expect("an entry in use exists");
        let used_up = entry.generation == u32::MAX;
        if !used_up {
            entry.generation += 1;
        }
        let old = std::mem::replace(&mut entry.state, State::Free { next: free });
        if !used_up {
            self.free = index;
        }
        old
    }

    /// Enters an operation that is away.
    pub(super) fn enter(&mut self, marks: Marks, operation: Operation, closure: bool) -> OpId {
        self.away += 1;
        self.occupy(marks, State::Away { operation, closure })
    }

    /// The number that the operation of an entry in use was sent with.
    pub(super) fn user_data(&mut self, index: u32) -> u64 {
        self.entry(index).expect("an entry in use exists").marks.user_data
    }

    /// Takes out an operation whose record has gone to the ring.
    pub(super) fn remove(&mut self, index: u32) -> Option<Operation> {
        match self.vacate(index) {
            State::Away { operation, .. } => {
                self.away -= 1;
                Some(operation)
            }
            // The queue was closed.
            _ => None,
        }
    }

    /// The operation has ended, and its record waits for room.
    pub(super) fn overflow(&mut self, index: u32, record: Record) -> Option<Operation> {
        let entry = self.entry(index).expect("an entry in use exists");
        let old = std::mem::replace(&mut entry.state, State::Ended { record, next: NONE });
        self.link(index);
        match old {
            State::Away { operation, .. } => {
                self.away -= 1;
                Some(operation)
            }
            _ => None,
        }
    }

    /// As [`overflow`](Self::overflow), for what was never away. Allocates at times.
    pub(super) fn overflow_new(&mut self, record: Record) {
        let marks = Marks { user_data: record.user_data, descriptors: [-1; 2] };
        let id = self.occupy(marks, State::Ended { record, next: NONE });
        self.link(id.index());
    }

    fn link(&mut self, index: u32) {
        match std::mem::replace(&mut self.last, index) {
            NONE => self.first = index,
            before => match self.entry(before).map(|entry| &mut entry.state) {
                Some(State::Ended { next, .. }) => *next = index,
                _ => unreachable!("the list of the ended holds ended ones"),
            },
        }
    }

    /// The record that has waited longest.
    pub(super) fn oldest(&mut self) -> Option<Record> {
        match self.entry(self.first)?.state {
            State::Ended { record, .. } => Some(record),
            _ => unreachable!("the list of the ended holds ended ones"),
        }
    }

    /// Takes out what [`oldest`](Self::oldest) has shown.
    pub(super) fn drop_oldest(&mut self) {
        let State::Ended { next, .. } = self.vacate(self.first) else {
            unreachable!("the list of the ended holds ended ones")
        };
        self.first = next;
        if next == NONE {
            self.last = NONE;
        }
    }

    /// The operation `id`, if it is away.
    pub(super) fn find(&mut self, id: OpId) -> Option<Found> {
        let entry = self.entry(id.index())?;
        if entry.generation == id.generation() { found(entry) } else { None }
    }

    /// Adds the operations of chunk `chunk` whose marks are wanted to `to`. False: there is no such
    /// chunk.
    pub(super) fn find_all(
        &self,
        chunk: usize,
        wanted: impl Fn(&Marks) -> bool,
        to: &mut Vec<Found>,
    ) -> bool {
        let Some(entries) = self.chunks.get(chunk) else { return false };
        to.extend(entries.iter().filter(|entry| wanted(&entry.marks)).filter_map(found));
        true
    }

    /// Takes an operation out of chunk `chunk` or a later one, and says which. The entry counts as in
    /// use by whoever will complete the operation.
    pub(super) fn abandon(&mut self, chunk: usize) -> Option<(usize, Operation)> {
        for (at, entries) in self.chunks.iter_mut().enumerate().skip(chunk) {
            for entry in entries {
                if matches!(entry.state, State::Away { .. }) {
                    let gone = State::Free { next: NONE };
                    if let State::Away { operation, .. } = std::mem::replace(&mut entry.state, gone)
                    {
                        self.away -= 1;
                        return Some((at, operation));
                    }
                }
            }
        }
        None
    }
}

fn found(entry: &Entry) -> Option<Found> {
    match &entry.state {
        State::Away { closure: true, operation } => Some(Found::Closure(Arc::clone(operation))),
        State::Away { operation, .. } => Some(Found::Call(Arc::clone(operation))),
        _ => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{CHUNK, Found, Marks, OpId, Registry};
    use crate::complete::Slot;
    use crate::complete::ring::Record;
    use std::sync::Arc;

    fn marks(user_data: u64) -> Marks {
        Marks { user_data, descriptors: [-1; 2] }
    }

    fn enter(registry: &mut Registry, user_data: u64) -> OpId {
        registry.enter(marks(user_data), Arc::new(Slot::new(0, 0)), false)
    }

    #[test]
    fn an_id_is_not_used_again() {
        let mut registry = Registry::new();
        let mut seen = std::collections::HashSet::new();
        for round in 0..1000 {
            let id = enter(&mut registry, round);
            assert!(seen.insert(id), "{id:?} was used before");
            assert!(matches!(registry.find(id), Some(Found::Call(_))));
            assert!(registry.remove(id.index()).is_some());
            assert!(registry.find(id).is_none(), "it has ended");
        }
        assert_eq!(registry.chunks.len(), 1, "entries are used again");
        assert!(registry.find(OpId::ENDED).is_none());
        assert!(registry.find(OpId::from_raw(u64::MAX)).is_none());
    }

    #[test]
    fn an_entry_whose_ids_are_used_up_is_retired() {
        let mut registry = Registry::new();
        let id = enter(&mut registry, 1);
        registry.entry(id.index()).expect("it was entered").generation = u32::MAX;
        registry.remove(id.index());
        let others: Vec<_> = (0..2 * CHUNK).map(|at| enter(&mut registry, at as u64)).collect();
        assert!(others.iter().all(|other| other.index() != id.index()));
    }

    #[test]
    fn what_overflows_leaves_in_its_order() {
        let mut registry = Registry::new();
        let ids: Vec<_> = (0..3 * CHUNK as u64).map(|at| enter(&mut registry, at)).collect();
        let record = |user_data| Record { user_data, ..Record::default() };
        for (at, &id) in ids.iter().enumerate().rev() {
            assert!(registry.overflow(id.index(), record(at as u64)).is_some());
            assert!(registry.find(id).is_none(), "it has ended");
        }
        registry.overflow_new(record(u64::MAX));
        assert_eq!(registry.away(), 0);
        let order = (0..ids.len() as u64).rev().chain([u64::MAX]);
        for wanted in order {
            assert_eq!(registry.oldest().map(|record| record.user_data), Some(wanted));
            registry.drop_oldest();
        }
        assert!(registry.oldest().is_none());
        registry.overflow_new(record(5));
        assert_eq!(registry.oldest().map(|record| record.user_data), Some(5), "it can begin again");
    }
}
