//! Which way a request goes.
//!
//! What a program did wrong the kernel says best: a request that it would refuse is given to it, and so is what we
//! cannot judge. So what is looked at here must be at least all that makes a request of a transfer one that
//! the kernel accepts.
//!
//! The status flags of descriptors may be old. That costs time only: a buffered request goes where the program waits
//! for it, as it would without us, or has its error from the kernel. But whether a descriptor has no positions is
//! asked again before it is relied on.

#![allow(unsafe_code, reason = "looks at a program's memory, behind a look whether it is there")]

use std::sync::atomic::{AtomicI32, Ordering};

use syslet_dropin::flags::{STREAM, forget, status_flags};
use syslet_dropin::memory;
use syslet_sys::descriptor;
use syslet_sys::uapi::{IoEvent, Iocb};

use crate::abi::{
    FDSYNC, FLAG_IOPRIO, FSYNC, MOST_VECTORS, POLL, PREAD, PREADV, PWRITE, PWRITEV, RWF_KNOWN,
    Vector, eventfd, reads,
};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// The kernel refuses it, or knows.
    Kernel,
    /// A transfer that goes past the cache: the kernel does it asynchronously.
    Direct,
    /// The kernel does it asynchronously.
    Sync,
    /// The same.
    Poll,
    /// A transfer that the kernel would do, or wait for, before it returns. The file's status flags.
    Buffered { flags: i32 },
}

/// The longest transfer (MAX_RW_COUNT of linux/fs.h).
pub(crate) const LONGEST: u64 = 0x7fff_f000;

const _: () = assert!(size_of::<IoEvent>() == 32);

/// Looks at a request.
pub(crate) fn route(iocb: &Iocb) -> Route {
    if iocb.reserved != 0 || !eventfd(iocb).is_none_or(may_be_eventfd) {
        return Route::Kernel;
    }
    match iocb.opcode {
        PREAD | PWRITE | PREADV | PWRITEV => transfer(iocb),
        FSYNC | FDSYNC if is_bare(iocb) && iocb.buf == 0 => match is_storage(iocb) {
            true => Route::Sync,
            false => Route::Kernel,
        },
        POLL if is_bare(iocb) && iocb.buf <= 0xffff && is_pollable(iocb) => Route::Poll,
        _ => Route::Kernel,
    }
}

/// Looks at a request that would be refused once more: the number may have named something else when its flags were
/// asked for.
#[cold]
pub(crate) fn anew(iocb: &Iocb) -> Route {
    forget(iocb.descriptor as i32);
    route(iocb)
}

/// True if nothing is said of an extent.
fn is_bare(iocb: &Iocb) -> bool {
    iocb.nbytes == 0 && iocb.offset == 0 && iocb.rw_flags == 0
}

/// True if the descriptor names what can be polled, and the kernel would not say of it that it cannot wait: a file or a
/// folder is ready to be read and written to, and if that is not asked for nothing will come.
fn is_pollable(iocb: &Iocb) -> bool {
    const READY: u64 = 0x145; // DEFAULT_POLLMASK of linux/poll.h: to be read, to be written to, by both their names
    const NEVER: [u32; 2] = [libc::S_IFREG, libc::S_IFDIR];
    let flags = status_flags(iocb.descriptor as i32);
    let open = flags >= 0 && (flags & libc::O_PATH == 0 || names_file(iocb.descriptor as i32)); // it may be a folder
    open && (iocb.buf & READY != 0 || !is_one_of(iocb, &NEVER))
}

/// True for files, folders and block devices. What is not open is none.
fn is_storage(iocb: &Iocb) -> bool {
    is_one_of(iocb, &[libc::S_IFREG, libc::S_IFDIR, libc::S_IFBLK])
        && names_file(iocb.descriptor as i32)
}

fn is_one_of(iocb: &Iocb, kinds: &[u32]) -> bool {
    let stat = descriptor::stat(iocb.descriptor as i32);
    stat.is_ok_and(|stat| kinds.contains(&(stat.mode & libc::S_IFMT)))
}

/// True if a number names an open file, and not only a path.
fn names_file(number: i32) -> bool {
    let flags = descriptor::status_flags(number);
    flags >= 0 && flags as i32 & libc::O_PATH == 0
}

fn transfer(iocb: &Iocb) -> Route {
    let flags = status_flags(iocb.descriptor as i32);
    if flags < 0 || flags & libc::O_PATH != 0 || !may(iocb, flags) || !is_sound(iocb) {
        return Route::Kernel;
    }
    // A pipe of packets has the flag too, and no positions.
    match flags & (libc::O_DIRECT | STREAM) {
        libc::O_DIRECT => Route::Direct,
        _ => Route::Buffered { flags },
    }
}

/// Whether the file was opened for it.
fn may(iocb: &Iocb, flags: i32) -> bool {
    match flags & libc::O_ACCMODE {
        libc::O_RDONLY => reads(iocb),
        libc::O_WRONLY => !reads(iocb),
        libc::O_RDWR => true,
        _ => false,
    }
}

fn is_sound(iocb: &Iocb) -> bool {
    // Classes of linux/ioprio.h that anybody may ask for: none, which has no levels, best-effort, idle.
    let (class, level) = (iocb.priority as u16 >> 13, iocb.priority & 7);
    let priority = iocb.flags & FLAG_IOPRIO == 0 || matches!((class, level), (0, 0) | (2 | 3, _));
    iocb.offset >= 0
        && iocb.rw_flags & !RWF_KNOWN == 0
        && priority
        && match iocb.opcode {
            PREAD | PWRITE => is_buffer(iocb),
            _ => are_ranges(iocb),
        }
}

/// What the kernel looks at before it makes room for a request: nothing that it does not know is asked for.
#[cold]
pub(crate) fn is_understood(iocb: &Iocb) -> bool {
    iocb.reserved == 0 && isize::try_from(iocb.nbytes).is_ok()
}

/// Why the kernel would refuse a request that it understands and has room for, in the order in which it looks
/// (fs/aio.c): for contexts without one of the kernel's.
#[cold]
pub(crate) fn refusal(iocb: &Iocb, obj: u64) -> Option<i32> {
    if !names_file(iocb.descriptor as i32) {
        return Some(libc::EBADF);
    }
    if let Some(eventfd) = eventfd(iocb)
        && !is_eventfd(eventfd)
    {
        return Some(if names_file(eventfd) { libc::EINVAL } else { libc::EBADF });
    }
    if memory::writable(obj as usize + std::mem::offset_of!(Iocb, key), size_of::<u32>()).is_err() {
        return Some(libc::EFAULT);
    }
    match iocb.opcode {
        PREAD | PWRITE | PREADV | PWRITEV => refusal_of_transfer(iocb),
        _ => None,
    }
}

fn refusal_of_transfer(iocb: &Iocb) -> Option<i32> {
    let flags = descriptor::status_flags(iocb.descriptor as i32) as i32;
    if iocb.rw_flags & !RWF_KNOWN != 0 {
        return Some(libc::EOPNOTSUPP);
    }
    if !may(iocb, flags) {
        return Some(libc::EBADF);
    }
    if matches!(iocb.opcode, PREAD | PWRITE) {
        let there = is_range(iocb.buf as usize, iocb.nbytes.min(LONGEST) as usize);
        return if !there {
            Some(libc::EFAULT)
        } else {
            (!is_buffer(iocb)).then_some(libc::EINVAL)
        };
    }
    if count(iocb) > MOST_VECTORS {
        return Some(libc::EINVAL);
    }
    let Some(vectors) = vectors(iocb) else { return Some(libc::EFAULT) };
    if vectors.iter().any(|vector| (vector[1] as isize) < 0) {
        return Some(libc::EINVAL);
    }
    let there = vectors.iter().all(|[address, len]| is_range(*address, *len));
    if !there { Some(libc::EFAULT) } else { (!are_ranges(iocb)).then_some(libc::EINVAL) }
}

/// What the kernel's `access_ok` takes.
fn is_range(address: usize, len: usize) -> bool {
    const END: usize = 1 << 47;
    isize::try_from(len).is_ok() && address.checked_add(len).is_some_and(|end| end < END)
}

/// A buffer is cut to the longest transfer before it is looked at.
fn is_buffer(iocb: &Iocb) -> bool {
    isize::try_from(iocb.nbytes).is_ok()
        && is_range(iocb.buf as usize, iocb.nbytes.min(LONGEST) as usize)
        && ends(iocb, iocb.nbytes)
}

/// Whether so much from its offset on ends where offsets do, at the latest.
fn ends(iocb: &Iocb, len: u64) -> bool {
    iocb.offset.checked_add(len.min(LONGEST) as i64).is_some()
}

/// How many vectors there are: the kernel takes the lower half of the number.
fn count(iocb: &Iocb) -> usize {
    iocb.nbytes as u32 as usize
}

fn are_ranges(iocb: &Iocb) -> bool {
    count(iocb) <= MOST_VECTORS
        && vectors(iocb).is_some_and(|vectors| {
            let total = vectors.iter().try_fold(0usize, |sum, vector| sum.checked_add(vector[1]));
            total.is_some_and(|total| ends(iocb, total as u64))
                && vectors.iter().all(|[address, len]| is_range(*address, *len))
        })
}

/// The vectors of a request, if they are there.
pub(crate) fn vectors(iocb: &Iocb) -> Option<Box<[Vector]>> {
    let (at, count) = (iocb.buf as usize, count(iocb));
    if count == 0 {
        return Some(Box::default());
    }
    memory::readable(at, count * size_of::<Vector>()).ok()?;
    let vector = |index: usize| {
        // SAFETY: the program's duties; it was looked at.
        unsafe { (at as *const Vector).wrapping_add(index).read_unaligned() }
    };
    Some((0..count).map(vector).collect())
}

/// Numbers that were eventfds.
static EVENTFDS: [AtomicI32; 16] = [const { AtomicI32::new(-1) }; 16];

/// Whether a number names an eventfd, or did when it was last looked at.
fn may_be_eventfd(number: i32) -> bool {
    let place = &EVENTFDS[number as usize % EVENTFDS.len()];
    number >= 0 && place.load(Ordering::Relaxed) == number || is_eventfd(number)
}

/// Whether a number names an eventfd. Of those that did once, that it is one of the kernel's anonymous files is
/// enough: writing a number to any other of these does nothing.
pub(crate) fn is_eventfd(number: i32) -> bool {
    let place = &EVENTFDS[number as usize % EVENTFDS.len()];
    if !descriptor::stat(number).is_ok_and(|stat| stat.mode & libc::S_IFMT == 0) {
        if place.load(Ordering::Relaxed) == number {
            place.store(-1, Ordering::Relaxed);
        }
        return false;
    }
    if place.load(Ordering::Relaxed) == number {
        return true;
    }
    let name = std::fs::read_link(format!("/proc/self/fd/{number}"));
    let is = name.is_ok_and(|name| name.as_os_str() == "anon_inode:[eventfd]");
    if is {
        place.store(number, Ordering::Relaxed);
    }
    is
}
