//! The table against the C headers of this machine, against itself, and against what we know.

mod facts;
mod headers;
mod properties;
