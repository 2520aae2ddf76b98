//! `fork`: the child has nothing outstanding. What its parent had is cancelled in its copies of the control blocks,
//! so that nobody waits there for what never comes.

#![allow(unsafe_code, reason = "atfork handlers")]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::begin::OUTSTANDING;
use crate::desk::{Shard, desk};

/// How often a lock that is held is asked for again. A fork in a signal handler may have interrupted its holder, which
/// goes on only after it: its requests are left as they are.
const TRIES: usize = 100;

type Held = Vec<MutexGuard<'static, Shard>>;

thread_local! {
    /// Held over a fork. Without a destructor: a thread may fork while its thread-locals are destroyed.
    static HELD: ManuallyDrop<RefCell<Held>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Registers the handlers; twice, if two threads come at once, which does no harm.
pub(crate) fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if !INSTALLED.load(Ordering::Acquire) {
        // SAFETY: handlers that may run in any thread that forks.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
        INSTALLED.store(true, Ordering::Release);
    }
}

unsafe extern "C" fn prepare() {
    if OUTSTANDING.load(Ordering::Relaxed) == 0 {
        return;
    }
    HELD.with(|held| {
        let Ok(mut held) = held.try_borrow_mut() else { return };
        if held.is_empty() {
            held.extend(desk().shards().iter().filter_map(|shard| {
                (0..TRIES).find_map(|_| {
                    let guard = shard.try_lock().ok();
                    if guard.is_none() {
                        std::thread::yield_now();
                    }
                    guard
                })
            }));
        }
    });
}

unsafe extern "C" fn parent() {
    HELD.with(|held| {
        if let Ok(mut held) = held.try_borrow_mut() {
            held.clear();
        }
    });
}

unsafe extern "C" fn child() {
    OUTSTANDING.store(0, Ordering::Relaxed);
    HELD.with(|held| {
        let Ok(mut held) = held.try_borrow_mut() else { return };
        for shard in held.drain(..) {
            for request in shard.requests() {
                if request.decide() {
                    request.block.settle(-(libc::ECANCELED as isize));
                }
            }
            // The locks are those of the parent's desk, which nobody uses here.
            std::mem::forget(shard);
        }
    });
}
