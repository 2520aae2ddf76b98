//! What belongs to the guest stays with it over a handoff.
//!
//! # Safety
//!
//! Clause *register*: the function reads or sets a register of the running context, to a value that
//! the code around it expects. Clause *errno*: the location is the running thread's own, read at once.

#![allow(unsafe_code, reason = "reads and sets control registers and errno; see the header")]

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::thread;

use syslet::threadlet;

use crate::util::calls::{Landing, gettid, go, read_call};
use crate::util::pipe::Pipe;
use crate::util::{attached, hand_off, settings, skip, skip_in_pool};

thread_local! {
    static OWN: Cell<u32> = const { Cell::new(0) };
    static LAZY: RefCell<Vec<u32>> = RefCell::new(vec![1]);
}

#[test]
fn thread_locals_and_handle_are_the_guests() {
    attached(|| {
        let thread = thread::current();
        OWN.set(5);
        LAZY.with_borrow_mut(|lazy| lazy.push(2));
        let address = OWN.with(|own| std::ptr::from_ref(own) as usize);
        for n in 0..100 {
            hand_off();
            assert_eq!(OWN.get(), 5 + n);
            OWN.set(6 + n);
            assert_eq!(OWN.with(|own| std::ptr::from_ref(own) as usize), address);
            assert_eq!(thread::current().id(), thread.id());
            assert_eq!(thread::current().name(), Some("test-body"));
        }
        LAZY.with_borrow(|lazy| assert_eq!(*lazy, [1, 2]));
        // A closure has its own.
        assert_eq!(threadlet(|| LAZY.with_borrow(|lazy| lazy.len())).join(), 1);
    });
}

#[test]
fn thread_locals_set_while_attached_are_there_afterwards() {
    crate::util::bounded(crate::util::LIMIT, || {
        let guard = crate::util::attach();
        hand_off();
        OWN.set(77);
        drop(guard);
        assert_eq!(OWN.get(), 77);
    });
}

/// Writes over what was on the stack below the caller.
#[inline(never)]
pub(crate) fn use_stack(depth: usize) -> u64 {
    let words = black_box([0x5a5a_5a5a_5a5a_5a5a_u64; 512]);
    let below = if depth > 0 { use_stack(depth - 1) } else { 0 };
    below ^ words[depth]
}

#[test]
fn closure_that_is_away_needs_nothing_of_its_callers_stack() {
    attached(|| {
        for round in 0..20u64 {
            let pipe = Pipe::new();
            let (other, before) = (pipe.clone(), [round; 32]);
            let away = threadlet(move || {
                let byte = u64::from(other.get());
                before.map(|word| word + byte)
            });
            assert!(!away.was_inline());
            black_box(use_stack(8));
            pipe.put(3);
            while !away.is_finished() {
                black_box(use_stack(8));
            }
            assert_eq!(away.join(), [round + 3; 32]);
        }
    });
}

#[test]
fn guest_really_changes_kernel_threads() {
    if skip_in_pool("a handoff") {
        return;
    }
    attached(|| {
        let before = gettid();
        hand_off();
        assert_ne!(gettid(), before, "the test of handoffs tests none");
    });
}

#[test]
fn home_is_the_same_kernel_thread_after_detaching() {
    crate::util::bounded(crate::util::LIMIT, || {
        let (tid, cpus) = (gettid(), crate::util::calls::affinity());
        let guard = crate::util::attach();
        hand_off();
        drop(guard);
        assert_eq!(gettid(), tid);
        assert_eq!(crate::util::calls::affinity(), cpus);
        // SAFETY: a question.
        let cpu = unsafe { libc::sched_getcpu() };
        assert!(cpus.contains(&usize::try_from(cpu).expect("rseq is right")));
    });
}

fn errno() -> i32 {
    // SAFETY: errno.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: errno.
    unsafe { *location }
}

fn set_errno(value: i32) {
    // SAFETY: errno.
    let location = unsafe { libc::__errno_location() };
    // SAFETY: errno.
    unsafe { *location = value };
}

#[test]
fn errno_is_the_guests() {
    attached(|| {
        let pipe = Pipe::new();
        for n in 1..50 {
            set_errno(n);
            let away = go(read_call(pipe.read_end(), Landing::leak()));
            let after = errno();
            assert_eq!(after, n);
            pipe.put(1);
            set_errno(n);
            let failed = go(read_call(-1, Landing::leak()));
            assert_eq!(errno(), n, "a call's error is in its answer only");
            assert_eq!(away.wait().raw(), 1);
            assert_eq!(failed.wait().errno(), Some(libc::EBADF));
        }
        set_errno(88);
        let inner = threadlet(|| {
            set_errno(99);
            errno()
        });
        let outer = errno();
        assert_eq!((inner.join(), outer), (99, 88));
    });
}

unsafe extern "C" {
    fn fesetround(mode: i32) -> i32;
    fn fegetround() -> i32;
}

/// `FE_TONEAREST`, `FE_UPWARD` of fenv.h on x86-64.
const NEAREST: i32 = 0;
const UPWARD: i32 = 0x800;

fn set_rounding(mode: i32) {
    // SAFETY: register. Nothing here depends on the last bit of a quotient but the tests' own.
    assert_eq!(unsafe { fesetround(mode) }, 0);
}

/// How the x87 unit rounds (glibc reads its control word), and how MXCSR makes a third come out.
fn rounding() -> (i32, i32) {
    let third = black_box(1.0f64) / black_box(3.0);
    let by_sse = if third.to_bits() == 0x3fd5_5555_5555_5556 { UPWARD } else { NEAREST };
    // SAFETY: register.
    (unsafe { fegetround() }, by_sse)
}

#[test]
fn rounding_of_the_guest_survives_a_handoff() {
    attached(|| {
        for mode in [UPWARD, NEAREST, UPWARD, UPWARD] {
            set_rounding(mode);
            hand_off();
            assert_eq!(rounding(), (mode, mode));
            let pipe = Pipe::new();
            let away = go(read_call(pipe.read_end(), Landing::leak()));
            assert_eq!(rounding(), (mode, mode));
            pipe.put(1);
            assert_eq!(away.wait().raw(), 1);
        }
        set_rounding(NEAREST);
    });
}

#[test]
fn rounding_set_by_a_closure_does_not_reach_its_caller() {
    attached(|| {
        for _ in 0..100 {
            threadlet(|| set_rounding(UPWARD)).join();
            assert_eq!(rounding(), (NEAREST, NEAREST));
        }
        set_rounding(UPWARD);
        threadlet(|| set_rounding(NEAREST)).join();
        let after = rounding();
        set_rounding(NEAREST);
        assert_eq!(after, (UPWARD, UPWARD));
        // Nor those who use the same crew thread later.
        hand_off();
        assert_eq!(rounding(), (NEAREST, NEAREST));
    });
}

unsafe extern "C" {
    fn pkey_alloc(flags: u32, rights: u32) -> i32;
    fn pkey_free(key: i32) -> i32;
    fn pkey_set(key: i32, rights: u32) -> i32;
    fn pkey_get(key: i32) -> i32;
}

/// `PKEY_DISABLE_WRITE`, `PKEY_DISABLE_ACCESS` of sys/mman.h.
const NO_WRITE: u32 = 2;
const NO_ACCESS: u32 = 1;

#[test]
fn protection_keys_are_the_guests() {
    // SAFETY: register. No page has the new key.
    let key = unsafe { pkey_alloc(0, 0) };
    if key < 0 {
        return skip("the processor or the kernel has no protection keys");
    }
    attached(move || {
        for rights in [NO_WRITE, NO_ACCESS | NO_WRITE, 0, NO_WRITE] {
            // SAFETY: register. No page has the key.
            assert_eq!(unsafe { pkey_set(key, rights) }, 0);
            hand_off();
            // SAFETY: register.
            assert_eq!(unsafe { pkey_get(key) }, rights as i32, "after a threadlet");
            let pipe = Pipe::new();
            let away = go(read_call(pipe.read_end(), Landing::leak()));
            // SAFETY: register.
            let found = unsafe { pkey_get(key) };
            pipe.put(1);
            assert_eq!(away.wait().raw(), 1);
            assert_eq!(found, rights as i32, "after a call");
        }
    });
    // SAFETY: register. No page has the key.
    unsafe { pkey_free(key) };
}

#[test]
fn keys_return_home_with_the_guest() {
    crate::util::bounded(crate::util::LIMIT, || {
        // SAFETY: register. No page has the new key.
        let key = unsafe { pkey_alloc(0, 0) };
        if key < 0 {
            return skip("the processor or the kernel has no protection keys");
        }
        let guard = settings().attach().expect("the thread can be attached");
        // SAFETY: register. No page has the key.
        assert_eq!(unsafe { pkey_set(key, NO_WRITE) }, 0);
        hand_off();
        drop(guard);
        // SAFETY: register.
        let found = unsafe { pkey_get(key) };
        // SAFETY: register. No page has the key.
        unsafe { pkey_free(key) };
        assert_eq!(found, NO_WRITE as i32);
    });
}
