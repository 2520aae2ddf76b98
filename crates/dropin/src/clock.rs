//! What time it is.

#![allow(unsafe_code, reason = "asks the C library")]

/// Nanoseconds of CLOCK_MONOTONIC, from the C library, which asks no system call for it.
#[inline]
pub fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the structure, which is live.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
