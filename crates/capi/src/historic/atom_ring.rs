//! The completion rings of syslets: pointers to the last atoms of lists that went away.

#![allow(unsafe_code, reason = "reads and writes a program's ring")]

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::ffi::c_int;
use std::mem::offset_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::abi::historic::AtomHead;
use crate::bell::{self, Waited};
use crate::known::{self, Known};
use crate::late::lock;
use crate::life::PerLife;
use crate::lost;

/// Fields of `struct async_head_user`, by offset.
const KERNEL_RING_IDX: usize = offset_of!(AtomHead, kernel_ring_idx);
const COMPLETION_RING: usize = offset_of!(AtomHead, completion_ring);
const RING_SIZE_BYTES: usize = offset_of!(AtomHead, ring_size_bytes);
const HEAD_SIZE: usize = size_of::<AtomHead>();

/// A head's ring, as it was when it was looked at: the program may change it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    address: usize,
    entries: usize,
}

impl Ring {
    /// The ring of a head that can be used.
    #[inline]
    pub(super) fn of(known: &Known, head: usize) -> Result<Self, c_int> {
        known.place(head, HEAD_SIZE, 8)?;
        // SAFETY: the head was looked at.
        let address = unsafe { known::word64(head + COMPLETION_RING) };
        // SAFETY: as above.
        let bytes = unsafe { known::word64(head + RING_SIZE_BYTES) };
        let address = address.load(Ordering::Relaxed) as usize;
        let bytes = bytes.load(Ordering::Relaxed) as usize;
        if bytes == 0 || !bytes.is_multiple_of(8) {
            return Err(-libc::EINVAL);
        }
        // Of a large one the ends; the rest where it is used.
        known.place(address, 8, 8)?;
        known.place(address.wrapping_add(bytes - 8), 8, 8)?;
        Ok(Self { address, entries: bytes / 8 })
    }

    /// Entry `at`, modulo their number.
    fn entry(self, known: &Known, at: usize) -> Result<&'static AtomicU64, c_int> {
        let place = self.address + 8 * (at % self.entries);
        known.place(place, 8, 8)?;
        // SAFETY: it was looked at; the header's duty: the ring stays while lists are away.
        Ok(unsafe { known::word64(place) })
    }
}

/// Completions that found their ring full, by head. Its lock also makes one producer at a time.
static FULL: PerLife<Mutex<HashMap<usize, VecDeque<usize>>>> = PerLife::new();

/// Puts an atom into the ring of a head.
pub(super) fn complete(head: usize, atom: usize) {
    let mut full = lock(FULL.get());
    let waiting = full.entry(head).or_default();
    waiting.push_back(atom);
    fill(head, waiting);
    if waiting.is_empty() {
        full.remove(&head);
    }
    drop(full);
    bell::ring(head);
}

/// Moves completions into the ring, as far as there is room. A program that has taken the ring away has its
/// completions dropped, and counted.
fn fill(head: usize, waiting: &mut VecDeque<usize>) {
    let moved = Known::here(|known| {
        let ring = Ring::of(known, head)?;
        // SAFETY: the head was looked at.
        let index = unsafe { known::word64(head + KERNEL_RING_IDX) };
        while let Some(atom) = waiting.front() {
            let at = index.load(Ordering::Relaxed) as usize % ring.entries;
            let place = ring.entry(known, at)?;
            // Acquire: pairs with the consumer's store of null.
            if place.load(Ordering::Acquire) != 0 {
                break;
            }
            // Release: who sees the atom sees what its calls have written.
            place.store(*atom as u64, Ordering::Release);
            index.store(((at + 1) % ring.entries) as u64, Ordering::Release);
            waiting.pop_front();
        }
        Ok::<(), c_int>(())
    });
    if moved.is_err() {
        waiting.drain(..).for_each(|_| lost::count());
    }
}

/// Lets completions that wait for room into the ring.
fn refill(head: usize) {
    let mut full = lock(FULL.get());
    if let Some(waiting) = full.get_mut(&head) {
        fill(head, waiting);
        if waiting.is_empty() {
            full.remove(&head);
        }
    }
}

pub(super) fn wait(min: usize, from: usize, head: usize) -> Result<(), c_int> {
    let ring = Known::here(|known| Ring::of(known, head))?;
    if min > ring.entries || from >= ring.entries {
        return Err(-libc::EINVAL);
    }
    let is_full =
        |at| Known::here(|known| ring.entry(known, at)).map(|e| e.load(Ordering::Acquire) != 0);
    let fault = Cell::new(None);
    let ready = || {
        refill(head);
        (from..from + min).all(|at| {
            is_full(at).unwrap_or_else(|error| {
                fault.set(Some(error));
                true
            })
        })
    };
    let waited = bell::wait(head, None, ready);
    match (fault.get(), waited) {
        (Some(error), _) => Err(error),
        (None, Waited::Ready) => Ok(()),
        (None, _) => Err(-libc::EINTR),
    }
}
