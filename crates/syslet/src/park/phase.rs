//! Who owns a parked call: see this folder's README.md.

use crate::sync::{AtomicU32, Ordering, fence};

/// Somebody owns the call: who made it, or who claimed it last.
const BUSY: u32 = 0;
/// Nobody does; whoever claims it goes on with it.
const WAITING: u32 = 1;
/// It is finished.
const OVER: u32 = 2;
/// Nobody owns it, and it waits for a thread that makes it; whoever claims it ends it, or makes it.
const QUEUED: u32 = 3;

/// The phase of a parked call.
#[derive(Debug)]
pub(crate) struct Phase(AtomicU32);

impl Phase {
    /// Of a call that its maker owns.
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(BUSY))
    }

    /// The owner lets go. What it looks at afterwards (a cancel, the heap) was either changed before, or
    /// who changes it finds the call waiting.
    pub(crate) fn wait(&self) {
        // Release: pairs with the acquire of `claim`.
        self.0.store(WAITING, Ordering::Release);
        // Pairs with the one in `claim_after`.
        fence(Ordering::SeqCst);
    }

    /// As [`wait`](Self::wait), for a thread that makes the call.
    pub(crate) fn queue(&self) {
        // Release: pairs with the acquire of `claim_queued`.
        self.0.store(QUEUED, Ordering::Release);
        // As in `wait`.
        fence(Ordering::SeqCst);
    }

    /// Becomes the owner, if the call waits for a thread.
    pub(crate) fn claim_queued(&self) -> bool {
        self.0.compare_exchange(QUEUED, BUSY, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// True if the call waits for a thread: a hint.
    pub(crate) fn is_queued(&self) -> bool {
        self.0.load(Ordering::Acquire) == QUEUED
    }

    /// Becomes the owner, if the call waits.
    pub(crate) fn claim(&self) -> bool {
        // Acquire: pairs with the release in `wait`.
        self.0.compare_exchange(WAITING, BUSY, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// As [`claim`](Self::claim), by somebody who has just changed what the owner looks at when it lets
    /// go.
    pub(crate) fn claim_after(&self) -> bool {
        fence(Ordering::SeqCst);
        self.claim()
    }

    /// The owner finishes the call. What it looks at afterwards (the place of a poll, of a file) was
    /// either changed before, or who changes it finds the call over.
    pub(crate) fn finish(&self) {
        self.0.store(OVER, Ordering::Release);
        // Pairs with the one in `is_over_after`.
        fence(Ordering::SeqCst);
    }

    /// True if the call is finished: a hint.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == OVER
    }

    /// As [`is_over`](Self::is_over), by somebody who has just changed what the finisher looks at.
    pub(crate) fn is_over_after(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_over()
    }
}

/// Models of the promises in the README, run by loom.
#[cfg(all(loom, test))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::Phase;
    use crate::sync::{AtomicU32, Ordering, fence};

    /// A call, as far as its phase matters.
    struct Call {
        phase: Phase,
        cancel: AtomicU32,
        in_heap: AtomicU32,
        place: AtomicU32,
        armed: AtomicU32,
        answers: AtomicU32,
    }

    impl Call {
        fn new() -> Arc<Self> {
            let zero = || AtomicU32::new(0);
            Arc::new(Self {
                phase: Phase::new(),
                cancel: zero(),
                in_heap: AtomicU32::new(1),
                place: zero(),
                armed: zero(),
                answers: zero(),
            })
        }

        fn answer(&self) {
            self.phase.finish();
            if self.place.load(Ordering::Relaxed) != 0 {
                self.armed.store(0, Ordering::SeqCst);
            }
            self.answers.fetch_add(1, Ordering::Relaxed);
        }

        /// As `ask_cancel` and what follows it.
        fn cancel(&self) {
            self.cancel.store(1, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.phase.claim() || self.phase.claim_queued() {
                self.answer();
            }
        }

        fn expire(&self) {
            self.in_heap.store(0, Ordering::Relaxed);
            if self.phase.claim_queued() || self.phase.claim_after() {
                self.answer();
            }
        }

        /// As the job of a crew thread, and as who waits for the call.
        fn make(&self) {
            if self.phase.claim_queued() {
                self.answer();
            }
        }

        fn let_go(&self) {
            self.phase.wait();
            let expired = self.in_heap.load(Ordering::Relaxed) == 0;
            if expired && self.phase.claim() {
                self.answer();
            }
            if self.cancel.load(Ordering::Relaxed) != 0 && self.phase.claim() {
                self.answer();
            }
        }

        fn answers(&self) -> u32 {
            self.answers.load(Ordering::Relaxed)
        }
    }

    fn together(call: &Arc<Call>, others: &[fn(&Call)]) -> Vec<thread::JoinHandle<()>> {
        let start = |other: &fn(&Call)| {
            let (call, other) = (Arc::clone(call), *other);
            thread::spawn(move || other(&call))
        };
        others.iter().map(start).collect()
    }

    #[test]
    fn a_cancel_while_the_call_is_owned_ends_it_once() {
        loom::model(|| {
            let call = Call::new();
            let threads = together(&call, &[Call::cancel]);
            call.let_go();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(call.answers(), 1);
        });
    }

    #[test]
    fn a_time_that_comes_while_the_call_is_owned_ends_it_once() {
        loom::model(|| {
            let call = Call::new();
            let threads = together(&call, &[Call::expire]);
            call.let_go();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(call.answers(), 1);
        });
    }

    #[test]
    fn a_call_that_waits_for_a_thread_is_made_or_cancelled_once() {
        loom::model(|| {
            let call = Call::new();
            let threads = together(&call, &[Call::cancel, Call::make]);
            call.phase.queue();
            if call.cancel.load(Ordering::Relaxed) != 0 && call.phase.claim_queued() {
                call.answer();
            }
            // The job, which may come late.
            call.make();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(call.answers(), 1);
        });
    }

    #[test]
    fn a_cancel_ends_a_call_that_no_thread_comes_for() {
        loom::model(|| {
            let call = Call::new();
            let threads = together(&call, &[Call::cancel]);
            call.phase.queue();
            if call.cancel.load(Ordering::Relaxed) != 0 && call.phase.claim_queued() {
                call.answer();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(call.answers(), 1);
        });
    }

    #[test]
    fn a_cancel_and_a_time_end_it_once() {
        loom::model(|| {
            let call = Call::new();
            let threads = together(&call, &[Call::cancel, Call::expire]);
            call.let_go();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(call.answers(), 1);
        });
    }

    #[test]
    fn a_call_that_ends_while_its_poll_is_armed_leaves_none() {
        loom::model(|| {
            let call = Call::new();
            let threads = together(&call, &[Call::cancel]);
            call.phase.wait();
            call.place.store(1, Ordering::Relaxed);
            call.armed.store(1, Ordering::SeqCst);
            if call.cancel.load(Ordering::Relaxed) != 0 && call.phase.claim() {
                call.answer();
            }
            if call.phase.is_over_after() {
                call.armed.store(0, Ordering::SeqCst);
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!((call.answers(), call.armed.load(Ordering::SeqCst)), (1, 0));
        });
    }
}
