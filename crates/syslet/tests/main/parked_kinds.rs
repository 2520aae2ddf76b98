//! Whatever a call waits for without a thread: it is parked, answers as the plain call does, and takes nothing if
//! it is cancelled.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use syslet::{Call, CancelOutcome, stats};

use crate::util::calls::{Block, Words, go, number_call, pending, plain};
use crate::util::child::Child;
use crate::util::parking::{let_others_act, parked};
use crate::util::pipe::Pipe;
use crate::util::temp::Folder;
use crate::util::{attached, late, within};

/// A call that waits, and how that ends.
struct Case {
    call: Call,
    ready: Box<dyn FnOnce()>,
    /// Whether this is the right answer, with what is in memory then.
    right: Box<dyn FnOnce(isize) -> bool>,
}

type Kind = (&'static str, fn() -> Case);

const KINDS: [Kind; 9] = [
    ("timerfd", timer),
    ("terminal", terminal),
    ("inotify", inotify),
    ("waitid", || child(Waiting::Number)),
    ("waitid of a pidfd", || child(Waiting::Descriptor)),
    ("poll of a pidfd", || child(Waiting::Poll)),
    ("pselect6", select),
    ("epoll_pwait", || epoll(libc::SYS_epoll_pwait, usize::MAX)),
    ("epoll_pwait2", || epoll(libc::SYS_epoll_pwait2, 0)),
];

/// What a call has made.
fn made(number: i32) -> OwnedFd {
    assert!(number >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: just made, ours.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn number(fd: &OwnedFd) -> usize {
    fd.as_raw_fd() as usize
}

fn timer() -> Case {
    // SAFETY: numbers.
    let timer = made(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) });
    let count = Words::leak([0]);
    let ready = move |timer: &OwnedFd| {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let soon = libc::timespec { tv_sec: 0, tv_nsec: 1 };
        let time = libc::itimerspec { it_interval: never, it_value: soon };
        let fd = timer.as_raw_fd();
        // SAFETY: live.
        assert_eq!(unsafe { libc::timerfd_settime(fd, 0, &time, std::ptr::null_mut()) }, 0);
    };
    let call = number_call(libc::SYS_read, [number(&timer), count.address(), 8]);
    let kept = timer.try_clone().expect("a number is free");
    Case {
        call,
        ready: Box::new(move || ready(&kept)),
        right: Box::new(move |answer| {
            drop(timer);
            answer == 8 && count.get(0) == 1
        }),
    }
}

fn terminal() -> Case {
    let (mut master, mut slave) = (-1, -1);
    let (name, termios, size) = Default::default();
    // SAFETY: live; the rest is not wanted.
    let opened = unsafe { libc::openpty(&mut master, &mut slave, name, termios, size) };
    assert_eq!(opened, 0, "openpty");
    let (master, slave) = (made(master), made(slave));
    let line = Block::leak();
    Case {
        call: number_call(libc::SYS_read, [number(&slave), line.address(), 4096]),
        ready: Box::new(move || {
            // SAFETY: static.
            assert_eq!(unsafe { libc::write(master.as_raw_fd(), c"line\n".as_ptr().cast(), 5) }, 5);
            std::mem::forget(master); // else the line is gone with it
        }),
        right: Box::new(move |answer| {
            drop(slave);
            answer == 5 && line.bytes().starts_with(b"line\n")
        }),
    }
}

fn inotify() -> Case {
    // SAFETY: numbers.
    let inotify = made(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) });
    let folder = Rc::new(Folder::new());
    let kept = Rc::clone(&folder);
    let path = std::ffi::CString::new(folder.path().to_str().expect("it is text")).expect("no NUL");
    // SAFETY: live.
    let watch =
        unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) };
    assert!(watch >= 0, "inotify_add_watch");
    let event = Block::leak();
    Case {
        call: number_call(libc::SYS_read, [number(&inotify), event.address(), 4096]),
        ready: Box::new(move || {
            std::fs::write(folder.at("a"), b"").expect("it can be made");
        }),
        right: Box::new(move |answer| {
            drop((inotify, kept)); // until now: that the folder is gone would be an event too
            // struct inotify_event: watch, mask, cookie, length, name.
            let [_, _, _, _, _, mask, ..] = event.bytes();
            let name = event.bytes()[16];
            answer == 32 && (u32::from(mask) << 8, name) == (libc::IN_CREATE, b'a')
        }),
    }
}

enum Waiting {
    Number,
    Descriptor,
    Poll,
}

fn child(waiting: Waiting) -> Case {
    let cat = Command::new("cat").stdin(Stdio::piped()).spawn();
    let mut cat = cat.expect("there is a cat");
    let pid = cat.id() as usize;
    // SAFETY: numbers.
    let pidfd = made(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32);
    let info = Words::leak([0; 16]);
    let wait = |which: libc::idtype_t, id| {
        let args = [which as usize, id, info.address(), libc::WEXITED as usize, 0];
        number_call(libc::SYS_waitid, args)
    };
    let poll = Words::leak([number(&pidfd) as u64 | (libc::POLLIN as u64) << 32]);
    let polls = matches!(waiting, Waiting::Poll);
    let call = match waiting {
        Waiting::Number => wait(libc::P_PID, pid),
        Waiting::Descriptor => wait(libc::P_PIDFD, number(&pidfd)),
        Waiting::Poll => number_call(libc::SYS_poll, [poll.address(), 1, usize::MAX]),
    };
    let stdin = cat.stdin.take();
    Case {
        call,
        ready: Box::new(move || drop(stdin)),
        right: Box::new(move |answer| {
            drop(pidfd);
            if polls {
                let reaped = cat.wait().is_ok_and(|status| status.success());
                return reaped && answer == 1 && poll.get(0) >> 48 == libc::POLLIN as u64;
            }
            let (signal, child) = (info.get(0) as i32, info.get(2) as u32 as usize);
            let reaped = cat.wait().is_err();
            reaped && (answer, signal, child) == (0, libc::SIGCHLD, pid)
        }),
    }
}

fn select() -> Case {
    let pipe = Pipe::new();
    let bit = pipe.read_end() as usize;
    let set = Words::leak((0..16).map(|word| u64::from(word == bit / 64) << (bit % 64)));
    let writer = pipe.clone();
    Case {
        call: number_call(libc::SYS_pselect6, [bit + 1, set.address(), 0, 0, 0, 0]),
        ready: Box::new(move || writer.put(1)),
        right: Box::new(move |answer| {
            drop(pipe);
            answer == 1 && set.get(bit / 64) == 1 << (bit % 64)
        }),
    }
}

fn epoll(call: i64, no_limit: usize) -> Case {
    let pipe = Pipe::new();
    // SAFETY: numbers.
    let epoll = made(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 5 };
    let (fd, add, read) = (epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, pipe.read_end());
    // SAFETY: live.
    assert_eq!(unsafe { libc::epoll_ctl(fd, add, read, &mut event) }, 0);
    let (events, writer) = (Block::leak(), pipe.clone());
    Case {
        call: number_call(call, [number(&epoll), events.address(), 1, no_limit, 0, 8]),
        ready: Box::new(move || writer.put(1)),
        right: Box::new(move |answer| {
            drop((epoll, pipe));
            answer == 1 && events.bytes()[4] == 5
        }),
    }
}

fn make_plainly(call: &Call) -> isize {
    let mut args = [0; 6];
    args.copy_from_slice(call.args());
    plain(call.nr(), args)
}

#[test]
fn each_kind_is_parked_and_answers() {
    let path = "parked_kinds::each_kind_is_parked_and_answers";
    let ended = Child::new().run(path, || {
        attached(|| {
            for (name, new) in KINDS {
                let Case { call, ready, right } = new();
                let before = stats().parked_in_all;
                // Also the first one, of which is not known how it can be tried.
                let waits = pending(go(call));
                let is_parked = || stats().parked_in_all > before;
                assert!(within(Duration::from_secs(5), is_parked), "{name} is away");
                assert!(!waits.is_done(), "{name}");
                ready();
                let answer = waits.wait_deadline(late()).unwrap_or_else(|_| panic!("{name} hangs"));
                let answer = answer.raw();
                assert!(right(answer), "{name}: {answer}");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn each_kind_is_cancelled_and_has_taken_nothing() {
    let path = "parked_kinds::each_kind_is_cancelled_and_has_taken_nothing";
    let ended = Child::new().run(path, || {
        attached(|| {
            for (name, new) in KINDS {
                let Case { call, ready, right } = new();
                let waits = parked(call);
                assert_eq!(waits.cancel(), CancelOutcome::Asked, "{name}");
                assert!(waits.wait().is_cancelled(), "{name}");
                ready();
                let_others_act();
                let answer = make_plainly(&call);
                assert!(right(answer), "{name}: {answer}");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Runs `f` in a forked child whose only thread blocks `signal`, so that all its threads will.
fn with_blocked(signal: i32, f: impl FnOnce()) {
    // SAFETY: the child goes on with one thread, and ends here.
    let child = unsafe { libc::fork() };
    if child == 0 {
        crate::util::calls::block_signal(signal);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        // SAFETY: a number.
        unsafe { libc::_exit(i32::from(ran.is_err())) };
    }
    let mut status = -1;
    // SAFETY: live.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the forked child has failed");
}

/// A signalfd for a signal that every thread blocks.
fn signals(signal: i32) -> OwnedFd {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: live.
    unsafe { libc::sigaddset(&mut set, signal) };
    // SAFETY: live.
    made(unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC) })
}

#[test]
fn signals_come_to_who_reads_or_polls_their_descriptor() {
    const SIGNAL: i32 = libc::SIGUSR1;
    let path = "parked_kinds::signals_come_to_who_reads_or_polls_their_descriptor";
    let ended = Child::new().run(path, || {
        with_blocked(SIGNAL, || {
            attached(|| {
                let (signals, other) = (signals(SIGNAL), Pipe::new());
                let fd = number(&signals);
                let info = Block::leak();
                let raise = || crate::util::calls::signal(std::process::id() as i32, SIGNAL);
                let read = number_call(libc::SYS_read, [fd, info.address(), 128]);
                let entry = |fd: usize| fd as u64 | (libc::POLLIN as u64) << 32;
                let entries = Words::leak([entry(fd), entry(other.read_end() as usize)]);
                let poll =
                    |count| number_call(libc::SYS_poll, [entries.address(), count, usize::MAX]);
                for _ in 0..20 {
                    for poll in [poll(1), poll(2)] {
                        let waits = pending(go(poll));
                        raise();
                        assert_eq!(waits.wait().raw(), 1);
                        assert_eq!(go(read).wait().raw(), 128);
                    }
                    let waits = pending(go(read));
                    raise();
                    assert_eq!(waits.wait().raw(), 128);
                    assert_eq!(info.bytes()[0], SIGNAL as u8);
                    // Cancelled, it has taken none.
                    let waits = pending(go(read));
                    assert_ne!(waits.cancel(), CancelOutcome::TooLate);
                    assert!(waits.wait().is_cancelled());
                    raise();
                    let_others_act();
                    assert_eq!(make_plainly(&poll(1)), 1, "it is taken");
                    assert_eq!(make_plainly(&read), 128);
                }
            });
        });
    });
    ended.expect("this is the parent").expect_done();
}
