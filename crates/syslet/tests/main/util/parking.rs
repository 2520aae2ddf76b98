//! Calls that are parked, and files that are held for them.

#![allow(unsafe_code, reason = "asks whether descriptors may be taken, by calls of numbers")]

use std::os::fd::RawFd;
use std::time::Duration;

use syslet::{Call, Pending, stats};

use super::calls::{Landing, go, number_call, pending, read_call, taking_call};
use super::pipe::Pipe;
use super::{eventually, skip, within};
use crate::container::sandbox;

/// A call parked, which is what the counters must say: at once, or soon if it was preempted while it
/// was tried.
///
/// The first one may go away, to a thread: if another test had a file of that number, it is taken for a file. So
/// it is made once more.
pub(crate) fn parked(call: Call) -> Pending {
    for _ in 0..3 {
        let before = stats().parked_in_all;
        let pending = pending(go(call));
        if within(Duration::from_secs(2), || stats().parked_in_all > before) {
            return pending;
        }
        let _ = pending.cancel();
        assert!(pending.wait().is_cancelled(), "{call:?} was waiting");
    }
    panic!("{call:?} is away, not parked");
}

/// Returns when whoever was told of something before this has acted on it: what becomes ready is gone on with in its
/// order, and a thread that was woken earlier goes on earlier.
///
/// Before a look at something that a call which is over must leave alone: without this the look would come first.
pub(crate) fn let_others_act() {
    for _ in 0..3 {
        let (parks, sleeps) = (Pipe::new(), Pipe::new());
        let calls = [read_call(parks.read_end(), Landing::leak()), taking_call(sleeps.read_end())];
        let later = calls.map(|call| pending(go(call)));
        parks.put(1);
        sleeps.put(1);
        // Not by waiting, which would take events on this thread.
        assert!(later.iter().all(|call| eventually(|| call.is_done())));
    }
}

/// True, with a skip line, where the library may not take files of the program for itself.
#[track_caller]
pub(crate) fn skip_without_pidfd_getfd() -> bool {
    let denied = sandbox().is_some();
    if denied {
        skip("the sandbox denies pidfd_getfd, by which files are held");
    }
    denied
}

/// Waits until so many files are held; false, with a skip line, where that is not allowed.
#[track_caller]
pub(crate) fn eventually_held(files: usize) -> bool {
    // SAFETY: numbers.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) };
    // SAFETY: as above.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, -1, 0) };
    let allowed =
        taken == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EBADF);
    // SAFETY: ours.
    unsafe { libc::close(process as i32) };
    if !allowed {
        skip("pidfd_getfd is not allowed here");
        return false;
    }
    assert!(eventually(|| stats().held == files), "{} of {files} files are held", stats().held);
    true
}

/// An accept.
pub(crate) fn accept_call(listener: RawFd) -> Call {
    number_call(libc::SYS_accept4, [listener as usize, 0, 0, libc::SOCK_CLOEXEC as usize])
}
