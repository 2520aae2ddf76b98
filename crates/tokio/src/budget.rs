//! Cooperative budgeting by elapsed time.
//!
//! A task that awaits what is ready at once never gives its worker back. tokio's own budget counts 128
//! such awaits, which is right for a channel and wrong for closures: 128 of 2.8 ms are a third of a second.
//! So the time is counted that closures took inline on this worker. When it is used up, what is left of
//! tokio's budget is used up too: the task yields in tokio's own way, behind the others and with a look at
//! the timers, everything else in it sees that it has to, and whoever is `unconstrained` stays so.
//!
//! The counters are thread-locals of the worker. They travel with the guest.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use syslet_sys::arch::ticks;
use tokio::task::coop;

/// Time of closures after which a task yields. A closure that computes keeps its worker for half a
/// millisecond more at most: together they stay below a millisecond. To yield costs some microseconds.
const SLICE: Duration = Duration::from_micros(400);

/// Awaits that tokio's budget may count down: it is a `u8`. Who is not told to yield after as many is
/// unconstrained.
const COOP_MOST: usize = 256;

/// Ticks between two closures that still count as the task's: its own work between them.
const GAP: u64 = 20_000;

/// Shortest time from which the length of a tick is computed.
const MEASURE: Duration = Duration::from_millis(10);

/// [`SLICE`] in ticks. First for a slow counter (400 MHz), so that a task yields too soon rather than too
/// late.
static SLICE_TICKS: AtomicU64 = AtomicU64::new(100_000);

/// When the counter was first read.
static EPOCH: OnceLock<(Instant, u64)> = OnceLock::new();

thread_local! {
    /// Ticks used since the last turn that was told to yield.
    static SPENT: Cell<u64> = const { Cell::new(0) };
    /// When the last closure ended.
    static ENDED: Cell<u64> = const { Cell::new(0) };
    /// A task was told to yield, and none has had a new budget since: time goes on being used up, so that
    /// whatever else it polls in the same turn is told so too.
    static YIELDS: Cell<bool> = const { Cell::new(false) };
}

/// A closure that is being timed: when it began, or nothing if it is short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer(Option<u64>);

impl Timer {
    #[inline]
    pub(crate) fn start() -> Self {
        Self(Some(ticks()))
    }

    /// For what ends within microseconds or sleeps: one reading of the counter is saved. The first after a
    /// pause is charged the longest gap.
    #[inline]
    pub(crate) fn short() -> Self {
        Self(None)
    }

    /// The closure finished inline.
    #[inline]
    pub(crate) fn charge(self) {
        let now = ticks();
        let ended = ENDED.replace(now);
        let begun = self.0.unwrap_or(now - GAP.min(now));
        let start = if begun.wrapping_sub(ended) < GAP { ended } else { begun };
        SPENT.set(SPENT.get().saturating_add(now.saturating_sub(start)));
    }
}

/// Pending, with the waker told, if the task is to yield now.
#[inline]
pub(crate) fn poll_proceed(context: &mut Context<'_>) -> Poll<()> {
    if SPENT.get() < SLICE_TICKS.load(Ordering::Relaxed) {
        return Poll::Ready(());
    }
    use_up(context)
}

#[cold]
#[inline(never)]
fn use_up(context: &mut Context<'_>) -> Poll<()> {
    if YIELDS.get() {
        // Nothing of the budget is taken: `made_progress` is not said.
        if coop::poll_proceed(context).is_pending() {
            return Poll::Pending;
        }
        YIELDS.set(false);
        SPENT.set(0);
        return Poll::Ready(());
    }
    measure();
    for _ in 0..COOP_MOST {
        match coop::poll_proceed(context) {
            Poll::Ready(one) => one.made_progress(),
            Poll::Pending => {
                YIELDS.set(true);
                return Poll::Pending;
            }
        }
    }
    SPENT.set(0);
    Poll::Ready(())
}

/// Computes the slice's length from what has passed since the first time.
fn measure() {
    let (instant, start) = EPOCH.get_or_init(|| (Instant::now(), ticks()));
    let (time, passed) = (instant.elapsed(), ticks().saturating_sub(*start));
    if time < MEASURE {
        return;
    }
    let slice = u128::from(passed) * SLICE.as_nanos() / time.as_nanos();
    // A counter that stands still would make every await yield.
    SLICE_TICKS.store(u64::try_from(slice).unwrap_or(u64::MAX).max(GAP), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn time_is_charged_once_and_gaps_are_the_tasks() {
        SPENT.set(0);
        ENDED.set(0);
        let first = ticks();
        Timer::start().charge();
        let one = SPENT.get();
        Timer::start().charge(); // at once: the time between belongs to the task
        assert!(SPENT.get() >= one && SPENT.get() <= ticks().wrapping_sub(first));
    }

    #[test]
    fn short_closures_are_charged_by_their_ends() {
        SPENT.set(0);
        ENDED.set(0);
        Timer::short().charge(); // after a pause
        assert_eq!(SPENT.get(), GAP);
        let first = ENDED.get();
        Timer::short().charge();
        assert!(SPENT.get() <= GAP.max(ENDED.get() - first) + GAP);
    }

    #[test]
    fn outside_of_a_task_nobody_yields() {
        SPENT.set(u64::MAX);
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(poll_proceed(&mut context), Poll::Ready(()));
        assert_eq!(SPENT.get(), 0, "a new slice begins");
    }
}
