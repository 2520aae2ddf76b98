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
//! Of `finish(n)` and any number of `take(n)` exactly one succeeds, and whoever it is goes on with the
//! guest: it alone may touch what belongs to the guest from then on. The word is the crew thread's and
//! not the guest's, because the one who has lost stores its 0 at any time later, when the guest may be
//! in its next call on another thread; for the same reason `finish` asks whether its own call *or a
//! later one* was claimed.

use crate::sync::{AtomicU64, Ordering};

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
pub(crate) struct CallWord(AtomicU64);

impl CallWord {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(NONE))
    }

    /// 0 to `number`: the guest's context is complete and may be taken.
    #[inline(always)]
    pub(crate) fn begin(&self, number: u64) {
        // Release: pairs with the acquire of a `take` that succeeds.
        self.0.store(number, Ordering::Release);
    }

    /// The call in progress, or [`NONE`]. A hint: it may be over by now.
    pub(crate) fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
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
        word.0.store(NONE, Ordering::Release);
        light_fence();
        // Acquire: what the guest does next is not done before this is known.
        self.claim.load(Ordering::Acquire) < number || self.decide(number)
    }

    /// Takes the guest out of call `number`, made by the thread whose word is `word`. True: the caller
    /// goes on with the guest.
    pub(crate) fn take(&self, word: &CallWord, number: u64, heavy_fence: impl FnOnce()) -> bool {
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
        heavy_fence();
        // Acquire: pairs with the release of `begin(number)`.
        word.current() == number && self.decide(number)
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
