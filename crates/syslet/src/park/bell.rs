//! How a thread that sleeps in the kernel is told that something was queued for it.

use crate::sync::{AtomicU32, Ordering};

/// The thread looks at its queue before it sleeps.
const AWAKE: u32 = 0;
/// It sleeps, or is about to: who queues something wakes it.
pub(super) const ASLEEP: u32 = 1;

/// See the module. The queue is under a lock, which orders what is queued and what is looked at; the
/// word says only whether somebody must be woken.
#[derive(Debug)]
pub(super) struct Bell(AtomicU32);

impl Bell {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(AWAKE))
    }

    /// Something was queued. True: the thread must be woken, by a futex wake on [`word`](Self::word).
    pub(super) fn ring(&self) -> bool {
        self.0.swap(AWAKE, Ordering::SeqCst) == ASLEEP
    }

    /// The thread is about to sleep. It looks at the queue once more after this, and sleeps only as long as
    /// the word is [`ASLEEP`].
    pub(super) fn doze(&self) {
        self.0.store(ASLEEP, Ordering::SeqCst);
    }

    /// The thread does not sleep.
    pub(super) fn rise(&self) {
        self.0.store(AWAKE, Ordering::SeqCst);
    }

    /// The futex.
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.0
    }
}

/// The model of the promise, run by loom: what is queued is found.
#[cfg(all(loom, test))]
mod models {
    use loom::sync::Arc;
    use loom::thread;

    use super::{ASLEEP, Bell};
    use crate::sync::{Mutex, Ordering, lock};

    #[test]
    fn what_is_queued_is_found_by_who_was_about_to_sleep() {
        loom::model(|| {
            let shared = Arc::new((Bell::new(), Mutex::new(0)));
            let other = Arc::clone(&shared);
            let producer = thread::spawn(move || {
                let (bell, queue) = &*other;
                for _ in 0..2 {
                    *lock(queue) += 1;
                    // The wake-up is of no use to who does not sleep yet: the word tells that one.
                    let _ = bell.ring();
                }
            });
            let (bell, queue) = &*shared;
            let mut found = 0;
            while found < 2 {
                found += std::mem::take(&mut *lock(queue));
                if found == 2 {
                    break;
                }
                bell.doze();
                if *lock(queue) == 0 {
                    // In the kernel, as long as the word says so.
                    while bell.word().load(Ordering::SeqCst) == ASLEEP {
                        thread::yield_now();
                    }
                }
                bell.rise();
            }
            producer.join().unwrap();
        });
    }
}
