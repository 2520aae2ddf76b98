//! The memory that a context is, in the kernel's form (fs/aio.c: `struct aio_ring`): a header, then events.
//!
//! It is mapped twice. The program has it at the context's address, where it may look, move the head, move the
//! mapping itself or take it away; we use the other mapping, which nobody else knows. The bound of the ring and the
//! tail that we go by are kept elsewhere too.
//!
//! # Safety
//!
//! Clause *ours*: `base` is a mapping of `pages` pages that only [`Ring::free`] takes away, when no request is left.
//! Clause *shared*: the program may write there at any time; every access is atomic, or of an event that
//! the program has no business with yet, copied by volatile writes.

#![allow(unsafe_code, reason = "memory that is shared with the program; see the header")]

use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use syslet_dropin::call::lock;
use syslet_dropin::life::PerLife;
use syslet_sys::uapi::IoEvent;

const MAGIC: u32 = 0xa10a_10a1;
const PAGE: usize = 4096;
const HEADER: usize = size_of::<Header>();

/// Small rings that share a mapping.
const SHARE: usize = 512;

/// Places for small rings that are free: our address and the program's.
static SLOTS: PerLife<Mutex<Vec<(usize, usize)>>> = PerLife::new();

#[repr(C)]
#[derive(Debug)]
struct Header {
    id: AtomicU32,
    len: AtomicU32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: AtomicU32,
    compat_features: AtomicU32,
    incompat_features: AtomicU32,
    header_length: AtomicU32,
}

const _: () = {
    assert!(size_of::<Header>() == 32);
    assert!(std::mem::offset_of!(Header, magic) == 16);
};

/// How large the kernel makes a ring for so many events (fs/aio.c: `ioctx_alloc`, `aio_setup_ring`); none: `EINVAL`.
pub(crate) fn pages_for(events: u32) -> Option<usize> {
    // SAFETY: asks for a number.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }.max(1) as u32;
    let events = events.max(cpus * 4).wrapping_mul(2);
    if events as usize > 0x1000_0000 / size_of::<IoEvent>() {
        return None;
    }
    Some((HEADER + (events as usize + 2) * size_of::<IoEvent>()).div_ceil(PAGE))
}

/// Our side of a ring.
#[derive(Debug)]
pub(crate) struct Ring {
    base: *mut Header,
    pages: usize,
    len: u32,
    tail: u32,
    /// It shares a mapping with others, and this is where the program got it.
    shared: Option<usize>,
}

// SAFETY: clause *ours*; it is used under its context's lock.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes a ring, at `address` in place of what is there, or anywhere; gives where the program has it.
    ///
    /// # Safety
    ///
    /// At `address`, if it is given, is a ring of the kernel's of so many pages.
    pub(crate) unsafe fn new(
        id: u32,
        pages: usize,
        address: Option<usize>,
    ) -> Option<(Self, usize)> {
        const ALL: i32 = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let size = pages * PAGE;
        // SAFETY: new memory, where there is room.
        let base = unsafe { libc::mmap(ptr::null_mut(), size, ALL, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return None;
        }
        let len = ((size - HEADER) / size_of::<IoEvent>()) as u32;
        let ring = Self { base: base.cast(), pages, len, tail: 0, shared: None };
        ring.write_header(id);
        // The same memory once more: mremap(2) of nothing of a shared mapping.
        let at = match address {
            // SAFETY: the duty of this function: the kernel keeps what it needs of its ring elsewhere.
            Some(at) => unsafe {
                let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
                libc::mremap(base, 0, size, how, at as *mut libc::c_void)
            },
            // SAFETY: where there is room.
            None => unsafe { libc::mremap(base, 0, size, libc::MREMAP_MAYMOVE) },
        };
        if at == libc::MAP_FAILED {
            unmap(ring.base as usize, size);
            return None;
        }
        Some((ring, at as usize))
    }

    /// Makes a ring anywhere; gives where the program has it. Small ones share their mappings, of which a process may
    /// have 65,530 (`vm.max_map_count`).
    pub(crate) fn anywhere(id: u32, pages: usize) -> Option<(Self, usize)> {
        if pages != 1 {
            // SAFETY: no address is given.
            return unsafe { Self::new(id, pages, None) };
        }
        let mut slots = lock(SLOTS.get());
        if slots.is_empty() {
            // SAFETY: no address is given.
            let (many, at) = unsafe { Self::new(0, SHARE, None) }?;
            let first = (many.base as usize, at);
            slots.extend(
                (0..SHARE).rev().map(|page| (first.0 + page * PAGE, first.1 + page * PAGE)),
            );
        }
        let (base, at) = slots.pop()?;
        drop(slots);
        let len = ((PAGE - HEADER) / size_of::<IoEvent>()) as u32;
        let ring = Self { base: base as *mut Header, pages, len, tail: 0, shared: Some(at) };
        ring.header().head.store(0, Ordering::Relaxed);
        ring.header().tail.store(0, Ordering::Relaxed);
        ring.write_header(id);
        Some((ring, at))
    }

    fn header(&self) -> &Header {
        // SAFETY: clause *ours*.
        unsafe { &*self.base }
    }

    fn write_header(&self, id: u32) {
        let header = self.header();
        header.id.store(id, Ordering::Relaxed);
        header.len.store(self.len, Ordering::Relaxed);
        header.compat_features.store(1, Ordering::Relaxed);
        header.header_length.store(HEADER as u32, Ordering::Relaxed);
        // Release: programs that look at the magic number see the rest.
        header.magic.store(MAGIC, Ordering::Release);
    }

    fn head(&self) -> u32 {
        // Acquire: pairs with the release of who has taken events: the places are free.
        self.header().head.load(Ordering::Acquire) % self.len
    }

    /// Events that were put in and not taken.
    pub(crate) fn filled(&self) -> u32 {
        (self.tail + self.len - self.head()) % self.len
    }

    /// Puts an event in. Duty: there is room, which the context's count of requests sees to.
    pub(crate) fn push(&mut self, event: IoEvent) {
        let place = self.event(self.tail);
        // SAFETY: clause *shared*: within the ring, and behind the tail.
        unsafe { place.write_volatile(event) };
        self.tail = (self.tail + 1) % self.len;
        // Release: pairs with the acquire of programs that look at the ring.
        self.header().tail.store(self.tail, Ordering::Release);
    }

    /// Takes the oldest event. Programs that take some themselves at the same time are their own to blame, as with
    /// the kernel.
    pub(crate) fn pop(&mut self) -> Option<IoEvent> {
        let head = self.head();
        if head == self.tail {
            return None;
        }
        // SAFETY: clause *shared*; any bits are an event.
        let event = unsafe { self.event(head).read_volatile() };
        // Release: it is read before the place is used again.
        self.header().head.store((head + 1) % self.len, Ordering::Release);
        Some(event)
    }

    fn event(&self, at: u32) -> *mut IoEvent {
        let events = self.base.wrapping_byte_add(HEADER).cast::<IoEvent>();
        events.wrapping_add(at as usize)
    }

    /// Takes our mapping away, and of the program's at `address` what is there, unless that is `gone`: it may
    /// have moved or unmapped pages of it, and have something else there by now.
    pub(crate) fn free(self, address: usize, gone: bool) {
        match self.shared {
            Some(at) if at == address && self.is_at(0, address) => {
                // No ring is there any more.
                self.header().magic.store(0, Ordering::Relaxed);
                lock(SLOTS.get()).push((self.base as usize, at));
            }
            // The program has moved it away, which has left a hole: the place is not used again.
            Some(_) => self.unmap_at(address),
            None => {
                if !gone {
                    self.unmap_at(address);
                }
                unmap(self.base as usize, self.pages * PAGE);
            }
        }
    }

    fn unmap_at(&self, address: usize) {
        let there = (0..self.pages).filter(|page| self.is_at(*page, address));
        there.for_each(|page| unmap(address + page * PAGE, PAGE));
    }

    /// True if the program's mapping at `address` has this page of the ring: what is written here is read there.
    /// Duty: no event is wanted any more.
    fn is_at(&self, page: usize, address: usize) -> bool {
        const MARKS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, !0x9e37_79b9_7f4a_7c15];
        let place = self.base.wrapping_byte_add(page * PAGE).cast::<u64>();
        MARKS.iter().all(|mark| {
            // SAFETY: clause *ours*.
            unsafe { place.write_volatile(*mark) };
            // SAFETY: a number, whatever it is.
            let seen = unsafe { syslet_dropin::memory::read::<u64>(address + page * PAGE) };
            seen == Ok(*mark)
        })
    }

    /// Puts the ring's first page where the program had it too, in front of pages of nothing, if all of that place is
    /// free. True: it was.
    pub(crate) fn put_back(&self, to: usize) -> bool {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let (size, place) = (self.pages * PAGE, to as *mut libc::c_void);
        // SAFETY: new memory, where nothing is.
        let room = unsafe { libc::mmap(place, size, libc::PROT_NONE, flags, -1, 0) };
        if room != place {
            if room != libc::MAP_FAILED {
                unmap(room as usize, size); // Linux before 4.17 takes the address for a hint
            }
            return false;
        }
        let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: clause *ours*: once more the same page, in place of one that was just made.
        let page = unsafe { libc::mremap(self.base.cast(), 0, PAGE, how, place) };
        if page != place {
            unmap(to, size);
        }
        page == place
    }

    /// Pages of memory.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }
}

/// Takes a mapping away.
fn unmap(address: usize, size: usize) {
    // SAFETY: clause *ours*, or the program's mapping of a ring that it has given up.
    unsafe { libc::munmap(address as *mut libc::c_void, size) };
}

/// The identity that a ring has in its header, if there is a ring at `address`.
pub(crate) fn id_at(address: usize) -> Option<u32> {
    // SAFETY: numbers, wherever they stand; the address was given as a ring's.
    let header = unsafe { syslet_dropin::memory::read::<[u32; 8]>(address) }.ok()?;
    (header[4] == MAGIC).then_some(header[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_as_large_as_the_kernels() {
        // SAFETY: asks for a number.
        if unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) } > 8 {
            return syslet_testfs::skip("small rings are larger where there are more than 8 CPUs");
        }
        let len = |events| pages_for(events).map(|pages| (pages * PAGE - HEADER) / 32);
        let known = [(33, 127), (62, 127), (63, 255), (65, 255), (127, 383), (256, 639)];
        for (events, expected) in known {
            assert_eq!(len(events), Some(expected), "io_setup({events})");
        }
        assert_eq!([1000, 1024, 4096, 65536].map(len), [2047, 2175, 8319, 131_199].map(Some));
        assert_eq!([u32::MAX, 0x1000_0000, i32::MAX as u32].map(len), [None; 3]);
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        // SAFETY: no address is given.
        let (mut ring, at) = unsafe { Ring::new(7, 1, None) }.expect("there is memory");
        assert_eq!(id_at(at), Some(7));
        for round in 0..300 {
            ring.push(IoEvent { data: round, ..IoEvent::default() });
            ring.push(IoEvent { data: round, ..IoEvent::default() });
            assert_eq!(ring.filled(), 2);
            let both = [ring.pop(), ring.pop()].map(|event| event.map(|event| event.data));
            assert_eq!((both, ring.pop().is_none()), ([Some(round); 2], true));
        }
        // The program has the same memory.
        // SAFETY: mapped by `new`, as long as a header.
        let program = unsafe { &*(at as *const Header) };
        assert_eq!(program.head.load(Ordering::Relaxed), program.tail.load(Ordering::Relaxed));
        ring.free(at, false);
    }

    #[test]
    fn small_rings_are_used_again_and_empty() {
        let (mut ring, at) = Ring::anywhere(1, 1).expect("there is memory");
        ring.push(IoEvent::default());
        ring.free(at, false);
        assert_eq!(id_at(at), None);
        let (ring, again) = Ring::anywhere(2, 1).expect("there is memory");
        assert_eq!((again, id_at(at), ring.filled()), (at, Some(2), 0));
        ring.free(again, false);
    }

    #[test]
    fn what_stands_where_a_ring_was_is_left_alone() {
        const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;
        let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: no address is given.
        let (ring, at) = unsafe { Ring::new(3, 3, None) }.expect("there is memory");
        let middle = (at + PAGE) as *mut libc::c_void;
        // SAFETY: in place of a page of the ring, as a program may do it.
        let other = unsafe { libc::mmap(middle, PAGE, BOTH, how, -1, 0) };
        assert_eq!(other, middle);
        assert!(!ring.put_back(at), "something is there");
        ring.free(at, false);
        let there = [0, 1, 2].map(|page| syslet_dropin::memory::readable(at + page * PAGE, 8));
        assert_eq!(there.map(|there| there.is_ok()), [false, true, false]);
        unmap(at + PAGE, PAGE);
    }
}
