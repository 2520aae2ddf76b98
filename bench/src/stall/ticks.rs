//! When ticks are due, and how late they are.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use crate::samples::Samples;

/// From one tick to the next, in nanoseconds.
const TICK: u64 = 1_000_000;

/// Ticks from one slow call to the next, at least.
const BETWEEN: u64 = 10;

/// The ticks of a segment. The timer is a descriptor: those have no slack.
#[derive(Debug)]
pub(super) struct Ticks {
    timer: OwnedFd,
    /// The next one, and where they end, on the monotonic clock.
    next: u64,
    end: u64,
    /// The next slow call.
    call: u64,
    delays: Samples,
}

impl Ticks {
    pub(super) fn start(segment: Duration) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let next = now() + TICK;
        let spec = |nanos: u64| Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as i64,
        };
        let times = Itimerspec { it_interval: spec(TICK), it_value: spec(next) };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &times)?;
        let end = next + segment.as_nanos() as u64;
        let call = next + TICK * BETWEEN;
        Ok(Self { timer, next, end, call, delays: Samples::default() })
    }

    /// The timer, ready when a tick is due.
    pub(super) fn timer(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Notes the delay of every tick that is due now, and clears the timer.
    pub(super) fn serve(&mut self) -> io::Result<()> {
        let now = now();
        while self.next <= now && self.next < self.end {
            self.delays.push((now - self.next) as f64);
            self.next += TICK;
        }
        match rustix::io::read(&self.timer, &mut [0u8; 8]) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// True if it is time for a slow call: not more often, also after a stall.
    pub(super) fn call_is_due(&mut self) -> bool {
        let due = self.next > self.call;
        if due {
            self.call = self.next + TICK * BETWEEN;
        }
        due
    }

    pub(super) fn are_over(&self) -> bool {
        self.next >= self.end
    }

    pub(super) fn delays(self) -> Samples {
        self.delays
    }
}

/// Nanoseconds of the monotonic clock, which the timer goes by too.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
