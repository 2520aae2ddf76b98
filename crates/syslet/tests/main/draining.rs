//! What is away can be waited for before the program ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use syslet::{drain, stats, threadlet};

use crate::util::calls::{Landing, go, pending, read_call, taking_call, write_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{attached, late, soon};

#[test]
fn drain_says_how_many_are_left_at_the_deadline() {
    let path = "draining::drain_says_how_many_are_left_at_the_deadline";
    let ended = Child::new().run(path, || {
        assert_eq!(drain(Instant::now()), Ok(()), "nothing has begun");
        attached(|| {
            assert_eq!(drain(Instant::now()), Ok(()), "nothing is away");
            let pipe = Pipe::new();
            let calls: Vec<_> = (0..3).map(|_| pending(go(taking_call(pipe.read_end())))).collect();
            let other = pipe.clone();
            threadlet(move || other.get()).detach();
            let deadline = soon(30);
            assert_eq!(drain(deadline), Err(4));
            assert!(Instant::now() >= deadline);
            assert_eq!(stats().outstanding, 4);
            (0..4).for_each(|_| pipe.put(1));
            assert_eq!(drain(late()), Ok(()));
            assert_eq!(stats().outstanding, 0);
            assert!(calls.iter().all(|call| call.is_done()), "drained, and not done");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn drain_waits_for_writes_that_are_parked() {
    let path = "draining::drain_waits_for_writes_that_are_parked";
    let ended = Child::new().run(path, || {
        attached(|| {
            let (pipe, other) = (Pipe::new(), Pipe::new());
            let filled = pipe.fill();
            let bytes: &'static [u8] = vec![7; 3 * filled].leak();
            let write = pending(go(write_call(pipe.write_end(), bytes)));
            let read = pending(go(read_call(other.read_end(), Landing::leak())));
            assert_eq!(drain(soon(20)), Err(1), "of the read nothing would be lost");
            let reader = pipe.clone();
            let reader = std::thread::spawn(move || {
                (0..4 * filled).for_each(|_| assert!(reader.get() < 8));
            });
            assert_eq!(drain(late()), Ok(()));
            assert!(write.is_done() && !read.is_done());
            assert_eq!(write.wait().raw(), bytes.len() as isize);
            reader.join().expect("it has read all");
            other.put(1);
            assert_eq!(read.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn drain_waits_for_what_nobody_holds_any_more() {
    let path = "draining::drain_waits_for_what_nobody_holds_any_more";
    let ended = Child::new().run(path, || {
        let finished = Arc::new(AtomicBool::new(false));
        let pipe = Pipe::new();
        let (flag, other) = (Arc::clone(&finished), pipe.clone());
        // The thread that started it ends before it.
        attached(move || {
            threadlet(move || {
                other.get();
                flag.store(true, Ordering::SeqCst);
            })
            .detach();
        });
        assert_eq!(drain(soon(20)), Err(1));
        pipe.put(0);
        assert_eq!(drain(late()), Ok(()));
        assert!(finished.load(Ordering::SeqCst));
    });
    ended.expect("this is the parent").expect_done();
}
