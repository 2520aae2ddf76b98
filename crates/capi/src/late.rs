//! Calls whose answer is stored where it comes in, by number.

#![allow(unsafe_code, reason = "passes calls on to `submit`")]

use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use syslet::{Call, CancelOutcome, Ret, Submitted, submit};
use syslet_dropin::call::Late;

use crate::errno;

pub(crate) use syslet_dropin::call::lock;

/// Calls that are outstanding, by number. Numbers count from 1 and are not used again.
#[derive(Default)]
pub(crate) struct Outstanding {
    last: AtomicU64,
    calls: Mutex<HashMap<u64, Arc<Late>>>,
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

    pub(crate) fn has(&self, number: u64) -> bool {
        lock(&self.calls).contains_key(&number)
    }

    /// Asks a call to end; `None` if there is none of this number.
    pub(crate) fn cancel(&self, number: u64) -> Option<CancelOutcome> {
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
