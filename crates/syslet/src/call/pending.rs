//! A call that waits: its handle.

#![allow(unsafe_code, reason = "reads the descriptors that a call has stored")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use syslet_catalog::Makes;
use syslet_sys::uapi::{SIGSETXID, Siginfo};
use syslet_sys::{call as kernel, uapi};

use super::number::{Call, Ret};
use crate::complete::{Holder, Outcome, Slot, SlotHandle};
use crate::crew::{CANCEL_CODE, generation};

/// What became of asking for a cancel. The call's answer says what happened in the end:
/// `-ECANCELED`, or its own answer if it was too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {
    /// The call had ended.
    TooLate,
    /// The call or closure has not begun, and will not.
    NotBegun,
    /// The call was told. It ends soon, unless it waits where the kernel lets nobody disturb it.
    Asked,
    /// It is a closure that runs, which is not disturbed.
    Running,
}

/// A call that went away. Await it, or [`wait`](Self::wait) for it.
///
/// Dropping it leaves the call to itself: it goes on, and its answer is dropped. A descriptor that it makes is closed
/// then; those that a message brings (`SCM_RIGHTS`) are not, as nobody but the caller knows where in its memory they
/// came.
#[derive(Debug)]
#[must_use = "dropping it drops the call's answer"]
pub struct Pending(pub(super) Option<SlotHandle<dyn PendingCall>>);

/// A call that is away or parked.
pub(crate) trait PendingCall: Holder {
    /// Asks it to end.
    fn cancel(&self) -> CancelOutcome;

    /// Helps it on, on a thread that is about to wait for it until `deadline`, for a short time; without a deadline
    /// it makes what a crew thread would make.
    fn drive(&self, _deadline: Option<Instant>) {}
}

impl PendingCall for Slot {
    fn cancel(&self) -> CancelOutcome {
        cancel_away(self)
    }

    fn drive(&self, deadline: Option<Instant>) {
        if deadline.is_none() {
            self.help_moved();
        }
    }
}

impl Pending {
    pub(crate) fn new(call: Arc<dyn PendingCall>) -> Self {
        Self(Some(SlotHandle::new(call)))
    }

    pub(super) fn slot(&self) -> &Slot {
        self.0.as_ref().expect("a pending call is polled after it was ready").slot()
    }

    /// In a forked child the call's thread does not exist: it is as good as cancelled.
    pub(crate) fn is_lost(&self) -> bool {
        self.slot().generation() != generation()
    }

    /// True once the call has ended.
    pub fn is_done(&self) -> bool {
        self.is_lost() || self.slot().is_done()
    }

    /// The answer.
    ///
    /// A call that waits for a crew thread is not left to that: it is made by the thread that waits here.
    ///
    /// # Blocking
    ///
    /// Until the call ends.
    pub fn wait(mut self) -> Ret {
        self.wait_and_help();
        self.fetch()
    }

    /// Waits until the call has ended, and does what would be left to a crew thread.
    pub(super) fn wait_and_help(&self) {
        if self.is_lost() {
            return;
        }
        loop {
            self.drive(None);
            if self.slot().wait_to_help() {
                return;
            }
        }
    }

    /// The answer, or the handle back if the call has not ended by `deadline`.
    ///
    /// # Errors
    ///
    /// The handle.
    ///
    /// # Blocking
    ///
    /// Until the call ends or the deadline comes.
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<Ret, Self> {
        if self.is_lost() {
            return Ok(self.fetch());
        }
        self.drive(Some(deadline));
        if self.slot().wait(Some(deadline)) { Ok(self.fetch()) } else { Err(self) }
    }

    fn drive(&self, deadline: Option<Instant>) {
        if let Some(handle) = &self.0
            && !handle.slot().is_done()
        {
            handle.holder().drive(deadline);
        }
    }

    fn fetch(&mut self) -> Ret {
        let lost = self.is_lost();
        let handle = self.0.take().expect("a pending call is fetched once");
        if lost {
            return Ret::new(-uapi::ECANCELED);
        }
        let outcome = handle.slot().try_fetch();
        handle.disarm();
        ret_of(outcome)
    }

    /// Asks the call to end. There is no window: a call that has not entered the kernel yet will not
    /// enter it, and one that sleeps interruptibly wakes up. One that waits for a crew thread has its answer
    /// at once. (A `close` that was broken off answers `-EINTR`: its descriptor is gone.)
    ///
    /// # Blocking
    ///
    /// Not for the call: [`wait`](Self::wait) for the answer afterwards. If it has been parked for long, until a
    /// thread of the library's has let its file go, microseconds.
    pub fn cancel(&self) -> CancelOutcome {
        if self.is_lost() {
            return CancelOutcome::TooLate;
        }
        self.0.as_ref().map_or(CancelOutcome::TooLate, |handle| handle.holder().cancel())
    }

    /// What is away, for a completion queue; nothing if it was fetched.
    pub(crate) fn into_call(mut self) -> Option<Arc<dyn PendingCall>> {
        self.0.take().map(SlotHandle::into_holder)
    }

    /// Drops the handle, and leaves `memory` with the call until it is over.
    pub(crate) fn detach_with(mut self, memory: Box<dyn Send>) {
        if let Some(handle) = self.0.take() {
            handle.detach_with(memory);
        }
    }
}

/// Asks a call that has a thread, or waits for one, to end.
pub(super) fn cancel_away(slot: &Slot) -> CancelOutcome {
    if !slot.ask_cancel() {
        return CancelOutcome::TooLate;
    }
    if slot.interrupt_moved() {
        return CancelOutcome::Asked;
    }
    let tid = slot.tid();
    if tid == 0 {
        return CancelOutcome::NotBegun;
    }
    let pid = kernel::getpid();
    let uid = kernel::user_ids()[0];
    let value = std::ptr::from_ref(slot) as usize;
    let info = Siginfo::queued(SIGSETXID, CANCEL_CODE, pid, uid, value);
    // Full signal queue (RLIMIT_SIGPENDING): it empties as the receivers run.
    while kernel::queue_to_thread(pid, tid as i32, &info) == -uapi::EAGAIN {
        std::thread::yield_now();
    }
    CancelOutcome::Asked
}

/// The outcome of `call`, which answered `answer`: a descriptor that it has made is not lost if nobody
/// fetches it.
///
/// # Safety
///
/// `call` has just ended, so what its arguments point to is still valid.
pub(crate) unsafe fn outcome_of(call: &Call, answer: isize) -> Outcome {
    if answer < 0 {
        return Outcome::Number(answer);
    }
    let makes = syslet_catalog::lookup(call.nr() as u32).map(|entry| entry.makes);
    match makes {
        Some(Makes::Fd) => Outcome::Descriptor(answer as i32),
        Some(Makes::FdPair { arg }) => {
            let pair = call.args()[usize::from(arg)] as *const [i32; 2];
            // SAFETY: the kernel has just stored the two there.
            let [one, other] = unsafe { pair.read_unaligned() };
            Outcome::Descriptors(one, other)
        }
        Some(Makes::FdByOp { .. }) if made_by_op(call) => Outcome::Descriptor(answer as i32),
        Some(Makes::FdByOp { .. } | Makes::Nothing) | None => Outcome::Number(answer),
    }
}

/// Whether a call whose result may be many things has made a descriptor. `ioctl` and `bpf` make some too;
/// theirs are not told from numbers here, and never closed.
pub(super) fn made_by_op(call: &Call) -> bool {
    let args = call.args();
    match call.nr() as libc::c_long {
        libc::SYS_fcntl => matches!(args[1] as i32, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC),
        libc::SYS_signalfd | libc::SYS_signalfd4 => args[0] as i32 == -1,
        libc::SYS_landlock_create_ruleset => args[2] == 0,
        _ => false,
    }
}

fn ret_of(outcome: Option<Outcome>) -> Ret {
    match outcome {
        Some(Outcome::Number(answer)) => Ret::new(answer),
        Some(Outcome::Descriptor(descriptor)) => Ret::new(descriptor as isize),
        Some(Outcome::Descriptors(..)) => Ret::new(0),
        other => unreachable!("a call's outcome is a number, not {other:?}"),
    }
}

impl Future for Pending {
    type Output = Ret;

    /// # Panics
    ///
    /// If it was ready before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ret> {
        if self.is_lost() {
            return Poll::Ready(self.fetch());
        }
        match self.slot().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(outcome) => {
                self.0.take().expect("polled above").disarm();
                Poll::Ready(ret_of(Some(outcome)))
            }
        }
    }
}
