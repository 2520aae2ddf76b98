//! The running thread's area for restartable sequences (rseq(2)). The kernel knows one of each kernel thread: glibc's
//! is unregistered while the code is on another, somebody else's cannot be.
//!
//! # Safety
//!
//! Clause *own*: glibc's area is part of the thread that the thread pointer names, and nothing of ours relies on what
//! the kernel writes there. Clause *nobody's*: the trial's area lives as long as the process and is read by nobody.

#![allow(unsafe_code, reason = "registers memory with the kernel; see the header")]

use std::cell::UnsafeCell;

use syslet_sys::{arch, call, uapi};

use super::mechanism::{Unsupported, symbol};
use crate::sync::{AtomicUsize, Ordering};

/// Bytes of the first published rseq structure, which everybody registers but glibc from 2.41 on.
const RSEQ_LEN: usize = 32;
/// Areas lie at multiples of this, those of glibc from 2.41 on perhaps of more.
const ALIGNMENT: usize = 32;
/// As before registration. glibc's `sched_getcpu` asks the vDSO when it reads a negative value, and threads that this
/// one makes register theirs (they do not where registration has failed).
const UNINITIALIZED: i32 = uapi::RSEQ_UNINITIALIZED;
/// How far above the thread pointer glibc up to 2.40 may have its area: it is part of the thread's descriptor, which is
/// 2304 bytes in 2.36. (2.41 has it below, where thread-locals of others are.)
const DESCRIPTOR: usize = 2560;

/// glibc's rseq area of the running thread: sys/rseq.h, since glibc 2.35.
#[derive(Debug, Clone, Copy)]
struct Area {
    address: usize,
    len: usize,
}

/// Distance of glibc's area from the thread pointer, where it had to be searched for; 0: it has not been found.
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// In a child that was forked inside a closure, whose thread will return from it to the guest's context: the thread
/// pointer that it has in the closure, and that of the thread whose area it has. Such a child may attach in the closure
/// and be forked inside a closure again: it will return from that first. So they are a stack, of [`BORROWERS`] at most.
///
/// What a thread has returned from stays until it forks: only then may the C library give the stack of that closure,
/// and with it the thread pointer, to a new thread (it takes those of threads that are not in the child).
static BORROWED: [[AtomicUsize; 2]; BORROWERS] = [const { [const { AtomicUsize::new(0) }; 2] }; _];
/// How many there are.
static DEPTH: AtomicUsize = AtomicUsize::new(0);
/// Closures inside closures, each in a child forked by the one around it.
const BORROWERS: usize = 16;

/// The place of a thread pointer among them.
///
/// Relaxed, here and below: changed in a child that has one thread only.
fn borrower(tp: usize) -> Option<usize> {
    let depth = DEPTH.load(Ordering::Relaxed);
    BORROWED[..depth].iter().position(|[own, _]| own.load(Ordering::Relaxed) == tp)
}

/// The thread pointer of the thread whose area the kernel thread has that runs with `tp`.
fn owner_for(tp: usize) -> usize {
    borrower(tp).map_or(tp, |at| BORROWED[at][1].load(Ordering::Relaxed))
}

/// The same for the running thread.
fn owner() -> usize {
    owner_for(arch::thread_pointer())
}

/// In a forked child, whose thread goes on, or will, with `tp`: what has been said of other threads, and of what that
/// one has returned from, holds no longer.
pub(super) fn forked(tp: usize) {
    DEPTH.store(borrower(tp).map_or(0, |at| at + 1), Ordering::Relaxed);
}

/// In a child that was forked inside a closure: the area of the guest is registered, to which it returns.
pub(super) fn forked_in_closure(guest: usize) {
    let depth = DEPTH.load(Ordering::Relaxed);
    // Beyond the last place nothing is known of it.
    let Some([own, owner]) = BORROWED.get(depth) else { return };
    owner.store(owner_for(guest), Ordering::Relaxed);
    own.store(arch::thread_pointer(), Ordering::Relaxed);
    DEPTH.store(depth + 1, Ordering::Relaxed);
}

/// Distance from the thread pointer, and size, as glibc says it; `None` if it does not.
fn constants() -> Option<(isize, u32)> {
    let (offset, size) = arch::rseq_constants();
    let offset = if offset.is_null() { symbol(c"__rseq_offset")? } else { offset };
    let size = if size.is_null() { symbol(c"__rseq_size")? } else { size };
    // SAFETY: glibc's constant, `const ptrdiff_t`.
    let offset = unsafe { *offset };
    // SAFETY: glibc's constant, `const unsigned int`.
    Some((offset, unsafe { *size }))
}

impl Area {
    /// `None` where glibc has registered none (older than 2.35, or switched off by a tunable).
    fn of_this_thread() -> Option<Self> {
        let (offset, size) = constants().unwrap_or_else(|| {
            // Relaxed: a number by itself.
            let found = FOUND.load(Ordering::Relaxed);
            (found as isize, if found == 0 { 0 } else { RSEQ_LEN as u32 })
        });
        let tp = owner();
        // glibc up to 2.40 registers 32 bytes; later ones what the kernel has, rounded up.
        let len = (size as usize).max(RSEQ_LEN);
        (size != 0).then(|| Self { address: tp.wrapping_add_signed(offset), len })
    }

    /// Looks for it where glibc does not say where it is: in a C program that is linked statically. What is registered
    /// inside the thread's descriptor is glibc's.
    fn search() -> Option<Self> {
        if constants().is_some() {
            return None;
        }
        let tp = owner();
        let is_there = |offset: &usize| {
            // With a signature that is not its own the right area is refused by another error (EPERM) than any
            // other memory (EINVAL), and stays as it is. The kernel only compares the address.
            // SAFETY: nothing is changed, or clause *own* if that should be its signature after all.
            let answer = unsafe {
                call::rseq(tp + offset, RSEQ_LEN, uapi::RSEQ_UNREGISTER, !uapi::RSEQ_SIGNATURE)
            };
            answer == -uapi::EPERM
        };
        let offset = (0..DESCRIPTOR).step_by(ALIGNMENT).find(is_there)?;
        // Relaxed: the same number, whoever finds it.
        FOUND.store(offset, Ordering::Relaxed);
        Self::of_this_thread()
    }

    /// `cpu_id`, the second word. (`cpu_id_start`, the first, is what optimistic readers index by
    /// and stays a valid CPU.)
    fn cpu_id(self) -> *mut i32 {
        (self.address + uapi::RSEQ_CPU_ID) as *mut i32
    }

    /// True if the kernel knows the area.
    fn is_registered(self) -> bool {
        // SAFETY: clause *own*.
        unsafe { self.cpu_id().read_volatile() >= 0 }
    }

    fn set_cpu(self, value: i32) {
        // SAFETY: clause *own*; the kernel is not writing it now.
        unsafe { self.cpu_id().write_volatile(value) };
    }

    fn register(self, flags: usize) -> isize {
        // SAFETY: clause *own*.
        unsafe { call::rseq(self.address, self.len, flags, uapi::RSEQ_SIGNATURE) }
    }

    fn leave(self) -> Option<Unsupported> {
        let answer = self.register(uapi::RSEQ_UNREGISTER);
        if answer == 0 {
            self.set_cpu(UNINITIALIZED);
            return None;
        }
        let error = std::io::Error::from_raw_os_error(-answer as i32);
        Some(Unsupported::Rseq(format!("glibc's area cannot be unregistered: {error}")))
    }
}

/// Unregisters the running kernel thread's rseq area: its code moves to another kernel thread. The reason if that must
/// not be, because it is not glibc's.
pub(super) fn leave() -> Option<Unsupported> {
    if let Some(area) = Area::of_this_thread().filter(|area| area.is_registered()) {
        return area.leave();
    }
    // Allocators register theirs when a thread first allocates.
    drop(std::hint::black_box(Box::new(0_u8)));
    if !another_is_registered() {
        return None;
    }
    let foreign = || Unsupported::Rseq("an area that is not glibc's is registered".to_owned());
    Area::search().map_or_else(|| Some(foreign()), Area::leave)
}

/// Registers it again, for the running kernel thread, if it was registered before.
pub(super) fn enter() {
    let Some(area) = Area::of_this_thread() else { return };
    // SAFETY: clause *own*.
    let left = unsafe { area.cpu_id().read_volatile() } == UNINITIALIZED;
    if left && area.register(0) != 0 {
        area.set_cpu(uapi::RSEQ_REGISTRATION_FAILED);
    }
}

/// Memory for [`another_is_registered`], the same for all threads: a handler that interrupts the trial may jump out.
#[derive(Debug)]
#[repr(align(64))]
struct Trial(UnsafeCell<[u8; RSEQ_LEN]>);

// SAFETY: clause *nobody's*.
unsafe impl Sync for Trial {}

/// Whether the kernel knows an area of the running thread. A thread has at most one: so another one is tried, and is
/// refused then (EINVAL). Where the call cannot be made nobody has made it.
fn another_is_registered() -> bool {
    static TRIAL: Trial = Trial(UnsafeCell::new([0; RSEQ_LEN]));
    let trial = |flags| {
        // SAFETY: clause *nobody's*.
        unsafe { call::rseq(TRIAL.0.get() as usize, RSEQ_LEN, flags, uapi::RSEQ_SIGNATURE) }
    };
    let refused = trial(0) == -uapi::EINVAL;
    if !refused {
        trial(uapi::RSEQ_UNREGISTER);
    }
    refused
}
