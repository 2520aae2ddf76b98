//! The two fences of the call word and of going to sleep: a light one on the way of every call, which is none where
//! `membarrier` works, and a heavy one, rarely made, that acts for both then.
//!
//! A sandbox may take `membarrier` away later: README.md, "Without `membarrier`".

use syslet_sys::futex;
use syslet_sys::uapi::{ETIMEDOUT, Timespec};

use super::engine::Engine;
use super::member::Crew;
use super::watchdog::cpu_time;
use crate::sync::{AtomicU32, Ordering, compiler_fence, fence};

/// For how long a thread's CPU time must stand still: longer than the tick of any kernel, should its clock be no finer.
const STANDSTILL: Timespec = Timespec { sec: 0, nsec: 20_000_000 };

impl Engine {
    /// True if `membarrier` has not been refused yet.
    #[inline(always)]
    pub(crate) fn is_asymmetric(&self) -> bool {
        // Relaxed: a thread that has read false reads false from then on.
        self.asymmetric.load(Ordering::Relaxed)
    }

    /// Orders what this thread did before and does after it, in the sight of a thread that makes a
    /// [`heavy_fence`](Self::heavy_fence).
    #[inline(always)]
    pub(crate) fn light_fence(&self) {
        if self.is_asymmetric() {
            compiler_fence(Ordering::SeqCst);
        } else {
            // SeqCst: pairs with the fence in `heavy_fence`.
            fence(Ordering::SeqCst);
        }
    }

    /// Orders all earlier stores of this thread, and of every thread as far as it has run, before
    /// all later loads of this thread.
    ///
    /// False: `membarrier` was refused, to a process that may have sandboxed itself since it was registered. Then
    /// whoever has made a light fence before is not ordered, and whoever makes one from now on is.
    #[must_use]
    pub(crate) fn heavy_fence(&self) -> bool {
        let refused = self.is_asymmetric() && syslet_sys::call::membarrier() < 0;
        if refused {
            self.asymmetric.store(false, Ordering::Relaxed);
        }
        // SeqCst: pairs with the fence in `light_fence` where there is no membarrier.
        fence(Ordering::SeqCst);
        !refused
    }

    /// The heavy fence of a standby that wants a guest out of call `number`, which `caller` makes. False: the caller
    /// may not be ordered, the guest must stay with it.
    pub(super) fn fence_for_call(&self, caller: &Crew, number: u64) -> bool {
        if self.heavy_fence() && self.is_asymmetric() {
            return true;
        }
        // It made a whole fence as it began, so it makes one when it finishes; or it passes one now.
        caller.word.is_fenced(number) || caller.leaves_cpu(number)
    }
}

impl Crew {
    /// True once this thread, which makes call `number`, is seen off the CPU: it has passed a fence of the kernel's on
    /// its way, and reads what is stored now when it goes on.
    ///
    /// A thread that runs burns CPU time, so one whose CPU time stands still does not run.
    ///
    /// **Blocking**: until that, or the call is over.
    #[cold]
    fn leaves_cpu(&self, number: u64) -> bool {
        while self.word.current() == number {
            let before = cpu_time(self.tid());
            if before == 0 {
                return false; // refused as well
            }
            let napped = futex::wait(&AtomicU32::new(0), 0, Some(&STANDSTILL));
            if napped == -ETIMEDOUT && cpu_time(self.tid()) == before {
                return true;
            }
        }
        false
    }
}
