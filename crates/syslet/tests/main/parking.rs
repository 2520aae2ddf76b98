//! Calls that wait for readiness, a time or a child need no thread, and answer as plain calls do.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use syslet::{CancelOutcome, stats};

use crate::util::calls::{
    Landing, Words, go, number_call, pending, poll_call, read_call, readable_bytes,
    set_nonblocking, sleep_call, taking_call, write_call,
};
use crate::util::child::Child;
use crate::util::parking::{accept_call, let_others_act, parked};
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, eventually, late, soon};

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
fn a_number_that_was_a_files_costs_one_thread() {
    let path = "parking::a_number_that_was_a_files_costs_one_thread";
    let ended = Child::new().run(path, || {
        attached(|| {
            let file = std::fs::File::open("/proc/self/exe").expect("it is there");
            let number = file.as_raw_fd();
            assert_eq!(go(read_call(number, Landing::leak())).wait().raw(), 1);
            let pipe = Pipe::new();
            // SAFETY: both are open; who has the file only closes the number.
            assert_eq!(unsafe { libc::dup2(pipe.read_end(), number) }, number);
            // Taken for a call on a file, which needs no look before it is made.
            let first = pending(go(read_call(number, Landing::leak())));
            let before = stats().parked_in_all;
            let second = pending(go(read_call(number, Landing::leak())));
            assert!(eventually(|| stats().parked_in_all > before), "it has a thread too");
            for _ in 0..2 {
                pipe.put(1);
            }
            assert_eq!((first.wait().raw(), second.wait().raw()), (1, 1));
            drop(file);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_number_that_was_a_files_costs_none_where_no_thread_is_left() {
    let path = "parking::a_number_that_was_a_files_costs_none_where_no_thread_is_left";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        attached(|| {
            let file = std::fs::File::open("/proc/self/exe").expect("it is there");
            let number = file.as_raw_fd();
            assert_eq!(go(read_call(number, Landing::leak())).wait().raw(), 1);
            let (pipe, occupies) = (Pipe::new(), Pipe::new());
            // SAFETY: both are open; who has the file only closes the number.
            assert_eq!(unsafe { libc::dup2(pipe.read_end(), number) }, number);
            // One thread makes it, and the other carries this guest, or makes the second.
            let held = [(); 2].map(|()| pending(go(taking_call(occupies.read_end()))));
            let before = stats().parked_in_all;
            let read = pending(go(read_call(number, Landing::leak())));
            assert!(eventually(|| stats().parked_in_all > before), "it waits for a thread");
            pipe.put(1);
            assert_eq!(read.wait().raw(), 1);
            held.iter().for_each(|_| occupies.put(1));
            held.into_iter().for_each(|away| assert_eq!(away.wait().raw(), 1));
            drop(file);
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
            let nanos = now.tv_nsec + 300_000_000;
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
            assert!(begun.elapsed() >= Duration::from_millis(290));
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
        let sleep = parked(sleep_call(Duration::from_secs(1000)));
        assert_eq!(sleep.cancel(), CancelOutcome::Asked);
        assert!(sleep.wait().is_cancelled());
    });
}

#[test]
fn what_comes_after_a_cancel_is_left_alone() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let address = listener.local_addr().expect("it has one");
        let (mine, mut theirs) = UnixStream::pair().expect("a pair can be made");
        let pipe = Pipe::new();
        for _ in 0..20 {
            let calls = [
                read_call(pipe.read_end(), Landing::leak()),
                read_call(mine.as_raw_fd(), Landing::leak()),
                accept_call(listener.as_raw_fd()),
            ];
            for wait in calls.map(parked) {
                assert_eq!(wait.cancel(), CancelOutcome::Asked);
                assert!(wait.wait().is_cancelled());
            }
            pipe.put(1);
            theirs.write_all(&[2]).expect("there is room");
            let _client = TcpStream::connect(address).expect("somebody listens");
            let_others_act();
            for fd in [pipe.read_end(), mine.as_raw_fd()] {
                assert_eq!(readable_bytes(fd), 1, "the byte is taken");
            }
            let backlog = poll_call(listener.as_raw_fd(), 0);
            assert_eq!(go(backlog).wait().raw(), 1, "the connection is taken");
            pipe.get();
            (&mine).read_exact(&mut [0]).expect("it is there");
            listener.accept().expect("it is there");
        }
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

#[test]
fn nonblocking_descriptor_takes_what_there_is_room_for() {
    /// More than a pipe or a socket has room for.
    static MUCH: [u8; 4 << 20] = [7; 4 << 20];
    attached(|| {
        let (socket, _peer) = UnixStream::pair().expect("a pair can be made");
        let pipe = Pipe::new();
        for fd in [pipe.write_end(), socket.as_raw_fd()] {
            set_nonblocking(fd, true);
            let written = go(write_call(fd, &MUCH));
            let answer = written.wait().raw();
            assert!(0 < answer && answer < MUCH.len() as isize, "{answer}");
            assert_eq!(go(write_call(fd, &MUCH)).wait().errno(), Some(libc::EAGAIN));
        }
    });
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

/// A child that has itself traced, and stops, when it finds a byte in `pipe`.
fn traced_child(pipe: &Pipe) -> i32 {
    let from = pipe.read_end();
    // SAFETY: the child makes system calls only, and ends here.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut byte = 0u8;
        // SAFETY: live.
        unsafe { libc::read(from, (&raw mut byte).cast(), 1) };
        // SAFETY: numbers.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        // SAFETY: as above.
        unsafe { libc::raise(libc::SIGSTOP) };
        // SAFETY: as above.
        unsafe { libc::_exit(3) };
    }
    assert!(child > 0, "it cannot be forked");
    child
}

#[test]
fn a_child_that_is_traced_is_told_of_when_it_stops() {
    let path = "parking::a_child_that_is_traced_is_told_of_when_it_stops";
    let ended = Child::new().run(path, || {
        attached(|| {
            for ask in [libc::SYS_wait4, libc::SYS_waitid] {
                let pipe = Pipe::new();
                let child = traced_child(&pipe);
                let (pid, told) = (child as usize, Words::leak([0; 16]));
                let wait = || {
                    parked(match ask {
                        libc::SYS_wait4 => number_call(ask, [pid, told.address(), 0, 0, 0]),
                        _ => {
                            let how = libc::WEXITED as usize;
                            number_call(ask, [libc::P_PID as usize, pid, told.address(), how, 0])
                        }
                    })
                };
                let stopped = wait();
                assert!(stopped.wait_deadline(soon(20)).is_err_and(|stopped| {
                    pipe.put(1);
                    stopped.wait_deadline(late()).is_ok_and(|ret| ret.result().is_ok())
                }));
                // struct siginfo: number, error, code; a status has 0x7f for what has stopped.
                match ask {
                    libc::SYS_wait4 => assert_eq!(told.get(0) & 0xff, 0x7f),
                    _ => assert_eq!(told.get(1) as i32, libc::CLD_TRAPPED),
                }
                // From now on it has a thread, which is told at once.
                let again = match ask {
                    libc::SYS_wait4 => number_call(ask, [pid, told.address(), 0, 0, 0]),
                    _ => number_call(ask, [libc::P_PID as usize, pid, told.address(), 4, 0]),
                };
                let killed = pending(go(again));
                // SAFETY: numbers.
                assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
                assert!(killed.wait().result().is_ok());
            }
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
