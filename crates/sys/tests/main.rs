//! The numbers, sizes and constants that this crate states are those of the C headers, and what it does
//! does what the kernel does.
#![allow(missing_docs, reason = "a test")]

mod files;
mod headers;
mod ring;
mod stepping;
mod switch;
mod unwinding;
