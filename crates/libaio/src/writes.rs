//! Writes that are made elsewhere, on threads of ours: counted, because another of the same file would wait for them,
//! and because the program may end meanwhile.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use syslet_dropin::clock;
use syslet_sys::uapi::Timespec;
use syslet_sys::{call, futex};

/// Writes that are made elsewhere now, of all descriptors; a futex.
static AWAY: AtomicU32 = AtomicU32::new(0);

/// Descriptors that are counted apart; others share their places.
const NUMBERS: usize = 4096;
/// The same by descriptor.
static AWAY_OF: [AtomicU32; NUMBERS] = [const { AtomicU32::new(0) }; NUMBERS];

fn away_of(descriptor: i32) -> &'static AtomicU32 {
    &AWAY_OF[descriptor as usize % NUMBERS]
}

/// True if a write of this descriptor is away: another would wait for it.
pub(crate) fn are_away(descriptor: i32) -> bool {
    away_of(descriptor).load(Ordering::Relaxed) != 0
}

/// A write goes away.
pub(crate) fn enter(descriptor: i32) {
    AWAY.fetch_add(1, Ordering::SeqCst);
    away_of(descriptor).fetch_add(1, Ordering::Relaxed);
}

/// It is over.
pub(crate) fn leave(descriptor: i32) {
    away_of(descriptor).fetch_sub(1, Ordering::Relaxed);
    if AWAY.fetch_sub(1, Ordering::SeqCst) == 1 && ENDING.load(Ordering::SeqCst) {
        futex::wake(&AWAY, 1);
    }
}

/// The program ends, and waits for writes.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Waits until no write is away, for the end of a program, which the kernel would have made before io_submit
/// returned; for `patience` at most.
pub(crate) fn wait_for_all(patience: Duration) {
    if OWNER.load(Ordering::Relaxed) != call::getpid() {
        return; // a child that was made behind the C library's back: its parent's threads are not here
    }
    let end = clock::now() + patience.as_nanos() as u64;
    // SeqCst: either who leaves last sees this, or the number that it left is seen here.
    ENDING.store(true, Ordering::SeqCst);
    loop {
        let away = AWAY.load(Ordering::SeqCst);
        let left = end.saturating_sub(clock::now());
        if away == 0 || left == 0 {
            return;
        }
        futex::wait(&AWAY, away, Some(&Timespec::from_nanos(left)));
    }
}

/// The process whose writes are counted.
static OWNER: AtomicI32 = AtomicI32::new(0);

/// Notes which process this is.
pub(crate) fn are_of_this_process() {
    OWNER.store(call::getpid(), Ordering::Relaxed);
}

/// A forked child has no threads that make its parent's.
pub(crate) fn forget() {
    are_of_this_process();
    AWAY.store(0, Ordering::SeqCst);
    AWAY_OF.iter().for_each(|away| away.store(0, Ordering::Relaxed));
}
