//! The handle of a typed operation.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::call::CancelOutcome;
use crate::complete::Outcome;
use crate::threadlet::{Threadlet, launch, launch_or_stay};

/// An operation that was started by a function of [`fs`](crate::fs), [`net`](crate::net),
/// [`time`](crate::time) or [`process`](crate::process): over already, or waiting elsewhere.
///
/// Await it, or [`wait`](Self::wait) for it. It was started when the function was called, not when it
/// is first polled; one that consists of several calls, as [`net::send_all`](crate::net::send_all), goes
/// on when it is asked for.
///
/// **Dropped** early, an operation keeps the memory and the descriptors that it was given until the
/// kernel is done with them. Those of `net`, `time` and `process`, which wait for somebody else, are
/// asked to end; those of `fs` go on, so that what was begun is done. Either way the result is dropped,
/// with what has already been taken from a socket; a descriptor that was made is closed.
///
/// ```
/// let mut metadata = syslet::fs::metadata("Cargo.toml");
/// while !metadata.is_done() {
///     std::thread::yield_now(); // or something useful
/// }
/// assert!(metadata.wait()?.is_file());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping it drops the result, and may end the operation early"]
pub struct Operation<T> {
    state: State<T>,
    inline: bool,
}

enum State<T> {
    /// Over.
    Ready(T),
    /// A closure that is away or queued.
    Closure(Threadlet<T>),
    /// A system call that is away or parked.
    Call(Box<dyn Waiting<T>>),
    /// Over, and the result was fetched.
    Fetched,
}

// The result is either owned, without structural pinning, or elsewhere.
impl<T> Unpin for Operation<T> {}

/// What waits, of any kind. Not asked again once it has given its result.
pub(super) trait Waiting<T>: Send {
    /// As a future.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<T>;
    /// Without waiting.
    fn peek(&mut self) -> Option<T>;
    /// Sleeping, until `deadline`.
    fn wait(&mut self, deadline: Option<Instant>) -> Option<T>;
    /// Asks it to end.
    fn cancel(&self) -> CancelOutcome;
}

impl<T> Operation<T> {
    /// One that is over.
    pub(crate) fn ready(result: T) -> Self {
        Self { state: State::Ready(result), inline: true }
    }

    pub(super) fn away(waiting: Box<dyn Waiting<T>>) -> Self {
        Self { state: State::Call(waiting), inline: false }
    }

    /// Runs a closure that may wait for others.
    pub(crate) fn of_closure<F>(f: F) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if crate::crew::on_crew_thread() {
            return Self::ready(f());
        }
        match launch(f, |_| (), false, Outcome::owned) {
            Ok(launched) => Self::of_threadlet(Threadlet::new(launched)),
            Err(_) => unreachable!("the closure is given back only if asked for"),
        }
    }

    /// Runs a closure that waits for a disk at most: here and now if there is no crew thread for it.
    pub(crate) fn of_disk_closure<F>(f: F) -> Self
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Self::of_threadlet(Threadlet::new(launch_or_stay(f)))
    }

    fn of_threadlet(threadlet: Threadlet<T>) -> Self {
        if threadlet.was_inline() {
            return Self::ready(threadlet.join());
        }
        Self { state: State::Closure(threadlet), inline: false }
    }

    /// True if the operation was over when it was handed out.
    pub fn was_inline(&self) -> bool {
        self.inline
    }

    /// True once the operation is over. One that consists of several calls is brought as far as it
    /// comes without waiting.
    pub fn is_done(&mut self) -> bool {
        match &mut self.state {
            State::Ready(_) | State::Fetched => true,
            State::Closure(threadlet) => threadlet.is_finished(),
            State::Call(waiting) => match waiting.peek() {
                None => false,
                Some(result) => {
                    self.state = State::Ready(result);
                    true
                }
            },
        }
    }

    /// The result.
    ///
    /// # Panics
    ///
    /// In a forked child, if it is an operation on paths that was away when the process forked.
    ///
    /// # Blocking
    ///
    /// Until the operation is over.
    pub fn wait(mut self) -> T {
        match std::mem::replace(&mut self.state, State::Fetched) {
            State::Ready(result) => result,
            State::Closure(threadlet) => threadlet.join(),
            State::Call(mut waiting) => {
                waiting.wait(None).expect("what is waited for without a limit has a result")
            }
            State::Fetched => panic!("an operation is waited for after it was ready"),
        }
    }

    /// The result, or the operation back if it is not over by `deadline`.
    ///
    /// # Errors
    ///
    /// The operation.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Blocking
    ///
    /// Until the operation is over or the deadline comes.
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<T, Self> {
        let inline = self.inline;
        let state = match std::mem::replace(&mut self.state, State::Fetched) {
            State::Ready(result) => return Ok(result),
            State::Closure(threadlet) => match threadlet.join_deadline(deadline) {
                Ok(result) => return Ok(result),
                Err(threadlet) => State::Closure(threadlet),
            },
            State::Call(mut waiting) => match waiting.wait(Some(deadline)) {
                Some(result) => return Ok(result),
                None => State::Call(waiting),
            },
            State::Fetched => panic!("an operation is waited for after it was ready"),
        };
        Err(Self { state, inline })
    }

    /// Asks the operation to end. Its result says what happened: `ECANCELED`, or its own result if it
    /// was too late. (A sleep just ends.)
    ///
    /// Operations on paths, but for [`fs::File::open`](crate::fs::File::open) and
    /// [`fs::OpenOptions::open`](crate::fs::OpenOptions::open), answer
    /// [`CancelOutcome::TooLate`]: they go on to their end.
    ///
    /// # Blocking
    ///
    /// Never; wait for the result afterwards.
    pub fn cancel(&self) -> CancelOutcome {
        match &self.state {
            State::Call(waiting) => waiting.cancel(),
            State::Ready(_) | State::Closure(_) | State::Fetched => CancelOutcome::TooLate,
        }
    }
}

impl<T> Future for Operation<T> {
    type Output = T;

    /// # Panics
    ///
    /// If it was ready before, and as [`wait`](Operation::wait).
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let result = match &mut self.state {
            State::Ready(_) => None,
            State::Closure(threadlet) => Some(std::task::ready!(Pin::new(threadlet).poll(context))),
            State::Call(waiting) => Some(std::task::ready!(waiting.poll(context))),
            State::Fetched => panic!("an operation is polled after it was ready"),
        };
        match (result, std::mem::replace(&mut self.state, State::Fetched)) {
            (Some(result), _) | (None, State::Ready(result)) => Poll::Ready(result),
            (None, _) => unreachable!("only a ready operation has nothing to poll"),
        }
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(_) => "over",
            State::Closure(_) | State::Call(_) => "waiting",
            State::Fetched => "fetched",
        };
        f.debug_struct("Operation")
            .field("state", &state)
            .field("was_inline", &self.inline)
            .finish()
    }
}
