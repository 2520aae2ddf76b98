//! Kernel structures and numbers, as of the headers of Linux 6.x. A test compares every one with
//! the C headers of the machine. What differs from one architecture to the next is in [`arch`](crate::arch), and has
//! its name here too.

mod constants;
mod structs;

pub use crate::arch::nr;
pub use crate::arch::uapi::*;
pub use constants::*;
pub use structs::*;
