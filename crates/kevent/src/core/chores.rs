//! What is left to be done when the lock is let go.

use std::sync::{Arc, MutexGuard};

use syslet::source::{self, Nudged};

use super::{Core, On};
use crate::node::Node;
use crate::source::What;
use crate::state::State;
use crate::{child, signals};

impl Core {
    /// Changes the state, and does afterwards what that leaves to be done. Not on the keeper.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        self.with_on(On::Program, change)
    }

    /// As [`with`](Self::with), on any thread.
    pub(super) fn with_on<R>(&self, on: On, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        self.finish(state, on);
        result
    }

    /// Lets go of the lock. What is left to be done is done now, not by whoever has the lock next, who may have another
    /// that this must not be done under.
    pub(super) fn finish(&self, mut state: MutexGuard<'_, State>, on: On) {
        let chores = std::mem::take(&mut state.chores);
        drop(state);
        if !chores.watches.is_empty() {
            source::unwatch(chores.watches);
        }
        if on != On::Keeper {
            chores.ended.iter().for_each(|node| self.forget(node));
        } else if !chores.ended.is_empty()
            && let Some(core) = self.this.upgrade()
        {
            // The keeper would wait for itself, or wake tasks of the program's.
            source::nudge(Arc::new(Forgets(core, chores.ended)));
        }
    }

    /// A source that is not about readiness is none any more: what else knows it is told.
    ///
    /// **Blocking**: of a signal that is for queues alone until the keeper has heard of it, of a child as
    /// [`CompletionQueue::cancel_all`](syslet::CompletionQueue::cancel_all).
    fn forget(&self, node: &Arc<Node>) {
        match node.source.what {
            What::Timer(clock, ..) => source::clear_alarm(clock, &**node),
            // Another's watch takes the place of its own.
            What::Inode(_) if Arc::ptr_eq(node, node.heir()) => {
                if let Some(watch) = node.watch.get() {
                    source::unwatch_inode(*watch);
                }
            }
            What::Signal(number, _) => signals::leave(number, node),
            What::Child(_) => child::leave(self, node),
            What::Ready(..) | What::Inode(_) | What::User => {}
        }
    }
}

/// Sources that the keeper has handed out, to be forgotten elsewhere.
struct Forgets(Arc<Core>, Vec<Arc<Node>>);

impl Nudged for Forgets {
    fn nudged(self: Arc<Self>) {
        self.1.iter().for_each(|node| self.0.forget(node));
    }
}
