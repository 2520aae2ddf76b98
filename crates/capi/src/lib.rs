//! The C library: `libsyslet.so`, `libsyslet.a` and `syslet.h`, with the historic interfaces under
//! `syslet/`.
//!
//! Each function is a shim: it checks what it is given, calls one thing of the library, and says in C's
//! terms what came of it. The headers are the documentation of what they promise; here stands how.
//! `HISTORY.md` has the rules of the historic interfaces, with the tests that assert them.
//! [`abi`] has the structures that the headers declare; a test has a C compiler compare the two.
//!
//! # Safety
//!
//! What every C function relies on, and what the comments at its blocks call *the header's duties*:
//!
//! 1. A pointer that is neither null nor impossible points to what its type says, for as long as the header
//!    says, and nobody else uses it in a way that the header forbids.
//! 2. A handle came from the function that makes such handles and was not freed.
//! 3. What a system call does to memory or to the process is sound at any time until it has ended: the
//!    duties of [`syslet::submit`].
//! 4. Functions that are passed in may run on another thread, at any time, and return.
//!
//! Nothing unwinds into C: functions are `extern "C"`, which ends the process at a panic, and where the
//! library panics because there are no threads the panic is caught and answered.

pub mod abi;
mod attach;
mod bell;
mod chain;
mod errno;
mod handle;
mod historic;
mod info;
mod kevent;
mod known;
mod late;
mod life;
mod lost;
mod pointer;
mod queue;
mod submit;
