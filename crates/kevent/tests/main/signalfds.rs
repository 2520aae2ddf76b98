#![allow(unsafe_code, reason = "signals and their descriptors")]

use std::os::fd::{AsRawFd, OwnedFd};

use syslet_kevent::{Flags, Happened, Source};

use crate::anonymous::{check_edge_triggered, check_strangers, own, poll};
use crate::container::docker;
use crate::util::child::{in_child, status};
use crate::util::{one, queue, within_short};

/// A signal of these tests alone, which every thread of their processes blocks.
fn number() -> libc::c_int {
    libc::SIGRTMIN() + 9
}

fn set() -> libc::sigset_t {
    // SAFETY: zeroes are a set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes the set, which is live.
    unsafe { libc::sigaddset(&raw mut set, number()) };
    set
}

fn signalfd() -> OwnedFd {
    let set = set();
    // SAFETY: reads the set, which is live.
    own(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })
}

/// Has a signal be pending for the process.
fn send_this(number: libc::c_int) {
    let process = std::process::id() as libc::pid_t;
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::kill(process, number) }, 0);
}

fn send() {
    send_this(number());
}

/// How many there are to be read.
fn read(from: &OwnedFd) -> usize {
    let mut bytes = [0u8; 128];
    let mut reads = || {
        let (at, len) = (bytes.as_mut_ptr().cast(), bytes.len());
        // SAFETY: writes the bytes, which are live.
        unsafe { libc::read(from.as_raw_fd(), at, len) == 128 }
    };
    std::iter::from_fn(|| reads().then_some(())).count()
}

/// In a process of its own, all of whose threads block the signal.
fn where_it_is_blocked(act: impl FnOnce()) {
    let pid = in_child(|| {
        let set = set();
        // SAFETY: reads the set, which is live.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        act();
        true
    });
    assert_eq!(status(pid), 0);
}

fn check_readiness() {
    for flags in [Flags::ET, Flags::NONE] {
        let (queue, file) = (queue(), signalfd());
        assert_eq!(queue.add(poll(file.as_raw_fd(), flags)).unwrap(), None);
        for _ in 0..3 {
            send();
            assert_eq!(one(&queue).happened(), libc::POLLIN as u32);
            assert_eq!(read(&file), 1);
            assert_eq!(within_short(&queue), []);
        }
        if flags == Flags::NONE {
            send();
            for _ in 0..2 {
                assert_eq!(one(&queue).happened(), libc::POLLIN as u32, "as long as it lasts");
            }
            read(&file);
        }
    }
}

#[test]
fn a_signalfd_is_told_of_what_is_sent_to_the_process() {
    where_it_is_blocked(check_readiness);
    where_it_is_blocked(|| {
        docker();
        check_readiness();
    });
}

#[test]
fn a_stranger_among_signalfds_is_not_told_of() {
    where_it_is_blocked(|| {
        send();
        check_strangers(signalfd);
    });
}

#[test]
fn an_edge_triggered_signalfd_ends_though_its_number_is_another_signalfds() {
    where_it_is_blocked(|| check_edge_triggered(signalfd(), signalfd()));
}

/// One beside a source of signals: who reads first has them; neither is in the way of the other.
#[test]
fn a_signalfd_of_another_signal_and_a_source_of_signals_are_told_both() {
    where_it_is_blocked(|| {
        let (queue, file) = (queue(), signalfd());
        queue.add(poll(file.as_raw_fd(), Flags::ET)).unwrap();
        queue.add(Source::signal_only(libc::SIGRTMIN() as u32 + 10)).unwrap();
        send();
        assert_eq!(one(&queue).happened(), libc::POLLIN as u32);
        send_this(libc::SIGRTMIN() + 10);
        assert_eq!(one(&queue).asked, Happened::DELIVERY);
    });
}

/// The keeper looks at it, which is another thread. So it is with an epoll that another thread waits in.
#[test]
fn a_signalfd_is_not_told_of_what_is_sent_to_one_thread() {
    where_it_is_blocked(|| {
        let (queue, file) = (queue(), signalfd());
        assert_eq!(queue.add(poll(file.as_raw_fd(), Flags::ET)).unwrap(), None);
        // SAFETY: no memory.
        unsafe { libc::raise(number()) };
        assert_eq!(within_short(&queue), []);
        assert_eq!(read(&file), 1);
    });
}
