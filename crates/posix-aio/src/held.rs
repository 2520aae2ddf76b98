//! Signal handlers, which may wait for requests (`aio_suspend`), and the locks and memory that the end of a request
//! needs: a handler that has interrupted their holder would wait for ever.
//!
//! So no handler runs on a thread that is about to take one of ours (here); and our memory has an allocator of its own
//! (lib.rs), because the program's may be interrupted at any time.

use syslet_sys::call;
use syslet_sys::uapi::{SIGCANCEL, SIGSETXID};

/// Signals whose handlers are not held off: those of faults, which would end the program, and the C library's own.
const PASS: u64 = bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGILL)
    | bit(libc::SIGFPE)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGSYS)
    | bit(libc::SIGABRT)
    | bit(SIGCANCEL)
    | bit(SIGSETXID);

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Until it is dropped no signal handler runs on this thread, but those of [`PASS`].
#[derive(Debug)]
pub(crate) struct Held(Option<u64>);

impl Held {
    /// Not on an attached thread: signals of its own come to its home (`COMPAT.md`).
    pub(crate) fn new() -> Self {
        Self((!syslet::is_attached()).then(|| call::set_signal_mask(!PASS)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            call::set_signal_mask(before);
        }
    }
}
