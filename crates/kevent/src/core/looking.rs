//! What must be known of descriptors before events are handed out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Core, On};
use crate::level::{self, Found};
use crate::node::Node;

impl Core {
    /// Looks again at level-triggered sources whose events were handed out.
    pub(super) fn look_at(&self, nodes: Vec<Arc<Node>>) {
        if nodes.is_empty() {
            return;
        }
        let found = level::look(&nodes);
        self.put(On::Program, |state| {
            let mut put = false;
            for (node, found) in nodes.iter().zip(found) {
                match found {
                    Found::Nothing => continue,
                    Found::Unknown => {
                        state.look_again(node);
                        continue;
                    }
                    Found::Ready(events) if !node.is_gone() => node.note(events, 1),
                    Found::Ready(_) => continue,
                    Found::Closed => node.error.store(libc::EBADF, Ordering::Relaxed),
                }
                put |= state.enqueue(node);
            }
            put
        });
    }

    /// What must be known before up to `max` events are handed out.
    ///
    /// **Blocking**: as [`level::find_strangers`].
    pub(crate) fn refresh(&self, max: usize) {
        let (levels, doubtful) = {
            let mut state = self.lock();
            (state.pass_levels(max), state.find_doubtful(max))
        };
        self.look_at(levels);
        self.vouch(&doubtful);
    }

    /// As [`refresh`](Self::refresh), of what has come while the thread waited.
    pub(super) fn refresh_doubtful(&self, max: usize) {
        let doubtful = self.lock().find_doubtful(max);
        self.vouch(&doubtful);
    }

    /// Has it known whether the numbers of these still mean their files.
    fn vouch(&self, doubtful: &[Arc<Node>]) {
        if doubtful.is_empty() {
            return;
        }
        for (node, strange) in doubtful.iter().zip(level::find_strangers(doubtful)) {
            if strange {
                self.breaks(node, libc::EBADF, On::Program);
            } else {
                node.vouched.store(true, Ordering::Relaxed);
            }
        }
    }
}
