//! Attaching the program's threads, if the program was started so (`SYSLET_ATTACH=1`): then what cannot be tried
//! without waiting, such as a buffered write on ext4, is done where the program asks as well, and is taken
//! over by another thread if it sleeps. It is never done unasked: the program's thread ids change by it.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU8, Ordering};

use syslet::AttachGuard;

/// The environment variable that asks for it.
const VARIABLE: &str = "SYSLET_ATTACH";

thread_local! {
    /// Without a destructor: the library detaches a thread that ends by itself.
    static HELD: ManuallyDrop<RefCell<Option<AttachGuard>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Attaches the calling thread, if that is wanted and it is not.
#[inline]
pub(crate) fn attach_if_wanted() {
    if is_wanted() && !syslet::is_attached() {
        attach();
    }
}

/// Not a `OnceLock`, which a thread that is reading it would leave half-done in a child that another forks.
#[inline]
fn is_wanted() -> bool {
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

#[cold]
fn attach() {
    // A thread that cannot be attached goes on as it is.
    let Ok(guard) = syslet::attach() else { return };
    HELD.with(|held| {
        if let Ok(mut held) = held.try_borrow_mut() {
            // The guard of the parent of a forked child does nothing any more.
            *held = Some(guard);
        }
    });
}
