//! Results: how an answer gets from the thread that finishes the work to the one that wants it.

mod slot;

#[cfg(not(loom))]
pub(crate) use slot::{Holder, Interrupt, SlotHandle};
#[cfg(any(not(loom), test))]
pub(crate) use slot::{Outcome, Slot};
