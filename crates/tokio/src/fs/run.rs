//! Running functions of std's.

use std::future::poll_fn;
use std::{io, thread};

use crate::unblock::error;
use crate::{UnblockError, budget};

/// Ends the function with what a closure answers, which is an `io::Result`. The closure runs as in
/// [`unblock`](crate::unblock()), without the runtime's context, until it is not interrupted: a signal on
/// the thread that happens to run it says nothing to the caller.
///
/// In the function itself and not in a future of its own, which would move the result once more. `short` is
/// for what ends within microseconds or sleeps.
macro_rules! run {
    (short $f:expr) => {
        $crate::fs::run::run!(@ $crate::budget::Timer::short, $f)
    };
    ($f:expr) => {
        $crate::fs::run::run!(@ $crate::budget::Timer::start, $f)
    };
    (@ $timer:expr, $f:expr) => {{
        $crate::fs::run::proceed().await;
        let away = {
            let mut result = None;
            let f = $f;
            match $crate::unblock::run(move || $crate::fs::run::again(f), $timer, &mut result) {
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
