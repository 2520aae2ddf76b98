//! The real binary on real trees.
#![forbid(unsafe_code)]

mod calls;
mod probe;
mod run;
mod scan;
mod top;
mod usage;
mod util;
