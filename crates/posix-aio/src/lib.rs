//! `libsyslet_posix_aio.so`: the functions of aio(7), to be put in front of the C library's by `LD_PRELOAD`.
//!
//! A request is made where the program asks for it if it does not have to wait there; what would wait goes to
//! syslet's engine: it is parked, or given to io_uring or a crew thread. Nothing is queued behind a thread
//! for each descriptor, as the C library does it.
//!
//! # The life of a request
//!
//! 1. The program's thread tries the call (`begin`). If it ends there, its answer is in the control block
//!    before `aio_read` returns, and nothing else is known of it.
//! 2. Else it is a `Request`, entered under its descriptor (`desk.rs`), so that it can be cancelled and that
//!    what must come after it can wait: an `aio_fsync`, a write that appends, the next read of a stream.
//! 3. The thread that ends the call publishes (`block.rs`) the answer, takes the request off the desk, tells
//!    the program (`event.rs`), and has a crew thread begin what waited for it. That one goes on with what
//!    waited for that.
//!
//! # Safety
//!
//! Clause *block*: a program's control block is live and its own from the request until the program was told
//! that it is over; so is the buffer. That is what POSIX asks of the program. Nothing here touches either after
//! the answer was published, but for the address of the block as the key of a futex.
//!
//! Clause *call*: a call's arguments are the program's, as if it made the call itself; see clause *block* for how
//! long they live.
#![deny(missing_docs)]

mod abi;
mod begin;
mod block;
mod cancel;
mod desk;
mod event;
mod fork;
mod held;
mod list;
mod request;
mod sigpipe;
mod sync;
mod wait;

use mimalloc::MiMalloc;
use syslet_dropin::report::{Library, Report};

/// Not the program's: a handler that waits for a request (`aio_suspend`) may have interrupted that with its lock held,
/// and who ends the request frees memory on the way. See `held.rs`.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What goes through.
static REPORT: Report = Report::new(Library::PosixAio);
