//! Waiting for children of `std::process`: for programs that start them by std, or have no I/O driver.
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
//! # runtime.block_on(runtime.spawn(async {
//! use std::process::Command;
//!
//! let mut child = Command::new("true").spawn()?;
//! assert!(syslet_tokio::process::wait(&mut child).await?.success());
//!
//! let mut echo = Command::new("echo");
//! echo.arg("hello");
//! let output = syslet_tokio::process::output(echo).await?;
//! assert_eq!(output.stdout, b"hello\n");
//! # std::io::Result::Ok(())
//! # })).expect("no panic")?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io;
use std::process::{Child, Command, ExitStatus, Output};

use crate::unblock::launch;

/// Waits until the child ends; closes its standard input first, if that is a pipe. No thread waits with it.
/// The status stays with the child.
///
/// # Errors
///
/// As [`Child::wait`].
///
/// # Cancellation
///
/// Dropped early, the child is as before, but for its standard input.
pub async fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    syslet::process::wait(child).await
}

/// Runs the command to its end: [`Command::status`].
///
/// # Errors
///
/// As [`Command::status`].
///
/// # Cancellation
///
/// Dropped early, the command goes on to its end and is reaped.
pub async fn status(mut command: Command) -> io::Result<ExitStatus> {
    launch(move || command.status()).await?
}

/// Runs the command to its end and collects what it prints: [`Command::output`].
///
/// # Errors
///
/// As [`Command::output`].
///
/// # Cancellation
///
/// As [`status`].
pub async fn output(mut command: Command) -> io::Result<Output> {
    launch(move || command.output()).await?
}
