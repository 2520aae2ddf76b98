#![allow(unsafe_code, reason = "prctl(2), and leaving a thread by a call")]

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use syslet_kevent::{Flags, Queue, Source};

use crate::util::child::{in_child, status};
use crate::util::{LONG, pair, put, queue};

const SOCKETS: usize = 40;
const USERS: u32 = 10;
/// More than the child's thread can have fetched.
const NOTHING: u32 = u32::MAX;

/// Fetches, by a thread that the kernel ends at any call but `exit` (`SECCOMP_MODE_STRICT`, seccomp(2)), and that
/// says how many there were.
fn fetches(queue: &'static Queue, fetched: &'static AtomicU32) {
    std::thread::spawn(move || {
        // SAFETY: no memory.
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, 1, 0, 0, 0) };
        let mut count = 0;
        let answer = queue.fetch_each(1, 64, None, |_| count += 1);
        fetched.store(if answer.is_ok() { count } else { 0 }, Ordering::Release);
        // SAFETY: nothing of the thread is borrowed; its stack stays mapped.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
}

#[test]
fn events_that_are_there_are_fetched_without_a_system_call() {
    static FETCHED: AtomicU32 = AtomicU32::new(NOTHING);
    let pid = in_child(|| {
        let queue: &'static Queue = Box::leak(Box::new(queue()));
        let pairs: Vec<(UnixStream, UnixStream)> = (0..SOCKETS).map(|_| pair()).collect();
        for (mine, _) in &pairs {
            queue.add(Source::recv(mine).with(Flags::ET)).unwrap();
        }
        for id in 0..USERS {
            queue.add(Source::user(id.into()).with(Flags::READY)).unwrap();
        }
        pairs.iter().for_each(|(_, theirs)| put(theirs));
        let until = Instant::now() + LONG;
        while queue.len() < SOCKETS + USERS as usize && Instant::now() < until {
            std::thread::yield_now();
        }
        fetches(queue, &FETCHED);
        while FETCHED.load(Ordering::Acquire) == NOTHING && Instant::now() < until {
            std::thread::yield_now();
        }
        FETCHED.load(Ordering::Relaxed) == SOCKETS as u32 + USERS
    });
    assert_eq!(status(pid), 0, "it was ended at a call, or has not found all");
}
