//! What became of a chain.

use super::descriptors::close_made;
use super::run::{End, How};
use super::steps::{Chain, StepId};
use crate::call::Ret;

/// What became of a chain: the answers of its steps, and where it ended.
///
/// It hands everything over: descriptors that the chain has made are the caller's, also after a cancel.
#[derive(Debug, Clone)]
#[must_use = "descriptors that the chain has made are the caller's to close"]
pub struct ChainResult {
    chain: Chain,
    end: End,
}

impl ChainResult {
    pub(super) fn new(chain: Chain, end: End) -> Self {
        Self { chain, end }
    }

    /// That of a chain which stayed with the parent process at a fork.
    pub(super) fn lost() -> Self {
        Self::new(Chain::new(), End { last: Some(StepId::new(0)), how: How::Cancelled })
    }

    /// The answer of `step`; `None` if it was not made.
    pub fn ret(&self, step: StepId) -> Option<Ret> {
        self.chain.ret(step)
    }

    /// The last step that was made, and its answer; `None` of a chain without steps. A chain that was
    /// cancelled ends with the step that was.
    pub fn last(&self) -> Option<(StepId, Ret)> {
        self.end.last.and_then(|last| Some((last, self.ret(last)?)))
    }

    /// The step whose result ended the chain, by a rule of [`Chain::stop_on`].
    pub fn stopped(&self) -> Option<StepId> {
        self.end.last.filter(|_| self.end.how == How::Stopped)
    }

    /// The step that was cancelled. Its answer is `-ECANCELED`, it did nothing, and no step after it was
    /// made. (In a forked child a chain that was away is cancelled, without any answers.)
    pub fn cancelled(&self) -> Option<StepId> {
        self.end.last.filter(|_| self.end.how == How::Cancelled)
    }

    /// The chain, to be submitted again; without its answers.
    pub fn into_chain(mut self) -> Chain {
        self.chain.forget();
        self.chain
    }
}

/// A result on its way to the handle. Dropped on the way, because nobody wants it any more, it closes
/// the descriptors that the chain has made.
#[derive(Debug)]
pub(super) struct Unclaimed(Option<ChainResult>);

impl Unclaimed {
    pub(super) fn new(result: ChainResult) -> Self {
        Self(Some(result))
    }

    /// Gives the result to whom it belongs.
    pub(super) fn claim(mut self) -> ChainResult {
        self.0.take().expect("a result is claimed once")
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(result) = &self.0 {
            close_made(&result.chain, result.cancelled());
        }
    }
}
