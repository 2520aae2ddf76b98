//! `fork`: the child has nothing outstanding. What its parent had is cancelled in its copies of the control blocks,
//! so that nobody waits there for what never comes. A block in memory that the two share has no copy: it is the
//! parent's and is left alone, as is one that the child does not have (`MADV_DONTFORK`).

#![allow(unsafe_code, reason = "atfork handlers")]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, Ordering};

use syslet_sys::arch::syscall; // libc's functions would change errno
use syslet_sys::memory::PAGE;

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
        let mut pages = None;
        for shard in held.drain(..) {
            for request in shard.requests() {
                let pages = pages.get_or_insert_with(Pages::open);
                let [error, answer] = request.block.places();
                if request.decide() && pages.is_copy(error) && pages.is_copy(answer) {
                    request.block.settle(-(libc::ECANCELED as isize));
                }
            }
            // The locks are those of the parent's desk, which nobody uses here.
            std::mem::forget(shard);
        }
    });
}

/// What stands behind the pages of the process (`/proc/PID/pagemap`, Documentation/admin-guide/mm/pagemap.rst).
struct Pages(i32);

impl Pages {
    fn open() -> Self {
        let path = c"/proc/self/pagemap".as_ptr() as usize;
        let (here, how) = (libc::AT_FDCWD as usize, (libc::O_RDONLY | libc::O_CLOEXEC) as usize);
        // SAFETY: the path is a constant.
        Self(unsafe { syscall(libc::SYS_openat as usize, [here, path, how, 0, 0, 0]) } as i32)
    }

    /// True if the page at `address` is this process' alone. A child has a page for what its parent wrote, unless
    /// that is shared. Where it cannot be asked: false.
    fn is_copy(&self, address: usize) -> bool {
        const PRESENT: u64 = 1 << 63;
        const SWAPPED: u64 = 1 << 62;
        /// Of a file, or shared.
        const FILE: u64 = 1 << 61;
        let mut page = 0u64;
        let (at, place) = (&raw mut page as usize, address / PAGE * size_of::<u64>());
        let args = [self.0 as usize, at, size_of::<u64>(), place, 0, 0];
        // SAFETY: eight bytes of ours.
        let read = unsafe { syscall(libc::SYS_pread64 as usize, args) };
        read == size_of::<u64>() as isize && page & (PRESENT | SWAPPED) != 0 && page & FILE == 0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.0 >= 0 {
            syslet_sys::call::close(self.0);
        }
    }
}
