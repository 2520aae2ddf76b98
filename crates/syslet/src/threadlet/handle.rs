//! The handle of a threadlet.

#![allow(unsafe_code, reason = "turns a stored result back into its type")]

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use super::run::Launched;
use crate::complete::{Outcome, Slot, SlotHandle};
use crate::crew::{engine, generation};
use crate::sync::{Ordering, lock};

/// A closure that was started by [`threadlet`](crate::threadlet()): finished, or running elsewhere.
///
/// Join it, await it, or drop it: dropped early, the closure runs on and its result is dropped on the
/// thread that finishes it.
pub struct Threadlet<T> {
    state: State<T>,
    inline: bool,
}

enum State<T> {
    Ready(thread::Result<T>),
    Away(SlotHandle, PhantomData<T>),
    Fetched,
}

// The result is either owned, without structural pinning, or elsewhere.
impl<T> Unpin for Threadlet<T> {}

impl<T> Threadlet<T> {
    #[inline(always)]
    pub(crate) fn new(launched: Launched<T>) -> Self {
        match launched {
            Launched::Inline(result) => Self { state: State::Ready(result), inline: true },
            Launched::Away(slot) => Self::away(slot),
        }
    }

    pub(super) fn away(slot: Arc<Slot>) -> Self {
        Self { state: State::Away(SlotHandle::new(slot), PhantomData), inline: false }
    }

    /// True if the closure had finished when [`threadlet`](crate::threadlet()) returned.
    #[inline]
    pub fn was_inline(&self) -> bool {
        self.inline
    }

    /// The closure's result, or what it panicked with, if the closure had finished when
    /// [`threadlet`](crate::threadlet()) returned; else the handle.
    ///
    /// # Errors
    ///
    /// The handle.
    #[inline(always)]
    pub fn into_inline(self) -> Result<thread::Result<T>, Self> {
        match self.state {
            State::Ready(result) => Ok(result),
            state => Err(Self { state, inline: self.inline }),
        }
    }

    /// True once the closure has finished.
    pub fn is_finished(&self) -> bool {
        match &self.state {
            State::Ready(_) | State::Fetched => true,
            State::Away(handle, _) => is_lost(handle) || handle.slot().is_done(),
        }
    }

    /// The closure's result.
    ///
    /// # Panics
    ///
    /// With the closure's own panic, if it panicked; in a forked child, if the closure was away when
    /// the process forked.
    ///
    /// # Blocking
    ///
    /// Until the closure has finished.
    #[inline]
    pub fn join(self) -> T {
        self.join_catch().unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// The closure's result, or what it panicked with.
    ///
    /// # Errors
    ///
    /// The panic's payload, as for [`std::thread::JoinHandle::join`].
    ///
    /// # Blocking
    ///
    /// Until the closure has finished.
    #[inline]
    pub fn join_catch(mut self) -> thread::Result<T> {
        self.wait();
        self.fetch().expect("a threadlet that was waited for has a result")
    }

    /// The closure's result if it has finished, or the handle back.
    ///
    /// # Errors
    ///
    /// The handle.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    #[inline]
    pub fn try_join(mut self) -> Result<T, Self> {
        match self.fetch() {
            Some(result) => Ok(result.unwrap_or_else(|payload| resume_unwind(payload))),
            None => Err(self),
        }
    }

    /// The closure's result, or the handle back if it has not finished by `deadline`.
    ///
    /// # Errors
    ///
    /// The handle.
    ///
    /// # Panics
    ///
    /// As [`join`](Self::join).
    ///
    /// # Blocking
    ///
    /// Until the closure has finished or the deadline comes.
    pub fn join_deadline(self, deadline: Instant) -> Result<T, Self> {
        if let State::Away(handle, _) = &self.state
            && !is_lost(handle)
        {
            handle.slot().wait(Some(deadline));
        }
        self.try_join()
    }

    /// Sleeps until the closure has finished.
    pub(super) fn wait(&self) {
        if let State::Away(handle, _) = &self.state
            && !is_lost(handle)
        {
            handle.slot().wait(None);
        }
    }

    /// As awaiting, for futures made by hand: the closure's result, or what it panicked with.
    ///
    /// # Panics
    ///
    /// If it was ready before.
    #[inline]
    pub fn poll_catch(&mut self, context: &mut Context<'_>) -> Poll<thread::Result<T>> {
        match &self.state {
            State::Away(handle, _) if !is_lost(handle) => self.poll_away(context),
            _ => Poll::Ready(self.fetch().expect("a threadlet is polled after it was ready")),
        }
    }

    #[cold]
    fn poll_away(&mut self, context: &mut Context<'_>) -> Poll<thread::Result<T>> {
        let State::Away(handle, _) = &self.state else { unreachable!("it is away") };
        let outcome = std::task::ready!(handle.slot().poll(context));
        if let State::Away(handle, _) = std::mem::replace(&mut self.state, State::Fetched) {
            handle.disarm();
        }
        // SAFETY: the slot of this threadlet holds its own result type.
        Poll::Ready(unsafe { unbox(outcome) })
    }

    /// Leaves the closure to itself; the same as dropping the handle, said aloud.
    pub fn detach(self) {}

    /// The result, if it is there and was not fetched before.
    #[inline]
    pub(super) fn fetch(&mut self) -> Option<thread::Result<T>> {
        match std::mem::replace(&mut self.state, State::Fetched) {
            State::Ready(result) => Some(result),
            State::Fetched => None,
            State::Away(handle, _) if is_lost(&handle) => {
                Some(Err(Box::new("the threadlet stayed with the parent process at a fork")))
            }
            State::Away(handle, mark) => match handle.slot().try_fetch() {
                None => {
                    self.state = State::Away(handle, mark);
                    None
                }
                Some(outcome) => {
                    handle.disarm();
                    // SAFETY: the slot of this threadlet holds its own result type.
                    Some(unsafe { unbox(outcome) })
                }
            },
        }
    }
}

/// In a forked child a closure that was away does not exist.
fn is_lost(handle: &SlotHandle) -> bool {
    handle.slot().generation() != generation()
}

/// # Safety
///
/// `outcome` was made by `Outcome::owned::<thread::Result<T>>`.
unsafe fn unbox<T>(outcome: Outcome) -> thread::Result<T> {
    match outcome {
        Outcome::Owned(pointer, _) => {
            // SAFETY: the duty of this function; `outcome` is consumed without being discarded.
            *unsafe { Box::from_raw(pointer.cast::<thread::Result<T>>()) }
        }
        other => unreachable!("a threadlet's outcome is owned, not {other:?}"),
    }
}

impl<T> Future for Threadlet<T> {
    type Output = T;

    /// # Panics
    ///
    /// With the closure's own panic, if it panicked, and if it was ready before.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.poll_catch(context)
            .map(|result| result.unwrap_or_else(|payload| resume_unwind(payload)))
    }
}

impl<T> fmt::Debug for Threadlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threadlet")
            .field("was_inline", &self.inline)
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// Waits until no call and no closure is away or queued, of any thread, and no write is parked; for the end
/// of a program, which would lose them. Parked calls that only wait are not waited for.
///
/// # Errors
///
/// How many are left at the deadline; not counted are writes that wait for their turn ([`Limits`](crate::Limits)), of
/// which each is behind one that is.
///
/// # Blocking
///
/// Until then.
pub fn drain(deadline: Instant) -> Result<(), usize> {
    let Some(engine) = engine() else { return Ok(()) };
    let mut news = lock(&engine.news.0);
    loop {
        let left =
            engine.outstanding.load(Ordering::SeqCst) + engine.park.writes.load(Ordering::SeqCst);
        if left == 0 {
            return Ok(());
        }
        let time = deadline.saturating_duration_since(Instant::now());
        if time == Duration::ZERO {
            return Err(left);
        }
        news = engine
            .news
            .1
            .wait_timeout(news, time)
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .0;
    }
}
