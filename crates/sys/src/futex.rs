//! Sleeping on a word of memory and waking who sleeps there: `futex(2)`, private to the process unless said otherwise.

#![allow(unsafe_code, reason = "one system call, its argument a live reference")]

use core::sync::atomic::AtomicU32;

use crate::arch::syscall;
use crate::uapi::{
    FUTEX_BITSET_ANY, FUTEX_CLOCK_REALTIME, FUTEX_PRIVATE, FUTEX_WAIT, FUTEX_WAIT_BITSET,
    FUTEX_WAKE, Timespec, nr,
};

/// Sleeps while `word` holds `value`, for at most `timeout`. Wakes up for no reason at times.
///
/// **Blocking**: until [`wake`], a signal handler, the time-out, or at once if the word differs.
/// Returns the kernel's answer: 0 or `-errno`.
pub fn wait(word: &AtomicU32, value: u32, timeout: Option<&Timespec>) -> isize {
    let timeout = timeout.map_or(0, |t| t as *const Timespec as usize);
    let op = FUTEX_WAIT | FUTEX_PRIVATE;
    // SAFETY: the kernel reads the word and the time, both borrowed for the call.
    unsafe { syscall(nr::FUTEX, [word as *const _ as usize, op, value as usize, timeout, 0, 0]) }
}

/// As [`wait`], until the absolute time `deadline` of CLOCK_MONOTONIC.
pub fn wait_until(word: &AtomicU32, value: u32, deadline: Option<&Timespec>) -> isize {
    let deadline = deadline.map_or(0, |t| t as *const Timespec as usize);
    let op = FUTEX_WAIT_BITSET | FUTEX_PRIVATE;
    let args = [word as *const _ as usize, op, value as usize, deadline, 0, FUTEX_BITSET_ANY];
    // SAFETY: the kernel reads the word and the time, both borrowed for the call.
    unsafe { syscall(nr::FUTEX, args) }
}

/// As [`wait_until`], by CLOCK_REALTIME: also when that clock is set.
pub fn wait_until_realtime(word: &AtomicU32, value: u32, deadline: &Timespec) -> isize {
    let op = FUTEX_WAIT_BITSET | FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME;
    let deadline = deadline as *const Timespec as usize;
    let args = [word as *const _ as usize, op, value as usize, deadline, 0, FUTEX_BITSET_ANY];
    // SAFETY: the kernel reads the word and the time, both borrowed for the call.
    unsafe { syscall(nr::FUTEX, args) }
}

/// Wakes up to `count` threads that sleep on `word`; returns how many.
pub fn wake(word: *const AtomicU32, count: u32) -> isize {
    let op = FUTEX_WAKE | FUTEX_PRIVATE;
    // SAFETY: the kernel uses the address as a key only; it does not read or write there.
    unsafe { syscall(nr::FUTEX, [word as usize, op, count as usize, 0, 0, 0]) }
}

/// As [`wait`], on a word of memory that processes share.
pub fn wait_shared(word: &AtomicU32, value: u32, timeout: Option<&Timespec>) -> isize {
    let timeout = timeout.map_or(0, |t| t as *const Timespec as usize);
    let args = [word as *const _ as usize, FUTEX_WAIT, value as usize, timeout, 0, 0];
    // SAFETY: the kernel reads the word and the time, both borrowed for the call.
    unsafe { syscall(nr::FUTEX, args) }
}

/// As [`wake`], for a word of memory that processes share.
pub fn wake_shared(word: &AtomicU32, count: u32) -> isize {
    let args = [word as *const _ as usize, FUTEX_WAKE, count as usize, 0, 0, 0];
    // SAFETY: the kernel finds out which memory the borrowed address is; it does not write there.
    unsafe { syscall(nr::FUTEX, args) }
}
