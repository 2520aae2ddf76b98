//! What the tests share: ways of working, bounded waits, child processes, calls and pipes.

pub(crate) mod calls;
pub(crate) mod chain;
pub(crate) mod child;
mod hang;
pub(crate) mod message;
pub(crate) mod parking;
pub(crate) mod pipe;
pub(crate) mod queue;
pub(crate) mod slow_disk;
pub(crate) mod temp;
pub(crate) mod withheld;

use std::io::Write;
use std::panic::{Location, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use syslet::{Attach, AttachGuard, Mode, Placement, Unsupported};

use crate::container::scheduling_is_denied;

/// No wait in these tests is longer: what takes it hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A property that is tried on random cases. CI runs what failed once more, but not where one was tried and did not
/// hold: the other cases of another run would prove nothing. A case that hangs is killed before it is named.
pub(crate) struct Property(());

impl Property {
    /// It is tried from here on.
    pub(crate) fn tried() -> Self {
        println!("a property is tried");
        Self(())
    }

    /// It has held.
    pub(crate) fn held(self) {
        println!("a property has held");
    }
}

/// Begins the line that says why a test is not made.
const SKIPPED: &str = "skipped: ";
static SKIPS: AtomicUsize = AtomicUsize::new(0);

/// The way of working that the suite runs for: `SYSLET_TEST_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Follow,
    Pinned,
    Pool,
}

/// The way of working.
pub(crate) fn way() -> Way {
    match std::env::var("SYSLET_TEST_MODE").as_deref() {
        Err(_) if scheduling_is_denied() => Way::Pool,
        Err(_) | Ok("follow") => Way::Follow,
        Ok("pinned") => Way::Pinned,
        Ok("pool") => Way::Pool,
        Ok(other) => panic!("SYSLET_TEST_MODE is `{other}`: not follow, pinned or pool"),
    }
}

/// Says that a test cannot be made here.
#[track_caller]
pub(crate) fn skip(why: &str) {
    let place = Location::caller();
    note_skip(&format!("{}:{}: {why}", place.file(), place.line()));
}

/// Says it aloud and counts it; a child process leaves both to its parent.
fn note_skip(what: &str) {
    if child::is_one() {
        return println!("\n{SKIPPED}{what}");
    }
    syslet_testfs::pass_on(what);
    if SKIPS.fetch_add(1, Ordering::Relaxed) == 0 {
        calls::at_exit(report_skips);
    }
}

extern "C" fn report_skips() {
    let count = SKIPS.load(Ordering::Relaxed);
    let _ = writeln!(std::io::stderr(), "tests skipped: {count}, see above");
}

/// True, with a skip line, where threads are not attached.
#[track_caller]
pub(crate) fn skip_in_pool(promise: &str) -> bool {
    let pool = way() == Way::Pool;
    if pool {
        skip(&format!("{promise} holds for attached threads only"));
    }
    pool
}

/// The settings for the way of working.
pub(crate) fn settings() -> Attach {
    match way() {
        Way::Pinned => Attach::new().placement(Placement::Pinned(calls::first_cpu())),
        Way::Follow | Way::Pool => Attach::new(),
    }
}

/// Attaches the calling thread and checks that it works as the suite wants.
pub(crate) fn attach() -> AttachGuard {
    let guard = settings().attach().unwrap_or_else(|why| {
        panic!("the thread cannot be attached: {why}: {:?}", syslet::stats())
    });
    match (way(), guard.mode()) {
        (Way::Pool, Mode::Pool(why)) if is_expected(why) => guard,
        (Way::Follow | Way::Pinned, Mode::Attached(_)) => guard,
        (way, mode) => panic!("the suite runs for {way:?}, the thread works as {mode:?}"),
    }
}

/// Whether the pool is used for the reason that the suite gives the library.
pub(crate) fn is_expected(why: &Unsupported) -> bool {
    match why {
        Unsupported::Forced => std::env::var_os("SYSLET_FORCE_POOL").is_some(),
        Unsupported::Refused(name, libc::EPERM) => {
            scheduling_is_denied() && name.starts_with("sched_set")
        }
        _ => false,
    }
}

/// Runs `f` on a fresh thread, attached; fails if that takes longer than [`LIMIT`].
pub(crate) fn attached<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    bounded(LIMIT, move || {
        let guard = attach();
        let result = f();
        drop(guard);
        result
    })
}

/// Runs `f` on a fresh thread that is not attached; fails if that takes longer than `limit`.
pub(crate) fn bounded<R: Send + 'static>(
    limit: Duration,
    f: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (done, wait) = channel();
    let thread = thread::Builder::new()
        .name("test-body".to_owned())
        // Where nothing is optimised a large closure is copied at every step.
        .stack_size(16 << 20)
        .spawn(move || {
            // Dropped after the result is on its way, and on unwinding.
            let _ = done.send(f());
        })
        .expect("a thread can be made");
    match wait.recv_timeout(limit) {
        Ok(result) => {
            thread.join().expect("the body has ended");
            result
        }
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Err(payload) => resume_unwind(payload),
            Ok(()) => panic!("the body ended without a result"),
        },
        Err(RecvTimeoutError::Timeout) => {
            panic!("hangs: not done after {limit:?}\n{}", hang::describe())
        }
    }
}

/// Waits until `condition` holds; false if it does not within [`LIMIT`].
pub(crate) fn eventually(condition: impl FnMut() -> bool) -> bool {
    within(LIMIT, condition)
}

/// Waits until `condition` holds; false if it does not within `limit`.
pub(crate) fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::yield_now();
    }
}

/// A deadline that far from now.
pub(crate) fn soon(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// A deadline that is not reached unless something hangs.
pub(crate) fn late() -> Instant {
    Instant::now() + LIMIT
}

/// Makes the guest change kernel threads: a closure of its sleeps until it has gone on.
pub(crate) fn hand_off() {
    let pipe = pipe::Pipe::new();
    let other = pipe.clone();
    let away = syslet::threadlet(move || other.get());
    assert!(!away.was_inline());
    pipe.put(0);
    away.join();
}
