//! Forks while another thread starts: whatever lock of the standard library's that thread holds, the child has
//! it held for ever.
//!
//! The lock that every thread takes at its start is held while memory is allocated at times. So an allocator
//! of our own stops a thread that starts at one of its allocations, and the process forks then.

#![allow(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::runner::{ALL, Scenario};
use crate::sys;
use crate::work::{attach, hand_off};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario::new("a_child_forked_while_a_thread_starts_works", ALL, at_every_allocation)];

/// Allocations that other threads than the forking one may make before one is stopped; 0: none is.
static ALLOWED: AtomicU32 = AtomicU32::new(0);
/// The kernel thread that forks, and is never stopped.
static FORKS: AtomicI32 = AtomicI32::new(0);
/// 1: a thread is stopped.
static STOPPED: AtomicU32 = AtomicU32::new(0);

struct Stops;

#[global_allocator]
static STOPS: Stops = Stops;

// SAFETY: the system's allocator, which is asked later at times.
unsafe impl GlobalAlloc for Stops {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ALLOWED.load(Ordering::SeqCst) != 0 && sys::gettid() != FORKS.load(Ordering::SeqCst) {
            stop();
        }
        // SAFETY: the duties of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// One allocation less is allowed; the last one waits until it is let go on.
fn stop() {
    if ALLOWED.fetch_sub(1, Ordering::SeqCst) == 1 {
        STOPPED.store(1, Ordering::SeqCst);
        while STOPPED.load(Ordering::SeqCst) == 1 {
            thread::yield_now();
        }
    }
}

/// Forks while a new thread is stopped at allocation `at`. False: it makes fewer.
fn fork_at(at: u32) -> bool {
    static STARTED: AtomicBool = AtomicBool::new(false);
    STARTED.store(false, Ordering::SeqCst);
    ALLOWED.store(at, Ordering::SeqCst);
    let starts = thread::spawn(|| STARTED.store(true, Ordering::SeqCst));
    sys::spin_until("the thread is stopped, or has started", || {
        STOPPED.load(Ordering::SeqCst) == 1 || STARTED.load(Ordering::SeqCst)
    });
    let stopped = STOPPED.load(Ordering::SeqCst) == 1;
    ALLOWED.store(0, Ordering::SeqCst);
    if stopped {
        let child = sys::fork(|| {
            let guard = attach();
            hand_off();
            drop(guard);
            i32::from(syslet::threadlet(|| 42).join() != 42)
        });
        assert_eq!(child.end(), 0, "a child forked at allocation {at} of a thread that starts");
    }
    STOPPED.store(0, Ordering::SeqCst);
    starts.join().expect("the thread ends well");
    stopped
}

/// A thread that waits until its sender is dropped.
fn idle() -> (Sender<()>, thread::JoinHandle<()>) {
    let (sender, receiver) = channel();
    (sender, thread::spawn(move || assert!(receiver.recv().is_err())))
}

/// What is kept of threads is in nodes of eleven: with each number of threads up to one more, so that one
/// of them needs a new node.
fn at_every_allocation() {
    const NODE: usize = 11;
    // From its first use on the library knows of forks.
    drop(attach());
    FORKS.store(sys::gettid(), Ordering::SeqCst);
    let mut others = Vec::new();
    let mut most = 0;
    for _ in 0..=NODE {
        let stops = (1..).take_while(|at| fork_at(*at)).count();
        most = most.max(stops);
        others.push(idle());
    }
    assert!(most > 0, "no thread was stopped");
    for (sender, thread) in others {
        drop(sender);
        thread.join().expect("the thread ends well");
    }
}
