//! Running closures: the future, and where they run.

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;

use syslet::Threadlet;
use tokio::runtime::Handle;

use crate::away::Away;
use crate::budget::{self, Timer};
use crate::{UnblockError, tally, worker};

/// Runs a blocking closure without blocking the worker: what [`tokio::task::spawn_blocking`] is for, at the
/// price of the closure itself whenever it does not sleep.
///
/// The closure begins before this returns, on the worker. If it finishes without sleeping its result is
/// there; if it sleeps, the worker goes on with other tasks within microseconds and the closure goes on
/// elsewhere. It runs inside the runtime's context: `Handle::current()`, `tokio::spawn` and
/// `Handle::block_on` work. To the program it is code on another thread: it has thread-locals of its own,
/// and is no task (`tokio::task::id()` panics).
///
/// On workers of the multi-thread runtime, and on threads attached by [`block_on`](crate::block_on()) or
/// [`syslet::with_attached`]. On other threads, among them the one that drives a current-thread runtime and
/// the one that calls `Runtime::block_on`, the closure is queued for the crew's pool: the same meaning, at
/// the price of `spawn_blocking`. Outside of a runtime it works too, without a context.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?.block_on(async {
/// let task = tokio::spawn(async {
///     let length = syslet_tokio::unblock(|| std::fs::metadata("Cargo.toml").map(|m| m.len())).await??;
///     std::io::Result::Ok(length)
/// });
/// assert!(task.await?? > 0);
/// # std::io::Result::Ok(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Cancellation
///
/// Dropping the future leaves the closure to itself. The runtime waits for it when it is shut down, whoever has
/// the future, as for `spawn_blocking`: for all that are away it uses one thread of its blocking pool. What goes
/// away when the runtime is ending already is not waited for.
///
/// # Panics
///
/// If not even one crew thread can be made. A panic of the closure is an [`UnblockError`].
///
/// # Blocking
///
/// Not on what the closure waits for. If it computes without sleeping, the worker goes on after about half
/// a millisecond. The first use on a worker attaches it, which takes some tens of microseconds.
#[inline]
pub fn unblock<F, T>(f: F) -> Unblock<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Handle::try_current() {
        // The guard lives and dies on the crew thread's stack, in its thread-locals, wherever the worker
        // is by then.
        Ok(runtime) => launch(move || {
            let _context = runtime.enter();
            f()
        }),
        Err(_) => launch(f),
    }
}

/// As [`unblock`], for closures that need no runtime.
#[inline]
pub(crate) fn launch<F, T>(f: F) -> Unblock<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if !worker::is_guest() {
        return queue(f);
    }
    let timer = Timer::start();
    let threadlet = syslet::threadlet(f);
    if !threadlet.was_inline() {
        return Unblock::away(threadlet);
    }
    timer.charge();
    Unblock { inline: Some(threadlet), away: None }
}

/// As [`launch`], for a closure that takes copies of `parts` along, and who asks at once whether it has
/// finished inline: then its result is in `result`, which is empty before. See [`syslet::threadlet_with`].
#[inline(always)]
pub(crate) fn run<const N: usize, F, T>(
    parts: [&[u8]; N],
    f: F,
    timer: impl FnOnce() -> Timer,
    result: &mut Option<thread::Result<T>>,
) -> Option<Unblock<T>>
where
    F: FnOnce([&[u8]; N]) -> T + Send + 'static,
    T: Send + 'static,
{
    if !worker::is_guest() {
        let parts = parts.map(Box::<[u8]>::from);
        return Some(queue(move || f(parts.each_ref().map(|part| &**part))));
    }
    let timer = timer();
    match syslet::threadlet_with(parts, f, result) {
        None => {
            timer.charge();
            None
        }
        Some(away) => Some(Unblock::away(away)),
    }
}

/// Queues the closure for the crew's pool.
#[cold]
#[inline(never)]
fn queue<F, T>(f: F) -> Unblock<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let counted = tally::count_here();
    let gate = Arc::new(AtomicBool::new(true));
    let entry = Arc::clone(&gate);
    let threadlet = syslet::threadlet(move || {
        if !entry.swap(false, Ordering::Relaxed) {
            // Neither printed nor counted: nothing has gone wrong.
            resume_unwind(Box::new(Aborted));
        }
        f()
    });
    Unblock { inline: None, away: Some(Away::new(threadlet, Some(gate), counted)) }
}

/// In place of a panic's payload: the closure has not run.
struct Aborted;

/// The closure of [`unblock`]: over already, or away. Its output is the closure's result.
#[must_use = "the closure's result is lost"]
pub struct Unblock<T: Send + 'static> {
    /// One that finished inline, until its result is fetched.
    inline: Option<Threadlet<T>>,
    /// One that did not, likewise.
    away: Option<Arc<Away<T>>>,
}

impl<T: Send + 'static> Unblock<T> {
    /// Of a closure that was handed off.
    #[cold]
    #[inline(never)]
    fn away(threadlet: Threadlet<T>) -> Self {
        Self { inline: None, away: Some(Away::new(threadlet, None, tally::count_here())) }
    }

    /// True if the closure had finished when [`unblock`] returned.
    pub fn was_inline(&self) -> bool {
        self.inline.is_some()
    }

    /// True once the closure has finished.
    pub fn is_finished(&self) -> bool {
        self.away.as_ref().is_none_or(|away| away.is_finished())
    }

    /// The runtime does not end before the closure.
    pub(crate) fn is_seen_through(&self) -> bool {
        self.away.as_ref().is_none_or(|away| away.is_seen_through())
    }

    /// Keeps a closure of a thread that is not attached from beginning, if it is still queued; then the
    /// result is an error that [is cancelled](UnblockError::is_cancelled). All others go on to their end.
    pub fn abort(&self) {
        if let Some(away) = &self.away {
            away.abort();
        }
    }

    /// Waits for the closure.
    pub(crate) fn wait(mut self) -> thread::Result<T> {
        match (self.inline.take(), self.away.take()) {
            (Some(inline), _) => Some(inline.join_catch()),
            (None, away) => away.and_then(|away| away.wait()),
        }
        .expect("a closure is waited for once")
    }

    /// As the future, without a look at the budget.
    #[inline]
    pub(crate) fn poll_result(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, UnblockError>> {
        match self.inline.take().map(Threadlet::into_inline) {
            Some(Ok(result)) => Poll::Ready(result.map_err(error)),
            _ => self.poll_away(context),
        }
    }

    #[cold]
    fn poll_away(&mut self, context: &mut Context<'_>) -> Poll<Result<T, UnblockError>> {
        let away = self.away.as_ref().expect("`Unblock` is polled after it was ready");
        let result = ready!(away.poll(context)).expect("a result is fetched once");
        self.away = None;
        Poll::Ready(result.map_err(error))
    }
}

/// The error of a closure that unwound.
#[cold]
pub(crate) fn error(payload: Box<dyn std::any::Any + Send>) -> UnblockError {
    if payload.is::<Aborted>() { UnblockError::cancelled() } else { UnblockError::panic(payload) }
}

impl<T: Send + 'static> Future for Unblock<T> {
    type Output = Result<T, UnblockError>;

    /// # Panics
    ///
    /// If it was ready before.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(budget::poll_proceed(context));
        self.poll_result(context)
    }
}

// The result is owned, without structural pinning, or elsewhere.
impl<T: Send + 'static> Unpin for Unblock<T> {}

impl<T: Send + 'static> Drop for Unblock<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(away) = self.away.take() {
            away.leave();
        }
    }
}

impl<T: Send + 'static> fmt::Debug for Unblock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unblock")
            .field("was_inline", &self.was_inline())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
