#![allow(unsafe_code, reason = "signal masks and handlers")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use syslet_kevent::{Kind, Source};

use crate::util::{LONG, one, queue, within_short};

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn send(number: i32) {
    let pid = std::process::id() as libc::pid_t;
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}

fn handled(count: u32) {
    let until = Instant::now() + LONG;
    while HANDLED.load(Ordering::SeqCst) < count {
        assert!(Instant::now() < until, "the handler does not run");
        std::thread::yield_now();
    }
}

#[test]
fn a_signal_is_delivered_as_always_and_told() {
    let number = libc::SIGRTMIN() + 3;
    // SAFETY: a handler that counts.
    unsafe { libc::signal(number, handle as *const () as usize) };
    let (one_queue, other) = (queue(), queue());
    one_queue.add(Source::signal(number as u32).user_data(6)).unwrap();
    other.add(Source::signal(number as u32)).unwrap();
    send(number);
    let event = one(&one_queue);
    assert_eq!((event.kind(), event.id), (Some(Kind::Signal), number as u64));
    assert_eq!((event.user, event.data[0], event.count()), (6, 1, 1));
    assert_eq!(one(&other).data[0], 1);
    handled(1);
    // Only through the queue now, though the other source is still there.
    let only = Source::signal_only(number as u32);
    one_queue.add(only.user_data(7)).unwrap();
    send(number);
    let users = [one(&one_queue).user, one(&one_queue).user];
    assert!(users.contains(&6) && users.contains(&7), "both kinds are told: {users:?}");
    one(&other);
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1, "no handler has run");
    one_queue.remove(only.key()).unwrap();
    send(number);
    one(&one_queue);
    handled(2);
    drop(one_queue);
    drop(other);
    // What was there before is there again.
    send(number);
    handled(3);
    // SAFETY: zeroes are one.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: reads into the structure.
    unsafe { libc::sigaction(number, std::ptr::null(), &mut now) };
    assert_eq!(now.sa_sigaction, handle as *const () as usize);
}

/// Runs in a process of its own, where all threads can block a signal.
#[test]
fn a_signal_that_all_threads_block_comes_through_the_queue_only() {
    let number = libc::SIGUSR2;
    // SAFETY: the child blocks, waits and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: zeroes are a set.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is ours.
        unsafe { libc::sigaddset(&mut set, number) };
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        let queue = queue();
        queue.add(Source::signal_only(number as u32)).unwrap();
        let mut told = 0;
        for _ in 0..3 {
            send(number);
            told += one(&queue).data[0];
        }
        let quiet = within_short(&queue).is_empty();
        // SAFETY: ends the child.
        unsafe { libc::_exit(if told == 3 && quiet { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: writes the status.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0);
}
