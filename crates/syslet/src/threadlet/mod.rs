//! Threadlets: closures that run where the caller stands, and go on elsewhere if they sleep.

mod builder;
mod handle;
mod run;
mod scope;

pub use builder::Builder;
pub use handle::{Threadlet, drain};
#[doc(hidden)]
pub use run::ensure_crew;
pub(crate) use run::{Launched, launch, launch_or_stay};
pub use scope::{Scope, ScopedThreadlet, scope};

use crate::SubmitError;
use crate::complete::{Outcome, SlotHandle};

/// Runs `f` where the caller stands, on another stack. If it finishes without sleeping its result is
/// there when this returns; if it sleeps, the caller goes on within microseconds and `f` goes on
/// beside it.
///
/// To the program, `f` is code on another thread: it has its own thread-locals, and must be `Send` and
/// `'static` (see [`scope()`] for closures that borrow). A panic is caught and comes out of
/// [`Threadlet::join`], as for `std::thread::spawn`. Dropping the handle leaves `f` to itself.
///
/// On a thread that is not attached, and inside a threadlet, `f` goes to the crew pool: the same
/// meaning without the promise to be inline.
///
/// ```
/// let answer = syslet::with_attached(|| {
///     let threadlet = syslet::threadlet(|| std::fs::read_to_string("Cargo.toml"));
///     threadlet.join()
/// })??;
/// assert!(answer.contains("[package]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// If not even one crew thread can be made.
///
/// # Blocking
///
/// Not on what `f` waits for. If `f` computes without sleeping, the caller goes on after about half a
/// millisecond; ask for [`Builder::elsewhere`] where that is known before.
#[inline(always)] // else a return after the call, see `arch::protected_call`; generic anyway
pub fn threadlet<T, F>(f: F) -> Threadlet<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match launch(f, |_| (), false, Outcome::owned) {
        Ok(launched) => Threadlet::new(launched),
        Err(_) => unreachable!("only `try_threadlet` gives the closure back"),
    }
}

/// As [`threadlet`], for surfaces that are built on it: the closure takes copies of `parts` along, paths for
/// example, and if it has finished inline, its result, or what it panicked with, is in `result`, which must be
/// empty, and there is no handle.
///
/// The copies are made on the stack where the closure runs: without an allocation, and once. What a closure
/// owns is moved with it, and a large result is moved with its handle.
///
/// ```
/// let mut length = None;
/// let away = syslet::threadlet_with([b"Cargo.toml"], |[path]| path.len(), &mut length);
/// let length = away.map_or_else(|| length.expect("it has finished"), syslet::Threadlet::join_catch);
/// assert_eq!(length.ok(), Some(10));
/// ```
///
/// # Panics
///
/// As [`threadlet`].
///
/// # Blocking
///
/// As [`threadlet`].
#[inline(always)]
pub fn threadlet_with<const N: usize, T, F>(
    parts: [&[u8]; N],
    f: F,
    result: &mut Option<std::thread::Result<T>>,
) -> Option<Threadlet<T>>
where
    F: FnOnce([&[u8]; N]) -> T + Send + 'static,
    T: Send + 'static,
{
    run::launch_with(parts, f, result).map(Threadlet::away)
}

/// As [`threadlet`], but gives the closure back if no crew thread is left to run it.
///
/// # Errors
///
/// [`SubmitError::Busy`] with the closure, which has not run.
///
/// # Blocking
///
/// As [`threadlet`].
#[inline]
pub fn try_threadlet<T, F>(f: F) -> Result<Threadlet<T>, SubmitError<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    launch(f, |_| (), true, Outcome::owned).map(Threadlet::new).map_err(SubmitError::Busy)
}

/// Runs `f` as [`threadlet`] does, without a handle: what it returns is the answer if it has finished
/// inline. If not, the answer is `None`, and `late` is called with it, where and when `f` ends.
///
/// Which of the two is known to `late` alone: it runs on a crew thread, and only if the caller has gone
/// on. A panic of `f` is resumed here if it was inline, else dropped and `late` is not called.
///
/// ```
/// let (answer, wait) = std::sync::mpsc::channel();
/// let inline = syslet::threadlet_or(|| 6 * 7, move |number| answer.send(number).unwrap_or(()));
/// assert_eq!(inline.or_else(|| wait.recv().ok()), Some(42));
/// ```
///
/// # Panics
///
/// If not even one crew thread can be made, and with the panic of `f`.
///
/// # Blocking
///
/// As [`threadlet`].
#[inline]
pub fn threadlet_or<T, F, L>(f: F, late: L) -> Option<T>
where
    F: FnOnce() -> T + Send + 'static,
    L: FnOnce(T) + Send + 'static,
    T: Send + 'static,
{
    let store = |result: std::thread::Result<T>| {
        let work = || match result {
            Ok(value) => late(value),
            Err(payload) => drop(payload),
        };
        crate::complete::drop_caught(work);
        Outcome::Number(0)
    };
    match launch(f, |_| (), false, store) {
        Ok(Launched::Inline(Ok(value))) => Some(value),
        Ok(Launched::Inline(Err(payload))) => std::panic::resume_unwind(payload),
        Ok(Launched::Away(slot)) => {
            drop(SlotHandle::new(slot));
            None
        }
        Err(_) => unreachable!("only `try_threadlet` gives the closure back"),
    }
}
