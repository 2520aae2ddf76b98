//! A drop-in `libaio.so.1`: the interface of Linux's asynchronous I/O, where buffered reads and writes are
//! asynchronous too. README.md beside this file's folder is the protocol page.
//!
//! - A context begins as one of the kernel's (`context.rs`). As long as it is given only what the kernel does
//!   asynchronously, `O_DIRECT`, fsync and polls, it stays one, and calls are passed on (`kernel.rs`).
//! - At its first buffered request (`change.rs`) its ring is replaced by one of ours at the same address
//!   (`ring.rs`); from then on requests are tried on the spot (`work.rs`), and what would wait is the engine's
//!   (`away.rs`).
//!
//! # Safety
//!
//! Every function takes a program's pointers and descriptors. What the comments at unsafe blocks call *the
//! program's duties* are those of libaio:
//!
//! 1. Memory that requests name is theirs until their event: what the kernel would read or write then, we
//!    do. Addresses where nothing is are answered by `EFAULT`.
//! 2. Other pointers are looked at before they are used ([`syslet_dropin::memory`]).
//! 3. A ring's memory may be written to by the program at any time: it is atomic numbers to us, and none of them
//!    is trusted to be within bounds.
//!
//! Functions are `extern "C"`, so nothing unwinds into the program: a panic ends the process.

mod abi;
mod away;
mod cancel;
mod change;
mod context;
mod destroy;
mod events;
mod kernel;
mod register;
mod ring;
mod route;
mod setup;
mod submit;
mod symbols;
mod work;
mod writes;
