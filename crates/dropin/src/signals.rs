//! Waiting with other signals blocked, as ppoll(2) does it, for what a futex cannot: it takes no mask.
//!
//! What the mask blocks is blocked besides while a [`Masked`] lives. What the thread blocks and the mask lets through
//! the thread looks for, once in a `SLICE`; it needs no descriptor.

#![allow(unsafe_code, reason = "ppoll(2) with a mask of its own")]

use std::cell::Cell;

use syslet_sys::uapi::Timespec;
use syslet_sys::{arch, call};

/// How long a thread sleeps at a time, in nanoseconds, before it looks for signals that only the mask lets through.
const SLICE: u64 = 1_000_000;

/// The calling thread waits with a mask, until this is dropped.
#[derive(Debug)]
pub struct Masked {
    mask: u64,
    old: u64,
    /// Signals of the mask that were pending when it was last looked.
    held: Cell<u64>,
}

impl Masked {
    /// Blocks the signals of `mask` too.
    pub fn begin(mask: u64) -> Self {
        let old = call::signal_mask();
        call::set_signal_mask(old | mask);
        Self { mask, old, held: Cell::new(call::pending_signals()) }
    }

    /// Signals that only the mask lets through.
    fn wanted(&self) -> u64 {
        self.old & !self.mask
    }

    /// How long to sleep at a time if `left` is left. (`None`: there is no limit.)
    pub fn slice(&self, left: Option<Timespec>) -> Option<Timespec> {
        match left {
            left if self.wanted() == 0 => left,
            Some(left) if left.as_nanos() < SLICE => Some(left),
            _ => Some(Timespec::from_nanos(SLICE)),
        }
    }

    /// Lets signals in that have come and that only the mask lets through. True if a handler has run, which had the
    /// mask.
    pub fn let_in(&self) -> bool {
        if self.wanted() == 0 || call::pending_signals() & self.wanted() == 0 {
            return false;
        }
        let none = Timespec::default();
        let args = [0, 0, &raw const none as usize, &raw const self.mask as usize, 8, 0];
        // SAFETY: no descriptors; a time and a mask that are live.
        let answer = unsafe { arch::syscall(libc::SYS_ppoll as usize, args) };
        // A signal that is ignored has the kernel begin anew, and end by the time.
        answer == -(libc::EINTR as isize)
    }

    /// After a sleep that the kernel ended with `EINTR`: whether a handler has run. What a guest blocks only now is
    /// brought to it by its home, which ends a sleep, and is pending then.
    pub fn has_run(&self) -> bool {
        let held = call::pending_signals();
        let before = self.held.replace(held);
        !syslet::is_attached() || held & !before == 0
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        call::set_signal_mask(self.old);
    }
}
