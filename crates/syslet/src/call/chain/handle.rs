//! A chain that waits: its handle.

#![allow(unsafe_code, reason = "turns a stored result back into its type")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::result::{ChainResult, Unclaimed};
use crate::call::{CancelOutcome, Pending, PendingCall};
use crate::complete::Outcome;

/// How the submission of a chain went.
#[derive(Debug)]
#[must_use = "a chain that is pending tells its answers to the handle only"]
pub enum SubmittedChain {
    /// The chain is over: these are its answers.
    Done(ChainResult),
    /// A step waits; the caller has gone on.
    Pending(PendingChain),
}

impl SubmittedChain {
    /// True if all steps finished inline.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The answers, waiting for them if need be.
    ///
    /// # Blocking
    ///
    /// Until the chain ends.
    pub fn wait(self) -> ChainResult {
        match self {
            Self::Done(result) => result,
            Self::Pending(pending) => pending.wait(),
        }
    }
}

/// A chain that went away. Await it, or [`wait`](Self::wait) for it.
///
/// Unlike a single call it keeps a thread for as long as it waits, whatever it waits for; but for its turn to
/// write to a file of which many writes are away
/// ([`Limits::writers_per_descriptor`](crate::Limits::writers_per_descriptor)).
///
/// Dropping it leaves the chain to itself: it goes on to its end, its answers are dropped, and the
/// descriptors that its steps have made, and no later step has closed, are closed. (Not those of
/// `ioctl`, `bpf`, `seccomp` and `io_uring_setup`, whose results may be other things, and not those
/// whose number was chosen, as by `dup2`.)
#[derive(Debug)]
#[must_use = "dropping it drops the chain's answers"]
pub struct PendingChain(Pending);

impl PendingChain {
    pub(super) fn new(slot: Arc<dyn PendingCall>) -> Self {
        Self(Pending::new(slot))
    }

    /// True once the chain has ended.
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }

    /// The answers.
    ///
    /// # Blocking
    ///
    /// Until the chain ends.
    pub fn wait(mut self) -> ChainResult {
        self.0.wait_and_help();
        self.fetch()
    }

    /// The answers, or the handle back if the chain has not ended by `deadline`.
    ///
    /// # Errors
    ///
    /// The handle.
    ///
    /// # Blocking
    ///
    /// Until the chain ends or the deadline comes.
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<ChainResult, Self> {
        if self.0.is_lost() || self.0.slot().wait(Some(deadline)) {
            Ok(self.fetch())
        } else {
            Err(self)
        }
    }

    /// Asks the chain to end. The step that runs is interrupted as by [`Pending::cancel`], and no step
    /// after it is made, not even one that would clean up; [`ChainResult::cancelled`] says which it was.
    /// If that step ends by itself first, the next one is cancelled before it begins; if there is none,
    /// it was too late.
    ///
    /// # Blocking
    ///
    /// Never; [`wait`](Self::wait) for the answers afterwards.
    pub fn cancel(&self) -> CancelOutcome {
        self.0.cancel()
    }

    fn fetch(&mut self) -> ChainResult {
        let lost = self.0.is_lost();
        let handle = self.0.0.take().expect("a pending chain is fetched once");
        if lost {
            return ChainResult::lost();
        }
        let outcome = handle.slot().try_fetch();
        handle.disarm();
        // SAFETY: the slot of this chain holds its result.
        unsafe { unbox(outcome) }
    }
}

/// # Safety
///
/// `outcome`, if it is owned, was made by `Outcome::owned::<Unclaimed>`.
unsafe fn unbox(outcome: Option<Outcome>) -> ChainResult {
    match outcome {
        Some(Outcome::Owned(pointer, _)) => {
            // SAFETY: the duty of this function; `outcome` is consumed without being discarded.
            let unclaimed = unsafe { Box::from_raw(pointer.cast::<Unclaimed>()) };
            unclaimed.claim()
        }
        other => unreachable!("a chain's outcome is owned, not {other:?}"),
    }
}

impl Future for PendingChain {
    type Output = ChainResult;

    /// # Panics
    ///
    /// If it was ready before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ChainResult> {
        if self.0.is_lost() {
            return Poll::Ready(self.fetch());
        }
        match self.0.slot().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                self.0.0.take().expect("polled above").disarm();
                // SAFETY: the slot of this chain holds its result.
                Poll::Ready(unsafe { unbox(Some(outcome)) })
            }
        }
    }
}
