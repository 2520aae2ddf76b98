//! Rounds: looking at numbers that the program may have closed without a word.
//!
//! A file that is closed leaves the keeper's epoll and nothing is told. So now and then the next few sources are
//! looked at, on the clock's thread: often while the queue is in use, seldom while it is not. The cost is bounded,
//! whatever the number of sources: 64 looks of 0.2 us, and one question to the keeper if files that inodes do not tell
//! apart are among them.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Weak};

use syslet::source::{self, Clock, NOWHERE, Timed};

use crate::core::{Core, On};
use crate::level;

/// Sources that are looked at in one go.
const LOOKS: usize = 64;
/// Nanoseconds from one look to the next: in use, and not.
const OFTEN: u64 = 100_000_000;
const SELDOM: u64 = 1_000_000_000;

#[derive(Debug)]
struct Sweep {
    core: Weak<Core>,
    place: AtomicU32,
}

/// Has the queue's sources looked at from now on, while there are any.
pub(crate) fn begin(core: &Arc<Core>) {
    if std::mem::replace(&mut core.lock().sweeping, true) {
        return;
    }
    let sweep = Arc::new(Sweep { core: core.this(), place: AtomicU32::new(NOWHERE) });
    let at = Clock::Monotonic.now() + OFTEN;
    if source::set_alarm(Clock::Monotonic, at, sweep).is_err() {
        core.lock().sweeping = false;
    }
}

impl Timed for Sweep {
    fn place(&self) -> &AtomicU32 {
        &self.place
    }

    fn expire(self: Arc<Self>) -> Option<u64> {
        let core = self.core.upgrade()?;
        let mut looked_at = Vec::with_capacity(LOOKS);
        let active = {
            let mut state = core.lock();
            if state.watched.is_empty() {
                state.sweeping = false;
                return None;
            }
            for _ in 0..LOOKS.min(state.watched.len()) {
                if state.cursor >= state.watched.len() {
                    state.cursor = 0;
                }
                looked_at.push(Arc::clone(&state.watched[state.cursor]));
                state.cursor += 1;
            }
            std::mem::take(&mut state.active)
        };
        for (node, strange) in looked_at.iter().zip(level::find_strangers(&looked_at)) {
            if strange {
                core.breaks(node, libc::EBADF, On::Clock);
            }
        }
        Some(Clock::Monotonic.now() + if active { OFTEN } else { SELDOM })
    }

    fn is_over(&self) -> bool {
        self.core.strong_count() == 0
    }
}
