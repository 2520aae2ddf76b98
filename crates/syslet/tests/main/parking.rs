//! Calls that wait for readiness, a time or a child need no thread, and answer as plain calls do.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use syslet::{Call, CancelOutcome, Pending, stats};

use crate::container::sandbox;
use crate::util::calls::{
    Landing, checked, go, limit, number_call, pending, read_call, set_nonblocking, sleep_call,
    try_go, write_call,
};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, eventually, late, skip, soon};

/// A call parked, which is what the counters must say: at once, or soon if it was preempted while it
/// was tried.
fn parked(call: Call) -> Pending {
    let before = stats().parked_in_all;
    let pending = pending(go(call));
    assert!(eventually(|| stats().parked_in_all > before), "{call:?} is away, not parked");
    pending
}

/// True, with a skip line, where the library may not take files of the program for itself.
#[track_caller]
fn skip_without_pidfd_getfd() -> bool {
    let denied = sandbox().is_some();
    if denied {
        skip("the sandbox denies pidfd_getfd, by which files are held");
    }
    denied
}

#[test]
fn parked_read_answers_what_is_written() {
    attached(|| {
        for round in 0..200u8 {
            let (pipe, landing) = (Pipe::new(), Landing::leak());
            let read = parked(read_call(pipe.read_end(), landing));
            assert!(!read.is_done());
            pipe.put(round);
            assert_eq!(read.wait().raw(), 1);
            assert_eq!(landing.byte(), round);
        }
    });
}

#[test]
fn read_that_need_not_wait_is_not_parked() {
    let path = "parking::read_that_need_not_wait_is_not_parked";
    let ended = Child::new().run(path, || {
        attached(|| {
            let before = stats().parked_in_all;
            let (pipe, landing) = (Pipe::new(), Landing::leak());
            pipe.put(7);
            assert_eq!(go(read_call(pipe.read_end(), landing)).wait().raw(), 1);
            assert_eq!(landing.byte(), 7);
            assert_eq!(stats().parked_in_all, before);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn parked_calls_have_no_threads() {
    let path = "parking::parked_calls_have_no_threads";
    let ended = Child::new().run(path, || {
        attached(|| {
            let pipe = Pipe::new();
            let reads: Vec<_> =
                (0..2000).map(|_| parked(read_call(pipe.read_end(), Landing::leak()))).collect();
            assert_eq!(stats().parked, 2000);
            let threads = std::fs::read_dir("/proc/self/task").expect("procfs is there").count();
            assert!(threads < 20, "{threads} threads");
            (0..2000).for_each(|_| pipe.put(1));
            reads.into_iter().for_each(|read| assert_eq!(read.wait().raw(), 1));
            assert_eq!(stats().parked, 0);
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Closes all descriptors from 3 on.
fn close_all() {
    // SAFETY: numbers. This process uses none of them any more.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
}

/// A thread with a descriptor table of its own, where these stay open; it writes a byte to each when
/// told to.
fn writer_elsewhere(writers: Vec<RawFd>) -> (impl FnOnce(), thread::JoinHandle<()>) {
    let (start, wait) = channel();
    let (copied, ready) = channel();
    let thread = thread::spawn(move || {
        let top = u32::MAX - 1;
        const UNSHARE: u32 = 2;
        // SAFETY: numbers; nothing is open up there.
        let own = unsafe { libc::syscall(libc::SYS_close_range, top, top, UNSHARE) };
        assert_eq!(own, 0);
        copied.send(()).expect("the test waits");
        wait.recv().expect("the test tells");
        for writer in writers {
            // SAFETY: one byte, live.
            assert_eq!(unsafe { libc::write(writer, [7u8].as_ptr().cast(), 1) }, 1);
        }
    });
    ready.recv().expect("the thread has its table");
    (move || start.send(()).expect("the thread waits"), thread)
}

#[test]
fn closing_every_descriptor_loses_no_call() {
    if skip_without_pidfd_getfd() {
        return;
    }
    let path = "parking::closing_every_descriptor_loses_no_call";
    let ended = Child::new().run(path, || {
        limit(libc::RLIMIT_NOFILE, 8192);
        attached(|| {
            let pipes: Vec<_> = (0..1000).map(|_| Pipe::new()).collect();
            let landings: Vec<_> = pipes.iter().map(|_| Landing::leak()).collect();
            let (write, thread) = writer_elsewhere(pipes.iter().map(Pipe::write_end).collect());
            let reads: Vec<_> = pipes
                .iter()
                .zip(&landings)
                .map(|(pipe, landing)| parked(read_call(pipe.read_end(), landing)))
                .collect();
            if !eventually_held(1000) {
                return;
            }
            std::mem::forget(pipes);
            close_all();
            write();
            for (read, landing) in reads.into_iter().zip(landings) {
                let answer = read.wait_deadline(late()).expect("it ends").raw();
                assert_eq!((answer, landing.byte()), (1, 7));
            }
            assert!(eventually(|| stats().held == 0), "{} are held still", stats().held);
            // And all goes on.
            let pipe = Pipe::new();
            let read = parked(read_call(pipe.read_end(), Landing::leak()));
            pipe.put(1);
            assert_eq!(read.wait().raw(), 1);
            thread.join().expect("it has written");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn where_files_cannot_be_held_a_closed_descriptor_is_the_answer() {
    if sandbox().is_none() {
        return skip("files can be held");
    }
    let path = "parking::where_files_cannot_be_held_a_closed_descriptor_is_the_answer";
    let ended = Child::new().run(path, || {
        attached(|| {
            let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
            let read = parked(read_call(mine.as_raw_fd(), Landing::leak()));
            // Beyond the time after which files are held where they can be.
            assert!(pending(go(sleep_call(Duration::from_millis(20)))).wait().raw() == 0);
            assert_eq!(stats().held, 0);
            drop(mine);
            // Whatever this says: the other end becomes ready, or is at its end.
            let _ = (&theirs).write(&[1]);
            let answer = read.wait_deadline(late()).expect("it ends");
            assert_eq!(answer.errno(), Some(libc::EBADF));
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn descriptor_that_is_used_again_is_not_read_by_the_call_before() {
    number_changes_hands(Duration::ZERO);
}

#[test]
fn descriptor_that_was_used_again_before_files_are_held_is_not_read_either() {
    // Longer than what has to be parked for to have its file held.
    number_changes_hands(Duration::from_millis(150));
}

fn number_changes_hands(before: Duration) {
    attached(move || {
        let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
        let landing = Landing::leak();
        let number = mine.as_raw_fd();
        let read = parked(read_call(number, landing));
        // Another file takes the number, with something to read.
        let (other, mut writer) = UnixStream::pair().expect("a pair can be made");
        writer.write_all(b"not yours").expect("there is room");
        // SAFETY: both are open, and `mine` goes on owning its number.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        assert_eq!(go(sleep_call(before)).wait().raw(), 0);
        (&theirs).write_all(b"y").expect("there is room");
        let answer = read.wait_deadline(late()).expect("it ends").raw();
        // With its file held it goes on; else it says that there is no such file any more.
        match answer {
            1 => assert_eq!(landing.byte(), b'y'),
            error => assert_eq!(error, -(libc::EBADF as isize)),
        }
        let mut left = [0; 9];
        (&other).read_exact(&mut left).expect("all is there");
        assert_eq!(&left, b"not yours");
    });
}

#[test]
fn counters_that_change_numbers_are_told_apart_once_held() {
    let path = "parking::counters_that_change_numbers_are_told_apart_once_held";
    let ended = Child::new().run(path, || {
        attached(|| {
            let counter = |value| {
                // SAFETY: numbers.
                let number = unsafe { libc::eventfd(value, 0) };
                assert!(number >= 0);
                number
            };
            // All of these are one inode to the kernel.
            let (mine, other) = (counter(0), counter(5));
            // SAFETY: ours.
            let kept = unsafe { libc::dup(mine) };
            let value: &'static mut u64 = Box::leak(Box::new(0));
            let address = std::ptr::from_mut(value) as usize;
            let read = parked(number_call(libc::SYS_read, [mine as usize, address, 8]));
            if !eventually_held(1) {
                return;
            }
            // SAFETY: ours.
            assert_eq!(unsafe { libc::dup2(other, mine) }, mine);
            // SAFETY: live.
            let written = unsafe { libc::write(kept, std::ptr::from_ref(&7u64).cast(), 8) };
            assert_eq!(written, 8);
            assert_eq!(read.wait_deadline(late()).expect("it ends").raw(), 8);
            // SAFETY: leaked; the call has ended.
            assert_eq!(unsafe { *(address as *const u64) }, 7);
            let mut left = 0u64;
            // SAFETY: live.
            let got = unsafe { libc::read(other, std::ptr::from_mut(&mut left).cast(), 8) };
            assert_eq!((got, left), (8, 5));
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Waits until so many files are held; false, with a skip line, where that is not allowed.
fn eventually_held(files: usize) -> bool {
    // SAFETY: numbers.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) };
    // SAFETY: as above.
    let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, -1, 0) };
    let allowed =
        taken == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EBADF);
    // SAFETY: ours.
    unsafe { libc::close(process as i32) };
    if !allowed {
        skip("pidfd_getfd is not allowed here");
        return false;
    }
    assert!(eventually(|| stats().held == files), "{} of {files} files are held", stats().held);
    true
}

/// Uses up what the system allows of kernel AIO.
fn use_up_aio() -> bool {
    let number = |name: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/{name}")).expect("it is there");
        text.trim().parse().expect("a number")
    };
    let mut left = number("aio-max-nr") - number("aio-nr");
    while left > 0 {
        let mut context = 0usize;
        // SAFETY: the kernel writes the word, which is live.
        if unsafe { libc::syscall(libc::SYS_io_setup, left, &mut context) } != 0 {
            left /= 2;
        }
    }
    true
}

#[test]
fn without_kernel_aio_the_second_way_does_it() {
    if skip_without_pidfd_getfd() {
        return;
    }
    let path = "parking::without_kernel_aio_the_second_way_does_it";
    let ended = Child::new().run(path, || {
        limit(libc::RLIMIT_NOFILE, 4096);
        attached(|| {
            use_up_aio();
            let pairs: Vec<_> = (0..500).map(|_| UnixStream::pair().expect("a pair")).collect();
            let landings: Vec<_> = pairs.iter().map(|_| Landing::leak()).collect();
            for round in 0..3 {
                let reads: Vec<_> = pairs
                    .iter()
                    .zip(&landings)
                    .map(|((mine, _), landing)| parked(read_call(mine.as_raw_fd(), landing)))
                    .collect();
                if !eventually_held(500) {
                    return;
                }
                pairs.iter().for_each(|(_, theirs)| {
                    let _ = (&*theirs).write(&[round]).expect("there is room");
                });
                for (read, landing) in reads.into_iter().zip(&landings) {
                    let answer = read.wait_deadline(late()).expect("it ends").raw();
                    assert_eq!((answer, landing.byte()), (1, round));
                }
                assert!(eventually(|| stats().held == 0));
            }
            let read = parked(read_call(pairs[0].0.as_raw_fd(), landings[0]));
            assert_eq!(read.cancel(), CancelOutcome::Asked);
            assert!(read.wait().is_cancelled());
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_kernel_aio_connections_are_accepted_in_the_programs_table() {
    let path = "parking::without_kernel_aio_connections_are_accepted_in_the_programs_table";
    let ended = Child::new().run(path, || {
        attached(|| {
            use_up_aio();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let mut accepting = syslet::net::accept(&listener);
            assert!(!accepting.is_done());
            let client = std::net::TcpStream::connect(address).expect("somebody listens");
            let (server, _) = accepting.wait().expect("somebody has come");
            (&client).write_all(b"x").expect("it is connected");
            assert_eq!(syslet::net::recv(&server, vec![0; 1]).wait().1, b"x");
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// A message of one byte, with room for one descriptor.
struct Message {
    header: libc::msghdr,
    vector: libc::iovec,
    byte: u8,
    /// `struct cmsghdr`, and the descriptor in half of the last word.
    control: [u64; 3],
}

impl Message {
    fn leak() -> &'static mut Self {
        // SAFETY: all zeros is a value.
        let message: &'static mut Self = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        message.vector = libc::iovec { iov_base: (&raw mut message.byte).cast(), iov_len: 1 };
        message.header.msg_iov = &raw mut message.vector;
        message.header.msg_iovlen = 1;
        message.header.msg_control = (&raw mut message.control).cast();
        message.header.msg_controllen = size_of_val(&message.control);
        message
    }
}

#[test]
fn without_kernel_aio_descriptors_are_received_in_the_programs_table() {
    let path = "parking::without_kernel_aio_descriptors_are_received_in_the_programs_table";
    let ended = Child::new().run(path, || {
        attached(|| {
            use_up_aio();
            let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
            let pipe = Pipe::new();
            let got = Message::leak();
            let at = &raw const got.header as usize;
            let receive =
                parked(number_call(libc::SYS_recvmsg, [mine.as_raw_fd() as usize, at, 0]));
            let sent = Message::leak();
            let rights = (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64;
            sent.control = [20, rights, pipe.write_end() as u64]; // CMSG_LEN of one
            // SAFETY: leaked.
            assert_eq!(unsafe { libc::sendmsg(theirs.as_raw_fd(), &sent.header, 0) }, 1);
            assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), 1);
            // SAFETY: leaked; the call has ended.
            let control = unsafe { std::ptr::read_volatile(&raw const got.control) };
            assert_eq!(control[..2], [20, rights]);
            // SAFETY: a number, and one byte that is live.
            let put = unsafe { libc::write(control[2] as i32, [9u8].as_ptr().cast(), 1) };
            assert_eq!((put, pipe.get()), (1, 9), "the descriptor is the pipe's");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn sleeps_end_in_order_and_not_early() {
    attached(|| {
        let begun = Instant::now();
        let times = [30, 10, 50, 20, 40, 0, 15];
        let mut sleeps: Vec<_> = times
            .iter()
            .map(|millis| {
                let time = Duration::from_millis(*millis);
                (time, go(sleep_call(time)))
            })
            .collect();
        sleeps.sort_by_key(|(time, _)| *time);
        for (time, sleep) in sleeps {
            assert_eq!(sleep.wait().raw(), 0);
            let taken = begun.elapsed();
            assert!(taken >= time, "{time:?} ended after {taken:?}");
        }
    });
}

#[test]
fn sleep_until_a_point_of_either_clock() {
    attached(|| {
        for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: live.
            unsafe { libc::clock_gettime(clock, &mut now) };
            let nanos = now.tv_nsec + 20_000_000;
            let until = libc::timespec {
                tv_sec: now.tv_sec + nanos / 1_000_000_000,
                tv_nsec: nanos % 1_000_000_000,
            };
            let until: &'static libc::timespec = Box::leak(Box::new(until));
            let address = std::ptr::from_ref(until) as usize;
            let begun = Instant::now();
            let absolute = libc::TIMER_ABSTIME as usize;
            let args = [clock as usize, absolute, address, 0];
            let sleep = parked(number_call(libc::SYS_clock_nanosleep, args));
            assert_eq!(sleep.wait().raw(), 0);
            assert!(begun.elapsed() >= Duration::from_millis(19));
            // It is over now.
            let again = go(number_call(libc::SYS_clock_nanosleep, args));
            assert!(again.is_done());
            assert_eq!(again.wait().raw(), 0);
        }
    });
}

#[test]
fn parked_calls_are_cancelled_at_once() {
    attached(|| {
        let pipe = Pipe::new();
        let read = parked(read_call(pipe.read_end(), Landing::leak()));
        assert_eq!(read.cancel(), CancelOutcome::Asked);
        // At once, unless somebody was just looking at it.
        assert!(eventually(|| read.is_done()), "nothing has to happen first");
        assert_eq!(read.cancel(), CancelOutcome::TooLate);
        assert!(read.wait().is_cancelled());
        pipe.put(1);
        assert_eq!(pipe.filled(), 1, "it has taken nothing");
        let sleep = parked(sleep_call(Duration::from_secs(1000)));
        assert_eq!(sleep.cancel(), CancelOutcome::Asked);
        assert!(sleep.wait().is_cancelled());
    });
}

#[test]
fn cancelled_read_lets_the_file_go() {
    attached(|| {
        let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
        let read = parked(read_call(mine.as_raw_fd(), Landing::leak()));
        read.cancel();
        assert!(read.wait().is_cancelled());
        drop(mine);
        // The other side sees the end: nobody holds this one.
        theirs.set_read_timeout(Some(LIMIT)).expect("it can be set");
        assert_eq!((&theirs).read(&mut [0]).expect("the end"), 0);
    });
}

#[test]
fn write_that_has_to_wait_writes_all() {
    attached(|| {
        const SIZE: usize = 1 << 20;
        let bytes: &'static [u8] =
            Box::leak((0..SIZE).map(|at| (at / 7) as u8).collect::<Box<[u8]>>());
        let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
        let pipe = Pipe::new();
        for (write, read) in
            [(mine.as_raw_fd(), theirs.as_raw_fd()), (pipe.write_end(), pipe.read_end())]
        {
            let vectors: Vec<libc::iovec> = bytes
                .chunks(100_000)
                .map(|part| libc::iovec {
                    iov_base: part.as_ptr().cast_mut().cast(),
                    iov_len: part.len(),
                })
                .collect();
            let vectors = Box::leak(vectors.into_boxed_slice());
            let address = vectors.as_ptr() as usize;
            let calls = [
                write_call(write, bytes),
                number_call(libc::SYS_writev, [write as usize, address, vectors.len()]),
            ];
            for call in calls {
                let written = pending(go(call));
                let mut got = Vec::new();
                while got.len() < SIZE {
                    let mut part = [0u8; 8192];
                    // SAFETY: live.
                    let n = unsafe { libc::read(read, part.as_mut_ptr().cast(), part.len()) };
                    assert!(n > 0);
                    got.extend_from_slice(&part[..n as usize]);
                }
                assert!(got == bytes, "something else arrived");
                assert_eq!(written.wait().raw(), SIZE as isize);
            }
        }
    });
}

#[test]
fn nonblocking_descriptor_answers_that_it_would_block() {
    attached(|| {
        let pipe = Pipe::new();
        set_nonblocking(pipe.read_end(), true);
        let read = go(read_call(pipe.read_end(), Landing::leak()));
        assert_eq!(read.wait().errno(), Some(libc::EAGAIN));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        listener.set_nonblocking(true).expect("it can be set");
        let accept = accept_call(listener.as_raw_fd());
        assert_eq!(go(accept).wait().errno(), Some(libc::EAGAIN));
    });
}

fn accept_call(listener: RawFd) -> Call {
    number_call(libc::SYS_accept4, [listener as usize, 0, 0, libc::SOCK_CLOEXEC as usize])
}

#[test]
fn accept_waits_without_a_thread() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = listener.local_addr().expect("it has one");
        for _ in 0..20 {
            let accept = parked(accept_call(listener.as_raw_fd()));
            let _client = TcpStream::connect(address).expect("somebody listens");
            let answer = accept.wait_deadline(late()).expect("it ends").raw();
            assert!(answer >= 0, "{answer}");
            // SAFETY: ours.
            unsafe { libc::close(answer as i32) };
        }
        // An accepted connection that nobody fetches is closed.
        let accept = parked(accept_call(listener.as_raw_fd()));
        drop(accept);
        let mut client = TcpStream::connect(address).expect("somebody listens");
        client.set_read_timeout(Some(LIMIT)).expect("it can be set");
        assert_eq!(client.read(&mut [0]).expect("the end"), 0);
    });
}

#[test]
fn poll_and_epoll_wait_answer_events_and_time() {
    attached(|| {
        let pipe = Pipe::new();
        let entry: &'static mut libc::pollfd = Box::leak(Box::new(libc::pollfd {
            fd: pipe.read_end(),
            events: libc::POLLIN,
            revents: 0,
        }));
        let address = std::ptr::from_mut(entry) as usize;
        let poll = |millis: i32| number_call(libc::SYS_poll, [address, 1, millis as usize]);
        let begun = Instant::now();
        assert_eq!(parked(poll(30)).wait().raw(), 0);
        assert!(begun.elapsed() >= Duration::from_millis(30));
        let wait = parked(poll(-1));
        pipe.put(1);
        assert_eq!(wait.wait().raw(), 1);
        // SAFETY: leaked; the call has ended.
        assert_eq!(unsafe { (*(address as *const libc::pollfd)).revents }, libc::POLLIN);
        assert_eq!(pipe.get(), 1);

        // SAFETY: numbers.
        let epoll = unsafe { libc::epoll_create1(0) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 5 };
        // SAFETY: live.
        let added =
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, pipe.read_end(), &mut event) };
        assert_eq!(added, 0);
        let events: &'static mut libc::epoll_event =
            Box::leak(Box::new(libc::epoll_event { events: 0, u64: 0 }));
        let address = std::ptr::from_mut(events) as usize;
        let wait = |millis: i32| {
            number_call(libc::SYS_epoll_wait, [epoll as usize, address, 1, millis as usize])
        };
        assert_eq!(parked(wait(20)).wait().raw(), 0);
        let waits = parked(wait(60_000));
        pipe.put(1);
        assert_eq!(waits.wait().raw(), 1);
        // SAFETY: leaked; the call has ended.
        assert_eq!(unsafe { (*(address as *const libc::epoll_event)).u64 }, 5);
        assert_eq!(go(wait(0)).wait().raw(), 1);
        // SAFETY: ours.
        unsafe { libc::close(epoll) };
    });
}

#[test]
fn children_are_waited_for_without_threads() {
    attached(|| {
        for _ in 0..3 {
            let mut child = std::process::Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .expect("there is a cat");
            let status: &'static mut i32 = Box::leak(Box::new(-1));
            let address = std::ptr::from_mut(status) as usize;
            let pid = child.id() as usize;
            let wait = parked(number_call(libc::SYS_wait4, [pid, address, 0, 0]));
            assert!(wait.wait_deadline(soon(20)).is_err_and(|wait| {
                drop(child.stdin.take());
                wait.wait().raw() == pid as isize
            }));
            // SAFETY: leaked; the call has ended.
            assert_eq!(unsafe { *(address as *const i32) }, 0);
            assert!(child.wait().is_err(), "it has been waited for");
        }
    });
}

#[test]
fn at_the_limit_a_call_is_busy_or_waits() {
    let path = "parking::at_the_limit_a_call_is_busy_or_waits";
    let ended = Child::new().run(path, || {
        attached(|| {
            let limits = syslet::Limits::new().parked(3);
            syslet::set_limits(limits);
            let pipe = Pipe::new();
            let reads: Vec<_> =
                (0..3).map(|_| parked(read_call(pipe.read_end(), Landing::leak()))).collect();
            let call = read_call(pipe.read_end(), Landing::leak());
            let busy = try_go(call).expect_err("there is no room");
            assert!(busy.is_busy());
            assert_eq!(busy.into_inner(), call);
            let other = pipe.clone();
            let helper = thread::spawn(move || {
                assert!(eventually(|| other.filled() == 0));
                other.put(1);
            });
            // Waits until one of the others is over.
            let last = checked(call).expect("waited for");
            (0..3).for_each(|_| pipe.put(1));
            reads.into_iter().for_each(|read| assert_eq!(read.wait().raw(), 1));
            assert_eq!(last.wait().raw(), 1);
            helper.join().expect("it has written");
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// True if the thread sleeps.
fn sleeps(tid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
}

#[test]
fn a_wider_limit_lets_those_in_who_wait() {
    let path = "parking::a_wider_limit_lets_those_in_who_wait";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            syslet::set_limits(syslet::Limits::new().parked(1));
            let pipe = Pipe::new();
            let call = move |pipe: &Pipe| read_call(pipe.read_end(), Landing::leak());
            let first = parked(call(&pipe));
            let (told, tid) = channel();
            let other = pipe.clone();
            let waits = thread::spawn(move || {
                // SAFETY: a number.
                told.send(unsafe { libc::gettid() }).expect("the test listens");
                pending(go(call(&other)))
            });
            let tid = tid.recv().expect("it is told");
            assert!(eventually(|| sleeps(tid)));
            assert!(eventually(|| stats().parked == 2), "one waits for room that is there");
            let second = waits.join().expect("it has room");
            (0..2).for_each(|_| pipe.put(1));
            assert_eq!([first, second].map(|read| read.wait().raw()), [1, 1]);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn what_finds_no_room_in_the_first_ring_needs_no_thread() {
    const READS: usize = 6000; // of which the first ring holds a third at most, the keeper a thousand
    let path = "parking::what_finds_no_room_in_the_first_ring_needs_no_thread";
    let ended = Child::new().run(path, || {
        limit(libc::RLIMIT_NOFILE, 1024);
        attached(|| {
            let pipe = Pipe::new();
            let reads: Vec<_> = (0..READS)
                .map(|_| pending(go(read_call(pipe.read_end(), Landing::leak()))))
                .collect();
            assert!(eventually(|| stats().parked == READS));
            let threads = std::fs::read_dir("/proc/self/task").expect("procfs is there").count();
            assert!(threads < 20, "{threads} threads");
            reads.iter().for_each(|read| assert_eq!(read.cancel(), CancelOutcome::Asked));
            assert!(reads.into_iter().all(|read| read.wait().is_cancelled()));
            assert_eq!(stats().parked, 0);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn cancelled_sleeps_leave_nothing_behind() {
    const SLEEPS: usize = 20_000; // of 256 bytes each
    let path = "parking::cancelled_sleeps_leave_nothing_behind";
    let ended = Child::new().run(path, || {
        attached(|| {
            let call = sleep_call(LIMIT * 60);
            let sleep = || {
                let sleep = pending(go(call));
                assert_eq!(sleep.cancel(), CancelOutcome::Asked);
                assert!(sleep.wait().is_cancelled());
            };
            // SAFETY: reads the allocator's counters.
            let used = || unsafe { libc::mallinfo2() }.uordblks;
            (0..100).for_each(|_| sleep());
            let before = used();
            (0..SLEEPS).for_each(|_| sleep());
            let left = used().saturating_sub(before);
            assert!(left < SLEEPS * 64, "{left} bytes are left");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn reads_that_are_cancelled_while_they_are_armed_again_let_the_file_go() {
    attached(|| {
        for round in 0..100 {
            let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
            theirs.set_read_timeout(Some(LIMIT)).expect("it can be set");
            let read = || pending(go(read_call(mine.as_raw_fd(), Landing::leak())));
            let reads: Vec<_> = (0..10).map(|_| read()).collect();
            // One of them gets it; the others are told, and wait again.
            (&theirs).write_all(b"x").expect("there is room");
            (0..round * 31 % 997).for_each(|_| std::hint::spin_loop());
            reads.iter().for_each(|read| _ = read.cancel());
            let answers: Vec<_> = reads.into_iter().map(|read| read.wait().raw()).collect();
            assert!(answers.iter().filter(|answer| **answer == 1).count() <= 1, "{answers:?}");
            drop(mine);
            let end = (&theirs).read(&mut [0]).map_err(|error| error.kind());
            assert_ne!(end, Err(std::io::ErrorKind::WouldBlock), "the file is still open");
        }
    });
}

#[test]
fn many_threads_park_and_wake_each_other() {
    let pairs: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(|| {
                attached(|| {
                    let (there, back) = (Pipe::new(), Pipe::new());
                    let (their_in, their_out) = (there.clone(), back.clone());
                    let echo = thread::spawn(move || {
                        attached(move || {
                            for _ in 0..500 {
                                let landing = Landing::leak();
                                let read = go(read_call(their_in.read_end(), landing));
                                assert_eq!(read.wait().raw(), 1);
                                their_out.put(landing.byte());
                            }
                        });
                    });
                    for round in 0..500 {
                        there.put(round as u8);
                        let landing = Landing::leak();
                        assert_eq!(go(read_call(back.read_end(), landing)).wait().raw(), 1);
                        assert_eq!(landing.byte(), round as u8);
                    }
                    echo.join().expect("it echoes");
                });
            })
        })
        .collect();
    bounded(LIMIT, || pairs.into_iter().for_each(|pair| pair.join().expect("it ends")));
}

/// What a waker of the program's does: it submits another call.
struct Submits {
    pipe: Pipe,
    submitted: std::sync::Mutex<Option<Pending>>,
}

impl std::task::Wake for Submits {
    fn wake(self: std::sync::Arc<Self>) {
        let next = pending(go(read_call(self.pipe.read_end(), Landing::leak())));
        *self.submitted.lock().expect("nobody panics") = Some(next);
    }
}

#[test]
fn a_waker_that_parks_a_call_does_not_wait_for_room_that_it_makes() {
    let path = "parking::a_waker_that_parks_a_call_does_not_wait_for_room_that_it_makes";
    let ended = Child::new().run(path, || {
        attached(|| {
            syslet::set_limits(syslet::Limits::new().parked(2));
            let pipe = Pipe::new();
            let other = Pipe::new();
            let held = parked(read_call(other.read_end(), Landing::leak()));
            let mut first = parked(read_call(pipe.read_end(), Landing::leak()));
            let next = Submits { pipe: pipe.clone(), submitted: std::sync::Mutex::default() };
            let next = std::sync::Arc::new(next);
            let waker = std::sync::Arc::clone(&next).into();
            let mut context = std::task::Context::from_waker(&waker);
            assert!(std::pin::Pin::new(&mut first).poll(&mut context).is_pending());
            // The other one has the only place.
            syslet::set_limits(syslet::Limits::new().parked(1));
            pipe.put(1);
            let came = || next.submitted.lock().expect("nobody panics").take();
            let mut second = None;
            assert!(eventually(|| {
                second = second.take().or_else(came);
                second.is_some()
            }));
            pipe.put(2);
            assert_eq!(second.expect("it came").wait().raw(), 1);
            other.put(4);
            assert_eq!(held.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}
