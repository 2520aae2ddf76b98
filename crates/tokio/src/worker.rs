//! Attaching tokio's workers.
//!
//! A worker of the multi-thread runtime is tokio's own thread: nobody else counts on what it is to the
//! kernel, so it is attached when it first needs it, and detached by the library when the thread ends.
//! All other threads are the program's, which attaches them itself (`block_on`, `syslet::with_attached`).

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use syslet::{AttachError, Mode};
use tokio::runtime::{Handle, RuntimeFlavor};

/// How long a worker whose attaching failed for want of something goes without.
const RETRY: Duration = Duration::from_secs(10);

/// What a thread that is not attached knows of that.
#[derive(Debug, Clone, Copy)]
enum Attempt {
    None,
    /// It cannot be: the mechanism cannot be used.
    Never,
    NotBefore(Instant),
}

thread_local! {
    static ATTEMPT: Cell<Attempt> = const { Cell::new(Attempt::None) };
}

/// True if the running code is a guest; makes it one if it is on a worker.
#[inline]
pub(crate) fn is_guest() -> bool {
    syslet::is_attached() || attach_worker()
}

#[cold]
#[inline(never)]
fn attach_worker() -> bool {
    is_worker() && attach()
}

/// True on a worker of a multi-thread runtime, while it is one: also a thread of the blocking pool that
/// `block_in_place` has made one.
fn is_worker() -> bool {
    // A current-thread runtime has an index too, on a thread of the program's.
    tokio::runtime::worker_index().is_some()
        && Handle::try_current().is_ok_and(|handle| is_multi_thread(&handle))
        && !is_main_thread()
}

fn is_multi_thread(handle: &Handle) -> bool {
    handle.runtime_flavor() == RuntimeFlavor::MultiThread
}

/// The main thread is never tokio's, whatever runtime it has entered.
fn is_main_thread() -> bool {
    syslet_sys::call::gettid() == syslet_sys::call::getpid()
}

/// Attaches the running thread until it ends.
fn attach() -> bool {
    match ATTEMPT.get() {
        Attempt::None => {}
        Attempt::NotBefore(time) if Instant::now() >= time => {}
        Attempt::Never | Attempt::NotBefore(_) => return false,
    }
    let attempt = match syslet::attach() {
        Ok(guard) if matches!(guard.mode(), Mode::Attached(_)) => {
            // The thread's end detaches.
            std::mem::forget(guard);
            return true;
        }
        Ok(_) => Attempt::Never,
        Err(AttachError::Io(..) | AttachError::NoCrew | AttachError::TooManyGuests) => {
            Attempt::NotBefore(Instant::now() + RETRY)
        }
        Err(_) => Attempt::Never,
    };
    ATTEMPT.set(attempt);
    false
}

/// For [`Builder::on_thread_start`](tokio::runtime::Builder::on_thread_start): attaches the workers of the
/// runtime when they start, and calls `user` on every thread, as the builder would. Without it, each worker
/// attaches when it first runs a closure, which takes some tens of microseconds then.
///
/// Threads of the blocking pool, which start in the same way, are not attached.
///
/// For settings of one's own, for example a worker on each CPU, let `user` attach by [`syslet::Attach`]: a
/// thread that is attached already is used as it is.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_multi_thread()
///     .worker_threads(2)
///     .on_thread_start(syslet_tokio::on_thread_start(|| println!("a thread starts")))
///     .build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn on_thread_start<F>(user: F) -> impl Fn() + Send + Sync + 'static
where
    F: Fn() + Send + Sync + 'static,
{
    let started = AtomicUsize::new(0);
    move || {
        user();
        // tokio starts the workers first, as threads of the blocking pool. Should another overtake one of
        // them, it is attached in its place, to no harm, and the worker when it first needs it.
        let before = started.fetch_add(1, Ordering::Relaxed);
        let is_worker = Handle::try_current().is_ok_and(|handle| {
            is_multi_thread(&handle) && before < handle.metrics().num_workers()
        });
        if is_worker && !syslet::is_attached() {
            attach();
        }
    }
}
