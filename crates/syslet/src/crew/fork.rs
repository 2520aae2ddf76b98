//! `fork`: the child has one thread, and none of ours.
//!
//! The child forgets its parent's engine and starts its own on first use. The forking code goes on
//! as an ordinary thread there: what it had been, guest or crew thread, is forgotten, its rseq area
//! is registered again, and the alternate signal stack of a guest is put back. Whatever was away
//! stays with the parent; its handles say so in the child, by the generation.

#![allow(unsafe_code, reason = "atfork handlers")]

use std::cell::RefCell;
use std::sync::{MutexGuard, Once};

use super::engine::{STARTING, forget};
use super::{local, mechanism};
use crate::sync::{AtomicU64, Ordering, lock};

/// Counts forks from the first process on.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Of which life of the process the running code is.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

thread_local! {
    /// Held over a fork, so that no engine is half-started in the child.
    static HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Registers the handlers, once in the life of the program.
pub(super) fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        // SAFETY: handlers that may run in any thread that forks.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
    });
}

unsafe extern "C" fn prepare() {
    let guard = lock(&STARTING);
    HELD.with_borrow_mut(|held| *held = Some(guard));
}

unsafe extern "C" fn parent() {
    HELD.with_borrow_mut(|held| *held = None);
}

unsafe extern "C" fn child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    forget();
    let guest = local::current_guest();
    // SAFETY: null, or a record, which is never freed.
    if let Some(guest) = unsafe { guest.as_ref() } {
        super::attach::put_back_signal_stack(guest);
    }
    if !guest.is_null() || !local::current_crew().is_null() {
        mechanism::enter_rseq();
    }
    local::set_guest(std::ptr::null());
    local::set_crew(std::ptr::null());
    super::attach::forget_attachment();
    HELD.with_borrow_mut(|held| *held = None);
}
