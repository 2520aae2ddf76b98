//! x86-64, System V ABI.
//!
//! Five things are done in assembly:
//!
//! - leaving a context for another stack and thread pointer ([`enter`]), and going on with one that
//!   was left ([`resume`]): `context.rs`;
//! - a system call ([`syscall()`]), and one that can be cancelled without a window
//!   ([`syscall_cancellable`]): `syscall.rs`;
//! - both in one, for the calls of which most are made ([`protected_call`]): `protect.rs`;
//! - starting a task that shares the memory and nothing else ([`clone_vm`]): `syscall.rs`;
//! - reading and writing the registers that belong to one kernel thread: `registers.rs`.
//!
//! Numbers of system calls and the structures that differ from other architectures' are in `nr.rs` and `uapi.rs`. The
//! addresses of two symbols of glibc's are asked of the linker, where they cannot be looked up: `rseq.rs`.
//!
//! # Safety
//!
//! The `unsafe` blocks of this folder each execute a fixed instruction sequence whose operands are
//! declared in full. Clause A: the instruction touches registers only. Clause B: the memory touched
//! is vouched for by the caller under the numbered duties of the function.

mod context;
pub mod nr;
mod protect;
mod registers;
mod rseq;
mod syscall;
pub mod uapi;

pub use context::*;
pub use protect::*;
pub use registers::*;
pub use rseq::*;
pub use syscall::*;
