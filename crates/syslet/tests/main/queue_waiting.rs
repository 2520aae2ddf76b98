//! Threads, tasks and an eventfd are told of what comes into a queue.

use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_executor::block_on;

use crate::util::calls::{Counter, memory_file, replace_descriptor, send};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::queue::{Flag, next, next_of_many, queue, queued, read_of};
use crate::util::{LIMIT, attached, bounded, eventually, late, soon};

#[test]
fn waiting_ends_with_enough_or_at_the_deadline() {
    attached(|| {
        let queue = Arc::new(queue(4));
        assert_eq!(queue.wait(0), 0);
        assert_eq!(queue.wait_deadline(1, soon(5)), 0);
        queue.post(1, 0);
        assert_eq!(queue.wait(1), 1);
        assert_eq!(queue.wait_deadline(2, soon(5)), 1, "what is there is said");
        let waiter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.wait_deadline(6, late()))
        };
        for number in 0..5 {
            let pipe = Pipe::new();
            let _ = queued(send(&queue, number, read_of(&pipe)));
            assert!(!waiter.is_finished(), "it wants six");
            pipe.put(1);
            assert!(eventually(|| queue.len() as u64 == number + 2));
        }
        assert!(waiter.join().expect("waits") >= 6);
        assert_eq!(queue.len(), 6, "waiting takes nothing");
    });
}

#[test]
fn each_completion_wakes_a_thread_that_waits() {
    const WAITERS: usize = 6;
    bounded(LIMIT, || {
        let queue = queue(2);
        for _ in 0..200 {
            thread::scope(|scope| {
                let waiters: Vec<_> =
                    (0..WAITERS).map(|_| scope.spawn(|| next_of_many(&queue))).collect();
                (0..WAITERS).for_each(|number| queue.post(number as u64, 0));
                let got: HashSet<_> =
                    waiters.into_iter().map(|w| w.join().expect("waits").user_data).collect();
                assert_eq!(got.len(), WAITERS);
            });
        }
    });
}

#[test]
fn every_task_that_waits_is_woken_and_dropping_one_loses_nothing() {
    attached(|| {
        let queue = queue(4);
        let flags = [Arc::new(Flag::default()), Arc::new(Flag::default())];
        let wakers = flags.each_ref().map(|flag| Waker::from(Arc::clone(flag)));
        for waker in &wakers {
            assert_eq!(queue.poll_pop(&mut Context::from_waker(waker)), Poll::Pending);
            assert_eq!(queue.poll_pop(&mut Context::from_waker(waker)), Poll::Pending);
        }
        let pipe = Pipe::new();
        let _ = send(&queue, 9, read_of(&pipe));
        assert!(flags.iter().all(|flag| flag.0.load(Ordering::SeqCst) == 0));
        pipe.put(1);
        assert!(eventually(|| flags.iter().all(|flag| flag.0.load(Ordering::SeqCst) == 1)));
        let mut dropped = Box::pin(queue.next());
        queue.post(10, 0);
        assert!(dropped.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_ready());
        drop(dropped);
        let unpolled = queue.next();
        drop(unpolled);
        assert_eq!(block_on(queue.next()).user_data, 10);
        assert_eq!(flags.each_ref().map(|flag| flag.0.load(Ordering::SeqCst)), [1, 1], "told once");
    });
}

#[test]
fn futures_that_are_dropped_leave_no_waker_behind() {
    let queue = queue(4);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    for _ in 0..100 {
        let mut next = queue.next();
        for _ in 0..2 {
            assert!(Pin::new(&mut next).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(Arc::strong_count(&flag), 3);
    }
    assert_eq!(Arc::strong_count(&flag), 2);
    // Others that wait are told nevertheless.
    assert_eq!(queue.poll_pop(&mut Context::from_waker(&waker)), Poll::Pending);
    drop(queue.next());
    queue.post(1, 0);
    assert_eq!(flag.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_waker_that_panics_disturbs_nobody() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics, as intended");
        }
    }
    attached(|| {
        let queue = queue(4);
        let (bad, flag) = (Waker::from(Arc::new(Panics)), Arc::new(Flag::default()));
        let good = Waker::from(Arc::clone(&flag));
        assert!(queue.poll_pop(&mut Context::from_waker(&bad)).is_pending());
        assert!(queue.poll_pop(&mut Context::from_waker(&good)).is_pending());
        queue.post(1, 0);
        assert_eq!(flag.0.load(Ordering::SeqCst), 1);
        assert_eq!(next(&queue).user_data, 1);
    });
}

#[test]
fn an_eventfd_counts_completions_while_it_is_attached() {
    attached(|| {
        let queue = queue(2);
        queue.post(0, 0);
        let own = Arc::new(Counter::new().into_inner());
        let counter = || Counter::from_inner(own.try_clone().expect("a copy can be made"));
        queue.attach_eventfd(Arc::clone(&own)).expect("an eventfd can be attached");
        assert_eq!(counter().take(), 1, "something is there already");
        let pipe = Pipe::new();
        for number in 0..5 {
            let _ = send(&queue, number, read_of(&pipe));
        }
        assert_eq!(counter().take(), 0);
        (0..5).for_each(|_| pipe.put(1));
        assert!(queue.wait_deadline(6, late()) >= 6);
        let mut sum = 0;
        assert!(eventually(|| {
            sum += counter().take();
            sum == 5
        }));
        queue.detach_eventfd();
        assert_eq!(Arc::strong_count(&own), 1, "it is given back");
        queue.post(1, 1);
        assert_eq!(counter().take(), 0);
        let file = memory_file();
        let refused = queue.attach_eventfd(file).expect_err("not an eventfd");
        assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn an_eventfd_whose_number_stands_for_another_file_is_left_alone() {
    let path = "queue_waiting::an_eventfd_whose_number_stands_for_another_file_is_left_alone";
    let ended = Child::new().run(path, || {
        attached(|| {
            let queue = queue(2);
            let eventfd = Counter::new().into_inner();
            let number = eventfd.as_raw_fd();
            queue.attach_eventfd(eventfd).expect("an eventfd can be attached");
            let pipe = Pipe::new();
            replace_descriptor(number, pipe.write_end());
            queue.post(1, 1);
            let _ = send(&queue, 2, read_of(&Pipe::new()));
            assert_eq!(pipe.filled(), 0, "it was written to the pipe");
            assert_eq!(next(&queue).user_data, 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}
