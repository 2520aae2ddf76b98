//! When the file of a parked call is the call's own.

use crate::park::HOLDS_AT_ONCE;
use crate::sync::Ordering;

/// Has parked calls go on when the program closes their descriptors, as calls that sleep in the kernel do: from now on
/// the file of each call that is parked is held for it as soon as it is parked. `false`: no more. For the whole
/// process, and for children that it forks.
///
/// Without it a call's file is held 50 ms after the call was parked, and not at all where a sandbox forbids
/// pidfd_getfd(2), as Docker's default profile does: a call whose descriptor is closed before that ends with `EBADF`
/// when its file becomes ready.
///
/// Not held all the same are files that take notice when they are closed (message queues, devices that are no
/// terminals, FUSE's), what is beyond `RLIMIT_NOFILE`, and, where pidfd_getfd is forbidden, the files of calls that are
/// made by threads of ours, for a closure that is away: those may send no files. Some calls need their number to the
/// end: `accept` and messages with control data, which bring or name descriptors; and what cannot be tried without
/// waiting and so gets a thread when its file is ready (reads of terminals and of inotify, what is left of a `writev`).
/// A wait for several descriptors does not wait any more for one that is closed.
///
/// Where pidfd_getfd is forbidden the file is sent, by a socket that has a number in the program's table for some
/// microseconds of the submission: no other thread may close all descriptors just then.
///
/// It costs each call that waits, but for `poll`, up to a tenth of a millisecond: a thread with descriptors of its own
/// is woken to fetch its file, and to make it and let the file go when that is ready.
///
/// # Blocking
///
/// Never. With it, `submit` of a call that is parked waits until its file was taken, some tens of microseconds. On an
/// attached thread it does not leave the call to another thread while it finds out that the call would wait: if the
/// call's memory has to be fetched for that, `submit` waits.
///
/// One thread makes all calls whose files are held. While it waits for a call's memory, which userfaultfd(2) or the
/// server of a mapped file withholds, `submit` of another call that waits does too, and so may cancels, times and
/// wakers: who serves that memory must wait for none of them.
///
/// # Examples
///
/// ```no_run
/// syslet::hold_files_at_once(true);
/// ```
pub fn hold_files_at_once(on: bool) {
    HOLDS_AT_ONCE.store(on, Ordering::Relaxed);
}
