//! Repeating an away call that the kernel broke off though nobody asked for it.
//!
//! `EINTR` is for a thread whose signal handler has run. Nothing ran on the caller's behalf on the
//! thread of an away call, so it is made again, with the time that is left if its limit counts from
//! the beginning.
//!
//! Two things are not repeated for ever. A call that has done its work by then, which is `close`: its number is free
//! and may name another file. And what is put to a file system whose server answers `EINTR` each time: after
//! [`MOST_REPEATS`] that is the answer.

#![allow(unsafe_code, reason = "makes calls again, with what is left of their time limits")]

use syslet_sys::uapi::{ECANCELED, EINTR, Timespec};
use syslet_sys::{arch, call as kernel};

use super::kinds::Kind;
use super::number::Call;
use super::progress::{Progress, Remainder};
use super::timeout::{Limit, is_updated, limit, shorten};
use crate::crew::Crew;

/// How often a call that is put to a file system is made again. More often than signals break one off that sleeps for a
/// disk, and at once if a server answers at once.
pub(crate) const MOST_REPEATS: u32 = 64;

/// When a relative time limit runs out, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Debug)]
pub(crate) struct Clockwork {
    end: Option<u64>,
}

impl Clockwork {
    /// No limit, or one that needs no counting.
    pub(crate) const fn none() -> Self {
        Self { end: None }
    }

    /// Notes when `call`'s limit runs out.
    ///
    /// # Safety
    ///
    /// The time argument of `call`, if it has one, is NULL or readable, as the kernel wants it.
    pub(super) unsafe fn start(call: &Call) -> Self {
        if is_updated(call) {
            return Self::none(); // the kernel itself writes back what is left
        }
        // SAFETY: the duty of this function.
        match unsafe { limit(call) } {
            Limit::After(nanos) => {
                Self { end: Some(kernel::monotonic_nanos().saturating_add(nanos)) }
            }
            Limit::Never | Limit::Unsound => Self::none(),
        }
    }

    /// Of a call that was parked, whose limit runs out at `deadline`.
    pub(crate) const fn until(deadline: u64) -> Self {
        Self { end: Some(deadline) }
    }

    /// Makes what is left of `call`, of which `done` bytes are written, with the time that is left.
    ///
    /// # Safety
    ///
    /// `call` may be made.
    pub(crate) unsafe fn make_rest(&self, crew: &Crew, call: Call, done: usize) -> isize {
        let left = self.left();
        let mut call = call;
        if self.end.is_some() {
            shorten(&mut call, &left);
        }
        // SAFETY: the duty of this function: its vectors are readable.
        let rest = (done > 0 && Progress::has_vectors(&call))
            .then(|| unsafe { Remainder::of(&call, done) });
        let call = rest.as_ref().map_or(call, Remainder::call);
        // SAFETY: as above; what the call points to beside the caller's memory outlives it.
        let first = unsafe { arch::syscall_cancellable(&crew.cancel, &call.0) };
        // SAFETY: as above.
        let answer = unsafe { self.persist(crew, call, first) };
        std::hint::black_box((&left, &rest));
        answer
    }

    fn left(&self) -> Timespec {
        let end = self.end.unwrap_or_default();
        Timespec::from_nanos(end.saturating_sub(kernel::monotonic_nanos()))
    }

    /// Repeats `call` while it is interrupted and no cancel was asked for, and may be; gives the final answer.
    ///
    /// # Safety
    ///
    /// `call` may be made.
    pub(super) unsafe fn persist(&self, crew: &Crew, mut call: Call, first: isize) -> isize {
        let mut answer = first;
        let mut left = Timespec::default();
        let mut repeats = 0_u32;
        loop {
            if answer == arch::CANCELLED {
                return -ECANCELED;
            }
            if is_answer(&call, answer) {
                return answer;
            }
            if crew.cancel.load(crate::sync::Ordering::Acquire) != 0 {
                return -ECANCELED;
            }
            repeats = repeats.wrapping_add(1);
            if has_enough(&call, repeats) {
                return answer;
            }
            if self.end.is_some() {
                left = self.left();
                shorten(&mut call, &left);
            }
            // SAFETY: the duty of this function; `left` outlives the call.
            answer = unsafe { arch::syscall_cancellable(&crew.cancel, &call.0) };
            std::hint::black_box(&left);
        }
    }
}

/// True if `answer` stands: it is no interruption, or the call is not to be made again.
pub(super) fn is_answer(call: &Call, answer: isize) -> bool {
    answer != -EINTR || syslet_catalog::class(call.nr() as u32).made_once()
}

/// True if an interruption is the answer of a call that was repeated so often.
pub(crate) fn has_enough(call: &Call, repeats: u32) -> bool {
    repeats.is_multiple_of(MOST_REPEATS) && asks_storage(call)
}

/// True if a file system is asked for what `call` does: by a path, or on a file of its. (Also ioctl, flock and fcntl
/// are put to a server.)
#[cold]
fn asks_storage(call: &Call) -> bool {
    let Some(entry) = syslet_catalog::lookup(call.nr() as u32) else { return false };
    let of_file = entry.args.first().is_some_and(|arg| arg.kind == syslet_catalog::Kind::Fd);
    syslet_catalog::class(entry.nr).asks_storage()
        || of_file && Kind::is_storage_now(call.args()[0])
}
