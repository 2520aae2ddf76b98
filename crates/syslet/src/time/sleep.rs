//! clock_nanosleep(2) up to a point in time.
//!
//! # Safety
//!
//! Clause *owned*: the task owns its time, boxed, in a [`Lent`].

#![allow(unsafe_code, reason = "vouches for a call; see the header")]

use std::time::{Duration, Instant};

use syslet_sys::uapi::Timespec;

use crate::Operation;
use crate::call::{Call, Ret};
use crate::op::{Lent, Step, Task};

/// Ends when `duration` is over. Dropped early, it ends at once; so it does when it is cancelled.
pub fn sleep(duration: Duration) -> Operation<()> {
    if duration.is_zero() {
        return Operation::ready(());
    }
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let end = syslet_sys::call::monotonic_nanos().saturating_add(nanos);
    // What the kernel takes for a time that never comes (KTIME_MAX).
    let end = Timespec::from_nanos(end.min(i64::MAX as u64));
    Operation::of_task(Sleep(Lent::new(Box::new(end))))
}

/// Ends at `deadline`. Dropped early, it ends at once; so it does when it is cancelled.
pub fn sleep_until(deadline: Instant) -> Operation<()> {
    // The clock is read once more later: it ends no earlier than `deadline`.
    sleep(deadline.saturating_duration_since(Instant::now()))
}

/// clock_nanosleep(2), TIMER_ABSTIME.
struct Sleep(Lent<Box<Timespec>>);

// SAFETY: *owned*.
unsafe impl Task for Sleep {
    type Output = ();
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        let end = std::ptr::from_ref(self.0.as_ref()) as usize;
        let (clock, flags) = (libc::CLOCK_MONOTONIC as usize, libc::TIMER_ABSTIME as usize);
        Call::new(libc::SYS_clock_nanosleep as usize, [clock, flags, end, 0])
    }

    fn answer(self, _: Ret) -> Step<Self> {
        Step::Done(())
    }
}
