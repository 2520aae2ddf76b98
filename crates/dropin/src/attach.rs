//! Attaching the program's threads, if it was started so (`SYSLET_ATTACH=1`, as `syslet run --attach` sets it): then
//! what cannot be tried without waiting, such as a buffered write on ext4, is done where the program asks as
//! well, and is taken over by another thread if it sleeps. It is never done unasked: a program's thread ids change
//! by it.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU8, Ordering};

use syslet::AttachGuard;

use crate::life;

/// The environment variable that asks for it.
const VARIABLE: &str = "SYSLET_ATTACH";

struct Held {
    /// In which life of the process this thread was attached, or could not be; 0: in none.
    life: Cell<u64>,
    guard: RefCell<Option<AttachGuard>>,
}

thread_local! {
    /// Without a destructor: the library detaches a thread that ends by itself.
    static HELD: ManuallyDrop<Held> =
        const { ManuallyDrop::new(Held { life: Cell::new(0), guard: RefCell::new(None) }) };
}

/// True if threads that ask for something are to be guests.
///
/// Not a `OnceLock`, which a thread that is reading it would leave half-done in a child that another forks.
#[inline]
pub fn is_wanted() -> bool {
    static WANTED: AtomicU8 = AtomicU8::new(0);
    match WANTED.load(Ordering::Relaxed) {
        0 => {
            let wanted = std::env::var_os(VARIABLE).is_some_and(|value| value == "1");
            WANTED.store(if wanted { 2 } else { 1 }, Ordering::Relaxed);
            wanted
        }
        known => known == 2,
    }
}

/// Attaches the calling thread, if that is wanted and was not tried in this life of the process. (A forked child of a
/// guest is none.) A thread that cannot be attached goes on as it is.
///
/// # Blocking
///
/// As [`syslet::attach`].
#[inline]
pub fn attach_if_wanted() {
    if is_wanted() {
        attach();
    }
}

fn attach() {
    HELD.with(|held| {
        let life = u64::from(life::now()) + 1;
        if held.life.replace(life) == life {
            return;
        }
        if let Ok(mut guard) = held.guard.try_borrow_mut()
            && let Ok(attached) = syslet::attach()
        {
            // That of the parent of a forked child does nothing any more.
            *guard = Some(attached);
        }
    });
}
