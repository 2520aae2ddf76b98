//! The real binary on real trees.
#![forbid(unsafe_code)]

mod calls;
mod probe;
mod scan;
mod usage;
mod util;
