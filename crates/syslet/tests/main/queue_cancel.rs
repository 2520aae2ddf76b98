//! What is asked for in a queue: a cancel, of one, of some, of what uses a descriptor.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use syslet::{Call, CancelOutcome, Completion, CompletionQueue, OpId, Queued};

use crate::util::calls::{accepted, number_call, send, sleep_call, taking_call, write_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::queue::{queue, read_of};
use crate::util::{LIMIT, attached, bounded, eventually, late};

fn away(queue: &CompletionQueue, user_data: u64, call: Call) -> OpId {
    match send(queue, user_data, call) {
        Queued::Queued(id) => id,
        Queued::Done(ret) => panic!("the call is over: {ret:?}"),
    }
}

/// The next `count` completions, by their numbers.
fn take(queue: &CompletionQueue, count: usize) -> Vec<Completion> {
    assert!(queue.wait_deadline(count, late()) >= count, "nothing comes");
    let mut taken: Vec<_> = (0..count).filter_map(|_| queue.pop()).collect();
    taken.sort_unstable_by_key(|one| one.user_data);
    taken
}

/// A closure that runs and reads a byte from `pipe`, which is its result.
fn running(queue: &CompletionQueue, user_data: u64, pipe: &Pipe) -> OpId {
    let (begun, pipe) = (Pipe::new(), pipe.clone());
    let told = begun.clone();
    let queued = queue.threadlet(user_data, move || {
        told.put(1);
        isize::from(pipe.get())
    });
    begun.get();
    match queued {
        Queued::Queued(id) => id,
        Queued::Done(_) => panic!("the pipe is empty"),
    }
}

fn told(outcome: CancelOutcome) -> bool {
    matches!(outcome, CancelOutcome::Asked | CancelOutcome::NotBegun)
}

#[test]
fn cancel_by_id_ends_that_operation_only() {
    attached(|| {
        let queue = queue(4);
        for round in 0..100 {
            let pipe = Pipe::new();
            // Parked, or with a thread each.
            let call =
                || if round % 2 == 0 { read_of(&pipe) } else { taking_call(pipe.read_end()) };
            let ids = [1, 2, 3].map(|number| away(&queue, number, call()));
            assert!(told(queue.cancel(ids[1])));
            let gone = take(&queue, 1);
            assert!(gone[0].user_data == 2 && gone[0].ret().is_cancelled(), "{gone:?}");
            assert_eq!(queue.cancel(ids[1]), CancelOutcome::TooLate);
            pipe.put(1);
            pipe.put(1);
            let rest = take(&queue, 2);
            assert_eq!(
                rest.iter().map(|one| (one.user_data, one.res)).collect::<Vec<_>>(),
                [(1, 1), (3, 1)]
            );
            assert_eq!(queue.cancel(ids[0]), CancelOutcome::TooLate);
            assert_eq!(pipe.filled(), 0);
        }
        assert_eq!(queue.stats().outstanding, 0);
    });
}

#[test]
fn an_old_id_does_not_hit_a_new_operation() {
    attached(|| {
        let queue = queue(4);
        let pipe = Pipe::new();
        let old = away(&queue, 1, read_of(&pipe));
        pipe.put(1);
        take(&queue, 1);
        let new = away(&queue, 2, read_of(&pipe));
        assert_ne!(old, new);
        assert_eq!(queue.cancel(old), CancelOutcome::TooLate);
        assert_eq!(queue.cancel(OpId::from_raw(0)), CancelOutcome::TooLate);
        assert_eq!(queue.cancel(OpId::from_raw(u64::MAX)), CancelOutcome::TooLate);
        assert_eq!(OpId::from_raw(new.raw()), new);
        pipe.put(1);
        assert_eq!(take(&queue, 1)[0].res, 1, "it was hit");
    });
}

#[test]
fn cancel_of_what_waits_for_room_in_the_queue_is_too_late() {
    attached(|| {
        let queue = CompletionQueue::new(2).expect("a queue can be made");
        let pipe = Pipe::new();
        let ids: Vec<_> = (0..5).map(|number| away(&queue, number, read_of(&pipe))).collect();
        (0..5).for_each(|_| pipe.put(1));
        assert!(queue.wait_deadline(5, late()) >= 5);
        assert!(ids.into_iter().all(|id| queue.cancel(id) == CancelOutcome::TooLate));
        assert_eq!(queue.cancel_all(4), 0);
        assert!(take(&queue, 5).iter().all(|one| one.res == 1));
    });
}

#[test]
fn cancel_by_number_ends_all_that_have_it() {
    attached(|| {
        let queue = queue(4);
        let pipe = Pipe::new();
        for number in [5, 6, 5, 7, 5] {
            away(&queue, number, read_of(&pipe));
        }
        let _ = running(&queue, 5, &pipe);
        assert_eq!(queue.cancel_all(5), 3, "closures that run are not told");
        assert_eq!(queue.cancel_all(99), 0);
        let gone = take(&queue, 3);
        assert!(gone.iter().all(|one| one.user_data == 5 && one.ret().is_cancelled()), "{gone:?}");
        (0..3).for_each(|_| pipe.put(1));
        let rest: Vec<_> = take(&queue, 3).iter().map(|one| (one.user_data, one.res)).collect();
        assert_eq!(rest, [(5, 1), (6, 1), (7, 1)]);
    });
}

#[test]
fn cancel_by_descriptor_ends_all_that_use_it() {
    attached(|| {
        let queue = queue(4);
        let (one, other) = (Pipe::new(), Pipe::new());
        let (full, sink) = (Pipe::new(), Pipe::new());
        full.fill();
        away(&queue, 1, read_of(&one));
        away(&queue, 2, read_of(&other));
        away(&queue, 3, write_call(full.write_end(), b"x"));
        // Waits for its first descriptor, and has a second.
        let (from, to) = (other.read_end() as usize, sink.write_end() as usize);
        away(&queue, 4, number_call(libc::SYS_splice, [from, 0, to, 0, 1, 0]));
        away(&queue, 5, sleep_call(LIMIT));
        assert_eq!(queue.cancel_descriptor(-1), 0);
        assert_eq!(queue.cancel_descriptor(one.write_end()), 0);
        assert_eq!(queue.cancel_descriptor(one.read_end()), 1);
        assert_eq!(take(&queue, 1)[0].user_data, 1);
        assert_eq!(queue.cancel_descriptor(sink.write_end()), 1);
        assert_eq!(take(&queue, 1)[0].user_data, 4);
        assert_eq!(queue.cancel_descriptor(other.read_end()), 1);
        assert_eq!(take(&queue, 1)[0].user_data, 2);
        assert_eq!(queue.cancel_descriptor(full.write_end()), 1);
        let gone = take(&queue, 1)[0];
        assert!(gone.user_data == 3 && gone.ret().is_cancelled(), "{gone:?}");
        assert_eq!(queue.cancel_all(5), 1);
        assert!(take(&queue, 1)[0].ret().is_cancelled());
    });
}

#[test]
fn a_closure_that_runs_is_not_disturbed() {
    attached(|| {
        let queue = queue(4);
        let pipe = Pipe::new();
        let id = running(&queue, 1, &pipe);
        assert_eq!(queue.cancel(id), CancelOutcome::Running);
        pipe.put(9);
        assert_eq!(take(&queue, 1)[0].res, 9);
        assert_eq!(queue.cancel(id), CancelOutcome::TooLate);
    });
}

#[test]
fn a_call_that_has_not_begun_does_not_run() {
    let path = "queue_cancel::a_call_that_has_not_begun_does_not_run";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        bounded(LIMIT, || {
            let queue = queue(4);
            let (blocker, untouched) = (Pipe::new(), Pipe::new());
            untouched.put(1);
            for _ in 0..2 {
                away(&queue, 0, taking_call(blocker.read_end()));
            }
            let id = away(&queue, 1, taking_call(untouched.read_end()));
            assert_eq!(queue.cancel(id), CancelOutcome::NotBegun);
            let first = take(&queue, 1)[0];
            assert!(first.user_data == 1 && first.ret().is_cancelled(), "{first:?}");
            (0..2).for_each(|_| blocker.put(1));
            take(&queue, 2);
            assert_eq!(untouched.filled(), 1, "it ran");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_closure_that_has_not_begun_does_not_run() {
    let path = "queue_cancel::a_closure_that_has_not_begun_does_not_run";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        bounded(LIMIT, || {
            let queue = queue(4);
            let (blocker, value) = (Pipe::new(), Arc::new(()));
            for _ in 0..2 {
                running(&queue, 0, &blocker);
            }
            let queued = [1, 2, 3].map(|number| {
                let value = Arc::clone(&value);
                queue.threadlet(number, move || Arc::strong_count(&value) as isize)
            });
            let Queued::Queued(first) = queued[0] else { panic!("no thread is left") };
            assert_eq!(queue.cancel(first), CancelOutcome::NotBegun);
            assert_eq!(queue.cancel_all(2), 1);
            (0..2).for_each(|_| blocker.put(1));
            let all = take(&queue, 5);
            assert!(all[2].ret().is_cancelled() && all[3].ret().is_cancelled(), "{all:?}");
            assert!(all[4].user_data == 3 && all[4].res > 0, "{all:?}");
            assert!(eventually(|| Arc::strong_count(&value) == 1), "what it had is dropped");
            assert_eq!(queue.cancel(first), CancelOutcome::TooLate);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_success_that_is_too_late_to_cancel_is_handed_back() {
    const ROUNDS: usize = 200;
    attached(|| {
        let queue = queue(4);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = listener.local_addr().expect("it is bound");
        let (mut cancelled, mut made) = (0, 0);
        for round in 0..ROUNDS {
            let fd = listener.as_raw_fd() as usize;
            let id = away(&queue, 1, number_call(libc::SYS_accept4, [fd, 0, 0, 0]));
            let client = std::net::TcpStream::connect(address).expect("connects");
            (0..round * 7 % 499).for_each(|_| std::hint::spin_loop());
            let outcome = queue.cancel(id);
            let answer = take(&queue, 1)[0];
            if answer.ret().is_cancelled() {
                assert!(told(outcome));
                cancelled += 1;
                drop(listener.accept().expect("the connection is still there"));
            } else {
                made += 1;
                let socket = accepted(answer.res);
                let port = client.local_addr().expect("connected").port();
                assert_eq!(socket.peer_addr().expect("connected").port(), port);
            }
        }
        println!("{cancelled} cancelled, {made} made");
        assert!(eventually(|| queue.stats().outstanding == 0));
        assert!(queue.is_empty());
    });
}
