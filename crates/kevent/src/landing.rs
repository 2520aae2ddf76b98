//! The queue's ring, as programs use it: waiting for it to be filled, saying how far it was read.

use std::io;
use std::time::Instant;

use crate::Queue;
use crate::core::Waited;
use crate::queue::error;
use crate::ring::Ring;
use crate::state::State;

impl Queue {
    /// Waits until the ring has events that are not committed, or the program's index, which was `uidx` when it was
    /// last looked at, is another; says how many events are in the ring, but at most `num`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no ring, or it has less than `num` places. `EINTR`: a signal handler has run.
    /// `EBADF`: the queue was closed, or is that of a parent process.
    ///
    /// # Blocking
    ///
    /// Until then, or `deadline`.
    pub fn wait(&self, num: u32, uidx: u32, deadline: Option<Instant>) -> io::Result<u32> {
        self.living()?;
        let size = self.core.lock().ring.as_ref().map(Ring::size);
        if size.is_none_or(|size| num > size) {
            return Err(error(libc::EINVAL));
        }
        let mut first = None;
        let moved = |state: &mut State| {
            state.active = true;
            let Some(ring) = &state.ring else { return false };
            // By the position: who comes back late may find that the index has come round.
            let has_moved = *first.get_or_insert(ring.read()) != ring.read();
            ring.len() > 0 || has_moved || ring.uidx() != uidx
        };
        self.core.lock().indexed += 1;
        let waited = self.wait_until(num as usize, deadline, moved);
        self.core.lock().indexed -= 1;
        if waited == Waited::Interrupted {
            return Err(error(libc::EINTR));
        }
        Ok(self.core.with(|state| state.ring.as_ref().map_or(0, |ring| ring.len().min(num))))
    }

    /// Waits until `moved`; what comes meanwhile and is to be asked about before it lands is.
    fn wait_until(
        &self,
        num: usize,
        deadline: Option<Instant>,
        mut moved: impl FnMut(&mut State) -> bool,
    ) -> Waited {
        loop {
            self.core.refresh(num.max(1));
            let mut is_stuck = false;
            let waited = self.core.wait(1, deadline, |state| {
                is_stuck = state.fill_ring(true);
                let has_moved = moved(state);
                is_stuck &= !has_moved;
                has_moved || is_stuck
            });
            if !is_stuck || waited != Waited::Ready {
                return waited;
            }
            self.core.fill_ring();
        }
    }

    /// The program has read the ring up to index `uidx`, and the header's `over` was this when it looked. Says how
    /// many places are free by that, which is less than it thinks if another thread was faster. What waited for room
    /// moves up.
    ///
    /// Threads that commit at the same time share the events so: each has as its own, of those that it has read, the
    /// last so many as were free by its commit. But an index does not say of which round it is: who is so late that
    /// the ring was filled once more since it looked frees what it has not read. Where that cannot be ruled out a
    /// lock is held from the look at the header to the commit, or all fetch by [`get_events`](Self::get_events).
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no ring, or nothing at that index. `EOVERFLOW`: the ring has come round more than once since.
    /// `EBADF`: the queue was closed, or is that of a parent process.
    ///
    /// # Blocking
    ///
    /// [At most for the keeper](Queue#blocking), for what moves up.
    pub fn commit(&self, uidx: u32, over: u32) -> io::Result<u32> {
        self.living()?;
        let mut freed = None;
        self.core.hand_out(|state| {
            state.active = true;
            freed.get_or_insert_with(|| match &mut state.ring {
                Some(ring) => ring.commit(uidx, over),
                None => Err(error(libc::EINVAL)),
            });
            state.fill_ring(true);
            0
        });
        freed.expect("it is done once")
    }
}
