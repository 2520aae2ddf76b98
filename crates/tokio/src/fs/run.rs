//! Running functions of std's.

use std::io;

use crate::unblock::launch;

/// Runs `f` as [`unblock`](crate::unblock()) does, without the runtime's context, until it is not
/// interrupted: a signal on the thread that happens to run it says nothing to the caller.
#[inline]
pub(super) async fn run<T, F>(mut f: F) -> io::Result<T>
where
    F: FnMut() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    launch(move || again(&mut f)).await?
}

/// Calls `f` until it is not interrupted.
#[inline]
pub(super) fn again<T>(mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match f() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
