//! What must be known of descriptors before events are handed out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use syslet_sys::futex;

use super::{Core, On};
use crate::doubts::Doubts;
use crate::level::{self, Found};
use crate::node::Node;
use crate::state::State;

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

    /// Looks at level-triggered sources, if that must be done before up to `max` events are handed out.
    ///
    /// **Blocking**: as [`level::find_strangers`].
    pub(crate) fn refresh(&self, max: usize) {
        let levels = self.lock().pass_levels(max);
        self.look_at(levels);
    }

    /// Does what hands events out: `act`, under the lock, which says how many more it would hand out. If it has stopped
    /// at what is to be asked about that is done, and then it goes on: as often as that is, or it would leave something
    /// behind that is there and wakes nobody any more. Each time something is handed out or is none any more.
    ///
    /// **Blocking**: never if nothing is to be asked about; else as [`level::find_strangers`].
    pub(crate) fn hand_out(&self, mut act: impl FnMut(&mut State) -> usize) {
        let mut doubts = Doubts::default();
        loop {
            let answered = |state: &mut State| {
                doubts.settle();
                let more = act(state).saturating_add(state.room());
                doubts.end();
                state.find_doubtful(more)
            };
            let found = self.read_unless(answered, |found| !found.is_empty());
            if found.is_empty() {
                return;
            }
            doubts = found;
            doubts.ask();
        }
    }

    /// Fills the ring as far as there is room.
    ///
    /// **Blocking**: as [`hand_out`](Self::hand_out).
    pub(crate) fn fill_ring(&self) {
        self.hand_out(|state| {
            state.fill_ring(true);
            0
        });
    }

    /// Does what may move the program's index in the ring, which others wait for; what is left is another thread's,
    /// unless the answer says that this one comes back.
    fn read_unless<R>(
        &self,
        read: impl FnOnce(&mut State) -> R,
        comes_back: impl FnOnce(&R) -> bool,
    ) -> R {
        let mut threads = 0;
        let answer = self.with(|state| {
            let (answer, readers) = state.read(read);
            threads = match readers {
                0 if comes_back(&answer) => 0,
                0 => self.pass_on(state),
                readers => self.rings(readers),
            };
            answer
        });
        if threads > 0 {
            futex::wake(&self.bell, threads);
        }
        answer
    }

    /// As [`hand_out`](Self::hand_out), of a test's.
    #[cfg(test)]
    pub(crate) fn read<R>(&self, read: impl FnOnce(&mut State) -> R) -> R {
        self.read_unless(read, |_| false)
    }
}
