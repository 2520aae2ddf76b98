//! `SYSLET_ATTACH=1`, as `syslet run --attach` sets it: threads that submit become guests, so that whatever sleeps in
//! io_submit is handed off.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use syslet::AttachGuard;

static WANTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Held until the thread ends. Inside: nothing if it cannot be had.
    static GUARD: RefCell<Option<Option<AttachGuard>>> = const { RefCell::new(None) };
}

pub(crate) fn read_environment() {
    let wanted = std::env::var_os("SYSLET_ATTACH").is_some_and(|value| value == "1");
    WANTED.store(wanted, Ordering::Relaxed);
}

/// True if threads that submit are to be guests.
#[inline]
pub(crate) fn is_wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}

/// Attaches the running thread, if that is wanted and was not done.
#[inline]
pub(crate) fn attach_if_wanted() {
    if is_wanted() {
        let _ = GUARD.try_with(|guard| {
            guard.borrow_mut().get_or_insert_with(|| syslet::attach().ok());
        });
    }
}
