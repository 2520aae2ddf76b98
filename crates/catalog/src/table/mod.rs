//! The rows, in files by number.
//!
//! A row is written as in FreeBSD's `syscalls.master`: number, name, arguments, and then only what
//! differs from the plainest call there is (one that never waits, runs anywhere, has no time limit,
//! makes nothing and is older than Linux 2.6.16). For example
//!
//! ```text
//! row(288, "accept4", &[fd("fd"), buf("addr", Out, At(2)), inout_one("addrlen", INT), flags("flags")])
//!     .reads(0)
//!     .makes(Fd)
//!     .since("2.6.28"),
//! ```
//!
//! is accept4(2), which waits until argument 0 is readable and results in a new descriptor.
//!
//! | column | written | rule |
//! |---|---|---|
//! | `nr`, `name` | `row(nr, name, ..)` | as in the kernel's `syscall_64.tbl`; every number, also those that never did anything: `gone(nr, name, when)` |
//! | `args` | `fd`, `len`, `path`, `input`, `out_one` .. | as in the kernel's `SYSCALL_DEFINE`, in order; a pointer says who reads and who writes what is behind it, and how much that is; a pointer that is only a place is `addr` |
//! | `waits` | nothing | never sleeps but for memory and short kernel locks |
//! | | `.disk()` | may reach a file system, fault pages in, drop the last reference to a file, load a module; ends by itself |
//! | | `.reads(n)`, `.writes(n)` | waits for descriptor `n`, and succeeds if repeated when that is ready |
//! | | `.timer()`, `.child()`, `.lock()` | waits for a point in time; a child; a lock, semaphore or futex |
//! | | `.other()` | may wait for somebody to act in another way. When in doubt between this and `.disk()`, this: what is `.disk()` may be made in place when no thread is left, and must not deadlock there |
//! | `cancel` | set by the above | disk: uninterruptible; all others: interruptible. `.killable()` etc. after it say otherwise |
//! | `twin` | `.twin(..)` | the same without sleeping: the change of one argument, or a sibling call with the same effect |
//! | `runs` | nothing | effect and answer are those of the process: files, memory, timers, signals sent |
//! | | `.bound(why)` | they belong to the calling kernel thread, always or for its ordinary arguments |
//! | | `.refused(why)` | the call ends, copies or replaces the calling kernel thread |
//! | `timeout` | `.timeout(..)` | the argument with the time limit of the wait; timers that are merely *set* have none |
//! | `makes` | `.makes(..)` | new descriptors that a late success would leak |
//! | `since` | `.since(version)` | the first kernel version with the call |
//!
//! Reasons are one sentence, begin in lower case and end without a full stop: they are printed after
//! the call's name and a colon. Those that several calls share are in `reason.rs`.

mod ctype;
mod n000;
mod n064;
mod n128;
mod n192;
mod n256;
mod n296;
mod n424;
mod reason;
mod row;

use crate::entry::Entry;

/// All rows, range after range, ordered by number.
pub(crate) const RANGES: [&[Entry]; 7] =
    [n000::ROWS, n064::ROWS, n128::ROWS, n192::ROWS, n256::ROWS, n296::ROWS, n424::ROWS];
