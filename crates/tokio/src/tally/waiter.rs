//! The task of a runtime's blocking pool that waits while closures are away.
//!
//! To begin one takes a worker tens of microseconds, more if the pool has to make a thread, and to wake one at the end
//! of each closure takes them from whoever goes on then, on the same CPU. So a waiter stays for a while after the
//! last closure, and looks by itself whether any are away. Two others must not pay for that:
//!
//! - *A runtime that ends* would end as much later. So a task of the runtime's, which does nothing, tells the waiter
//!   when it is dropped: the *guard*. It is there while the waiter is. (`shutdown_timeout` of a current-thread runtime
//!   ends the pool before its tasks, and a paused clock stands still while the pool has work: a waiter of such a
//!   runtime does not stay for as long.)
//! - *Closures of `spawn_blocking`* for which the pool has no other thread (`max_blocking_threads`) would wait as long,
//!   and for ever if what is away waits for them. So the waiter goes to the end of the pool's queue from time to time.

use std::future::pending;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::AbortHandle;

use super::{State, Tally};
use crate::outstanding::give;

/// How long a waiter stays when no closure goes away, and how soon it gives way to what is queued.
const LINGER: Duration = match cfg!(test) {
    false => Duration::from_millis(100),
    true => Duration::from_secs(3600), // a runtime that ends is found to wait for it
};

/// That of a current-thread runtime.
const LINGER_ALONE: Duration = match cfg!(test) {
    false => Duration::from_millis(10),
    true => LINGER,
};

/// How soon at least it gives way, however long the closures take. Each time is a wake-up or two.
const LONGEST: Duration = Duration::from_secs(1).saturating_add(LINGER);

/// How long a waiter without a guard stays when none is away: the runtime ends as much later.
const UNGUARDED: Duration = Duration::from_millis(1);

pub(super) struct Waiter {
    tally: Arc<Tally>,
    runtime: Handle,
    guard: Option<AbortHandle>,
    /// How long it has its thread.
    time: Duration,
}

/// In a task that ends with its runtime, or when its waiter does.
struct Guard(Arc<Tally>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.lock().is_guarded = false;
        self.0.news.notify_one();
    }
}

impl Waiter {
    /// Has the runtime's pool run one. An error: the runtime is ending already, or can have no thread.
    pub(super) fn begin(runtime: &Handle, tally: &Arc<Tally>) -> Result<(), ()> {
        let (tally, runtime) = (Arc::clone(tally), runtime.clone());
        let time = linger(&runtime);
        Self { tally, runtime, guard: None, time }.queue().map_or(Ok(()), |_| Err(()))
    }

    /// Goes to the end of the pool's queue. It is given back if the pool is being shut down.
    fn queue(self) -> Option<Self> {
        let runtime = self.runtime.clone();
        give(&runtime, self, Self::run)
    }

    /// **Blocking**: until it is no longer needed, or for as long as it has its thread.
    fn run(mut self) {
        if self.guard.is_none() {
            self.guard = self.set_guard();
        }
        let goes_on = match self.guard {
            Some(_) => self.turn(),
            None => self.turn_unguarded(),
        };
        if goes_on {
            let Some(refused) = self.queue() else { return };
            self = refused;
            self.tally.wait_for_none();
        }
        if let Some(guard) = self.guard {
            guard.abort();
        }
    }

    /// One at a time: a runtime that nobody drives keeps those of waiters that have ended.
    fn set_guard(&self) -> Option<AbortHandle> {
        let mut state = self.tally.lock();
        if state.is_guarded {
            return None;
        }
        state.is_guarded = true;
        drop(state);
        let guard = Guard(Arc::clone(&self.tally));
        let task = self.runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        Some(task.abort_handle())
    }

    /// True if others of the pool are to have the thread now; false if the waiter is not needed any more.
    fn turn(&mut self) -> bool {
        let linger = linger(&self.runtime);
        let mut state = self.tally.lock();
        let begun = state.begun;
        state.hears = self.time > linger;
        let waited = self.tally.news.wait_timeout_while(state, self.time, |state| {
            state.is_guarded && !(state.hears && state.away == 0)
        });
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if !state.is_guarded {
            drop(state);
            self.tally.wait_for_none();
            return false;
        }
        state.hears = false;
        let is_quiet = timeout.timed_out() && state.begun == begun;
        if is_quiet && state.away == 0 {
            state.waits = false;
            return false;
        }
        self.time = if is_quiet { self.longer() } else { linger };
        true
    }

    /// As [`turn`](Self::turn), while the guard of an earlier waiter, which has ended, is still there: nobody has
    /// driven the runtime since, and perhaps nobody does before a closure of the pool's has run.
    fn turn_unguarded(&mut self) -> bool {
        let mut state = self.tally.lock();
        state.hears = true;
        let waited = self.tally.news.wait_timeout_while(state, self.time, |state| state.away > 0);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let begun = state.begun;
        if state.away == 0 {
            let quiet = |state: &mut State| state.begun == begun;
            let waited = self.tally.news.wait_timeout_while(state, UNGUARDED, quiet);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.hears = false;
        if state.away == 0 && state.begun == begun {
            state.waits = false;
            return false;
        }
        self.time = self.longer();
        true
    }

    /// It gives way less and less often.
    fn longer(&self) -> Duration {
        LONGEST.min(self.time * 2)
    }
}

fn linger(runtime: &Handle) -> Duration {
    match runtime.runtime_flavor() {
        RuntimeFlavor::CurrentThread => LINGER_ALONE,
        _ => LINGER,
    }
}

impl Tally {
    /// **Blocking**: until no closure is away. Then there is no waiter.
    fn wait_for_none(&self) {
        let mut state = self.lock();
        state.hears = true;
        let waited = self.news.wait_while(state, |state| state.away > 0);
        state = waited.unwrap_or_else(PoisonError::into_inner);
        (state.hears, state.waits) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::{Counted, count, count_here};
    use std::sync::mpsc::channel;
    use tokio::runtime::{Builder, Runtime};

    fn runtimes() -> [Runtime; 2] {
        [Builder::new_current_thread(), Builder::new_multi_thread()]
            .map(|mut builder| builder.worker_threads(1).build().expect("it can be built"))
    }

    /// Of a runtime, with a guard, as if it had its thread.
    fn waiter(runtime: &Runtime, time: Duration) -> Waiter {
        let (tally, runtime) = (Arc::new(Tally::default()), runtime.handle().clone());
        let mut waiter = Waiter { tally, runtime, guard: None, time };
        waiter.tally.lock().waits = true;
        waiter.guard = waiter.set_guard();
        waiter
    }

    /// In these tests a waiter stays for an hour.
    #[test]
    fn runtime_that_ends_does_not_wait_for_a_waiter_that_stays() {
        for runtime in runtimes() {
            let counted = {
                let _context = runtime.enter();
                count_here().expect("there is a runtime, which is not ending")
            };
            drop(counted);
            let (tell, told) = channel();
            let end = std::thread::spawn(move || {
                drop(runtime);
                tell.send(()).expect("somebody waits");
            });
            told.recv_timeout(Duration::from_secs(60)).expect("the runtime ends");
            end.join().expect("it does not panic");
        }
    }

    #[test]
    fn waiter_gives_way_while_closures_are_away() {
        let [runtime, _] = runtimes();
        let mut waiter = waiter(&runtime, Duration::from_millis(1));
        waiter.tally.lock().away = 1;
        assert!(waiter.turn() && waiter.turn());
        assert_eq!(waiter.time, Duration::from_millis(4), "less and less often");
        waiter.tally.lock().away = 0;
        assert!(!waiter.turn());
        assert!(!waiter.tally.lock().waits);
    }

    /// Of a runtime that nobody has driven since an earlier waiter ended: its guard is still there.
    #[test]
    fn waiter_without_a_guard_gives_way_too() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.max_blocking_threads(1).build().expect("it can be built");
        let earlier = waiter(&runtime, LINGER);
        earlier.guard.as_ref().expect("it is the first").abort();
        earlier.tally.lock().away = 1;
        let (tally, handle) = (Arc::clone(&earlier.tally), runtime.handle().clone());
        let time = Duration::from_millis(1);
        let later = Waiter { tally, runtime: handle, guard: None, time };
        assert!(later.queue().is_none(), "the pool has taken it");
        let (tell, told) = channel();
        let closure = runtime.spawn_blocking(move || tell.send(()).expect("somebody waits"));
        let ran = told.recv_timeout(Duration::from_secs(60));
        drop((closure, Counted(Arc::clone(&earlier.tally)))); // the only one that is away has ended
        ran.expect("it has the thread for a while");
        while earlier.tally.lock().waits {
            std::thread::yield_now(); // the waiter ends, or the test does not
        }
    }

    #[test]
    fn waiter_that_is_there_for_long_hears_of_the_last_closure() {
        let [runtime, _] = runtimes();
        let mut waiter = waiter(&runtime, 2 * LINGER);
        assert!(waiter.turn(), "none is away: it does not wait for two hours");
        assert_eq!(waiter.time, LINGER);
    }

    #[test]
    fn closures_that_follow_one_another_have_one_waiter() {
        let [runtime, _] = runtimes();
        let first = count(runtime.handle()).expect("it is not ending");
        let tally = Arc::clone(&first.0);
        drop(first);
        let guard = || tally.lock().is_guarded;
        while !guard() {
            std::thread::yield_now(); // the waiter begins
        }
        drop(count(runtime.handle()));
        let state = tally.lock();
        assert!(state.waits && state.is_guarded && !state.hears, "it looks by itself");
    }

    #[test]
    fn there_is_one_guard_at_a_time() {
        let [runtime, _] = runtimes();
        let waiter = waiter(&runtime, LINGER);
        assert!(waiter.set_guard().is_none());
        drop(runtime);
        assert!(!waiter.tally.lock().is_guarded);
    }
}
