//! Bounds on parked calls, and what is beyond them.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::thread;
use std::time::Duration;

use syslet::{CancelOutcome, Pending, stats};

use crate::container::deny;
use crate::parked_sockets::{connect_call, full_listener, stream_socket};
use crate::util::calls::{
    Block, Landing, checked, go, limit, number_call, pending, read_call, sleep_call, sleeps,
    taking_call, threads_named, try_go, write_call,
};
use crate::util::child::Child;
use crate::util::parking::parked;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, eventually, late};

#[test]
fn at_the_limit_a_call_is_busy_or_waits() {
    let path = "parked_limits::at_the_limit_a_call_is_busy_or_waits";
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

#[test]
fn what_has_begun_is_not_handed_back() {
    const LENGTH: usize = 200_000;
    let path = "parked_limits::what_has_begun_is_not_handed_back";
    let ended = Child::new().run(path, || {
        attached(|| {
            syslet::set_limits(syslet::Limits::new().parked(1));
            let (blocker, pipe) = (Pipe::new(), Pipe::new());
            let (one, mut other) = UnixStream::pair().expect("a pair");
            let held = parked(read_call(blocker.read_end(), Landing::leak()));

            let bytes: &'static [u8] = Box::leak(vec![7; LENGTH].into_boxed_slice());
            let write = try_go(write_call(pipe.write_end(), bytes)).expect("a part is written");
            let write = pending(write);

            let memory = Block::leak().address();
            let all = libc::MSG_WAITALL as usize;
            other.write_all(&bytes[..3]).expect("there is room");
            let args = [one.as_raw_fd() as usize, memory, 10, all, 0, 0];
            let receive = try_go(number_call(libc::SYS_recvfrom, args)).expect("a part is there");
            let receive = pending(receive);

            let (listener, _queued) = full_listener();
            let port = listener.local_addr().expect("it is bound").port();
            let socket = stream_socket();
            let connect = try_go(connect_call(&socket, port)).expect("it has begun");
            let connect = pending(connect);
            let refused = try_go(read_call(blocker.read_end(), Landing::leak()));
            assert!(refused.expect_err("there is no room").is_busy());

            (0..LENGTH).for_each(|_| assert_eq!(pipe.get(), 7));
            assert_eq!(write.wait_deadline(late()).expect("it ends").raw(), LENGTH as isize);
            other.write_all(&bytes[..7]).expect("there is room");
            assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), 10);
            let _ = connect.cancel();
            assert!(connect.wait_deadline(late()).expect("it ends").is_cancelled());
            blocker.put(1);
            assert_eq!(held.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_wider_limit_lets_those_in_who_wait() {
    let path = "parked_limits::a_wider_limit_lets_those_in_who_wait";
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
            syslet::set_limits(syslet::Limits::new().parked(2));
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
    let path = "parked_limits::what_finds_no_room_in_the_first_ring_needs_no_thread";
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

/// What a waker of the program's does: it submits another call.
struct Submits {
    pipe: Pipe,
    submitted: Mutex<Option<Pending>>,
}

impl Wake for Submits {
    fn wake(self: Arc<Self>) {
        let next = pending(go(read_call(self.pipe.read_end(), Landing::leak())));
        *self.submitted.lock().expect("nobody panics") = Some(next);
    }
}

#[test]
fn a_waker_that_parks_a_call_does_not_wait_for_room_that_it_makes() {
    let path = "parked_limits::a_waker_that_parks_a_call_does_not_wait_for_room_that_it_makes";
    let ended = Child::new().run(path, || {
        attached(|| {
            syslet::set_limits(syslet::Limits::new().parked(2));
            let pipe = Pipe::new();
            let other = Pipe::new();
            let held = parked(read_call(other.read_end(), Landing::leak()));
            let mut first = parked(read_call(pipe.read_end(), Landing::leak()));
            let next = Submits { pipe: pipe.clone(), submitted: Mutex::default() };
            let next = Arc::new(next);
            let waker = Arc::clone(&next).into();
            let mut context = Context::from_waker(&waker);
            assert!(Pin::new(&mut first).poll(&mut context).is_pending());
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

#[test]
fn a_limit_of_no_calls_is_one_of_one() {
    let path = "parked_limits::a_limit_of_no_calls_is_one_of_one";
    let ended = Child::new().run(path, || {
        attached(|| {
            syslet::set_limits(syslet::Limits::new().parked(0));
            let pipe = Pipe::new();
            let read = try_go(read_call(pipe.read_end(), Landing::leak()));
            let read = pending(read.expect("there is room for one"));
            pipe.put(1);
            assert_eq!(read.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn threads_that_could_not_be_made_once_are_made_later() {
    let path = "parked_limits::threads_that_could_not_be_made_once_are_made_later";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            let pipe = Pipe::new();
            // The crew is there, and nothing else.
            pipe.put(1);
            assert_eq!(go(taking_call(pipe.read_end())).wait().raw(), 1);
            let other = pipe.clone();
            let barred = thread::spawn(move || {
                let denied = [libc::SYS_clone, libc::SYS_clone3].map(|nr| (nr, libc::EAGAIN));
                deny(&denied);
                assert_eq!(go(sleep_call(Duration::from_millis(1))).wait().raw(), 0);
                let read = pending(go(read_call(other.read_end(), Landing::leak())));
                other.put(1);
                assert_eq!(read.wait().raw(), 1);
            });
            barred.join().expect("crew threads do it");
            let made = || {
                assert_eq!(go(sleep_call(Duration::from_millis(1))).wait().raw(), 0);
                let read = pending(go(read_call(pipe.read_end(), Landing::leak())));
                pipe.put(1);
                assert_eq!(read.wait().raw(), 1);
                let ours = ["syslet-park", "syslet-timers", "syslet-keeper"];
                ours.iter().all(|name| !threads_named(name).is_empty())
            };
            assert!(eventually(made));
        });
    });
    ended.expect("this is the parent").expect_done();
}
