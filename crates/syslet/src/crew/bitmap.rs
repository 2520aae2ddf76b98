//! Who is where: maps of bits.

use crate::sync::{AtomicU64, Ordering};

/// A map of 4096 bits that anyone may change.
#[derive(Debug)]
pub(crate) struct BitMap([AtomicU64; 64]);

impl BitMap {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 64])
    }

    pub(crate) fn set(&self, index: usize) {
        self.0[index / 64].fetch_or(1 << (index % 64), Ordering::SeqCst);
    }

    pub(crate) fn clear(&self, index: usize) {
        self.0[index / 64].fetch_and(!(1 << (index % 64)), Ordering::SeqCst);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::SeqCst) == 0)
    }

    /// Calls `f` with each index that is set, until it says true; says whether it did.
    ///
    /// Uses no bounds checks that could panic and no thread-locals: sentinels call it.
    pub(crate) fn any(&self, mut f: impl FnMut(usize) -> bool) -> bool {
        for (at, word) in self.0.iter().enumerate() {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                if f(at * 64 + bits.trailing_zeros() as usize) {
                    return true;
                }
                bits &= bits - 1;
            }
        }
        false
    }
}
