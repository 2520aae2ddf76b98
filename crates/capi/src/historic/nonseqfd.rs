//! Private descriptors: `nonseqfd`, as Ulrich Drepper wanted it.

#![allow(unsafe_code, reason = "functions that C programs call, and system calls without memory")]

use std::ffi::c_int;

use crate::abi::historic::NONSEQFD_CLOSE;
use crate::errno;

/// How often a number is drawn: in the end there may be none.
const DRAWS: usize = 64;
/// The kernel's table of descriptors grows to the highest number, at eight bytes each.
const HIGHEST: u64 = 1 << 16;
/// A process with fewer descriptors has no part of them to spare.
const FEWEST: u64 = 16;

/// `nonseqfd(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn nonseqfd(fd: c_int, flags: c_int) -> c_int {
    errno::kept(|| duplicate(fd, flags))
}

fn duplicate(fd: c_int, flags: c_int) -> c_int {
    if flags & !NONSEQFD_CLOSE != 0 {
        return -libc::EINVAL;
    }
    // SAFETY: no memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return -libc::EBADF;
    }
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return -libc::EMFILE;
    }
    let end = limit.rlim_cur.min(HIGHEST);
    if end < FEWEST {
        return -libc::EMFILE;
    }
    // The lower half is left to who wants the lowest.
    let start = end / 2;
    for _ in 0..DRAWS {
        let mut random = 0u64;
        let place = std::ptr::from_mut(&mut random).cast();
        // SAFETY: eight bytes of ours.
        if unsafe { libc::getrandom(place, 8, 0) } != 8 {
            return -libc::EAGAIN;
        }
        let wanted = start + random % (end - start);
        // SAFETY: no memory.
        let made = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, wanted as c_int) };
        if made < 0 {
            continue;
        }
        if flags & NONSEQFD_CLOSE != 0 {
            syslet_sys::call::close(fd);
        }
        return made;
    }
    -libc::EMFILE
}
