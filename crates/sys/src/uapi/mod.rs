//! Kernel structures and numbers, as of the headers of Linux 6.x. A test compares every one with
//! the C headers of the machine.

mod constants;
pub mod nr;
mod structs;

pub use constants::*;
pub use structs::*;
