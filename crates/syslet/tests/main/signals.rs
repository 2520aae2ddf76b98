//! Alternate signal stacks, handlers, pending signals.
//!
//! # Safety
//!
//! Clause *live*: the kernel reads or writes a local variable or leaked memory. Clause *handler*: the
//! handlers of this file use atomics and the library's calls only.

#![allow(unsafe_code, reason = "signal masks and alternate stacks; see the header")]

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use syslet::{AttachError, Submitted, is_attached, threadlet};

use crate::util::calls::{
    Landing, gettid, go, install, moving_call, pending, read_call, signal_thread, status_field,
    threads_named, write_call,
};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attach, attached, bounded, eventually, hand_off, skip_in_pool};

/// The alternate signal stack of the running kernel thread: address, size, flags.
fn signal_stack() -> (usize, usize, i32) {
    // SAFETY: all zeros is a value of the structure.
    let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
    // SAFETY: live.
    assert_eq!(unsafe { libc::sigaltstack(std::ptr::null(), &mut stack) }, 0);
    (stack.ss_sp as usize, stack.ss_size, stack.ss_flags)
}

fn set_signal_stack(memory: &'static mut [u8]) {
    let stack =
        libc::stack_t { ss_sp: memory.as_mut_ptr().cast(), ss_flags: 0, ss_size: memory.len() };
    // SAFETY: live: leaked.
    assert_eq!(unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) }, 0);
}

fn is_mapped(start: usize, len: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    maps.lines().any(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((low, high)) = range else { return false };
        let parse = |hex| usize::from_str_radix(hex, 16).unwrap_or(0);
        line.contains(" rw") && parse(low) <= start && start + len <= parse(high)
    })
}

/// Looks at the stacks of `count` crew threads at once.
fn crew_stacks_are_intact(count: usize) {
    let pipe = Pipe::new();
    let away: Vec<_> = (0..count)
        .map(|_| {
            let pipe = pipe.clone();
            threadlet(move || {
                let stack = signal_stack();
                pipe.get();
                stack
            })
        })
        .collect();
    away.iter().for_each(|_| pipe.put(0));
    for threadlet in away {
        let (start, size, flags) = threadlet.join();
        assert_eq!(flags & libc::SS_DISABLE, 0, "a crew thread has no signal stack");
        assert!(is_mapped(start, size), "a crew thread's signal stack is gone");
    }
}

#[test]
fn detaching_leaves_each_signal_stack_where_it_was() {
    bounded(LIMIT, || {
        let before = signal_stack();
        let guard = attach();
        hand_off();
        crew_stacks_are_intact(8);
        drop(guard);
        assert_eq!(signal_stack(), before);
        assert!(is_mapped(before.0, before.1));
    });
}

#[test]
fn leaked_guard_harms_no_signal_stack() {
    let path = "signals::leaked_guard_harms_no_signal_stack";
    let ended = Child::new().run(path, || {
        for _ in 0..20 {
            // std takes the thread's signal stack away while it is still a guest.
            bounded(LIMIT, || {
                std::mem::forget(attach());
                hand_off();
            });
            attached(|| crew_stacks_are_intact(8));
        }
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn signal_stack_set_while_attached_goes_home() {
    let path = "signals::signal_stack_set_while_attached_goes_home";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            let guard = attach();
            let memory: &'static mut [u8] = vec![0; 64 << 10].leak();
            let start = memory.as_ptr() as usize;
            set_signal_stack(memory);
            drop(guard);
            let (now, _, flags) = signal_stack();
            assert_eq!((now, flags & libc::SS_DISABLE), (start, 0));
        });
        attached(|| crew_stacks_are_intact(8));
    });
    ended.expect("this is the parent").expect_done();
}

/// What the handler below works with.
static READ_END: AtomicI32 = AtomicI32::new(-1);
static LANDING: AtomicUsize = AtomicUsize::new(0);
/// 1: in the handler, 2: done at once, 3: pending, 4: something else.
static OUTCOME: AtomicI32 = AtomicI32::new(0);

extern "C" fn submit_in_handler(_: libc::c_int) {
    let landing = LANDING.load(Ordering::SeqCst) as *const Landing;
    // SAFETY: live: leaked.
    let landing: &'static Landing = unsafe { &*landing };
    OUTCOME.store(1, Ordering::SeqCst);
    let outcome = match go(read_call(READ_END.load(Ordering::SeqCst), landing)) {
        Submitted::Done(ret) if ret.raw() == 1 => 2,
        Submitted::Pending(_) => 3,
        Submitted::Done(_) => 4,
    };
    OUTCOME.store(outcome, Ordering::SeqCst);
}

fn submit_on_a_signal_stack() {
    attached(move || {
        let pipe = Pipe::new();
        READ_END.store(pipe.read_end(), Ordering::SeqCst);
        LANDING.store(std::ptr::from_ref(Landing::leak()) as usize, Ordering::SeqCst);
        OUTCOME.store(0, Ordering::SeqCst);
        install(libc::SIGUSR2, submit_in_handler, libc::SA_ONSTACK);
        let writer = {
            let pipe = pipe.clone();
            thread::spawn(move || {
                assert!(eventually(|| OUTCOME.load(Ordering::SeqCst) != 0));
                thread::park_timeout(Duration::from_millis(20)); // the read may go to sleep
                pipe.put(1);
            })
        };
        // To the running kernel thread: it is handled before this returns.
        signal_thread(gettid(), libc::SIGUSR2);
        assert_eq!(OUTCOME.load(Ordering::SeqCst), 2, "not the plain call");
        writer.join().expect("writing does not panic");
        assert_eq!(threadlet(|| 1).join(), 1);
        hand_off();
    });
}

#[test]
fn submit_on_the_crews_signal_stack_is_the_plain_call() {
    let path = "signals::submit_on_the_crews_signal_stack_is_the_plain_call";
    let ended = Child::new().run(path, || {
        if !skip_in_pool("submit in a handler") {
            submit_on_a_signal_stack();
        }
    });
    ended.expect("this is the parent").expect_done();
}

/// What attaching in a handler has answered: 1: attached, 2: told that it is in a handler, 3: something else.
static ATTACHED: AtomicI32 = AtomicI32::new(0);

extern "C" fn attach_in_handler(_: libc::c_int) {
    let answer = match syslet::attach() {
        Ok(_guard) => 1,
        Err(AttachError::InSignalHandler) => 2,
        Err(_) => 3,
    };
    ATTACHED.store(answer, Ordering::SeqCst);
}

#[test]
fn attach_on_the_crews_signal_stack_is_an_error() {
    let path = "signals::attach_on_the_crews_signal_stack_is_an_error";
    let ended = Child::new().run(path, || {
        if skip_in_pool("attach in a handler") {
            return;
        }
        bounded(LIMIT, || {
            let guard = syslet::attach().expect("the thread can be attached");
            install(libc::SIGUSR2, attach_in_handler, libc::SA_ONSTACK);
            // To the running kernel thread: it is handled before this returns.
            signal_thread(gettid(), libc::SIGUSR2);
            assert_eq!(ATTACHED.load(Ordering::SeqCst), 2, "what attach has answered");
            hand_off();
            drop(guard);
            assert!(!is_attached(), "nothing was counted in the handler");
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// A set of one signal.
fn set_of(signal: i32) -> libc::sigset_t {
    // SAFETY: all zeros is the empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: live.
    assert_eq!(unsafe { libc::sigaddset(&mut set, signal) }, 0);
    set
}

fn change_mask(how: i32, signal: i32) {
    let set = set_of(signal);
    // SAFETY: live.
    assert_eq!(unsafe { libc::pthread_sigmask(how, &set, std::ptr::null_mut()) }, 0);
}

fn is_pending_somewhere(signal: i32) -> Option<String> {
    let bit = 1u64 << (signal - 1);
    threads_named("").into_iter().find_map(|tid| {
        ["SigPnd", "ShdPnd"].into_iter().find_map(|field| {
            let value = status_field(tid, field)?;
            let mask = u64::from_str_radix(&value, 16).ok()?;
            (mask & bit != 0).then(|| format!("{field} of {tid}: {value}"))
        })
    })
}

#[test]
fn sigpipe_of_a_write_that_went_away_is_left_on_nobody() {
    let path = "signals::sigpipe_of_a_write_that_went_away_is_left_on_nobody";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            let guard = attach();
            // SAFETY: handler: the default one.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            // The idiom of libraries that must not kill their program: block, write, take it.
            for _ in 0..20 {
                change_mask(libc::SIG_BLOCK, libc::SIGPIPE);
                guard.refresh().expect("the mask can be read");
                let (pipe, source) = (Pipe::new(), Pipe::new());
                pipe.fill();
                source.put(1);
                // One is parked, the other has a thread, which is sent the signal.
                let parked = pending(go(write_call(pipe.write_end(), &[0; 16])));
                let away = pending(go(moving_call(source.read_end(), pipe.write_end())));
                close_read_end(&pipe);
                assert_eq!(parked.wait().errno(), Some(libc::EPIPE));
                assert_eq!(away.wait().errno(), Some(libc::EPIPE));
                let set = set_of(libc::SIGPIPE);
                let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                // SAFETY: live.
                unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &now) };
                change_mask(libc::SIG_UNBLOCK, libc::SIGPIPE);
                guard.refresh().expect("the mask can be read");
                hand_off();
            }
            let mut left = None;
            let clean = crate::util::within(Duration::from_secs(5), || {
                left = is_pending_somewhere(libc::SIGPIPE);
                left.is_none()
            });
            assert!(clean, "{left:?}");
            crew_stacks_are_intact(8);
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Puts /dev/null in the place of the read end.
fn close_read_end(pipe: &Pipe) {
    let null = std::fs::File::open("/dev/null").expect("/dev/null is there");
    // SAFETY: live: both descriptors are open, and the pipe's owner goes on owning its number.
    let answer = unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), pipe.read_end()) };
    assert_eq!(answer, pipe.read_end());
}
