//! A gate before the answers to reads and flushes: while it is shut they are kept behind it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::delayed::Deed;

/// See the module.
#[derive(Default)]
pub(crate) struct Gate {
    /// Protects both parts: what comes while the gate opens is kept, or passes.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shut: bool,
    kept: Vec<Deed>,
}

impl Gate {
    pub(crate) fn shut(&self) {
        self.lock().shut = true;
    }

    /// Lets everything through, from now on.
    pub(crate) fn open(&self) {
        let kept = {
            let mut state = self.lock();
            state.shut = false;
            std::mem::take(&mut state.kept)
        };
        kept.into_iter().for_each(|deed| deed());
    }

    /// How many are kept.
    pub(crate) fn kept(&self) -> usize {
        self.lock().kept.len()
    }

    /// Does it, now or when the gate is opened.
    pub(crate) fn pass(&self, deed: Deed) {
        let mut state = self.lock();
        if state.shut {
            return state.kept.push(deed);
        }
        drop(state);
        deed();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("kept", &self.kept()).finish_non_exhaustive()
    }
}
