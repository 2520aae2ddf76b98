//! Files and directories: [`std::fs`] with operations that can be awaited.
//!
//! Names, arguments, results and errors are those of `std::fs`; each function starts its operation at
//! once and gives an [`Operation`](crate::Operation), which on an attached thread is over already
//! unless it had to sleep: what is cached costs a few tens of nanoseconds more than in `std`. Reading
//! and writing take the buffer by value and give it back, because the kernel may use it for longer than
//! the caller waits. Nothing is buffered in between: a write that is over has been made.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use syslet::fs::{self, File};
//!
//! // Awaited, on any executor:
//! futures_executor::block_on(async {
//!     let file = File::open("Cargo.toml").await?;
//!     let (count, buf) = file.read_at(vec![0; 9], 0).await;
//!     assert_eq!(&buf[..count?], b"[package]");
//!     std::io::Result::Ok(())
//! })?;
//!
//! // Or waited for:
//! let (manifest, sources) = (fs::read_to_string("Cargo.toml"), fs::read_dir("src"));
//! let sources = sources.wait()?.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok());
//! assert!(manifest.wait()?.contains("[package]") && sources.count() > 3);
//! # Ok(())
//! # }
//! ```
//!
//! **What it is not**: not atomic and not ordered. Two operations in flight at a time may take effect
//! in any order; await the first where that matters. Operations on paths go on to their end when they
//! are dropped, and cannot be cancelled; opening, reading, writing and locking can.
//!
//! **Blocking**: on an attached thread, none of the functions waits for a disk or for others. If no
//! crew thread is left, those that wait for nothing but a disk are made in place. On other threads reads
//! and writes of a [`File`] are tried without waiting first, and the rest goes to the crew pool; inside a
//! threadlet all is made in place. Dropping the last reference to a
//! [`File`] closes it in place, as in `std`.

mod again;
mod dir;
mod file;
mod options;
mod paths;
mod tasks;

pub use dir::{DirEntry, NextEntry, ReadDir, read_dir};
pub use file::File;
pub use options::OpenOptions;
pub use paths::{
    canonicalize, copy, create_dir, create_dir_all, hard_link, metadata, read, read_link,
    read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions, symlink,
    symlink_metadata, try_exists, write,
};
