//! Which life of the process this is: a forked child begins a new one.

#![allow(unsafe_code, reason = "an atfork handler")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// The count, for C programs to look at.
pub(crate) fn counter() -> *const u32 {
    install();
    FORKS.as_ptr().cast_const()
}

/// The count.
pub(crate) fn now() -> u32 {
    install();
    FORKS.load(Ordering::Relaxed)
}

/// Registers the handler; twice, if two threads come at once, which does no harm.
fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if !INSTALLED.load(Ordering::Acquire) {
        // SAFETY: the handler touches one atomic.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
        INSTALLED.store(true, Ordering::Release);
    }
}

unsafe extern "C" fn child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
