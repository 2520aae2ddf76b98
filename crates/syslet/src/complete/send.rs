//! Sending work to a completion queue, and cancelling it there.
//!
//! # Safety
//!
//! Calls are made by [`submit`](crate::submit()) with the duties of its own callers, which are those of
//! the functions here.

#![allow(unsafe_code, reason = "passes calls on to `submit`; see the header")]

use std::sync::Arc;
use std::thread;

use syslet_catalog::{Kind, Waits};

use super::queue::{Completion, CompletionQueue, Made};
use super::registry::{Found, Marks, OpId, Operation};
use super::shared::record_of;
use super::slot::{Outcome, Slot, drop_caught};
use crate::call::{CancelOutcome, Pending, PendingCall, outcome_of};
use crate::threadlet::{Launched, launch};
use crate::{Call, Refusal, Ret, SubmitError, Submitted};

/// How sending went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an answer that is here is not in the queue"]
pub enum Queued {
    /// It is over: this is the answer, and nothing will be in the queue.
    Done(Ret),
    /// The answer will be in the queue, or is there.
    Queued(OpId),
}

impl Made {
    /// What `call` has made, which answered `answer`.
    ///
    /// # Safety
    ///
    /// What the call's arguments point to is still valid.
    pub unsafe fn by(call: &Call, answer: isize) -> Self {
        // SAFETY: the duty of this function.
        let outcome = unsafe { outcome_of(call, answer) };
        Self(record_of(0, outcome).left, answer)
    }
}

impl CompletionQueue {
    /// As [`submit`](crate::submit()), with the answer in this queue if the call waits.
    ///
    /// ```
    /// use syslet::{Call, CompletionQueue, Queued};
    ///
    /// let queue = CompletionQueue::new(8)?.always_queue(true);
    /// # #[allow(unsafe_code)]
    /// // SAFETY: getpid touches no memory.
    /// let queued = unsafe { queue.submit(7, Call::new(libc::SYS_getpid as usize, [])) }?;
    /// queue.wait(1);
    /// let completion = queue.pop().expect("it was waited for");
    /// assert_eq!(completion.user_data, 7);
    /// assert_eq!(completion.ret().result()? as u32, std::process::id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`submit`](crate::submit()), and [`Refusal::OtherProcess`].
    ///
    /// # Safety
    ///
    /// As [`submit`](crate::submit()). Dropping the queue does not end the call.
    ///
    /// # Blocking
    ///
    /// As [`submit`](crate::submit()).
    #[inline]
    pub unsafe fn submit(&self, user_data: u64, call: Call) -> Result<Queued, SubmitError<Call>> {
        if self.is_dead() {
            return Err(SubmitError::Refused(call, Refusal::OtherProcess));
        }
        // SAFETY: the caller's duties.
        let submitted = unsafe { crate::submit(call) }?;
        // SAFETY: this is what became of the call.
        Ok(unsafe { self.accept(user_data, &call, submitted) })
    }

    /// As [`submit`](Self::submit), but a call that can neither be protected nor run at once is handed
    /// back.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Busy`] if no crew thread is left, or a bound of [`Limits`](crate::Limits) is reached;
    /// and those of [`submit`](Self::submit).
    ///
    /// # Safety
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Blocking
    ///
    /// As [`try_submit`](crate::try_submit()).
    #[inline]
    pub unsafe fn try_submit(
        &self,
        user_data: u64,
        call: Call,
    ) -> Result<Queued, SubmitError<Call>> {
        if self.is_dead() {
            return Err(SubmitError::Refused(call, Refusal::OtherProcess));
        }
        // SAFETY: the caller's duties.
        let submitted = unsafe { crate::try_submit(call) }?;
        // SAFETY: this is what became of the call.
        Ok(unsafe { self.accept(user_data, &call, submitted) })
    }

    /// # Safety
    ///
    /// `submitted` is what `submit` has just said of `call`.
    #[inline]
    unsafe fn accept(&self, user_data: u64, call: &Call, submitted: Submitted) -> Queued {
        match submitted {
            Submitted::Done(ret) if !self.queues_always() => Queued::Done(ret),
            Submitted::Done(ret) => {
                // SAFETY: it has just ended.
                self.post_outcome(user_data, unsafe { outcome_of(call, ret.raw()) })
            }
            Submitted::Pending(pending) => {
                Queued::Queued(self.adopt(user_data, descriptors_of(call), pending))
            }
        }
    }

    fn post_outcome(&self, user_data: u64, outcome: Outcome) -> Queued {
        self.shared().post(record_of(user_data, outcome));
        Queued::Queued(OpId::ENDED)
    }

    /// Takes over the handle of a call that is away.
    pub(crate) fn adopt(&self, user_data: u64, descriptors: [i32; 2], pending: Pending) -> OpId {
        if pending.is_lost() {
            // As `Pending::wait` says it.
            self.post(user_data, pending.wait().raw());
            return OpId::ENDED;
        }
        match pending.into_call() {
            Some(call) => self.enter(Marks { user_data, descriptors }, call, false),
            None => OpId::ENDED,
        }
    }

    #[inline(never)]
    fn enter(&self, marks: Marks, operation: Operation, closure: bool) -> OpId {
        let (id, ticket) = self.shared().enter(marks, Arc::clone(&operation), closure);
        operation.slot().send(ticket);
        id
    }

    /// As [`threadlet`](crate::threadlet()), with what `f` returns in this queue if `f` sleeps.
    ///
    /// A panic of `f` is caught and answered as [`Completion::PANICKED`]; its payload is dropped.
    ///
    /// # Panics
    ///
    /// If not even one crew thread can be made, and in a forked child with the queue of the parent.
    ///
    /// # Blocking
    ///
    /// As [`threadlet`](crate::threadlet()).
    #[inline]
    pub fn threadlet<F>(&self, user_data: u64, f: F) -> Queued
    where
        F: FnOnce() -> isize + Send + 'static,
    {
        match self.launch(user_data, f, false) {
            Ok(queued) => queued,
            Err(error) => panic!("syslet: the closure is not run: {error}"),
        }
    }

    /// As [`threadlet`](Self::threadlet), but gives the closure back if it cannot be run.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Busy`] if no crew thread is left, [`Refusal::OtherProcess`] in a forked child.
    ///
    /// # Panics
    ///
    /// If not even one crew thread can be made.
    ///
    /// # Blocking
    ///
    /// As [`threadlet`](crate::threadlet()).
    #[inline]
    pub fn try_threadlet<F>(&self, user_data: u64, f: F) -> Result<Queued, SubmitError<F>>
    where
        F: FnOnce() -> isize + Send + 'static,
    {
        self.launch(user_data, f, true)
    }

    #[inline]
    fn launch<F>(&self, user_data: u64, f: F, or_busy: bool) -> Result<Queued, SubmitError<F>>
    where
        F: FnOnce() -> isize + Send + 'static,
    {
        if self.is_dead() {
            return Err(SubmitError::Refused(f, Refusal::OtherProcess));
        }
        let launched = launch(f, |_| (), or_busy, |result| Outcome::Number(number_of(result)));
        Ok(match launched.map_err(SubmitError::Busy)? {
            Launched::Inline(result) => {
                let res = number_of(result);
                if self.queues_always() {
                    self.post_outcome(user_data, Outcome::Number(res))
                } else {
                    Queued::Done(Ret::new(res))
                }
            }
            Launched::Away(slot) => {
                Queued::Queued(self.enter(Marks { user_data, descriptors: [-1; 2] }, slot, true))
            }
        })
    }

    /// Asks operation `id` to end. Its completion says what happened: `-ECANCELED`, or its own answer if
    /// the cancel came too late.
    ///
    /// Closures that run are not disturbed: they are code of the program's, which may ask it itself. One
    /// that waits for a crew thread is not run, but dropped when its turn comes.
    ///
    /// # Blocking
    ///
    /// As [`Pending::cancel`].
    pub fn cancel(&self, id: OpId) -> CancelOutcome {
        if self.is_dead() {
            return CancelOutcome::TooLate;
        }
        let found = self.registry().find(id);
        found.map_or(CancelOutcome::TooLate, cancel)
    }

    /// Asks every operation that was sent with `user_data` to end; says how many were told in time. See
    /// [`cancel`](Self::cancel).
    ///
    /// # Blocking
    ///
    /// As [`Pending::cancel`] for each; it looks at every operation of the queue.
    pub fn cancel_all(&self, user_data: u64) -> usize {
        self.cancel_where(|marks| marks.user_data == user_data)
    }

    /// Asks every call that was submitted with descriptor `fd` among its arguments to end; says how many
    /// were told in time. See [`cancel`](Self::cancel).
    ///
    /// Descriptors in memory, as `poll` has them, are not seen, nor those of calls that came by
    /// [`Pending::send_to`].
    ///
    /// # Blocking
    ///
    /// As [`Pending::cancel`] for each; it looks at every operation of the queue.
    pub fn cancel_descriptor(&self, fd: i32) -> usize {
        if fd < 0 { 0 } else { self.cancel_where(|marks| marks.descriptors.contains(&fd)) }
    }

    fn cancel_where(&self, wanted: impl Fn(&Marks) -> bool) -> usize {
        if self.is_dead() {
            return 0;
        }
        let mut told = 0;
        let mut found = Vec::new();
        for chunk in 0.. {
            // The lock is let go between chunks, and no cancel is made under it.
            if !self.registry().find_all(chunk, &wanted, &mut found) {
                break;
            }
            let outcomes = found.drain(..).map(cancel);
            told += outcomes
                .filter(|o| matches!(o, CancelOutcome::Asked | CancelOutcome::NotBegun))
                .count();
        }
        told
    }
}

impl Pending {
    /// Sends the answer to `queue`, in place of this handle, with `user_data`; gives the id by which the call
    /// can be cancelled there. A waker that was registered is not woken any more. For calls that
    /// were submitted before it was known where their answers should go.
    ///
    /// # Panics
    ///
    /// If it was ready before.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn send_to(self, queue: &CompletionQueue, user_data: u64) -> OpId {
        queue.adopt(user_data, [-1; 2], self)
    }
}

fn cancel(found: Found) -> CancelOutcome {
    match found {
        Found::Call(operation) => PendingCall::cancel(&*operation),
        Found::Closure(operation) => cancel_closure(operation.slot()),
    }
}

fn cancel_closure(slot: &Slot) -> CancelOutcome {
    if slot.is_done() {
        return CancelOutcome::TooLate;
    }
    // One that was handed off has the thread that carried its caller.
    let queued = slot.tid() == 0 && slot.cancel_unbegun();
    if queued { CancelOutcome::NotBegun } else { CancelOutcome::Running }
}

/// What a closure is said to have returned.
fn number_of(result: thread::Result<isize>) -> isize {
    result.unwrap_or_else(|payload| {
        drop_caught(|| drop(payload));
        Completion::PANICKED
    })
}

/// The descriptors that `call` was given as arguments, the one that it waits for first.
fn descriptors_of(call: &Call) -> [i32; 2] {
    let mut found = [-1; 2];
    let Some(entry) = u32::try_from(call.nr()).ok().and_then(syslet_catalog::lookup) else {
        return found;
    };
    let descriptor = |at: usize| call.args()[at] as i32;
    if let Waits::Readiness { fd, .. } = entry.waits {
        found[0] = descriptor(usize::from(fd));
    }
    for (at, _) in entry.args.iter().enumerate().filter(|(_, arg)| arg.kind == Kind::Fd) {
        let one = descriptor(at);
        match found {
            [first, _] if first == one => {}
            [-1, _] => found[0] = one,
            [_, -1] => found[1] = one,
            _ => {}
        }
    }
    found
}
