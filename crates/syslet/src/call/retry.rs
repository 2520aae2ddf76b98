//! Repeating an away call that the kernel broke off though nobody asked for it.
//!
//! `EINTR` is for a thread whose signal handler has run. Nothing ran on the caller's behalf on the
//! thread of an away call, so it is made again, with the time that is left if its limit counts from
//! the beginning.

#![allow(unsafe_code, reason = "reads and replaces the time limit among a call's arguments")]

use syslet_catalog::Timeout;
use syslet_sys::uapi::{ECANCELED, EINTR, TIMER_ABSTIME, Timespec};
use syslet_sys::{arch, call as kernel};

use super::number::Call;
use super::progress::{Progress, Remainder};
use crate::crew::Crew;

/// When a relative time limit runs out, in nanoseconds of CLOCK_MONOTONIC.
#[derive(Debug)]
pub(crate) struct Clockwork {
    end: Option<u64>,
}

/// Futex operations whose time limit is relative: FUTEX_WAIT only (futex(2)).
const FUTEX_WAIT: usize = 0;
const FUTEX_COMMAND: usize = 0x7f;

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
        // SAFETY: the duty of this function.
        let limit = unsafe { limit_of(call) };
        Self { end: limit.map(|nanos| kernel::monotonic_nanos().saturating_add(nanos)) }
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

    /// Repeats `call` while it is interrupted and no cancel was asked for; gives the final answer.
    ///
    /// # Safety
    ///
    /// `call` may be made.
    pub(super) unsafe fn persist(&self, crew: &Crew, mut call: Call, first: isize) -> isize {
        let mut answer = first;
        let mut left = Timespec::default();
        loop {
            if answer == arch::CANCELLED {
                return -ECANCELED;
            }
            if answer != -EINTR {
                return answer;
            }
            if crew.cancel.load(crate::sync::Ordering::Acquire) != 0 {
                return -ECANCELED;
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

fn timeout(call: &Call) -> Timeout {
    syslet_catalog::lookup(call.nr() as u32).map_or(Timeout::None, |entry| entry.timeout)
}

/// The relative limit of `call` in nanoseconds, if it has one that we must count down ourselves.
///
/// # Safety
///
/// As [`Clockwork::start`].
unsafe fn limit_of(call: &Call) -> Option<u64> {
    let arg = |at: u8| call.args()[usize::from(at)];
    let at = match timeout(call) {
        // The kernel itself writes back what is left.
        Timeout::RelTimespec { updated: true, .. } | Timeout::RelTimeval { .. } => return None,
        Timeout::None | Timeout::AbsTimespec { .. } => return None,
        Timeout::RelMillis { arg: at } => {
            let millis = arg(at) as i32;
            return u64::try_from(millis).ok().map(|millis| millis * 1_000_000);
        }
        Timeout::ByFlags { arg: _ } if call.args()[1] & TIMER_ABSTIME != 0 => return None,
        Timeout::ByOp { arg: _ } if call.args()[1] & FUTEX_COMMAND != FUTEX_WAIT => return None,
        Timeout::RelTimespec { arg, .. } | Timeout::ByFlags { arg } | Timeout::ByOp { arg } => arg,
    };
    let pointer = arg(at) as *const Timespec;
    if pointer.is_null() || !pointer.is_aligned() {
        return None;
    }
    // SAFETY: the duty of this function.
    Some(unsafe { pointer.read() }.as_nanos())
}

/// Replaces the limit of `call` by what is left.
fn shorten(call: &mut Call, left: &Timespec) {
    let (at, value) = match timeout(call) {
        // Rounded up: not earlier than asked for.
        Timeout::RelMillis { arg } => (arg, left.as_nanos().div_ceil(1_000_000) as usize),
        // A point on a clock stays where it is.
        Timeout::ByFlags { .. } if call.args()[1] & TIMER_ABSTIME != 0 => return,
        Timeout::RelTimespec { arg, .. } | Timeout::ByFlags { arg } | Timeout::ByOp { arg } => {
            (arg, std::ptr::from_ref(left) as usize)
        }
        _ => return,
    };
    call.0[usize::from(at) + 1] = value;
}
