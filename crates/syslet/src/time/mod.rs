//! Sleeping without holding the caller up.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use syslet::time::{sleep, sleep_until};
//!
//! let begun = Instant::now();
//! let (one, other) = (sleep(Duration::from_millis(20)), sleep_until(begun + Duration::from_millis(30)));
//! one.wait();
//! other.wait();
//! assert!(begun.elapsed() >= Duration::from_millis(30)); // not fifty: both began at once
//! ```
//!
//! The clock is that of [`Instant`](std::time::Instant), CLOCK_MONOTONIC, which stands still while the
//! machine is suspended. A sleep ends at its time or after it, never before, unless it is cancelled.
//!
//! **Blocking**: no, but at the bound [`Limits::parked`](crate::Limits::parked).

mod sleep;

pub use sleep::{sleep, sleep_until};
