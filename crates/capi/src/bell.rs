//! Waiting for memory of a program's to change, and telling that it has.
//!
//! Places are shared out over some bells by their address. Who waits (1) counts itself in, (2) reads the
//! bell's number, (3) looks at the memory, (4) sleeps while the number is what it was. Who changes the
//! memory (1) does so, (2) raises the number, (3) wakes if somebody is counted in. All are sequentially
//! consistent, so one of the two sees the other. Who waits with a signal mask of its own sleeps in
//! ppoll(2), which alone changes mask and sleeps in one step, on an eventfd for as long as it waits.

#![allow(unsafe_code, reason = "system calls with memory of their own")]

use std::ffi::c_int;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Instant;

use syslet_sys::arch::syscall; // libc's functions would change errno
use syslet_sys::futex;
use syslet_sys::uapi::Timespec;

use crate::late::lock;
use crate::life::PerLife;

const BELLS: usize = 64;

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    TimedOut,
    /// A signal handler has run.
    Interrupted,
    /// There is no descriptor left to wait with.
    Failed(c_int),
}

#[derive(Debug, Default)]
struct Bell {
    number: AtomicU32,
    waiting: AtomicU32,
    /// Eventfds of those who wait with a mask.
    masked: Mutex<Vec<c_int>>,
}

#[derive(Debug)]
struct Bells([Bell; BELLS]);

impl Default for Bells {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Bell::default()))
    }
}

static ALL: PerLife<Bells> = PerLife::new();

fn bell(place: usize) -> &'static Bell {
    // Fibonacci hashing: addresses and small numbers alike.
    let hash = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &ALL.get().0[(hash >> 58) as usize]
}

/// Tells those who wait for `place` that it has changed.
pub(crate) fn ring(place: usize) {
    let bell = bell(place);
    fence(Ordering::SeqCst);
    bell.number.fetch_add(1, Ordering::SeqCst);
    if bell.waiting.load(Ordering::SeqCst) == 0 {
        return;
    }
    futex::wake(&bell.number, i32::MAX as u32);
    for &descriptor in lock(&bell.masked).iter() {
        let one = ptr::from_ref(&1u64).expose_provenance();
        // SAFETY: eight bytes of a constant; the descriptor is open while it is listed.
        unsafe { syscall(libc::SYS_write as usize, [descriptor as usize, one, 8, 0, 0, 0]) };
    }
}

/// Waits until `ready`, told by [`ring`].
pub(crate) fn wait(place: usize, deadline: Option<Instant>, ready: impl Fn() -> bool) -> Waited {
    if ready() {
        return Waited::Ready;
    }
    let bell = bell(place);
    bell.waiting.fetch_add(1, Ordering::SeqCst);
    let waited = loop {
        let number = bell.number.load(Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if ready() {
            break Waited::Ready;
        }
        let Some(left) = time_left(deadline) else { break Waited::TimedOut };
        if futex::wait(&bell.number, number, left.as_ref()) == -(libc::EINTR as isize) {
            break if ready() { Waited::Ready } else { Waited::Interrupted };
        }
    };
    bell.waiting.fetch_sub(1, Ordering::SeqCst);
    waited
}

/// As [`wait`], with the signals of `mask` blocked, and no others, while it sleeps.
pub(crate) fn wait_masked(
    place: usize,
    deadline: Option<Instant>,
    mask: u64,
    ready: impl Fn() -> bool,
) -> Waited {
    if ready() {
        return Waited::Ready;
    }
    let flags = (libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) as usize;
    // SAFETY: no memory.
    let event = unsafe { syscall(libc::SYS_eventfd2 as usize, [0, flags, 0, 0, 0, 0]) } as c_int;
    if event < 0 {
        return Waited::Failed(-event);
    }
    let bell = bell(place);
    bell.waiting.fetch_add(1, Ordering::SeqCst);
    lock(&bell.masked).push(event);
    let waited = loop {
        fence(Ordering::SeqCst);
        if ready() {
            break Waited::Ready;
        }
        let Some(left) = time_left(deadline) else { break Waited::TimedOut };
        match sleep_masked(event, left, mask) {
            libc::EINTR if ready() => break Waited::Ready,
            libc::EINTR => break Waited::Interrupted,
            _ => {}
        }
    };
    lock(&bell.masked).retain(|listed| *listed != event);
    bell.waiting.fetch_sub(1, Ordering::SeqCst);
    syslet_sys::call::close(event);
    waited
}

/// Sleeps until the eventfd is written to, and takes that back; 0, or why not.
fn sleep_masked(event: c_int, left: Option<Timespec>, mask: u64) -> c_int {
    let mut poll = libc::pollfd { fd: event, events: libc::POLLIN, revents: 0 };
    let poll = ptr::from_mut(&mut poll).expose_provenance();
    let left = left.as_ref().map_or(0, |left| ptr::from_ref(left).expose_provenance());
    let mask = ptr::from_ref(&mask).expose_provenance();
    // SAFETY: all three are ours; the kernel's masks are eight bytes.
    let answer = unsafe { syscall(libc::SYS_ppoll as usize, [poll, 1, left, mask, 8, 0]) };
    if answer < 0 {
        return -answer as c_int;
    }
    let mut count = 0u64;
    let count = ptr::from_mut(&mut count).expose_provenance();
    // SAFETY: eight bytes of ours.
    unsafe { syscall(libc::SYS_read as usize, [event as usize, count, 8, 0, 0, 0]) };
    0
}

/// `None`: it is over. `Some(None)`: there is no limit.
fn time_left(deadline: Option<Instant>) -> Option<Option<Timespec>> {
    let Some(deadline) = deadline else { return Some(None) };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(Some(Timespec { sec: left.as_secs() as i64, nsec: i64::from(left.subsec_nanos()) }))
}
