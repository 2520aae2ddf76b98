//! When the file of a parked call is the call's own.

use crate::park::HOLDS_AT_ONCE;
use crate::sync::Ordering;

/// Has the file of each call that is parked from now on held for it as soon as it is parked, in the whole process
/// (`false`: no more), so that the program may close its descriptor as soon as the call was submitted: the call goes on
/// with its file, as one that sleeps in the kernel does.
///
/// Without it that is so 50 ms after the call was parked, and not at all where a sandbox forbids pidfd_getfd(2), as
/// Docker's default profile does: a call whose descriptor is closed before ends with `EBADF` when its file becomes
/// ready. Where it is forbidden this has the file sent, by a socket that has a number in the program's table for some
/// microseconds of the submission: no other thread may close all descriptors just then.
///
/// It makes each call that is parked slower by about twenty microseconds, half of it in the submission, and half when
/// the call ends. Not held, and so as without it, are the files of calls that a closure makes elsewhere where
/// pidfd_getfd is forbidden; files that take notice when they are closed (message queues, devices that are no
/// terminals, FUSE's); and what is beyond `RLIMIT_NOFILE`. Calls that bring or name descriptors (`accept`, messages
/// with control data) need their own in the program's table to the end, and of a wait for several descriptors one that
/// is closed is not waited for any more.
///
/// ```no_run
/// syslet::hold_files_at_once(true);
/// ```
///
/// # Blocking
///
/// Never. With it, `submit` of a call that is parked waits until its file was taken, microseconds.
pub fn hold_files_at_once(yes: bool) {
    HOLDS_AT_ONCE.store(yes, Ordering::Relaxed);
}
