//! Many calls that wait for one descriptor: what one of them takes is none of the others' business.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use syslet::{Pending, stats};

use crate::util::calls::{Landing, go, number_call, pending, read_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually, late};

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("procfs is there").count()
}

/// Threads that may have come in vain and wait in the kernel: two that look at the same moment both
/// find the descriptor ready.
const FEW: usize = 8;

/// Waits for one more answer, which must be the only one, and for the others to be parked again.
#[track_caller]
fn one_ends(calls: &mut Vec<Pending>, good: impl Fn(isize) -> bool) {
    let left = calls.len() - 1;
    let done = || calls.iter().filter(|call| call.is_done()).count();
    let ended = || stats().parked == left && stats().outstanding <= FEW && done() > 0;
    assert!(eventually(ended), "{} are parked, {} away", stats().parked, stats().outstanding);
    let at = calls.iter().position(Pending::is_done).expect("one has ended");
    let answer = calls.swap_remove(at).wait().raw();
    assert!(good(answer), "{answer}");
    assert!(!calls.iter().any(Pending::is_done), "one byte, one answer");
}

#[test]
fn reads_of_one_pipe_need_no_threads_however_often_it_is_written() {
    let path = "herds::reads_of_one_pipe_need_no_threads_however_often_it_is_written";
    let ended = Child::new().run(path, || {
        attached(|| {
            let pipe = Pipe::new();
            let read = || pending(go(read_call(pipe.read_end(), Landing::leak())));
            let mut reads: Vec<_> = (0..100).map(|_| read()).collect();
            for _ in 0..40 {
                pipe.put(1);
                one_ends(&mut reads, |answer| answer == 1);
            }
            assert!(threads() < 20, "{} threads", threads());
            (0..60).for_each(|_| pipe.put(1));
            reads.into_iter().for_each(|read| {
                assert_eq!(read.wait_deadline(late()).expect("it ends").raw(), 1);
            });
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn accepts_of_one_listener_need_no_threads_after_a_connection() {
    let path = "herds::accepts_of_one_listener_need_no_threads_after_a_connection";
    let ended = Child::new().run(path, || {
        attached(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let number = listener.as_raw_fd() as usize;
            let accept = || pending(go(number_call(libc::SYS_accept4, [number, 0, 0, 0])));
            let mut accepts: Vec<_> = (0..100).map(|_| accept()).collect();
            let mut clients = Vec::new();
            for _ in 0..10 {
                clients.push(TcpStream::connect(address).expect("somebody listens"));
                one_ends(&mut accepts, |answer| answer > 2);
            }
            for _ in &accepts {
                clients.push(TcpStream::connect(address).expect("somebody listens"));
            }
            for accept in accepts {
                assert!(accept.wait_deadline(late()).is_ok_and(|ret| ret.raw() > 2));
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}
