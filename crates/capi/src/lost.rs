//! Answers whose place the program has taken away before they came: nobody can be told but who reads the
//! counters.

use std::sync::atomic::{AtomicU64, Ordering};

static LOST: AtomicU64 = AtomicU64::new(0);

/// One more.
pub(crate) fn count() {
    LOST.fetch_add(1, Ordering::Relaxed);
}

/// How many so far.
pub(crate) fn total() -> u64 {
    LOST.load(Ordering::Relaxed)
}
