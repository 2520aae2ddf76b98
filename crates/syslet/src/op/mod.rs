//! What the typed operations have in common: the handle, the calls behind it, the memory that they own.

mod buffer;
mod operation;
mod task;

pub use buffer::{IoBuf, IoBufMut};
pub use operation::Operation;

pub(crate) use buffer::Lent;
pub(crate) use task::{Step, Task};
