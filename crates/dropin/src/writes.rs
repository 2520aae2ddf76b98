//! Buffered writes of threads that are not guests: which are made on the spot.
//!
//! ext4, the most common file system, cannot be asked to write without waiting (`RWF_NOWAIT`), and XFS and btrfs
//! answer such a wish with "would wait" for most of what would not (Linux 6.0 to 6.19: time stamps). A hop to a thread
//! costs ten times the write. So a write is made on the spot where nothing speaks for waiting: the file
//! system is a local one, the write is small, covers whole pages or pages that are in memory, and is not to be on
//! the disk when it ends. (That none of its file's is away is for the caller to know.) What may wait nevertheless is
//! the journal, and who writes more than the disk takes: a descriptor whose writes were slow twice in a row
//! has the next ones made elsewhere for a while.

#![allow(unsafe_code, reason = "makes the call of a request, whose memory is the program's")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use syslet_sys::arch;
use syslet_sys::uapi::{RWF_NOWAIT, nr};

use crate::clock;
use crate::disks::{self, Kind};

/// Flags of pwritev2(2) (linux/fs.h) with which a write is on the disk when it ends.
const RWF_DSYNC: u32 = 2;
const RWF_SYNC: u32 = 4;

/// Descriptors that are remembered; higher ones share their places.
const NUMBERS: usize = 4096;
/// Longest write that is made on the spot: some tens of microseconds of copying.
const MOST: usize = 256 << 10;
/// A write of so many nanoseconds has waited, or was preempted.
const SLOW: u64 = 100_000;
/// How long writes are made elsewhere after that.
const ELSEWHERE: u64 = 50_000_000;
const PAGE: u64 = 4096;

const UNKNOWN: u32 = 0;
const IS_LOCAL: u32 = 1;
const IS_NOT: u32 = 2;

struct Place {
    /// Whether its file's file system is a local one: asked once.
    local: AtomicU32,
    /// Slow ones in a row.
    slow: AtomicU32,
    /// Until when they are made elsewhere, in nanoseconds of CLOCK_MONOTONIC; 0: they are not.
    until: AtomicU64,
}

static PLACES: [Place; NUMBERS] = [const {
    Place { local: AtomicU32::new(UNKNOWN), slow: AtomicU32::new(0), until: AtomicU64::new(0) }
}; NUMBERS];

/// A write.
#[derive(Debug, Clone, Copy)]
pub struct Write {
    /// Of the file.
    pub descriptor: i32,
    /// Of what is written.
    pub address: usize,
    /// Bytes.
    pub len: usize,
    /// In the file.
    pub position: u64,
    /// Of pwritev2(2).
    pub rw_flags: u32,
    /// The file's status flags.
    pub flags: i32,
}

fn place(descriptor: i32) -> &'static Place {
    &PLACES[descriptor as usize % NUMBERS]
}

/// Makes a write on the spot, unless something speaks for waiting; as pwritev2(2) answers.
///
/// # Safety
///
/// The program asked for this write: its memory is there, or the answer is `-EFAULT`.
///
/// # Blocking
///
/// Should not, but may, for what a write to the page cache may wait for.
pub unsafe fn try_now(write: &Write) -> Option<isize> {
    let place = place(write.descriptor);
    if write.len > MOST
        || write.rw_flags & (RWF_DSYNC | RWF_SYNC) != 0
        || write.flags & (libc::O_SYNC | libc::O_DSYNC) != 0
        || !place.is_local(write.descriptor)
        || !place.is_calm()
        || !has_pages(write)
    {
        return None;
    }
    let vector = [write.address, write.len];
    let number = write.descriptor as usize;
    let (at, flags) = (write.position as usize, write.rw_flags as usize);
    let begun = clock::now();
    // SAFETY: the duty of this function.
    let answer =
        unsafe { arch::syscall(nr::PWRITEV2, [number, vector.as_ptr() as usize, 1, at, 0, flags]) };
    std::hint::black_box(&vector);
    place.note(clock::now() - begun);
    Some(answer)
}

impl Place {
    fn is_local(&self, descriptor: i32) -> bool {
        match self.local.load(Ordering::Relaxed) {
            UNKNOWN => self.look(descriptor),
            known => known == IS_LOCAL,
        }
    }

    #[cold]
    fn look(&self, descriptor: i32) -> bool {
        let local = disks::kind_of(descriptor) != Kind::Other;
        self.local.store(if local { IS_LOCAL } else { IS_NOT }, Ordering::Relaxed);
        local
    }

    /// True if writes were not slow lately.
    fn is_calm(&self) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let over = clock::now() >= until;
        if over {
            self.until.store(0, Ordering::Relaxed);
        }
        over
    }

    #[inline]
    fn note(&self, nanos: u64) {
        if nanos < SLOW {
            if self.slow.load(Ordering::Relaxed) != 0 {
                self.slow.store(0, Ordering::Relaxed);
            }
            return;
        }
        // The number may name a file of another file system by now.
        self.local.store(UNKNOWN, Ordering::Relaxed);
        if self.slow.fetch_add(1, Ordering::Relaxed) > 0 {
            self.slow.store(0, Ordering::Relaxed);
            self.until.store(clock::now() + ELSEWHERE, Ordering::Relaxed);
        }
    }
}

/// True if no page has to be read first: each is covered, in memory, or behind the end of the file.
fn has_pages(write: &Write) -> bool {
    let (start, end) = (write.position, write.position + write.len as u64);
    if write.flags & libc::O_APPEND != 0 {
        return true; // its last page was written to lately, most likely
    }
    let in_memory = |at: u64| at.is_multiple_of(PAGE) || is_in_memory(write, at & !(PAGE - 1));
    in_memory(start) && in_memory(end)
}

/// Asked by reading a byte of the page without waiting. A file that may only be written to cannot be asked.
fn is_in_memory(write: &Write, position: u64) -> bool {
    let mut byte = 0u8;
    let vector = [&raw mut byte as usize, 1];
    let number = write.descriptor as usize;
    let args = [number, vector.as_ptr() as usize, 1, position as usize, 0, RWF_NOWAIT];
    // SAFETY: one byte of this function's.
    unsafe { arch::syscall(nr::PREADV2, args) >= 0 }
}
