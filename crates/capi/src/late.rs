//! Calls whose answer is stored where it comes in, by number.
//!
//! Programs see the number of a call before it is made, so others may ask for it while it is tried: it is *beginning*
//! then, in a slot that needs no lock. Who waits for such a number, or cancels it, leaves a mark there, which is seen
//! to once the call is over or entered.

#![allow(unsafe_code, reason = "passes calls on to `submit`")]

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use syslet::{Call, CancelOutcome, Ret, Submitted, submit};
use syslet_dropin::call::Late;

use crate::errno;

pub(crate) use syslet_dropin::call::lock;

/// Numbers that may be beginning at a time without a lock.
const SLOTS: usize = 64;
/// Marks of a number that is beginning, beside it in its slot: somebody waits for it; it is to be cancelled.
const WAITED: u64 = 1;
const CANCELLED: u64 = 2;
/// Bits of the marks.
const MARKS: u32 = 2;

/// Calls that are outstanding, by number. Numbers count from 1 and are not used again.
pub(crate) struct Outstanding {
    last: AtomicU64,
    calls: Mutex<HashMap<u64, Arc<Late>>>,
    /// Those that are beginning, each in the slot of its lowest digits.
    beginning: [AtomicU64; SLOTS],
    /// Those whose slot was taken, with their marks.
    crowd: Mutex<HashMap<u64, u64>>,
}

impl Default for Outstanding {
    fn default() -> Self {
        Self {
            last: AtomicU64::new(0),
            calls: Mutex::default(),
            beginning: [const { AtomicU64::new(0) }; SLOTS],
            crowd: Mutex::default(),
        }
    }
}

impl Outstanding {
    /// In a process that has used so many numbers.
    #[cfg(test)]
    pub(crate) fn after(numbers: u64) -> Self {
        Self { last: AtomicU64::new(numbers), ..Self::default() }
    }

    pub(crate) fn new_number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn slot(&self, number: u64) -> &AtomicU64 {
        &self.beginning[number as usize % SLOTS]
    }

    /// A number of a call that begins: it is outstanding from here until [`begun`](Self::begun), and then if its call
    /// is.
    pub(crate) fn begin(&self) -> u64 {
        let number = self.new_number();
        // AcqRel: the number is there before the program shows it to anybody.
        let free = self.slot(number).compare_exchange(
            0,
            number << MARKS,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if free.is_err() {
            lock(&self.crowd).insert(number, 0);
        }
        number
    }

    /// The call is over and its answer stored, or it is entered. `ring` wakes those who wait for the number.
    pub(crate) fn begun(&self, number: u64, ring: impl FnOnce()) {
        let slot = self.slot(number);
        let was = slot.load(Ordering::Relaxed);
        let marks = if was >> MARKS == number {
            // AcqRel: pairs with `mark`.
            slot.swap(0, Ordering::AcqRel) & (WAITED | CANCELLED)
        } else {
            lock(&self.crowd).remove(&number).unwrap_or(0)
        };
        if marks & CANCELLED != 0 {
            self.cancel(number);
        }
        if marks & WAITED != 0 {
            ring();
        }
    }

    /// Leaves a mark at a number that is beginning. False: it is not.
    fn mark(&self, number: u64, mark: u64) -> bool {
        let marked = |was: u64| (was != 0 && was >> MARKS == number).then_some(was | mark);
        // AcqRel: pairs with `begun`: either that sees the mark, or what it has entered is seen here.
        self.slot(number).fetch_update(Ordering::AcqRel, Ordering::Acquire, marked).is_ok()
            || lock(&self.crowd).get_mut(&number).map(|marks| *marks |= mark).is_some()
    }

    pub(crate) fn has(&self, number: u64) -> bool {
        self.mark(number, WAITED) || lock(&self.calls).contains_key(&number)
    }

    /// Asks a call to end; `None` if there is none of this number. One that is beginning is asked when it is entered.
    pub(crate) fn cancel(&self, number: u64) -> Option<CancelOutcome> {
        if self.mark(number, CANCELLED) {
            return Some(CancelOutcome::Asked);
        }
        // The lock is not held while the call is told: it may end on the spot.
        let call = lock(&self.calls).get(&number).cloned()?;
        Some(call.cancel())
    }

    /// Makes a call. If it ends at once this is its answer; else `then` is given it where it ends, and
    /// after that `number` is outstanding no more and `end` is called.
    ///
    /// # Errors
    ///
    /// If the call is refused: nothing was run.
    ///
    /// # Safety
    ///
    /// The duties of [`submit`].
    pub(crate) unsafe fn start(
        &'static self,
        number: u64,
        call: Call,
        then: impl FnOnce(Ret) + Send + 'static,
        end: impl FnOnce() + Send + 'static,
    ) -> Result<Option<Ret>, c_int> {
        // SAFETY: the duty of this function.
        let pending = match unsafe { submit(call) } {
            Ok(Submitted::Done(ret)) => return Ok(Some(ret)),
            Ok(Submitted::Pending(pending)) => pending,
            Err(error) => return Err(errno::of_submit(error)),
        };
        let finish = move |ret| {
            then(ret);
            lock(&self.calls).remove(&number);
            end();
        };
        let late = Late::new(pending, finish);
        // Before it is looked at: what ends it takes it out again.
        lock(&self.calls).insert(number, Arc::clone(&late));
        late.look();
        Ok(None)
    }
}
