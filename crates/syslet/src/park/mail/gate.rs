//! The gate between those who change the list of sockets in use and those who fork: see `in_use`.
//!
//! | word | | who may go on |
//! |---|---|---|
//! | `OPEN` | nobody is there | anybody, who makes it `SENDS` or `FORKS` |
//! | `SENDS` | the list is being changed | who has made it so; others wait for a while, and go on without |
//! | `FORKS` | a child is forked | the same |
//! | `GIVEN_UP` | the same, and somebody has waited in vain | all who send, without: nobody waits for it any more |
//!
//! With `WAITED` added somebody sleeps on the word. Only who has made it `SENDS` or `FORKS` opens it again: till then
//! it is his word, or `GIVEN_UP` in its place. So nobody opens what another one has closed.

use crate::sync::{AtomicU32, Ordering};

const OPEN: u32 = 0;
/// The list is being changed.
pub(super) const SENDS: u32 = 1;
/// A child is forked.
pub(super) const FORKS: u32 = 2;
const GIVEN_UP: u32 = 3;
const WAITED: u32 = 4;

/// What who wants it has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It was open, and is the caller's.
    Closed,
    /// It is another's, with this word.
    Busy(u32),
    /// It is a fork's that is waited for no more.
    GivenUp,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate(AtomicU32);

impl Gate {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(OPEN))
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self(AtomicU32::new(OPEN))
    }

    /// Closes it, for `SENDS` or `FORKS`, if it is open.
    pub(super) fn close(&self, wanted: u32) -> Found {
        // Acquire: pairs with the release in `open`.
        match self.0.compare_exchange(OPEN, wanted, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Found::Closed,
            // Two who fork exclude each other as long as they can.
            Err(word) if word & !WAITED == GIVEN_UP && wanted == SENDS => Found::GivenUp,
            Err(word) => Found::Busy(word),
        }
    }

    /// The word on which to sleep, if it is `word` still.
    pub(super) fn is_to_wait(&self, word: u32) -> Option<u32> {
        (word & WAITED != 0 || self.change(word, word | WAITED)).then_some(word | WAITED)
    }

    /// The caller has waited for long enough. True: those who sleep are to be woken.
    pub(super) fn give_up(&self) -> bool {
        loop {
            let word = self.0.load(Ordering::Relaxed);
            if word & !WAITED != FORKS {
                return false;
            }
            // If not: it was opened, or somebody is about to sleep, once.
            if self.change(word, GIVEN_UP | word & WAITED) {
                return word & WAITED != 0;
            }
        }
    }

    fn change(&self, from: u32, to: u32) -> bool {
        // Relaxed: what is passed on is passed on by who opens it.
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Opens it. Duty: the caller has closed it, or nobody else is there. True: those who sleep are to be woken.
    pub(super) fn open(&self) -> bool {
        // Release: pairs with the acquire in `close`.
        self.0.swap(OPEN, Ordering::Release) & WAITED != 0
    }

    /// The futex.
    pub(super) fn word(&self) -> &AtomicU32 {
        &self.0
    }
}

/// Models of the promises, run by loom: who has closed it is alone; who sleeps is woken, or finds the word changed.
#[cfg(all(loom, test))]
#[allow(unsafe_code, reason = "a cell whose owner the gate decides")]
mod models {
    use loom::sync::{Arc, Condvar};
    use loom::thread;

    use super::{FORKS, Found, GIVEN_UP, Gate, OPEN, SENDS};
    use crate::sync::{Mutex, Ordering, UnsafeCell, bounded, lock};

    /// The gate, what it protects, and where the kernel has who sleeps on the word.
    struct Shared {
        gate: Gate,
        list: UnsafeCell<u32>,
        bucket: Mutex<()>,
        sleepers: Condvar,
    }

    impl Shared {
        fn new() -> Arc<Self> {
            let (gate, list) = (Gate::new(), UnsafeCell::new(0));
            Arc::new(Self { gate, list, bucket: Mutex::new(()), sleepers: Condvar::new() })
        }

        fn word(&self) -> u32 {
            self.gate.word().load(Ordering::SeqCst)
        }

        fn sleep_on(&self, word: u32) {
            let bucket = lock(&self.bucket);
            if self.word() == word {
                drop(self.sleepers.wait(bucket));
            }
        }

        fn wake_if(&self, waited: bool) {
            if waited {
                drop(lock(&self.bucket));
                self.sleepers.notify_all();
            }
        }

        /// Waits as long as it takes, then changes what is protected. False: went on without.
        fn pass(&self, wanted: u32) -> bool {
            loop {
                let word = match self.gate.close(wanted) {
                    Found::Closed => break,
                    Found::GivenUp => return false,
                    Found::Busy(word) => word,
                };
                if let Some(word) = self.gate.is_to_wait(word) {
                    self.sleep_on(word);
                }
            }
            // SAFETY: the model fails if two are here at a time.
            self.list.with_mut(|list| unsafe { *list += 1 });
            self.wake_if(self.gate.open());
            true
        }
    }

    #[test]
    fn who_has_closed_it_is_alone_and_nobody_sleeps_for_ever() {
        bounded(|| {
            let all = Shared::new();
            let others = [SENDS, FORKS].map(|wanted| {
                let all = Arc::clone(&all);
                thread::spawn(move || assert!(all.pass(wanted)))
            });
            assert!(all.pass(SENDS));
            others.into_iter().for_each(|other| other.join().unwrap());
            assert_eq!(all.word(), OPEN);
        });
    }

    #[test]
    fn who_has_waited_in_vain_takes_others_along_and_opens_nothing() {
        bounded(|| {
            let all = Shared::new();
            assert_eq!(all.gate.close(FORKS), Found::Closed);
            let other = Arc::clone(&all);
            let sender = thread::spawn(move || other.pass(SENDS));
            all.wake_if(all.gate.give_up());
            assert!(!sender.join().unwrap());
            assert_eq!(all.word() & GIVEN_UP, GIVEN_UP);
            assert_eq!(all.gate.close(SENDS), Found::GivenUp);
            all.gate.open();
            assert!(all.pass(SENDS));
        });
    }
}
