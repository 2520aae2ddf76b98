//! `tokio::fs` at the price of the calls: the same names, signatures and contracts. A user changes one
//! `use`.
//!
//! What is cached is done where the caller stands; what sleeps goes on elsewhere, as in
//! [`unblock`](crate::unblock()). What differs is in the project's `COMPAT.md`.
//!
//! ```
//! use syslet_tokio::fs;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
//! # runtime.block_on(runtime.spawn(async {
//! let path = std::env::temp_dir().join(format!("syslet-tokio-{}", std::process::id()));
//! let mut file = fs::File::create_new(&path).await?;
//! file.write_all(b"one line\n").await?;
//! file.flush().await?;
//!
//! let (count, block) = file.read_at(vec![0; 4096], 4).await; // a buffer of one's own, any position
//! assert_eq!(&block[..count?], b"line\n");
//! fs::remove_file(&path).await?;
//! # std::io::Result::Ok(())
//! # })).expect("no panic")?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod buffer;
mod dir_builder;
mod file;
mod file_times;
mod open_options;
mod paths;
mod read_dir;
mod run;

pub use dir_builder::DirBuilder;
pub use file::File;
pub use file_times::FileTimes;
pub use open_options::OpenOptions;
pub use paths::{
    canonicalize, copy, create_dir, create_dir_all, hard_link, metadata, read, read_link,
    read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions, symlink,
    symlink_metadata, try_exists, write,
};
pub use read_dir::{DirEntry, ReadDir, read_dir};
