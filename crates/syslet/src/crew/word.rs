//! The call word: who goes on with the guest.
//!
//! Every call of a guest has a number of its own ([`Numbers`]), and every number is used once in the
//! life of the process. Three words hold such numbers:
//!
//! | word | of | meaning | changed by |
//! |---|---|---|---|
//! | [`CallWord`] | a crew thread | 0, or *n*: this thread makes call *n* | this thread only: 0 to *n* ([`begin`](CallWord::begin)), *n* to 0 ([`Dispute::finish`]) |
//! | `claim` | a guest | the last call that a standby wanted to take it out of | a standby, upwards by compare-and-swap ([`Dispute::take`]) |
//! | `verdict` | a guest | the last call that was contended and decided | its caller or its claimer, upwards by compare-and-swap |
//!
//! A call that nobody wants to take, which is nearly every call, is finished without an atomic
//! read-modify-write: right after a system call that would wait for the kernel's stores to drain (some
//! forty nanoseconds). The caller stores `word = 0` and then reads `claim`; the claimer stores
//! `claim = n`, makes the *heavy fence* (which orders the caller's two steps too) and then reads `word`.
//! So at least one of the two sees the other:
//!
//! - the caller does not see the claim: then the claimer sees that the word has changed, and gives up;
//! - the claimer sees the word unchanged: then the caller will see the claim;
//! - both see each other: `verdict` decides.
//!
//! A heavy fence that is refused orders nobody. The claimer gives up then: its claim stands, so the caller asks for the
//! verdict, and gets it.
//!
//! Of `finish(n)` and any number of `take(n)` exactly one succeeds, and whoever it is goes on with the
//! guest: it alone may touch what belongs to the guest from then on. The word is the crew thread's and
//! not the guest's, because the one who has lost stores its 0 at any time later, when the guest may be
//! in its next call on another thread; for the same reason `finish` asks whether its own call *or a
//! later one* was claimed.

use crate::sync::{AtomicU64, Ordering, fence};

/// No call in progress.
pub(crate) const NONE: u64 = 0;

/// Numbers of the calls of one guest record: unlike those of any other guest, and never used twice.
#[derive(Debug)]
pub(crate) struct Numbers;

impl Numbers {
    /// Bits that count calls: at one every hundred nanoseconds they last for seven years.
    const BITS: u32 = 51;

    /// The number before the first of guest record `index` (below 4096).
    pub(crate) const fn first(index: usize) -> u64 {
        (index as u64 + 1) << Self::BITS
    }

    /// True if `number` is a call of guest record `index`.
    pub(crate) const fn is_of(number: u64, index: usize) -> bool {
        number >> Self::BITS == index as u64 + 1
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct CallWord {
    call: AtomicU64,
    /// The last call that began with a whole fence, and therefore ends with one.
    fenced: AtomicU64,
}

impl CallWord {
    pub(crate) fn new() -> Self {
        Self { call: AtomicU64::new(NONE), fenced: AtomicU64::new(NONE) }
    }

    /// 0 to `number`: the guest's context is complete and may be taken.
    #[inline(always)]
    pub(crate) fn begin(&self, number: u64) {
        // Release: pairs with the acquire of a `take` that succeeds.
        self.call.store(number, Ordering::Release);
    }

    /// Where the number stands, for [`arch::protected_call`](syslet_sys::arch::protected_call), which does what
    /// [`begin`](Self::begin) and [`Dispute::finish`] do.
    #[inline(always)]
    pub(super) fn address(&self) -> *const std::sync::atomic::AtomicU64 {
        (&raw const self.call).cast()
    }

    /// [`begin`](Self::begin) without the help of `membarrier`: with the fence that must follow.
    pub(crate) fn begin_fenced(&self, number: u64) {
        // Relaxed: seen by who sees the call.
        self.fenced.store(number, Ordering::Relaxed);
        self.begin(number);
        // SeqCst: pairs with the heavy fence of whoever looks for calls.
        fence(Ordering::SeqCst);
    }

    /// True if call `number` ends with a whole fence.
    pub(crate) fn is_fenced(&self, number: u64) -> bool {
        self.fenced.load(Ordering::Relaxed) == number
    }

    /// The call in progress, or [`NONE`]. A hint: it may be over by now.
    pub(crate) fn current(&self) -> u64 {
        self.call.load(Ordering::Acquire)
    }
}

/// Who wants a guest, and who got it; see the module.
#[derive(Debug)]
pub(crate) struct Dispute {
    claim: AtomicU64,
    verdict: AtomicU64,
}

impl Dispute {
    pub(crate) fn new() -> Self {
        Self { claim: AtomicU64::new(NONE), verdict: AtomicU64::new(NONE) }
    }

    /// Call `number` is over, by the thread that made it, whose word is `word`. True: it goes on with
    /// the guest.
    ///
    /// `light_fence` orders what is before it and after it in the sight of a thread that makes the heavy
    /// fence: nothing but a compiler fence where that is `membarrier`.
    #[inline(always)]
    pub(crate) fn finish(&self, word: &CallWord, number: u64, light_fence: impl FnOnce()) -> bool {
        word.call.store(NONE, Ordering::Release);
        light_fence();
        // Acquire: what the guest does next is not done before this is known.
        self.claim.load(Ordering::Acquire) < number || self.decide(number)
    }

    /// Where the claim stands, see [`CallWord::address`].
    #[inline(always)]
    pub(super) fn claim_address(&self) -> *const std::sync::atomic::AtomicU64 {
        (&raw const self.claim).cast()
    }

    /// The rest of [`finish`](Self::finish), for a call whose word is 0 again and whose claim is not less than its
    /// number.
    pub(super) fn contended(&self, number: u64) -> bool {
        self.decide(number)
    }

    /// Takes the guest out of call `number`, made by the thread whose word is `word`. True: the caller
    /// goes on with the guest. `heavy_fence` says whether it has ordered the thread that makes the call.
    pub(crate) fn take(
        &self,
        word: &CallWord,
        number: u64,
        heavy_fence: impl FnOnce() -> bool,
    ) -> bool {
        let claimed = self.claim.load(Ordering::Relaxed);
        // Stale or claimed already: without disturbing anybody.
        if number == NONE || claimed >= number || word.current() != number {
            return false;
        }
        let mine =
            self.claim.compare_exchange(claimed, number, Ordering::AcqRel, Ordering::Relaxed);
        if mine.is_err() {
            return false;
        }
        // Acquire: pairs with the release of `begin(number)`.
        heavy_fence() && word.current() == number && self.decide(number)
    }

    /// The caller and the claimer of `number` meet: the first one wins.
    #[cold]
    fn decide(&self, number: u64) -> bool {
        let last = self.verdict.load(Ordering::Acquire);
        // Acquire and release: the winner goes on after whatever the loser has done.
        last < number
            && self
                .verdict
                .compare_exchange(last, number, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }
}

/// Models of the promise, run by loom: of all who want a guest exactly one goes on with it.
#[cfg(all(loom, test))]
mod models {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    use super::{CallWord, Dispute};
    use crate::sync::{AtomicU32, Ordering, bounded, fence};

    /// What belongs to a guest: a data race on it fails the model.
    struct Guest {
        dispute: Dispute,
        /// The words of two crew threads.
        words: [CallWord; 2],
        context: UnsafeCell<u64>,
        resumed: AtomicU32,
    }

    impl Guest {
        /// Runs the guest: reads what was saved and changes it, as its code does.
        fn run(&self) {
            self.resumed.fetch_add(1, Ordering::Relaxed);
            self.context.with_mut(|context| {
                #[allow(unsafe_code, reason = "loom checks the access")]
                // SAFETY: the protocol under test says that nobody else does.
                unsafe {
                    *context += 1;
                }
            });
        }

        /// Makes call `number` on crew thread `at` and goes on unless it is taken. True: it was not.
        fn call(&self, at: usize, number: u64) -> bool {
            self.run();
            self.words[at].begin(number);
            let stayed = self.dispute.finish(&self.words[at], number, light);
            if stayed {
                self.run();
            }
            stayed
        }

        /// Takes the guest out of call `number` of crew thread `at`.
        fn take(&self, at: usize, number: u64) -> bool {
            self.dispute.take(&self.words[at], number, heavy)
        }
    }

    /// Where there is membarrier the light fence costs nothing and the heavy one acts for both; what they
    /// order is the same.
    fn light() {
        fence(Ordering::SeqCst);
    }

    fn heavy() -> bool {
        fence(Ordering::SeqCst);
        true
    }

    fn guest() -> Arc<Guest> {
        Arc::new(Guest {
            dispute: Dispute::new(),
            words: [CallWord::new(), CallWord::new()],
            context: UnsafeCell::new(0),
            resumed: AtomicU32::new(0),
        })
    }

    #[test]
    fn of_the_caller_and_two_standbys_exactly_one_goes_on() {
        bounded(|| {
            let guest = guest();
            let standbys: Vec<_> = (0..2)
                .map(|_| {
                    let guest = Arc::clone(&guest);
                    thread::spawn(move || {
                        if guest.take(0, 1) {
                            guest.run();
                        }
                    })
                })
                .collect();
            guest.call(0, 1);
            standbys.into_iter().for_each(|standby| standby.join().unwrap());
            // Once before the call, once after it.
            assert_eq!(guest.resumed.load(Ordering::Relaxed), 2);
        });
    }

    #[test]
    fn a_standby_whose_heavy_fence_is_refused_leaves_the_guest_alone() {
        bounded(|| {
            let guest = guest();
            let standby = {
                let guest = Arc::clone(&guest);
                thread::spawn(move || {
                    let taken = guest.dispute.take(&guest.words[0], 1, || false);
                    if taken {
                        guest.run();
                    }
                    taken
                })
            };
            guest.run();
            guest.words[0].begin(1);
            // Where membarrier was thought to work the light fence is none.
            let stayed = guest.dispute.finish(&guest.words[0], 1, || ());
            if stayed {
                guest.run();
            }
            assert!(!standby.join().unwrap());
            assert!(stayed, "nobody else goes on with the guest");
        });
    }

    #[test]
    fn a_caller_that_has_lost_does_not_disturb_the_next_call() {
        bounded(|| {
            let guest = guest();
            // Takes the guest out of call 1 and makes call 2 on its own thread.
            let second = {
                let guest = Arc::clone(&guest);
                thread::spawn(move || guest.take(0, 1).then(|| guest.call(1, 2)))
            };
            // Wants it out of call 2.
            let third = {
                let guest = Arc::clone(&guest);
                thread::spawn(move || {
                    let taken = guest.take(1, 2);
                    if taken {
                        guest.run();
                    }
                    taken
                })
            };
            let stayed = guest.call(0, 1);
            let second = second.join().unwrap();
            let third = third.join().unwrap();
            assert_eq!(stayed, second.is_none(), "call 1 has exactly one end");
            assert_eq!(third, second == Some(false), "call 2 has exactly one end, if it was made");
        });
    }

    #[test]
    fn a_standby_that_comes_late_does_not_take_the_next_call_for_the_last() {
        bounded(|| {
            let guest = guest();
            let standby = {
                let guest = Arc::clone(&guest);
                thread::spawn(move || {
                    let taken = guest.take(0, 1);
                    if taken {
                        guest.run();
                    }
                    taken
                })
            };
            let stayed = guest.call(0, 1);
            if stayed {
                assert!(guest.call(0, 2), "nobody was woken for call 2");
            }
            assert_eq!(standby.join().unwrap(), !stayed, "call 1 has exactly one end");
        });
    }
}
