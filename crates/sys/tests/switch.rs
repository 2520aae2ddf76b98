//! Contexts move between kernel threads with what the ABI says they keep.

#![allow(unsafe_code, reason = "the context switch is what is tested")]

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use syslet_sys::arch::{self, Context, Errand, Verdict};

thread_local! { static MARK: std::cell::Cell<u32> = const { std::cell::Cell::new(0) }; }

/// A stack on the heap, and its top.
fn stack() -> (Vec<u128>, usize) {
    let memory = vec![0u128; 16 * 1024];
    let top = memory.as_ptr_range().end as usize;
    (memory, top)
}

struct AddOne;

impl Errand for AddOne {
    unsafe fn run(data: *mut u8) -> Verdict {
        // SAFETY: the test passes a live word.
        Verdict::stay(unsafe { *data.cast::<usize>() } + 1)
    }
}

#[test]
fn a_function_on_another_stack_returns_its_value() {
    let (memory, top) = stack();
    let mut context = Context { sp: 0, tp: arch::thread_pointer() };
    let mut word = 41usize;
    let tp = context.tp;
    // SAFETY: the stack is ours, the thread pointer our own, `add_one` does not unwind.
    let verdict = unsafe { arch::enter::<AddOne>(&mut context, top, tp, (&raw mut word).cast()) };
    assert!(verdict.stayed());
    assert_eq!(verdict.value(), 42);
    drop(memory);
}

/// What the mover thread and the moved context share.
struct Shared {
    left: Context,
    handed: AtomicUsize,
    done: AtomicU32,
}

/// Hands the context over and keeps this kernel thread away from it until it is back.
struct GiveAway;

impl Errand for GiveAway {
    unsafe fn run(data: *mut u8) -> Verdict {
        let shared = data.cast::<Shared>();
        // SAFETY: the test keeps the structure alive until `done`.
        let handed = unsafe { &(*shared).handed };
        handed.store(shared as usize, Ordering::Release);
        // SAFETY: as above.
        let done = unsafe { &(*shared).done };
        while done.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        Verdict::stay(7)
    }
}

struct GiveBack;

impl Errand for GiveBack {
    unsafe fn run(_: *mut u8) -> Verdict {
        BACK.with_mover(Verdict::leave)
    }
}

/// The mover's own context, for `give_back`.
struct Back(AtomicUsize);
static BACK: Back = Back(AtomicUsize::new(0));
impl Back {
    fn with_mover(&self, f: impl Fn(*const Context) -> Verdict) -> Verdict {
        f(self.0.load(Ordering::Acquire) as *const Context)
    }
}

#[test]
fn a_context_goes_on_on_another_kernel_thread_and_comes_back() {
    let (memory, top) = stack();
    let shared = Box::leak(Box::new(Shared {
        left: Context { sp: 0, tp: arch::thread_pointer() },
        handed: AtomicUsize::new(0),
        done: AtomicU32::new(0),
    }));
    let shared: *mut Shared = shared;
    let address = shared as usize;
    let mover = std::thread::spawn(move || {
        let shared = address as *mut Shared;
        // SAFETY: leaked.
        let handed = unsafe { &(*shared).handed };
        while handed.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        let mut own = Context { sp: 0, tp: arch::thread_pointer() };
        BACK.0.store(&raw mut own as usize, Ordering::Release);
        // SAFETY: leaked.
        let left = unsafe { &raw const (*shared).left };
        // SAFETY: `give_away` published the context and does not touch it again.
        unsafe { arch::resume(&mut own, left, 3) };
        // SAFETY: leaked.
        unsafe { &(*shared).done }.store(1, Ordering::Release);
        syslet_sys::call::gettid()
    });
    MARK.set(99);
    let home = syslet_sys::call::gettid();
    let float = std::hint::black_box(2.5f64);
    // SAFETY: leaked.
    let left = unsafe { &raw mut (*shared).left };
    let tp = arch::thread_pointer();
    // SAFETY: the stack is ours; the context goes on once on the mover and, after `give_back`,
    // once here.
    let first = unsafe { arch::enter::<GiveAway>(left, top, tp, shared.cast()) };
    assert!(!first.stayed());
    assert_eq!(first.value(), 3);
    let carrier = syslet_sys::call::gettid();
    assert_ne!(carrier, home, "the same code runs on another kernel thread");
    assert_eq!(MARK.get(), 99, "thread-locals travel with it");
    let (memory2, top2) = stack();
    // The mover's stack is used again below what it saved there.
    let mover_sp = BACK.0.load(Ordering::Acquire) as *const Context;
    // SAFETY: the mover's context is complete and idle.
    let mover_tp = unsafe { (*mover_sp).tp };
    // SAFETY: `give_back` leaves for the mover's context, and home then says stay.
    let second = unsafe { arch::enter::<GiveBack>(left, top2, mover_tp, std::ptr::null_mut()) };
    assert_eq!(second.value(), 7);
    assert_eq!(syslet_sys::call::gettid(), home);
    assert_eq!(float, 2.5);
    assert_eq!(mover.join().unwrap(), carrier);
    drop((memory, memory2));
}

#[test]
fn a_set_flag_keeps_the_call_from_being_made() {
    let flag = AtomicU32::new(1);
    let call = [syslet_sys::uapi::nr::GETPID, 0, 0, 0, 0, 0, 0];
    // SAFETY: getpid touches no memory.
    let refused = unsafe { arch::syscall_cancellable(&flag, &call) };
    assert_eq!(refused, arch::CANCELLED);
    flag.store(0, Ordering::Relaxed);
    // SAFETY: as above.
    let made = unsafe { arch::syscall_cancellable(&flag, &call) };
    assert_eq!(made as u32, std::process::id());
}

#[test]
fn the_cpu_is_the_one_that_the_vdso_names() {
    let mut mask = [0u64; 16];
    syslet_sys::call::affinity(0, &mut mask);
    for cpu in 0..mask.len() * 64 {
        if mask[cpu / 64] & (1 << (cpu % 64)) == 0 {
            continue;
        }
        let mut one = [0u64; 16];
        one[cpu / 64] = 1 << (cpu % 64);
        assert_eq!(syslet_sys::call::set_affinity(0, &one), 0);
        assert_eq!(arch::current_cpu() as usize, cpu);
        assert_eq!(arch::current_cpu() as usize, cpu, "the second way, once decided");
    }
}
