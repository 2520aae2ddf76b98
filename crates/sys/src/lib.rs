//! Raw system calls, the context switch and the kernel structures that syslet stands on.
//!
//! This is the only Rust code of the project with assembly. Everything that depends on the processor is
//! in [`arch`]; the rest is plain data ([`uapi`]) and thin wrappers around single calls ([`aio`],
//! [`call`], [`descriptor`], [`futex`], [`memory`], [`mount`], [`uring`]). Nothing here keeps state, allocates, or uses
//! thread-locals, so every function can run on a thread that has no thread-local storage of its own and
//! inside a signal handler.
//!
//! # Safety
//!
//! Each `unsafe fn` lists its duties. The wrappers in [`call`] are safe where no argument can reach
//! memory that Rust does not know to be valid for the kernel's use.

#![no_std]

pub mod aio;
pub mod arch;
pub mod call;
pub mod descriptor;
pub mod futex;
pub mod memory;
pub mod mount;
pub mod uapi;
pub mod uring;
