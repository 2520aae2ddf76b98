//! Running functions of std's.

use std::ffi::OsStr;
use std::future::poll_fn;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::{io, thread};

use crate::unblock::error;
use crate::{UnblockError, budget};

/// Ends the function with what a closure answers, which is an `io::Result`. The closure runs as in
/// [`unblock`](crate::unblock()), without the runtime's context, until it is not interrupted: a signal on
/// the thread that happens to run it says nothing to the caller. It is given its own copies of the paths.
///
/// In the function itself and not in a future of its own, which would move the result once more. `short` is
/// for what ends within microseconds or sleeps.
macro_rules! run {
    (short [$($path:expr),*], $f:expr) => {
        $crate::fs::run::run!(@ $crate::budget::Timer::short, [$($path),*], $f)
    };
    ([$($path:expr),*], $f:expr) => {
        $crate::fs::run::run!(@ $crate::budget::Timer::start, [$($path),*], $f)
    };
    (@ $timer:expr, [$($path:expr),*], $f:expr) => {{
        $crate::fs::run::proceed().await;
        let away = {
            let mut result = None;
            let paths = [$($crate::fs::run::bytes(&$path)),*];
            let f = $crate::fs::run::on_paths($f);
            match $crate::unblock::run(paths, f, $timer, &mut result) {
                Some(away) => away,
                None => match result {
                    Some(Ok(result)) => return result,
                    other => return Err($crate::fs::run::panicked(other)),
                },
            }
        };
        return $crate::fs::run::flat(away.await);
    }};
}

pub(super) use run;

/// Lets the others of the worker run, if it is their turn.
#[inline]
pub(super) async fn proceed() {
    poll_fn(budget::poll_proceed).await;
}

/// The error for a closure that panicked.
#[cold]
pub(super) fn panicked<T>(result: Option<thread::Result<T>>) -> io::Error {
    match result {
        Some(Err(payload)) => error(payload).into(),
        _ => unreachable!("a closure that finished inline left its result"),
    }
}

pub(super) fn flat<T>(result: Result<io::Result<T>, UnblockError>) -> io::Result<T> {
    result.unwrap_or_else(|error| Err(error.into()))
}

/// The bytes of a path.
#[inline]
pub(super) fn bytes(path: &(impl AsRef<Path> + ?Sized)) -> &[u8] {
    path.as_ref().as_os_str().as_bytes()
}

/// A closure that calls `f` with the paths of these bytes until it is not interrupted.
#[inline]
pub(super) fn on_paths<const N: usize, F, T>(mut f: F) -> impl FnOnce([&[u8]; N]) -> io::Result<T>
where
    F: FnMut([&Path; N]) -> io::Result<T>,
{
    move |paths| {
        let paths = paths.map(|bytes| Path::new(OsStr::from_bytes(bytes)));
        again(|| f(paths))
    }
}

/// Calls `f` until it is not interrupted.
#[inline]
pub(super) fn again<T>(mut f: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        let result = f();
        match &result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return result,
        }
    }
}
