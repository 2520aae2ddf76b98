//! A ring of events in the program's memory.
//!
//! The library fills it up to `ring_kidx`; the program reads from where it stopped, its *uidx*, and says by a
//! commit how far it is. Both are positions that count up for ever; in memory stand their rests. One place stays
//! free, so that a full ring is not an empty one: which is why there is no ring of one.

#![allow(unsafe_code, reason = "writes to the ring, which the program lends")]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::event::Event;

/// What stands before the events: `struct kevent_ring`.
#[derive(Debug, Default)]
#[repr(C, align(8))]
pub struct RingHeader {
    /// The next place that the library will fill. Read it with acquire.
    pub kidx: AtomicU32,
    /// How often the program's index has come round.
    pub over: AtomicU32,
}

/// Bytes of a [`RingHeader`].
pub const RING_HEADER: usize = size_of::<RingHeader>();
const _: () = assert!(RING_HEADER == 8);

/// See the module.
///
/// # Safety
///
/// `base` is a header and `size` events, writable, for as long as this lives: the duty of [`Ring::new`] (clause
/// *lent*). Nobody writes the events from `read` up to `filled`, which the program and who has this may read; only
/// who has this writes the others.
#[derive(Debug)]
pub(crate) struct Ring {
    base: NonNull<RingHeader>,
    size: u32,
    filled: u64,
    read: u64,
}

// SAFETY: the memory is any thread's to write, as the program promised.
unsafe impl Send for Ring {}

impl Ring {
    /// # Safety
    ///
    /// See the type.
    pub(crate) unsafe fn new(base: NonNull<RingHeader>, size: u32) -> Self {
        let ring = Self { base, size, filled: 0, read: 0 };
        ring.header().kidx.store(0, Ordering::Relaxed);
        ring.header().over.store(0, Ordering::Relaxed);
        ring
    }

    fn header(&self) -> &RingHeader {
        // SAFETY: lent.
        unsafe { self.base.as_ref() }
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    fn place(&self, position: u64) -> *mut Event {
        let index = (position % u64::from(self.size)) as usize;
        // SAFETY: lent: the header is within what was lent.
        let first = unsafe { self.base.as_ptr().add(1) };
        first.cast::<Event>().wrapping_add(index)
    }

    /// Events that the program has not committed.
    pub(crate) fn len(&self) -> u32 {
        (self.filled - self.read) as u32
    }

    /// Places that are free, but for the one that stays so.
    pub(crate) fn room(&self) -> u32 {
        self.size - 1 - self.len()
    }

    /// Index of the next event that the program has not committed.
    pub(crate) fn uidx(&self) -> u32 {
        (self.read % u64::from(self.size)) as u32
    }

    /// Where that is, counted from the beginning.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Puts an event in; there is room.
    pub(crate) fn put(&mut self, event: Event) {
        // SAFETY: lent; the program does not read this place before the store below.
        unsafe { ptr::write(self.place(self.filled), event) };
        self.filled += 1;
        let kidx = (self.filled % u64::from(self.size)) as u32;
        // Release: who sees the index sees the event.
        self.header().kidx.store(kidx, Ordering::Release);
    }

    /// Takes the oldest event that the program has not committed, as a commit of one would.
    pub(crate) fn take(&mut self) -> Option<Event> {
        if self.len() == 0 {
            return None;
        }
        // SAFETY: lent, and filled.
        let event = unsafe { ptr::read(self.place(self.read)) };
        self.go_to(self.read + 1);
        Some(event)
    }

    fn go_to(&mut self, position: u64) {
        self.read = position;
        self.header().over.store(self.over(), Ordering::Release);
    }

    fn over(&self) -> u32 {
        (self.read / u64::from(self.size)) as u32
    }

    /// The program has read up to `uidx`, and `over` was this much when it looked; says how many places are
    /// free by that: fewer than it thinks if another thread has said so before.
    pub(crate) fn commit(&mut self, uidx: u32, over: u32) -> io::Result<u32> {
        if uidx >= self.size {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let behind = self.over().wrapping_sub(over);
        if behind > 1 {
            return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
        }
        let lap = self.read / u64::from(self.size);
        // In the lap in which it looked, or in the next one.
        let looked = lap.checked_sub(u64::from(behind));
        let looked = looked.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let here = looked * u64::from(self.size) + u64::from(uidx);
        let wrapped = here + u64::from(self.size);
        let to = match () {
            () if here > self.filled => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            () if here >= self.read => here,
            () if wrapped > self.read && wrapped <= self.filled => wrapped,
            () => return Ok(0), // said before
        };
        let freed = to - self.read;
        self.go_to(to);
        Ok(freed as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(memory: &mut [u64]) -> Ring {
        let size = (memory.len() as u32 - 1) / 5;
        // SAFETY: it lives longer than the ring.
        unsafe { Ring::new(NonNull::from(memory).cast(), size) }
    }

    #[test]
    fn a_lap_before_the_first_is_refused() {
        let mut memory = [0u64; 1 + 5 * 4];
        let mut ring = ring(&mut memory);
        ring.put(Event::default());
        assert!(ring.commit(0, u32::MAX).is_err());
        assert_eq!(ring.commit(1, 0).unwrap(), 1);
    }

    #[test]
    fn positions_come_round_and_one_place_stays_free() {
        let mut memory = [0u64; 1 + 5 * 4];
        let mut ring = ring(&mut memory);
        for lap in 0..9u64 {
            for number in 0..3 {
                assert_ne!(ring.room(), 0);
                ring.put(Event { id: lap * 3 + number, ..Event::default() });
            }
            assert_eq!(ring.room(), 0);
            let over = ring.over();
            let to = (ring.uidx() + 2) % 4;
            assert_eq!(ring.commit(to, over).unwrap(), 2);
            assert_eq!(ring.commit(to, over).unwrap(), 0, "a second time");
            assert_eq!(ring.take().unwrap().id, lap * 3 + 2);
            assert_eq!(ring.len(), 0);
        }
    }

    #[test]
    fn commits_beyond_what_is_there_are_refused() {
        let mut memory = [0u64; 1 + 5 * 8];
        let mut ring = ring(&mut memory);
        let errno = |result: io::Result<u32>| result.unwrap_err().raw_os_error().unwrap();
        assert_eq!(errno(ring.commit(8, 0)), libc::EINVAL);
        assert_eq!(errno(ring.commit(1, 0)), libc::EINVAL, "nothing is filled");
        ring.put(Event::default());
        assert_eq!(errno(ring.commit(1, 2)), libc::EOVERFLOW);
        assert_eq!(errno(ring.commit(1, 1)), libc::EOVERFLOW, "it has not come round");
        assert_eq!(ring.commit(1, 0).unwrap(), 1);
    }

    #[test]
    fn who_slept_through_a_lap_frees_nothing_new() {
        let mut memory = [0u64; 1 + 5 * 4];
        let mut ring = ring(&mut memory);
        for _ in 0..7 {
            ring.put(Event::default());
            ring.take();
        }
        // uidx is 3 in lap 1; somebody saw lap 0, and index 2 there.
        assert_eq!((ring.uidx(), ring.over()), (3, 1));
        ring.put(Event::default());
        assert_eq!(ring.commit(2, 0).unwrap(), 0);
        assert_eq!(ring.len(), 1);
    }
}
