//! Chains whose end comes to the queue.
//!
//! A chain's answers belong to its handle, which is kept among what is under way. When the chain has ended its waker
//! posts a number to the completion queue, and the pump, finding the handle by it, fetches the answers and lets go of
//! it: so nothing of the chain is locked while it ends.

#![allow(unsafe_code, reason = "passes chains on")]

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use syslet::{
    CancelOutcome, Chain, ChainResult, Completion, PendingChain, SubmittedChain, submit_chain,
};

use crate::Queue;
use crate::completions::{Purpose, event_of};
use crate::core::Core;

/// What is made of the answers.
type Ended = Box<dyn FnOnce(ChainResult) -> isize + Send>;

/// A chain that is away. Whoever lets go of it last tells of it: the pump, or who was cancelling it just then.
pub(crate) struct Sent {
    pub(crate) id: u64,
    user_data: u64,
    pending: PendingChain,
    ended: Mutex<Ended>,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Has the pump look at a chain.
struct Over {
    core: Weak<Core>,
    number: u64,
}

impl Wake for Over {
    fn wake(self: Arc<Self>) {
        let Some(core) = self.core.upgrade() else { return };
        if let Some(completions) = core.completions.get() {
            completions.queue.post(self.number, 0);
        }
    }
}

impl Core {
    /// The chain has ended, and one of those who had it lets go of it.
    pub(crate) fn chain_is_over(&self, sent: Arc<Sent>) {
        // Of several who do so at once one gets it.
        let Some(Sent { id, user_data, pending, ended }) = Arc::into_inner(sent) else { return };
        let ended = ended.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.chain_answered(id, user_data, pending.wait(), ended); // has ended: this waits for nothing
    }

    fn chain_answered(&self, id: u64, user_data: u64, result: ChainResult, ended: Ended) {
        let answer = catch_unwind(AssertUnwindSafe(|| ended(result))).unwrap_or_else(|payload| {
            // It may panic when it is dropped, and what it says then again.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
            Completion::PANICKED
        });
        self.post(std::iter::once(event_of(id, user_data, answer)), false);
    }
}

impl Queue {
    /// Submits a chain of calls, whose end comes as an event with this id and number, always, whether it slept or
    /// not. Before that `ended` is given the answers of its steps, descriptors and all, and what it returns is the
    /// event's [`result`](crate::Event::result) ([`Completion::PANICKED`] if it panics). It runs on the thread that
    /// ends the chain, which has other things to do: it is to be short, and to wait for nothing.
    /// [`cancel`](Self::cancel) cancels the chain.
    ///
    /// If the queue is dropped before, `ended` is not run, and the descriptors that the chain has made are closed.
    ///
    /// ```
    /// use syslet::{Arg, Chain};
    /// use syslet_kevent::Queue;
    ///
    /// let (queue, mut chain) = (Queue::new()?, Chain::new());
    /// let eventfd = chain.push(libc::SYS_eventfd2 as usize, [5.into(), 0.into()]);
    /// let close = chain.push(libc::SYS_close as usize, [Arg::Result(eventfd)]);
    /// # #[allow(unsafe_code)]
    /// // SAFETY: no memory, and a descriptor of its own.
    /// unsafe {
    ///     queue.submit_chain(1, 0, chain, move |result| {
    ///         result.ret(close).map_or(-1, |closed| closed.raw())
    ///     })
    /// }?;
    /// let events = queue.get_events(1, 1, None)?;
    /// assert_eq!((events[0].id, events[0].result()), (1, 0));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a step is refused, with what [`syslet::submit_chain`] says, and `EBADF` if the queue was closed or is that
    /// of a parent process: nothing was run.
    ///
    /// # Safety
    ///
    /// As [`syslet::submit_chain`].
    ///
    /// # Blocking
    ///
    /// As [`syslet::submit_chain`]: not on an attached thread.
    pub unsafe fn submit_chain(
        &self,
        id: u64,
        user_data: u64,
        chain: Chain,
        ended: impl FnOnce(ChainResult) -> isize + Send + 'static,
    ) -> io::Result<()> {
        self.living()?;
        let completions = self.core.completions()?;
        // SAFETY: the duty of this function.
        let submitted = unsafe { submit_chain(chain) };
        let submitted = submitted.map_err(|refused| io::Error::other(refused.to_string()))?;
        let result = match submitted {
            SubmittedChain::Done(result) => result,
            SubmittedChain::Pending(mut pending) => {
                // It may end at any time from the poll on: who finds it by its number waits for the lock.
                let mut under_way = completions.under_way();
                under_way.0 += 1;
                let number = under_way.0;
                let waker = Waker::from(Arc::new(Over { core: self.core.this(), number }));
                match Pin::new(&mut pending).poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(result) => result,
                    Poll::Pending => {
                        let ended = Mutex::new(Box::new(ended) as Ended);
                        let sent = Sent { id, user_data, pending, ended };
                        under_way.1.insert(number, Purpose::Chain(Arc::new(sent)));
                        return Ok(());
                    }
                }
            }
        };
        self.core.chain_answered(id, user_data, result, Box::new(ended));
        Ok(())
    }

    /// Cancels chains that are away; says how many were told in time.
    pub(crate) fn cancel_chains(&self, chains: Vec<Arc<Sent>>) -> usize {
        let cancel = |sent: Arc<Sent>| {
            let outcome = sent.pending.cancel();
            self.core.chain_is_over(sent);
            usize::from(matches!(outcome, CancelOutcome::Asked | CancelOutcome::NotBegun))
        };
        chains.into_iter().map(cancel).sum()
    }
}
