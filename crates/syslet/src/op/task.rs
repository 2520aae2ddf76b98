//! What is made of system calls, one after the other, with the memory that they use.
//!
//! # Safety
//!
//! Clause *task*: a task vouches for its calls. From [`Task::call`] until the call's answer, which may
//! come after the operation was dropped, the task is kept, and moved at most.

#![allow(unsafe_code, reason = "submits the calls of a task")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use syslet_sys::uapi::ECANCELED;

use super::operation::{Operation, Waiting};
use crate::call::{Call, CancelOutcome, Pending, Ret, Submitted, has_enough, submit};

/// What a task does after a call.
pub(crate) enum Step<K: Task> {
    /// It is over.
    Done(K::Output),
    /// It makes another call.
    Again(K),
}

/// See the module.
///
/// # Safety
///
/// 1. The call that [`call`](Self::call) gives may be made any number of times, at any time, as long as
///    the task lives: what its arguments point to is memory that the task owns, at an address that does
///    not change when the task is moved, and that nobody else uses; the descriptors are its own too.
/// 2. It is a call that the catalogue lets run on any thread.
pub(crate) unsafe trait Task: Send + Sized + 'static {
    /// What comes of it.
    type Output: 'static;

    /// Whether the call is asked to end when nobody wants the answer any more.
    const CANCEL_IF_DROPPED: bool;

    /// The next call.
    fn call(&mut self) -> Call;

    /// The call's answer is here: nothing is in progress.
    fn answer(self, ret: Ret) -> Step<Self>;
}

/// How far a task has come.
enum Progress<K: Task> {
    Over(K::Output),
    Waits(Pending, K),
}

/// Goes on with a task until it is over or has to wait. `EINTR` of a call that finished inline, because
/// a signal handler of the caller's has run, ends here; but not what a file system answers each time.
fn advance<K: Task>(mut task: K) -> Progress<K> {
    let mut repeats = 0_u32;
    loop {
        let call = task.call();
        // SAFETY: clause *task*, 1: the task is kept until the answer is there, here or in `Away`.
        match unsafe { submit(call) } {
            Ok(Submitted::Done(ret))
                if ret.errno() == Some(libc::EINTR) && !has_enough(&call, repeats + 1) =>
            {
                repeats += 1;
            }
            Ok(Submitted::Done(ret)) => match task.answer(ret) {
                Step::Done(output) => return Progress::Over(output),
                Step::Again(next) => task = next,
            },
            Ok(Submitted::Pending(pending)) => return Progress::Waits(pending, task),
            Err(error) => unreachable!("clause *task*, 2: {error}"),
        }
    }
}

impl<T: 'static> Operation<T> {
    /// Starts a task.
    pub(crate) fn of_task<K: Task<Output = T>>(task: K) -> Self {
        match advance(task) {
            Progress::Over(output) => Self::ready(output),
            Progress::Waits(pending, task) => Self::away(Box::new(Away {
                pending: Some(pending),
                task: Some(task),
                cancelled: AtomicBool::new(false),
            })),
        }
    }
}

/// A task whose call is away or parked.
///
/// The task is not moved out before its call's answer is here, whatever panics meanwhile: a waker may.
struct Away<K: Task> {
    /// `None` while the answer is being fetched, and once the task is over.
    pending: Option<Pending>,
    /// `None` once the task is over.
    task: Option<K>,
    /// A cancel was asked for: no further call is made.
    cancelled: AtomicBool,
}

impl<K: Task> Away<K> {
    fn pending(&mut self) -> &mut Option<Pending> {
        assert!(self.pending.is_some(), "a task that is over is not asked again");
        &mut self.pending
    }

    /// The answer is here, and `pending` spent. `None`: the task goes on with another call, which
    /// waits.
    fn landed(&mut self, ret: Ret) -> Option<K::Output> {
        let task = self.task.take().expect("a task is there until it is over");
        let progress = match task.answer(ret) {
            Step::Done(output) => Progress::Over(output),
            Step::Again(task) if self.cancelled.load(Ordering::Relaxed) => {
                match task.answer(Ret::new(-ECANCELED)) {
                    Step::Done(output) => Progress::Over(output),
                    Step::Again(_) => unreachable!("a task ends when it is cancelled"),
                }
            }
            Step::Again(task) => advance(task),
        };
        match progress {
            Progress::Over(output) => Some(output),
            Progress::Waits(pending, task) => {
                (self.pending, self.task) = (Some(pending), Some(task));
                None
            }
        }
    }
}

impl<K: Task> Waiting<K::Output> for Away<K> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<K::Output> {
        loop {
            let pending = self.pending().as_mut().expect("checked");
            let ret = std::task::ready!(Pin::new(pending).poll(context));
            self.pending = None;
            if let Some(output) = self.landed(ret) {
                return Poll::Ready(output);
            }
        }
    }

    fn peek(&mut self) -> Option<K::Output> {
        loop {
            let ret = self.pending().take_if(|pending| pending.is_done())?.wait();
            if let Some(output) = self.landed(ret) {
                return Some(output);
            }
        }
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Option<K::Output> {
        loop {
            let pending = self.pending().take().expect("checked");
            let ret = match deadline {
                None => pending.wait(),
                Some(deadline) => match pending.wait_deadline(deadline) {
                    Ok(ret) => ret,
                    Err(pending) => {
                        self.pending = Some(pending);
                        return None;
                    }
                },
            };
            if let Some(output) = self.landed(ret) {
                return Some(output);
            }
        }
    }

    fn cancel(&self) -> CancelOutcome {
        self.cancelled.store(true, Ordering::Relaxed);
        self.pending.as_ref().map_or(CancelOutcome::TooLate, Pending::cancel)
    }
}

impl<K: Task> Drop for Away<K> {
    fn drop(&mut self) {
        match (self.pending.take(), self.task.take()) {
            (Some(pending), Some(task)) => {
                if K::CANCEL_IF_DROPPED {
                    let _ = pending.cancel();
                }
                // Clause *task*: the task stays with its call.
                pending.detach_with(Box::new(task));
            }
            // A panic on the way to the answer: whether the call is over is not known.
            (None, Some(task)) => std::mem::forget(task),
            (_, None) => {}
        }
    }
}
