//! Driving a runtime on an attached thread.

use std::future::Future;
use std::io;

use tokio::runtime::Runtime;

/// As [`Runtime::block_on`], with the calling thread attached meanwhile: what the future awaits runs inline
/// on this thread too, and so do the tasks of a current-thread runtime.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let manifest = syslet_tokio::block_on(&runtime, syslet_tokio::fs::read_to_string("Cargo.toml"))??;
/// assert!(manifest.contains("[package]"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// If the thread cannot be attached, see [`syslet::AttachError`]; the future was not polled then.
///
/// # Panics
///
/// As [`Runtime::block_on`].
///
/// # Blocking
///
/// Until the future is ready.
pub fn block_on<F: Future>(runtime: &Runtime, future: F) -> io::Result<F::Output> {
    syslet::with_attached(|| runtime.block_on(future)).map_err(io::Error::other)
}
