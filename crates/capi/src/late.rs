//! Calls whose answer is stored where it comes in: by a function that is called when the call ends, on the
//! thread that ends it.
//!
//! A [`Late`] is the waker of its own call. Whoever is told that there may be news takes the lock if it is
//! free; if not, who holds it looks again: `again` is set before the lock is tried, and read after it was
//! let go. So nobody waits for the lock, and a cancel that ends the call on the spot, under it, does
//! not either.

#![allow(unsafe_code, reason = "passes calls on to `submit`")]

use std::collections::HashMap;
use std::ffi::c_int;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use syslet::{Call, CancelOutcome, Pending, Ret, Submitted, submit};

use crate::errno;

/// What is to be done with the answer.
type Then = Box<dyn FnOnce(Ret) + Send>;

/// See the module.
pub(crate) struct Late {
    /// The call, until it has ended.
    call: Mutex<Option<(Pending, Then)>>,
    again: AtomicBool,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Late {
    fn new(call: Pending, then: Then) -> Arc<Self> {
        Arc::new(Self { call: Mutex::new(Some((call, then))), again: AtomicBool::new(false) })
    }

    /// Looks whether the call has ended, and has itself told if not.
    fn look(self: &Arc<Self>) {
        self.again.store(true, Ordering::SeqCst);
        while self.again.load(Ordering::SeqCst) {
            let mut call = match self.call.try_lock() {
                Ok(call) => call,
                Err(TryLockError::Poisoned(error)) => error.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if !self.again.swap(false, Ordering::SeqCst) {
                continue;
            }
            let Some((mut pending, then)) = call.take() else { return };
            let waker = Waker::from(Arc::clone(self));
            match Pin::new(&mut pending).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => *call = Some((pending, then)),
                Poll::Ready(ret) => {
                    drop(call);
                    then(ret);
                    return;
                }
            }
        }
    }

    /// Asks the call to end.
    pub(crate) fn cancel(self: &Arc<Self>) -> CancelOutcome {
        let call = lock(&self.call);
        let outcome = match &*call {
            Some((pending, _)) => pending.cancel(),
            None => CancelOutcome::TooLate,
        };
        drop(call);
        if self.again.load(Ordering::SeqCst) {
            self.look();
        }
        outcome
    }
}

impl Wake for Late {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

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
        let late = Late::new(pending, Box::new(finish));
        // Before it is looked at: what ends it takes it out again.
        lock(&self.calls).insert(number, Arc::clone(&late));
        late.look();
        Ok(None)
    }
}
