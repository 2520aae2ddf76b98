//! The keeper's rest: whether it must be woken for what it is asked.
//!
//! It sleeps in an epoll. Most of what it is asked for somebody waits for, and it is woken for that. What nobody waits
//! for may lie until it wakes up by itself: after it was asked for anything its next rest is a *light* one, with an
//! end, and only from a rest without end is it woken for that.

use crate::sync::{AtomicU32, Ordering, fence};

const AWAKE: u32 = 0;
/// It looks at what it was asked for when this rest ends, by itself.
const LIGHT: u32 = 1;
const ENDLESS: u32 = 2;

/// See the module. The requests are under a lock, which orders what is asked and what is looked at.
#[derive(Debug)]
pub(super) struct Rest(AtomicU32);

impl Rest {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(AWAKE))
    }

    /// The keeper is about to rest. It looks at the requests once more after this.
    pub(super) fn begin(&self, lightly: bool) {
        self.0.store(if lightly { LIGHT } else { ENDLESS }, Ordering::SeqCst);
        // Pairs with the fences below: either it finds the request, or who asks finds it at rest.
        fence(Ordering::SeqCst);
    }

    /// The keeper is awake.
    pub(super) fn end(&self) {
        self.0.store(AWAKE, Ordering::SeqCst);
    }

    /// It was asked for something that somebody waits for. True: the caller must wake it.
    pub(super) fn is_to_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.swap(AWAKE, Ordering::SeqCst) != AWAKE
    }

    /// It was asked for something that has time. True: the caller must wake it.
    pub(super) fn is_to_wake_some_day(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.compare_exchange(ENDLESS, AWAKE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// The model of the promise, run by loom: what is asked for is found before a rest that has no end, or ends it; and if
/// somebody waits for it, any rest.
#[cfg(all(loom, test))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::Rest;
    use crate::sync::{AtomicU32, Mutex, Ordering, lock};

    struct Shared {
        rest: Rest,
        requests: Mutex<u32>,
        /// The signal that wakes it: kept pending until the sleep that it ends.
        woken: AtomicU32,
    }

    fn model(lightly: bool, urgent: bool) {
        loom::model(move || {
            let shared =
                Shared { rest: Rest::new(), requests: Mutex::new(0), woken: AtomicU32::new(0) };
            let shared = Arc::new(shared);
            let asker = Arc::clone(&shared);
            let asker = thread::spawn(move || {
                *lock(&asker.requests) += 1;
                let rest = &asker.rest;
                if if urgent { rest.is_to_wake() } else { rest.is_to_wake_some_day() } {
                    asker.woken.store(1, Ordering::SeqCst);
                }
            });
            shared.rest.begin(lightly);
            if *lock(&shared.requests) == 0 && (!lightly || urgent) {
                // In the kernel, until the signal comes.
                while shared.woken.load(Ordering::SeqCst) == 0 {
                    thread::yield_now();
                }
            }
            shared.rest.end();
            asker.join().unwrap();
            assert_eq!(*lock(&shared.requests), 1);
        });
    }

    #[test]
    fn what_somebody_waits_for_ends_every_rest() {
        model(false, true);
        model(true, true);
    }

    #[test]
    fn what_has_time_ends_a_rest_without_end() {
        model(false, false);
        model(true, false);
    }
}
