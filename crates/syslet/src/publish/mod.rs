//! What a process publishes of its crew, for others to look at: `syslet top` does.
//!
//! A program opts in by [`publish_stats`](crate::publish_stats) or `SYSLET_STATS=1`. From then on a thread of ours,
//! `syslet-stats`, sleeps until somebody asks: nothing is counted, sampled or written before. Who asks is
//! another process of the same user (or root), with [`Published`]:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use syslet::publish::{Doing, Published};
//!
//! syslet::publish_stats()?;
//! let published = Published::of(std::process::id())?;
//! let snapshot = published.snapshot(Instant::now() + Duration::from_secs(5))?;
//! for thread in &snapshot.crew {
//!     if let Doing::Away(away) = &thread.doing {
//!         println!("{} is in {:?} for {:?}", thread.tid, away.call, away.age);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is done
//!
//! The memory is a memfd whose only descriptor is in that thread's own descriptor table (close_range(2) with
//! `CLOSE_RANGE_UNSHARE`, Linux 5.9), where `/proc/PID/task/TID/fd` shows it to who may look. A file in
//! `/dev/shm` was weighed and left:
//!
//! - it stays behind when the process dies, and its name may stand for another process then; the memfd goes
//!   with the process, its children have none of it, and there is nothing to clean up, however the process ends;
//! - whoever may write to it can cut it short, and the program dies of SIGBUS at its next answer; the memfd
//!   is sealed against that;
//! - its name can be taken by others before, and it is not found from outside a container; `/proc` is, and the
//!   kernel's own rule says who may look there (ptrace(2), the check `PTRACE_MODE_READ_FSCREDS`), as for the
//!   rest of `/proc/PID`.
//!
//! The program's descriptor table has nothing of it, so the program may close all that it has. What the
//! thread opens under `/proc` while it looks is in its own table too.

mod page;
mod read;
mod sample;
pub(crate) mod service;
mod snapshot;
mod wire;

pub use self::read::{Published, PublishedError};
pub use self::snapshot::{
    Away, CrewThread, Descriptor, Doing, GuestThread, PathArgument, SeenCall, Snapshot,
};

/// What the thread is called, to who looks for it.
const THREAD_NAME: &[u8; 16] = b"syslet-stats\0\0\0\0";
/// What the memory is called, before the version of its layout.
const MEMORY_NAME: &str = "syslet-stats-";
/// The version of the layout: of [`page::Page`] and of all that is written into it.
const LAYOUT: u32 = 1;
