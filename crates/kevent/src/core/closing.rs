//! The end of a queue: what is left is dropped and closed where the program's descriptors are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use syslet::source::{self, Made, Nudged, Taken};
use syslet_sys::futex;

use super::{Core, On};
use crate::event::Event;
use crate::state::Item;

impl Core {
    /// Ends all sources, and whoever waits.
    pub(crate) fn close(&self) {
        let (mut tasks, mut ready) = (Taken::default(), VecDeque::new());
        self.with(|state| {
            self.closed.store(true, Ordering::Relaxed);
            let keys: Vec<_> = state.sources.keys().copied().collect();
            keys.into_iter().for_each(|key| drop(state.remove(key)));
            ready = std::mem::take(&mut state.ready);
            state.levels.clear();
            state.live = 0;
            state.ring = None;
            tasks = state.tasks.take();
            self.bell.fetch_add(1, Ordering::Relaxed);
        });
        futex::wake(&self.bell, i32::MAX as u32);
        tasks.wake();
        self.detach_eventfd();
        for item in ready {
            if let Item::Made(made) = item {
                made.1.close();
            }
        }
    }

    /// Puts the answer of a call in, which has made descriptors.
    pub(crate) fn post_made(&self, event: Event, made: Made) {
        if made.is_nothing() {
            return self.post(std::iter::once(event), false);
        }
        let (item, mut is_closed) = (Item::Made(Box::new((event, made))), false);
        self.put(On::Program, |state| {
            is_closed = self.closed.load(Ordering::Relaxed);
            if !is_closed {
                state.ready.push_back(item);
                state.live += 1;
            }
            !is_closed
        });
        if is_closed {
            made.close();
        }
    }
}

/// Lets go of a queue on the keeper, where nothing of the program's may be dropped: descriptors are others there. If
/// this was the last who had it, another thread drops it.
pub(crate) fn let_go(core: Arc<Core>) {
    if let Some(core) = Arc::into_inner(core) {
        source::nudge(Arc::new(Last(core)));
    }
}

/// A queue that nobody has any more.
struct Last(#[allow(dead_code, reason = "is there to be dropped")] Core);

impl Nudged for Last {
    fn nudged(self: Arc<Self>) {}
}
