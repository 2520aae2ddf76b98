//! Results: how an answer gets from the thread that finishes the work to the one that wants it.

mod slot;

pub(crate) use slot::{Outcome, Slot, SlotHandle};
