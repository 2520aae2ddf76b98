//! Naps: how the keeper lets events gather that nobody waits for, and who ends that.
//!
//! The keeper works in rounds. One that has told only what nobody was waiting for may end with a nap. Who begins to
//! wait makes that known where the teller sees it (under a lock of its own), and then *attends*. So either the round
//! tells it of its event as of one that is awaited; or the round had begun, and finds that somebody attended; or the
//! nap had begun, and is ended. In none of these does it wait for the nap of that round.

use crate::sync::{AtomicU32, Ordering, fence};

/// The keeper does not nap.
const UP: u32 = 0;
/// It naps, or is about to.
pub(super) const NAPS: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(super) struct Nap {
    word: AtomicU32,
    /// 1: somebody has attended since the round began.
    attended: AtomicU32,
}

impl Nap {
    pub(super) fn new() -> Self {
        Self { word: AtomicU32::new(UP), attended: AtomicU32::new(0) }
    }

    /// A round begins: what is told in it is told to all who have attended before.
    pub(super) fn begin_round(&self) {
        // Acquire: pairs with the store in `attend`, after which what that one did before is seen.
        self.attended.swap(0, Ordering::SeqCst);
    }

    /// The round ends with a nap, as long as the word is [`NAPS`]; false: not so, because somebody attended.
    pub(super) fn doze(&self) -> bool {
        self.word.store(NAPS, Ordering::SeqCst);
        // Pairs with the fence in `attend`: one of the two sees what the other has stored.
        fence(Ordering::SeqCst);
        if self.attended.load(Ordering::SeqCst) == 0 {
            return true;
        }
        self.rise();
        false
    }

    /// The keeper is up.
    pub(super) fn rise(&self) {
        self.word.store(UP, Ordering::SeqCst);
    }

    /// The caller waits from now on, or has asked for something. True: the keeper must be woken, by a futex wake on
    /// [`word`](Self::word).
    pub(super) fn attend(&self) -> bool {
        self.attended.store(1, Ordering::SeqCst);
        // Pairs with the fence in `doze`.
        fence(Ordering::SeqCst);
        self.word.load(Ordering::SeqCst) == NAPS && self.word.swap(UP, Ordering::SeqCst) == NAPS
    }

    /// The futex.
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.word
    }
}

/// The model of the promise, run by loom: nobody who has attended waits for a nap of the round in which it did.
#[cfg(all(loom, test))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::{NAPS, Nap};
    use crate::sync::{Mutex, Ordering, lock};

    #[test]
    fn who_begins_to_wait_is_seen_or_prevents_the_nap_or_ends_it() {
        loom::model(|| {
            let shared = Arc::new((Nap::new(), Mutex::new(false)));
            let other = Arc::clone(&shared);
            let waiter = thread::spawn(move || {
                let (nap, waits) = &*other;
                *lock(waits) = true;
                let _ = nap.attend();
            });
            let (nap, waits) = &*shared;
            nap.begin_round();
            let awaited = *lock(waits);
            if !awaited && nap.doze() {
                // In the kernel, as long as the word says so; without the limit that there is.
                while nap.word().load(Ordering::SeqCst) == NAPS {
                    thread::yield_now();
                }
                nap.rise();
            }
            waiter.join().unwrap();
        });
    }
}
