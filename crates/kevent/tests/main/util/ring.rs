//! A queue with a ring in memory.

#![allow(unsafe_code, reason = "lends memory to a queue")]

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use syslet_kevent::{Event, Queue, RING_HEADER, RingHeader};

/// A queue with a ring.
pub(crate) struct Ringed {
    pub(crate) queue: Queue,
    memory: Memory,
    pub(crate) size: u32,
}

/// What the library fills, dropped after the queue.
struct Memory(NonNull<u64>, usize);

// SAFETY: the header is atomic, and places are read only where the index says that they are filled.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        let words = std::ptr::slice_from_raw_parts_mut(self.0.as_ptr(), self.1);
        // SAFETY: made by `Ringed::new`, and the queue is gone.
        drop(unsafe { Box::from_raw(words) });
    }
}

/// How the ring stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) over: u32,
    pub(crate) kidx: u32,
}

impl Ringed {
    pub(crate) fn new(size: u32) -> Self {
        let words = (RING_HEADER + size as usize * size_of::<Event>()) / 8;
        let memory = Box::into_raw(vec![0u64; words].into_boxed_slice()).cast::<u64>();
        let memory = NonNull::new(memory).expect("a box");
        // SAFETY: the memory stays where it is, and is dropped after the queue.
        let queue = unsafe { Queue::with_ring(memory.cast(), size) }.expect("there are threads");
        Self { queue, memory: Memory(memory, words), size }
    }

    pub(crate) fn header(&self) -> &RingHeader {
        // SAFETY: it begins with one.
        unsafe { self.memory.0.cast().as_ref() }
    }

    /// Where the library is, by which a commit is to be made.
    pub(crate) fn look(&self) -> Seen {
        let over = self.header().over.load(Ordering::Acquire);
        Seen { over, kidx: self.header().kidx.load(Ordering::Acquire) }
    }

    /// The event at an index, which is filled and not committed by anybody who lets it be filled again.
    pub(crate) fn at(&self, index: u32) -> Event {
        assert!(index < self.size);
        let at = self.memory.0.as_ptr().wrapping_add(1 + 5 * index as usize);
        // SAFETY: filled, as the caller says.
        unsafe { at.cast::<Event>().read() }
    }
}
