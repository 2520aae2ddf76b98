//! System calls whose answer is told to a function: at once if it is there, else where it comes in, on the
//! thread that ends the call.
//!
//! A [`Late`] is the waker of its own call. Whoever is told that there may be news takes the lock if it is
//! free; if not, who holds it looks again: `again` is set before the lock is tried, and read after it was
//! let go. So nobody waits for the lock, and a cancel that ends the call on the spot, under it, does
//! not either.

#![allow(unsafe_code, reason = "passes calls on to `submit`")]

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use syslet::{Call, CancelOutcome, Pending, Ret, Submitted, submit};

/// What is to be done with the answer.
type Then = Box<dyn FnOnce(Ret) + Send>;

/// How a call went on.
#[derive(Debug)]
#[must_use = "an answer that is here is told to nobody else"]
pub enum Started {
    /// It is over: this is its answer, and nobody is told.
    Done(Ret),
    /// It waits; the function is called with its answer.
    Pending(Arc<Late>),
    /// Nothing was run: the call may not be made so.
    Refused,
}

/// Makes a call. If it waits, the function that `then` makes is called with the answer, once, on the thread that
/// ends the call; that may be before this returns. It must not wait.
///
/// In a forked child the calls of the parent have no end: nobody is told.
///
/// # Safety
///
/// Those of [`submit`].
///
/// # Blocking
///
/// As [`submit`].
pub unsafe fn start<F>(call: Call, then: impl FnOnce() -> F) -> Started
where
    F: FnOnce(Ret) + Send + 'static,
{
    // SAFETY: the duty of this function.
    match unsafe { submit(call) } {
        Ok(Submitted::Done(ret)) => Started::Done(ret),
        Ok(Submitted::Pending(pending)) => Started::Pending(Late::follow(pending, then())),
        Err(_) => Started::Refused,
    }
}

/// A call that waits.
pub struct Late {
    /// The call, until it has ended.
    call: Mutex<Option<(Pending, Then)>>,
    again: AtomicBool,
}

/// Locks, also after a panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Late {
    /// Has `then` called with the answer of a call that was submitted before, as [`start`] does.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn follow(call: Pending, then: impl FnOnce(Ret) + Send + 'static) -> Arc<Self> {
        let late = Self::new(call, then);
        late.look();
        late
    }

    /// The same, before anybody has looked at the call: who notes it somewhere first then calls [`look`](Self::look).
    pub fn new(call: Pending, then: impl FnOnce(Ret) + Send + 'static) -> Arc<Self> {
        let call: Option<(Pending, Then)> = Some((call, Box::new(then)));
        Arc::new(Self { call: Mutex::new(call), again: AtomicBool::new(false) })
    }

    /// Looks whether the call has ended, and has itself told if not.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn look(self: &Arc<Self>) {
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

    /// Asks the call to end. Its answer says what happened: `-ECANCELED`, or its own if it was too late.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn cancel(self: &Arc<Self>) -> CancelOutcome {
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

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Late")
    }
}
