//! What a thread knows of its part: guest, crew thread, or neither.
//!
//! These cells travel with the thread pointer. On a carrier that runs the guest they are the guest's;
//! on the same kernel thread inside a call they are the crew thread's.

use std::cell::Cell;
use std::ptr;

use super::guest::Guest;
use super::member::Crew;

thread_local! {
    static GUEST: Cell<*const Guest> = const { Cell::new(ptr::null()) };
    static CREW: Cell<*const Crew> = const { Cell::new(ptr::null()) };
}

/// The guest that the running code is, or null.
#[inline(always)]
pub(crate) fn current_guest() -> *const Guest {
    GUEST.get()
}

/// The crew thread that the running code is on with its own stack and thread-locals, or null.
#[inline(always)]
pub(crate) fn current_crew() -> *const Crew {
    CREW.get()
}

/// True if the running code is on a crew thread with its own stack: inside a closure.
pub(crate) fn on_crew_thread() -> bool {
    !current_crew().is_null()
}

pub(super) fn set_guest(guest: *const Guest) {
    GUEST.set(guest);
}

pub(super) fn set_crew(crew: *const Crew) {
    CREW.set(crew);
}
