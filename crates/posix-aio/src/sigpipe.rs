//! SIGPIPE, which a write that nobody reads raises on the thread that tries it: here that is the program's. The C
//! library's helper threads block all signals, so that its programs see `EPIPE` only.

use syslet::{Call, SubmitError, Submitted};
use syslet_sys::call;
use syslet_sys::uapi::{Siginfo, Timespec};

const SIGPIPE: u64 = 1 << (libc::SIGPIPE - 1);
const EPIPE: isize = -(libc::EPIPE as isize);

/// Begins a write whose SIGPIPE, if it raises one, has no receiver. (What is tried later the engine keeps so.)
pub(crate) fn without_sigpipe(
    begin: impl FnOnce() -> Result<Submitted, SubmitError<Call>>,
) -> Result<Submitted, SubmitError<Call>> {
    let mask = call::signal_mask();
    call::set_signal_mask(mask | SIGPIPE);
    // One that the program has blocked, and that was there before, stays.
    let before = call::pending_signals() & SIGPIPE;
    let submitted = begin();
    if matches!(&submitted, Ok(Submitted::Done(ret)) if ret.raw() == EPIPE) && before == 0 {
        let mut info = Siginfo::queued(0, 0, 0, 0, 0);
        call::wait_signal(SIGPIPE, &mut info, Some(&Timespec::default()));
    }
    call::set_signal_mask(mask);
    submitted
}
