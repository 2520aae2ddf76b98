//! Bounds on what may be outstanding.

use crate::crew::{Settings, start};

/// Bounds on what may be outstanding in this process. At a bound [`try_submit`](crate::try_submit)
/// hands the call back, and [`submit`](crate::submit) waits.
///
/// The bound on crew threads is a setting of [`Attach`](crate::Attach).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    parked: usize,
}

impl Limits {
    /// The bounds that hold unless asked otherwise: 4,194,304 parked calls, which is a gigabyte.
    pub const fn new() -> Self {
        Self { parked: crate::park::DEFAULT_LIMIT }
    }

    /// Most calls that wait without a thread, at a time.
    #[must_use]
    pub const fn parked(mut self, calls: usize) -> Self {
        self.parked = calls;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Sets the bounds for the process, from now on.
pub fn set_limits(limits: Limits) {
    if let Ok(engine) = start(Settings::default()) {
        engine.park.set_limit(limits.parked);
    }
}
