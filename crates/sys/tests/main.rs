//! The numbers, sizes and constants that this crate states are those of the C headers.
#![allow(missing_docs, reason = "a test")]

mod headers;
mod ring;
mod stepping;
mod switch;
mod unwinding;
