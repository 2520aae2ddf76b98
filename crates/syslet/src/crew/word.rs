//! The call word: who goes on with the guest.
//!
//! | word | meaning | who may change it |
//! |---|---|---|
//! | 0 | no call in progress | the kernel thread that runs the guest: to *n* ([`CallWord::begin`]) |
//! | *n* | call number *n* is in progress | that kernel thread: to 0 when the call is over ([`CallWord::finish`]); any standby: to 0 ([`CallWord::take`]) |
//!
//! Numbers are never used twice in the life of a word, so of `finish(n)` and any number of `take(n)`
//! exactly one succeeds, and the one that does goes on with the guest: it alone may touch what
//! belongs to the guest from then on. `begin` releases the saved context to whoever takes it.

use crate::sync::{AtomicU64, Ordering};

/// No call in progress.
pub(crate) const NONE: u64 = 0;

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

    /// `number` to 0 by the thread that made the call. True: it goes on with the guest.
    #[inline(always)]
    pub(crate) fn finish(&self, number: u64) -> bool {
        // Acquire and release in both ways: a number that failed was taken, and what the taker has
        // read of the guest's saved context happened after `begin`.
        self.0.compare_exchange(number, NONE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// `number` to 0 by a standby. True: it goes on with the guest.
    pub(crate) fn take(&self, number: u64) -> bool {
        // Acquire: pairs with the release of `begin(number)`.
        number != NONE
            && self.0.compare_exchange(number, NONE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The call in progress, or [`NONE`]. A hint: it may be over by now.
    pub(crate) fn current(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
