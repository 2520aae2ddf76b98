//! Closures around std's functions.

use std::io;

use crate::Operation;
use crate::call::MOST_REPEATS;

/// Calls `f` until it is not interrupted: a signal on the thread that happens to run it says nothing to
/// the caller. What a file system answers each time is its answer.
pub(super) fn again<T>(mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..MOST_REPEATS {
        match f() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
    f()
}

/// An operation that waits for a disk at most.
pub(super) fn disk<T: Send + 'static>(
    f: impl FnMut() -> io::Result<T> + Send + 'static,
) -> Operation<io::Result<T>> {
    Operation::of_disk_closure(move || again(f))
}

/// An operation that may find a FIFO or a device, and wait for its other end.
pub(super) fn any<T: Send + 'static>(
    f: impl FnMut() -> io::Result<T> + Send + 'static,
) -> Operation<io::Result<T>> {
    Operation::of_closure(move || again(f))
}
