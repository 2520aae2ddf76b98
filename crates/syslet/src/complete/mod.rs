//! Results: how an answer gets from the thread that finishes the work to the one that wants it.

mod bell;
#[cfg(not(loom))]
mod eventfd;
#[cfg(all(loom, test))]
mod models;
#[cfg(not(loom))]
mod queue;
mod registry;
mod ring;
#[cfg(not(loom))]
mod send;
mod shared;
mod slot;
mod tasks;

#[cfg(not(loom))]
pub use eventfd::EventFd;
#[cfg(not(loom))]
pub use queue::{Completion, CompletionQueue, Made, Next, QueueStats};
pub use registry::OpId;
#[cfg(not(loom))]
pub use send::Queued;
pub(crate) use slot::Holder;
#[cfg(not(loom))]
pub(crate) use slot::{Interrupt, Outcome, Slot, SlotHandle, Untold, drop_caught};
#[cfg(not(loom))]
pub use tasks::{Place, Taken, Tasks};
