//! The ring of a completion queue: bounded, for many producers and many consumers.
//!
//! Each entry has a sequence that says whose turn it is (Vyukov's bounded queue). For position `at`,
//! counted from 0 for ever, and `capacity` entries:
//!
//! | sequence of entry `at % capacity` | meaning | next step |
//! |---|---|---|
//! | `at` | free for position `at` | a producer takes `at` by raising `tail`, fills the entry, stores `at + 1` |
//! | `at + 1` | filled | a consumer takes `at` by raising `head`, reads the entry, stores `at + capacity` |
//!
//! `head` and `tail` only share out positions; what orders memory is the sequence. It holds the low 32
//! bits: nobody is late by more than one lap, because `head` and `tail` have all 64.
//!
//! The memory is laid out for C as well, so that a program can pop without a call; README.md has the
//! offsets.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::Arc;

/// First word of the ring's memory: `slq1` in ASCII, read as a little-endian number.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"slq1");

/// The result is a descriptor that nobody owns as long as the record is in the ring.
const DESCRIPTOR: u32 = 1;
/// `extra` holds two such descriptors.
const DESCRIPTORS: u32 = 2;

/// What one entry holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) user_data: u64,
    pub(crate) res: i64,
    pub(crate) left: Left,
}

/// What a call has made, to be closed if nobody ever pops its completion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Left {
    #[default]
    Nothing,
    /// The result is a descriptor.
    Descriptor,
    /// Two descriptors, which the call has stored where it was told to.
    Descriptors(i32, i32),
}

impl Left {
    fn encode(self) -> (u32, u64) {
        match self {
            Self::Nothing => (0, 0),
            Self::Descriptor => (DESCRIPTOR, 0),
            Self::Descriptors(one, other) => {
                (DESCRIPTORS, u64::from(one as u32) << 32 | u64::from(other as u32))
            }
        }
    }

    fn decode(flags: u32, extra: u64) -> Self {
        match flags {
            DESCRIPTOR => Self::Descriptor,
            DESCRIPTORS => Self::Descriptors((extra >> 32) as i32, extra as i32),
            _ => Self::Nothing,
        }
    }
}

/// One place of the ring. The data are atomics because [`Ring::peek`] reads an entry that others may
/// take and fill meanwhile.
#[repr(C, align(32))]
#[derive(Debug)]
pub(super) struct Entry {
    sequence: AtomicU32,
    flags: AtomicU32,
    user_data: AtomicU64,
    res: AtomicU64,
    extra: AtomicU64,
}

impl Entry {
    fn new(at: usize) -> Self {
        Self {
            sequence: AtomicU32::new(at as u32),
            flags: AtomicU32::new(0),
            user_data: AtomicU64::new(0),
            res: AtomicU64::new(0),
            extra: AtomicU64::new(0),
        }
    }

    /// How far the sequence is from `wanted`: negative, the other side has not been here yet.
    ///
    /// Acquire: pairs with the release of [`pass`](Self::pass).
    #[inline(always)]
    fn turn(&self, wanted: u64) -> i32 {
        self.sequence.load(Ordering::Acquire).wrapping_sub(wanted as u32) as i32
    }

    /// Hands the entry to the other side.
    #[inline(always)]
    fn pass(&self, to: u64) {
        // Release: pairs with the acquire in `turn`.
        self.sequence.store(to as u32, Ordering::Release);
    }

    /// Release and acquire of the data are for `Ring::peek`: who reads a word of the next lap also
    /// sees that `head` has moved.
    #[inline(always)]
    fn fill(&self, record: &Record) {
        let (flags, extra) = record.left.encode();
        self.flags.store(flags, Ordering::Release);
        self.user_data.store(record.user_data, Ordering::Release);
        self.res.store(record.res as u64, Ordering::Release);
        self.extra.store(extra, Ordering::Release);
    }

    #[inline(always)]
    fn read(&self) -> Record {
        let (flags, extra) =
            (self.flags.load(Ordering::Acquire), self.extra.load(Ordering::Acquire));
        Record {
            user_data: self.user_data.load(Ordering::Acquire),
            res: self.res.load(Ordering::Acquire) as i64,
            left: Left::decode(flags, extra),
        }
    }
}

/// A counter on cache lines of its own: the processor fetches lines in pairs.
#[repr(C, align(128))]
#[derive(Debug)]
struct Lonely(AtomicU64);

/// See the module.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Ring {
    magic: u32,
    /// Bytes of an entry.
    entry_size: u32,
    capacity: u64,
    /// Address of the first entry, for C.
    address: u64,
    /// Operations that wait for room in the ring, see `registry.rs`: here because C must see it.
    backlog: AtomicU32,
    /// Position of the next producer.
    tail: Lonely,
    /// Position of the next consumer.
    head: Lonely,
    entries: Arc<[Entry]>,
}

impl Ring {
    /// A ring of `capacity` entries. Duty: a power of two, 2 at least. (In a ring of one, free for the
    /// next position and filled would be the same number.)
    pub(super) fn new(capacity: usize) -> Self {
        debug_assert!(capacity.is_power_of_two() && capacity >= 2);
        let entries: Arc<[Entry]> = (0..capacity).map(Entry::new).collect();
        Self {
            magic: MAGIC,
            entry_size: size_of::<Entry>() as u32,
            capacity: capacity as u64,
            address: entries.as_ptr().expose_provenance() as u64,
            backlog: AtomicU32::new(0),
            tail: Lonely(AtomicU64::new(0)),
            head: Lonely(AtomicU64::new(0)),
            entries,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// How many operations wait for room. Changed under the registry's lock only.
    pub(super) fn backlog(&self) -> &AtomicU32 {
        &self.backlog
    }

    /// Positions that producers have taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.tail.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn entry(&self, at: u64) -> &Entry {
        &self.entries[at as usize & (self.entries.len() - 1)]
    }

    /// Puts a record in and says at which position. `None`: the ring is full.
    #[inline]
    pub(super) fn push(&self, record: &Record) -> Option<u64> {
        let mut at = self.tail.0.load(Ordering::Relaxed);
        loop {
            let entry = self.entry(at);
            match entry.turn(at) {
                0 => match Self::claim(&self.tail, at, 1) {
                    Ok(()) => {
                        entry.fill(record);
                        entry.pass(at + 1);
                        return Some(at);
                    }
                    Err(now) => at = now,
                },
                // The record of the lap before is still there.
                turn if turn < 0 => return None,
                // Another producer was faster; its sequence, which was read, orders its `tail`.
                _ => at = self.tail.0.load(Ordering::Relaxed),
            }
        }
    }

    /// Takes positions `at..at + count` out of `counter`, or says where it is.
    #[inline(always)]
    fn claim(counter: &Lonely, at: u64, count: u64) -> Result<(), u64> {
        // Relaxed: the sequences order memory.
        counter.0.compare_exchange(at, at + count, Ordering::Relaxed, Ordering::Relaxed).map(|_| ())
    }

    /// The first position that can be popped, and how many can from there, `limit` at most.
    #[inline(always)]
    fn scan(&self, limit: usize) -> (u64, usize) {
        let mut at = self.head.0.load(Ordering::Relaxed);
        let mut filled = 0;
        while filled < limit {
            let next = at + filled as u64;
            match self.entry(next).turn(next + 1) {
                0 => filled += 1,
                turn if turn < 0 => break,
                // Another consumer was faster; its sequence, which was read, orders its `head`.
                _ => {
                    at = self.head.0.load(Ordering::Relaxed);
                    filled = 0;
                }
            }
        }
        (at, filled)
    }

    /// Takes the oldest record out.
    #[inline]
    pub(super) fn pop(&self) -> Option<Record> {
        loop {
            let (at, filled) = self.scan(1);
            if filled == 0 {
                return None;
            }
            if Self::claim(&self.head, at, 1).is_ok() {
                return Some(self.release(at));
            }
        }
    }

    /// Takes up to `limit` of the oldest records out at once and hands each to `f`; says how many.
    pub(super) fn pop_many(&self, limit: usize, mut f: impl FnMut(Record)) -> usize {
        loop {
            let (at, filled) = self.scan(limit);
            if filled == 0 {
                return 0;
            }
            if Self::claim(&self.head, at, filled as u64).is_ok() {
                (at..at + filled as u64).for_each(|at| f(self.release(at)));
                return filled;
            }
        }
    }

    /// Reads a position that was taken and gives its entry to the producers.
    #[inline(always)]
    fn release(&self, at: u64) -> Record {
        let entry = self.entry(at);
        let record = entry.read();
        entry.pass(at + self.entries.len() as u64);
        record
    }

    /// The oldest record, which stays.
    pub(super) fn peek(&self) -> Option<Record> {
        loop {
            let (at, filled) = self.scan(1);
            if filled == 0 {
                return None;
            }
            let record = self.entry(at).read();
            // Acquire: orders the reads before the load of `head`.
            fence(Ordering::Acquire);
            if self.head.0.load(Ordering::Relaxed) == at {
                return Some(record);
            }
        }
    }

    /// How many records can be popped at this instant, `limit` at most, and whether that is all: false
    /// if a producer that has taken its position has not filled the entry yet.
    pub(super) fn ready(&self, limit: usize) -> (usize, bool) {
        let (at, filled) = self.scan(limit);
        (filled, self.tail.0.load(Ordering::Relaxed) <= at + filled as u64)
    }

    /// True if the record of position `at` is in the ring.
    pub(super) fn is_filled(&self, at: u64) -> bool {
        self.entry(at).turn(at + 1) == 0
    }

    /// True if consumers have taken every position that a producer has taken.
    pub(super) fn is_taken_out(&self) -> bool {
        let head = self.head.0.load(Ordering::Relaxed);
        self.tail.0.load(Ordering::Relaxed) == head
    }

    /// Records that are in the ring or are being put there, about.
    pub(super) fn len(&self) -> usize {
        let head = self.head.0.load(Ordering::Relaxed);
        self.tail.0.load(Ordering::Relaxed).saturating_sub(head) as usize
    }
}

/// What C programs rely on, see README.md.
#[cfg(not(loom))]
const _: () = {
    use std::mem::{align_of, offset_of};
    assert!(size_of::<Entry>() == 32 && align_of::<Entry>() == 32);
    assert!(offset_of!(Entry, sequence) == 0);
    assert!(offset_of!(Entry, flags) == 4);
    assert!(offset_of!(Entry, user_data) == 8);
    assert!(offset_of!(Entry, res) == 16);
    assert!(offset_of!(Entry, extra) == 24);
    assert!(offset_of!(Ring, magic) == 0);
    assert!(offset_of!(Ring, entry_size) == 4);
    assert!(offset_of!(Ring, capacity) == 8);
    assert!(offset_of!(Ring, address) == 16);
    assert!(offset_of!(Ring, backlog) == 24);
    assert!(offset_of!(Ring, tail) == 128);
    assert!(offset_of!(Ring, head) == 256);
    assert!(align_of::<Ring>() == 128);
};
