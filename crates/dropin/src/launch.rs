//! Work for a crew thread, where there may be none: no thread can be made (RLIMIT_NPROC, pids.max, a sandbox).
//! Launching panics then, and a panic in a function that C programs call ends them.

use syslet::Builder;

/// True if there are crew threads, or they could be made.
///
/// # Blocking
///
/// Not for long: threads are made by the first call.
pub fn has_crew() -> bool {
    syslet::ensure_crew().is_ok()
}

/// Has a crew thread do it; without one it is done here.
///
/// # Blocking
///
/// Never where there is a crew; else as the work.
pub fn elsewhere(work: impl FnOnce() + Send + 'static) {
    if has_crew() {
        drop(Builder::new().elsewhere().launch(work));
    } else {
        work();
    }
}
