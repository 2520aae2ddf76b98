//! A file system in user space for tests and benches, whose files are slow, fail or end early when they are
//! told to.
//!
//! Every opening and every read is put to a *script*, a function of the program's, which says what becomes of
//! it. What the files hold is known ([`fill`]), so whoever reads them can check every byte. Nothing is cached
//! by the kernel but names and sizes: each read of a program's is a request, and a short answer is a short
//! read (`FOPEN_DIRECT_IO`). Reads can also be held until they are let go ([`TestFs::hold`]).
//!
//! Where there is no FUSE, as where anything else is missing, a test says so by [`skip`].
//!
//! ```no_run
//! use std::time::Duration;
//! use syslet_testfs::{Answer, File, Request, TestFs};
//!
//! let files = vec![File { name: "slow".to_owned(), size: 4096 }];
//! let slow = |request: &Request| match request {
//!     Request::Open { .. } => Answer::NOW,
//!     Request::Read { .. } => Answer { delay: Duration::from_millis(50), ..Answer::NOW },
//! };
//! let mounted = TestFs::mount("/mnt/test", files, slow)?;
//! let bytes = std::fs::read("/mnt/test/slow")?; // after 50 ms, and 50 more for the end of the file
//! assert_eq!(syslet_testfs::mismatch(0, 0, &bytes), None);
//! drop(mounted); // unmounts
//! # Ok::<(), std::io::Error>(())
//! ```

mod content;
mod delayed;
mod faults;
mod gate;
mod mounted;
mod session;
mod skips;

pub use self::{
    content::{fill, mismatch},
    faults::{Answer, Chances, Fault, Request},
    mounted::{Counts, File, TestFs},
    skips::{pass_on, skip},
};
