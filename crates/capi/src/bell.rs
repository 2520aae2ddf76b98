//! Waiting for memory of a program's to change, and telling that it has.
//!
//! Places are shared out over some bells by their address. Who waits (1) counts itself in, (2) reads the
//! bell's number, (3) looks at the memory, (4) sleeps while the number is what it was. Who changes the
//! memory (1) does so, (2) raises the number, (3) wakes if somebody is counted in. All are sequentially
//! consistent, so one of the two sees the other. Who waits with a signal mask of its own does the same in
//! slices (`syslet_dropin::signals`), and needs no descriptor: the program may close it and have the number name a
//! file.

use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Instant;

use syslet_dropin::signals::Masked;
use syslet_sys::futex;
use syslet_sys::uapi::Timespec;

use crate::life::PerLife;

const BELLS: usize = 64;

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    TimedOut,
    /// A signal handler has run.
    Interrupted,
}

#[derive(Debug, Default)]
struct Bell {
    number: AtomicU32,
    waiting: AtomicU32,
}

#[derive(Debug)]
struct Bells([Bell; BELLS]);

impl Default for Bells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Bell::default()))
    }
}

static ALL: PerLife<Bells> = PerLife::new();

fn bell(place: usize) -> &'static Bell {
    // Fibonacci hashing: addresses and small numbers alike.
    let hash = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &ALL.get().0[(hash >> 58) as usize]
}

/// Tells those who wait for `place` that it has changed.
pub(crate) fn ring(place: usize) {
    let bell = bell(place);
    fence(Ordering::SeqCst);
    bell.number.fetch_add(1, Ordering::SeqCst);
    if bell.waiting.load(Ordering::SeqCst) == 0 {
        return;
    }
    futex::wake(&bell.number, i32::MAX as u32);
}

/// Waits until `ready`, told by [`ring`].
pub(crate) fn wait(place: usize, deadline: Option<Instant>, ready: impl Fn() -> bool) -> Waited {
    if ready() {
        return Waited::Ready;
    }
    let bell = bell(place);
    bell.waiting.fetch_add(1, Ordering::SeqCst);
    let waited = loop {
        let number = bell.number.load(Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if ready() {
            break Waited::Ready;
        }
        let Some(left) = time_left(deadline) else { break Waited::TimedOut };
        if futex::wait(&bell.number, number, left.as_ref()) == -(libc::EINTR as isize) {
            break if ready() { Waited::Ready } else { Waited::Interrupted };
        }
    };
    bell.waiting.fetch_sub(1, Ordering::SeqCst);
    waited
}

/// As [`wait`], with the signals of `mask` blocked, and no others, while it sleeps.
pub(crate) fn wait_masked(
    place: usize,
    deadline: Option<Instant>,
    mask: u64,
    ready: impl Fn() -> bool,
) -> Waited {
    if ready() {
        return Waited::Ready;
    }
    let bell = bell(place);
    bell.waiting.fetch_add(1, Ordering::SeqCst);
    let signals = Masked::begin(mask);
    let waited = loop {
        let number = bell.number.load(Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if ready() {
            break Waited::Ready;
        }
        if signals.let_in() {
            break if ready() { Waited::Ready } else { Waited::Interrupted };
        }
        let Some(left) = time_left(deadline) else { break Waited::TimedOut };
        let left = signals.slice(left);
        if futex::wait(&bell.number, number, left.as_ref()) == -(libc::EINTR as isize)
            && signals.has_run()
        {
            break if ready() { Waited::Ready } else { Waited::Interrupted };
        }
    };
    bell.waiting.fetch_sub(1, Ordering::SeqCst);
    waited
}

/// `None`: it is over. `Some(None)`: there is no limit.
fn time_left(deadline: Option<Instant>) -> Option<Option<Timespec>> {
    let Some(deadline) = deadline else { return Some(None) };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(Some(Timespec { sec: left.as_secs() as i64, nsec: i64::from(left.subsec_nanos()) }))
}
