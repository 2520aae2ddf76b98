#![allow(unsafe_code, reason = "makes terminals, FIFOs and processes")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use syslet_kevent::{Flags, Happened, Queue, Source};

use crate::anonymous::{
    check_edge_triggered, check_strangers, eventfd, is_broken, own, poll, replace,
};
use crate::util::child::{in_child, status};
use crate::util::{one, queue};

fn open(path: &str) -> std::io::Result<OwnedFd> {
    File::options().read(true).write(true).open(path).map(OwnedFd::from)
}

/// The master of a terminal in which nothing was written.
fn terminal() -> OwnedFd {
    open("/dev/ptmx").expect("there are terminals")
}

/// One that can be read.
fn written_terminal() -> OwnedFd {
    let terminal = terminal();
    let (number, unlocked) = (terminal.as_raw_fd(), 0);
    // SAFETY: reads the number, which is live.
    let answer = unsafe { libc::ioctl(number, libc::TIOCSPTLCK, &raw const unlocked) };
    assert_eq!(answer, 0);
    // SAFETY: no memory.
    let other =
        own(unsafe { libc::ioctl(number, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY) });
    let mut other = File::from(other);
    other.write_all(b"!\n").unwrap();
    // What has closed its other side is over.
    std::mem::forget(other);
    terminal
}

/// Of one FIFO, in which something was written once for all.
fn fifo() -> OwnedFd {
    static PATH: OnceLock<String> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("syslet-alike-{}", std::process::id()));
        let path = path.to_str().unwrap().to_owned();
        let name = std::ffi::CString::new(path.clone()).unwrap();
        // SAFETY: reads the name, which is live.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let mut written = File::from(open(&path).unwrap());
        written.write_all(b"!").unwrap();
        std::fs::remove_file(path).unwrap();
        format!("/proc/self/fd/{}", std::os::fd::IntoRawFd::into_raw_fd(written))
    });
    open(path).unwrap()
}

/// Of one process, which has ended.
fn process() -> OwnedFd {
    static PID: OnceLock<libc::pid_t> = OnceLock::new();
    let pid = *PID.get_or_init(|| {
        let pid = in_child(|| true);
        let mut info = std::mem::MaybeUninit::uninit();
        let how = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: writes what it tells.
        let waited = unsafe { libc::waitid(libc::P_PID, pid as u32, info.as_mut_ptr(), how) };
        assert_eq!(waited, 0);
        pid
    });
    // SAFETY: no memory.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32)
}

#[test]
fn a_stranger_that_was_opened_by_the_same_name_is_not_told_of() {
    for kind in [written_terminal, fifo, process] {
        check_strangers(kind);
    }
    match open("/dev/net/tun") {
        Ok(_) => check_strangers(|| open("/dev/net/tun").unwrap()),
        Err(why) => syslet_testfs::skip(&format!("there is no TUN: {why}")),
    }
}

#[test]
fn an_edge_triggered_source_ends_though_its_number_is_one_that_was_opened_by_the_same_name() {
    check_edge_triggered(terminal(), terminal());
}

/// As programs do it: closed, and opened again.
#[test]
fn a_terminal_that_was_opened_again_can_be_added() {
    let pid = in_child(|| {
        let (queue, old) = (queue(), terminal());
        let number = old.as_raw_fd();
        queue.add(poll(number, Flags::ET).user_data(1)).unwrap();
        drop(old);
        let next = terminal();
        let added = queue.add(poll(number, Flags::ET).user_data(2));
        let broken = one(&queue);
        next.as_raw_fd() == number
            && matches!(added, Ok(None))
            && is_broken(&broken)
            && (broken.user_data, queue.sources()) == (1, 1)
    });
    assert_eq!(status(pid), 0);
}

/// A pipe with something in it.
fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"!").unwrap();
    (reader.into(), writer.into())
}

#[test]
fn the_other_end_of_a_pipe_is_a_stranger() {
    for is_open_elsewhere in [false, true] {
        let (reader, writer) = pipe();
        let twin = is_open_elsewhere.then(|| reader.try_clone().unwrap());
        let queue = queue();
        let source = Source::pipe(reader.as_raw_fd(), Happened::RECV);
        assert!(queue.add(source).unwrap().is_some(), "it is ready");
        assert!(one(&queue).error().is_none());
        replace(&reader, &writer);
        assert!(is_broken(&one(&queue)));
        assert_eq!(queue.sources(), 0);
        drop(twin);
    }
    let (reader, writer) = std::io::pipe().unwrap();
    check_edge_triggered(reader.into(), writer.into());
}

/// How often this thread has slept.
fn sleeps() -> libc::c_long {
    // SAFETY: zeroes are one, and the kernel writes it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes what is live.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) }, 0);
    usage.ru_nvcsw
}

/// Sleeps of a thread that fetches a level-triggered source a thousand times.
fn sleeps_of_fetching(queue: &Queue) -> libc::c_long {
    let before = sleeps();
    for _ in 0..1000 {
        assert_eq!(queue.get_events(0, 1, None).unwrap().len(), 1);
    }
    sleeps() - before
}

/// Which would be waited for.
#[test]
fn pipes_are_told_without_the_keeper() {
    let (reader, _writer) = pipe();
    let queue = queue();
    queue.add(Source::pipe(reader.as_raw_fd(), Happened::RECV)).unwrap();
    // But for what else makes a thread wait now and then.
    let slept = sleeps_of_fetching(&queue);
    assert!(slept < 100, "{slept}");
    let (event, queue) = (eventfd(1), self::queue());
    queue.add(poll(event.as_raw_fd(), Flags::NONE)).unwrap();
    println!(
        "sleeps in 1000 events: {slept} of a pipe, {} of an eventfd",
        sleeps_of_fetching(&queue)
    );
}

/// Only those that a program answers for are refused.
#[test]
fn a_regular_file_of_the_kernels_can_be_a_source() {
    let (mounts, queue) = (File::open("/proc/self/mounts").unwrap(), queue());
    let told = queue.add(poll(mounts.as_raw_fd(), Flags::NONE)).unwrap();
    assert!(told.is_some_and(|event| event.error().is_none()), "it can be read");
}
