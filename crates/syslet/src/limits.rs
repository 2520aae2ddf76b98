//! Bounds on what may be outstanding.

use crate::crew::{Settings, start};
use crate::park::hold_off_handlers;

/// Bounds on what may be outstanding in this process. At a bound [`try_submit`](crate::try_submit)
/// hands the call back; [`submit`](crate::submit), and with it the operations of [`net`](crate::net),
/// [`time`](crate::time) and [`process`](crate::process), waits until there is room for one more parked call,
/// and queues a write behind those of its file.
///
/// The bound on crew threads is a setting of [`Attach`](crate::Attach). What waits for one of them, or for its turn to
/// write, has no bound but where the caller asks for one by `try_submit` and its kin, also on threads that are not
/// attached; [`submit`](crate::submit) says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    parked: usize,
    writers: usize,
    ring_reads: usize,
}

impl Limits {
    /// The bounds that hold unless asked otherwise: 4,194,304 parked calls, which is a gigabyte, 32 writers
    /// of a file, and 112 reads that io_uring has at a time.
    pub const fn new() -> Self {
        Self {
            parked: crate::park::DEFAULT_LIMIT,
            writers: crate::call::DEFAULT_WRITERS,
            ring_reads: crate::park::MOST_READS,
        }
    }

    /// Most calls that wait without a thread, at a time; at least 1, which is what 0 is taken for: else nothing
    /// that waits could ever begin.
    #[must_use]
    pub const fn parked(mut self, calls: usize) -> Self {
        self.parked = if calls == 0 { 1 } else { calls };
        self
    }

    /// Most writes of one file that are away at a time, whichever of its descriptors they name. They wait for each
    /// other in the kernel, each with a thread; more than this wait for their turn without one. (What file a
    /// descriptor names is looked at when it is first written to, and when a write of it waits: where a number names
    /// another file by now, the first one that waits may be one too many, and is counted where it is not. So may one of
    /// each attached thread be: its write is counted only if it sleeps.)
    ///
    /// Calls, steps of chains, and the rest of a write of which a part was made without waiting count; writes in
    /// closures do not. Nor does what a thread makes that waits for it, or in place because no crew thread is left: it
    /// takes none. Files are regular files and block devices: who writes to a pipe waits for its reader, not for other
    /// writers.
    #[must_use]
    pub const fn writers_per_descriptor(mut self, writes: usize) -> Self {
        self.writers = writes;
        self
    }

    /// Most reads that io_uring has at a time, 112 at most; 0: it is not used. Reads at a position
    /// (`pread64` and its kin) that have to be fetched from a disk go there, where the kernel and the
    /// sandbox allow it; others keep a crew thread.
    #[must_use]
    pub const fn ring_reads(mut self, reads: usize) -> Self {
        self.ring_reads = reads;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Sets the bounds for the process, from now on: what waits goes on if they are wider. Where no thread can
/// be made at all nothing waits, and nothing is bounded.
///
/// # Blocking
///
/// Not longer than it takes to start the crew.
pub fn set_limits(limits: Limits) {
    if let Ok(engine) = start(Settings::default()) {
        let _busy = hold_off_handlers(); // one would find locks held
        engine.park.set_limit(limits.parked);
        engine.park.disk.set_limit(limits.ring_reads);
        engine.limit_writers(limits.writers);
    }
}
