//! Which life of the process this is: a forked child begins a new one.

#![allow(unsafe_code, reason = "an atfork handler, and values that are never freed")]

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Counts forks from the first process on.
pub fn now() -> u32 {
    install();
    FORKS.load(Ordering::Relaxed)
}

/// The count, for C programs to look at.
pub fn counter() -> *const u32 {
    install();
    FORKS.as_ptr().cast_const()
}

/// Registers the handler; twice, if two threads come at once, which does no harm.
fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if !INSTALLED.load(Ordering::Acquire) {
        // SAFETY: the handler touches one atomic.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
        INSTALLED.store(true, Ordering::Release);
    }
}

unsafe extern "C" fn child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A value of the process, made when it is first asked for, and anew in a forked child: there, locks of the
/// parent's may be held by threads that do not exist.
#[derive(Debug)]
pub struct PerLife<T: 'static>(AtomicPtr<(u32, T)>);

impl<T: Default> PerLife<T> {
    /// Nothing yet.
    #[allow(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// The value of this process.
    #[inline]
    pub fn get(&self) -> &'static T {
        let life = now();
        // Acquire: pairs with the release of the exchange below.
        let mut known = self.0.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or a box that was leaked.
            if let Some((of, value)) = unsafe { known.as_ref() }
                && *of == life
            {
                return value;
            }
            let fresh = Box::into_raw(Box::new((life, T::default())));
            match self.0.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Acquire) {
                // The parent's is left as it is: nothing of it may be locked or freed.
                Ok(_) => known = fresh,
                Err(other) => {
                    // SAFETY: made above, and seen by nobody.
                    drop(unsafe { Box::from_raw(fresh) });
                    known = other;
                }
            }
        }
    }
}
