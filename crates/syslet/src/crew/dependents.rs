//! What ends with the kernel thread that began it: children that asked for a signal then
//! (`PR_SET_PDEATHSIG`, prctl(2)), and requests of io_uring, which the kernel cancels. A guest may have begun
//! either while the thread carried it; so a crew thread that has carried one looks here before it ends.

#![allow(unsafe_code, reason = "raw calls")]

use std::mem::MaybeUninit;

use syslet_sys::uapi::{
    ECHILD, EINVAL, ENOSYS, IORING_ENTER_REGISTERED_RING, P_ALL, PR_GET_SECCOMP, WALL, WEXITED,
    WNOHANG, WNOTHREAD, WNOWAIT, nr,
};
use syslet_sys::{arch, call};

/// True if something may depend on the calling thread. By system calls that need no descriptor: one of
/// ours could be closed by the program, and the number given to a file of its own.
///
/// Never blocks.
pub(super) fn exist() -> bool {
    has_children() || may_have_ring_requests()
}

/// waitid(2), Linux 2.6.9: `ECHILD` if there is no child of this very thread, whatever its state.
fn has_children() -> bool {
    let how = WEXITED | WNOHANG | WNOWAIT | WALL | WNOTHREAD;
    // SAFETY: no result is asked for.
    let answer = unsafe { arch::syscall(nr::WAITID, [P_ALL, 0, 0, how, 0, 0]) };
    answer != -ECHILD
}

/// True unless it is known that this thread has never used io_uring.
///
/// io_uring_enter(2) of a ring by its place among the thread's registered ones answers `EINVAL` if the
/// thread has nothing to do with io_uring, and `EBADF` if it has, but no ring at that place. A filter may end the
/// program for the question.
fn may_have_ring_requests() -> bool {
    // SAFETY: takes no pointer and changes nothing.
    if !knows_registered_rings() || unsafe { call::prctl(PR_GET_SECCOMP, 0) } != 0 {
        return true;
    }
    let args = [0, 0, 0, IORING_ENTER_REGISTERED_RING, 0, 0];
    // SAFETY: submits nothing and waits for nothing.
    let answer = unsafe { arch::syscall(nr::IO_URING_ENTER, args) };
    answer != -EINVAL && answer != -ENOSYS
}

/// Rings have places since Linux 5.18; before, the flag is unknown, and the answer is `EINVAL` for everybody.
/// Asked each time, which is seldom: what is remembered under a lock may be locked at a fork.
fn knows_registered_rings() -> bool {
    kernel_version().is_some_and(|version| version >= (5, 18))
}

/// Major and minor number of the kernel's version.
fn kernel_version() -> Option<(u32, u32)> {
    let mut names = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: writes the structure, which is live.
    unsafe { libc::uname(names.as_mut_ptr()) };
    // SAFETY: it consists of arrays of characters, for which zeros will do.
    let names = unsafe { names.assume_init() };
    let release: Vec<u8> = names.release.iter().map(|byte| *byte as u8).collect();
    parse_version(&release)
}

fn parse_version(release: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(release).ok()?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_understood() {
        assert_eq!(parse_version(b"6.18.44-fc-v445\0\0"), Some((6, 18)));
        assert_eq!(parse_version(b"5.4\0"), Some((5, 4)));
        assert_eq!(parse_version(b"strange"), None);
        assert!(kernel_version().is_some());
    }

    #[test]
    fn a_child_is_a_dependent_of_the_thread_that_made_it() {
        // A thread of its own: children of other tests are not its.
        let thread = std::thread::spawn(|| {
            let before = has_children();
            let mut child = std::process::Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .expect("cat can be run");
            let with = has_children();
            let other = std::thread::spawn(has_children).join();
            drop(child.stdin.take());
            child.wait().expect("it ends");
            (before, with, other.expect("it only asks"), has_children())
        });
        assert_eq!(thread.join().expect("a thread"), (false, true, false, false));
    }
}
