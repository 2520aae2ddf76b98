//! Waiting for child processes.
//!
//! ```
//! let mut child = std::process::Command::new("true").spawn()?;
//! let status = syslet::process::wait(&mut child).wait()?; // or: .await
//! assert!(status.success());
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! [`wait()`] is for std's [`Child`](std::process::Child), whose status std keeps; [`wait_pid`] for
//! children that were made by other means.
//!
//! **Blocking**: no, but at the bound [`Limits::parked`](crate::Limits::parked). Making a child is
//! `Command::spawn` in a [`threadlet`](crate::threadlet()) where that takes too long.

mod wait;

pub use wait::{Wait, wait, wait_pid};
