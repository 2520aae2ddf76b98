//! What waits for a crew thread needs none if it is cancelled, or if somebody waits for it.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::thread;

use syslet::{CancelOutcome, Chain, Submitted, stats};

use crate::util::calls::{accepted, gettid, go, go_chain, pending, send, sleeps, taking_call};
use crate::util::chain;
use crate::util::child::Child;
use crate::util::parking::{accept_call, parked};
use crate::util::pipe::Pipe;
use crate::util::queue::{next, queue};
use crate::util::{LIMIT, attached, bounded, eventually, skip_in_pool};

/// Two crew threads sleep from now on, and no others can be made: until as many bytes are put into the pipe.
fn sleeping_crew() -> (Pipe, [Submitted; 2]) {
    let blocker = Pipe::new();
    let held = [0; 2].map(|_| go(taking_call(blocker.read_end())));
    assert!(held.iter().all(|held| !held.is_done()));
    (blocker, held)
}

fn end((blocker, held): (Pipe, [Submitted; 2])) {
    held.iter().for_each(|_| blocker.put(1));
    held.into_iter().for_each(|held| assert_eq!(held.wait().raw(), 1));
    assert!(eventually(|| stats().outstanding == 0));
}

/// Plays `test` in a process whose crew is of this size.
fn with_crew(size: usize, path: &str, test: fn()) {
    let ended = Child::new().var("SYSLET_MAX_CREW", size).run(path, test);
    ended.expect("this is the parent").expect_done();
}

fn waited_for() {
    let crew = sleeping_crew();
    let pipe = Pipe::new();
    let outstanding = stats().outstanding;
    (0..3).for_each(|_| pipe.put(1));
    let call = pending(go(taking_call(pipe.read_end())));
    assert_eq!(call.wait().raw(), 1);
    let mut steps = Chain::new();
    for _ in 0..2 {
        let call = taking_call(pipe.read_end());
        steps.push(call.nr(), std::array::from_fn::<_, 6, _>(|at| call.args()[at].into()));
    }
    let result = chain::pending(go_chain(steps)).wait();
    assert_eq!(result.last().map(|(_, ret)| ret.raw()), Some(1));
    assert_eq!((pipe.filled(), stats().outstanding), (0, outstanding), "nothing is left of them");
    end(crew);
}

#[test]
fn who_waits_for_what_has_no_thread_makes_it() {
    with_crew(2, "queued::who_waits_for_what_has_no_thread_makes_it", || {
        bounded(LIMIT, waited_for)
    });
}

#[test]
fn a_guest_that_waits_for_what_has_no_thread_makes_it() {
    if skip_in_pool("a guest has a thread that carries it: this") {
        return;
    }
    let path = "queued::a_guest_that_waits_for_what_has_no_thread_makes_it";
    with_crew(3, path, || attached(waited_for));
}

#[test]
fn who_waits_for_a_connection_that_has_no_thread_accepts_it() {
    let path = "queued::who_waits_for_a_connection_that_has_no_thread_accepts_it";
    with_crew(2, path, || {
        bounded(LIMIT, || {
            let crew = sleeping_crew();
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let connect = || TcpStream::connect(address).expect("somebody listens");
            // Somebody has come before it is waited for.
            let accept = parked(accept_call(listener.as_raw_fd()));
            let first = connect();
            assert!(eventually(|| stats().outstanding == 3), "it waits for a thread");
            drop(accepted(accept.wait().raw()));
            drop(first);
            assert!(eventually(|| stats().outstanding == 2), "it waits for none");
            // Somebody comes later.
            let (told, tid) = channel();
            let accept = parked(accept_call(listener.as_raw_fd()));
            let waits = thread::spawn(move || {
                told.send(gettid()).expect("the test listens");
                drop(accepted(accept.wait().raw()));
            });
            let tid = tid.recv().expect("it is told");
            assert!(eventually(|| sleeps(tid)));
            let second = connect();
            waits.join().expect("it is accepted");
            drop(second);
            end(crew);
        });
    });
}

#[test]
fn a_parked_call_that_has_no_thread_is_cancelled_at_once() {
    let path = "queued::a_parked_call_that_has_no_thread_is_cancelled_at_once";
    with_crew(2, path, || {
        bounded(LIMIT, || {
            let crew = sleeping_crew();
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let accept = parked(accept_call(listener.as_raw_fd()));
            let address = listener.local_addr().expect("it is bound");
            let client = TcpStream::connect(address).expect("somebody listens");
            assert!(eventually(|| stats().outstanding == 3), "it waits for a thread");
            assert_eq!(accept.cancel(), CancelOutcome::Asked);
            // By us, or by who queued it just now: no thread is there that could.
            assert!(eventually(|| accept.is_done()), "{:?}", stats());
            assert_eq!(accept.wait().raw(), -(libc::ECANCELED as isize));
            drop(listener.accept().expect("nobody has taken it"));
            drop(client);
            end(crew);
        });
    });
}

#[test]
fn many_that_were_cancelled_leave_nothing_behind() {
    let path = "queued::many_that_were_cancelled_leave_nothing_behind";
    with_crew(2, path, || {
        bounded(LIMIT, || {
            const CALLS: usize = 1000;
            let crew = sleeping_crew();
            let pipe = Pipe::new();
            let queue = || pending(go(taking_call(pipe.read_end())));
            let queued: Vec<_> = (0..CALLS).map(|_| queue()).collect();
            let last = queue();
            assert_eq!(stats().outstanding, 2 + CALLS + 1);
            queued.iter().rev().for_each(|one| assert_eq!(one.cancel(), CancelOutcome::NotBegun));
            assert_eq!(stats().outstanding, 3);
            assert!(queued.into_iter().all(|one| one.wait().is_cancelled()));
            pipe.put(1);
            assert_eq!(last.wait().raw(), 1);
            assert_eq!(stats().outstanding, 2);
            end(crew);
        });
    });
}

/// Ten thousand reads that cannot be parked: some have a thread, the others wait for one.
#[test]
fn ten_thousand_reads_away_are_answered_once_each() {
    let path = "queued::ten_thousand_reads_away_are_answered_once_each";
    with_crew(256, path, || {
        bounded(LIMIT, || {
            const CALLS: usize = 10_000;
            let pipe = Pipe::new();
            let queue = queue(CALLS).always_queue(true);
            for number in 0..CALLS {
                let _ = send(&queue, number as u64, taking_call(pipe.read_end()));
            }
            assert!(eventually(|| stats().outstanding == CALLS), "{:?}", stats());
            let mut answered = vec![false; CALLS];
            for _ in 0..CALLS {
                pipe.put(1);
                let one = next(&queue);
                assert_eq!(one.res, 1, "of {}", one.user_data);
                let twice = std::mem::replace(&mut answered[one.user_data as usize], true);
                assert!(!twice, "{} is answered twice", one.user_data);
            }
            assert_eq!((queue.pop().is_none(), pipe.filled(), stats().outstanding), (true, 0, 0));
        });
    });
}
