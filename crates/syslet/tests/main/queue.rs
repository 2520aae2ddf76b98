//! The answers of many operations come to one queue, once each.

use std::collections::HashSet;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_executor::block_on;
use syslet::{Completion, CompletionQueue, OpId, Queued, Refusal, SubmitError};

use crate::util::calls::{
    Counter, Landing, accepted, go, memory_file, number_call, open_descriptors, pending, read_call,
    replace_descriptor, send, socketpair_call, taking_call, try_send,
};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, eventually, late, soon};

fn queue(capacity: usize) -> CompletionQueue {
    CompletionQueue::new(capacity).expect("a queue can be made")
}

/// The id of an operation that is expected to wait.
fn queued(queued: Queued) -> OpId {
    match queued {
        Queued::Queued(id) => id,
        Queued::Done(ret) => panic!("the operation is over: {ret:?}"),
    }
}

/// What comes next; fails if nothing does.
fn next(queue: &CompletionQueue) -> Completion {
    assert!(queue.wait_deadline(1, late()) >= 1, "nothing comes");
    queue.pop().expect("it was waited for")
}

fn read_of(pipe: &Pipe) -> syslet::Call {
    read_call(pipe.read_end(), Landing::leak())
}

fn accept_of(listener: &TcpListener) -> syslet::Call {
    number_call(
        libc::SYS_accept4,
        [listener.as_raw_fd() as usize, 0, 0, libc::SOCK_CLOEXEC as usize],
    )
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port can be had")
}

fn connect(listener: &TcpListener) -> TcpStream {
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    stream
}

/// True if the other end was closed.
fn is_closed(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

/// Says to a thread that takes completions that there will be no more.
const STOP: u64 = u64::MAX;

/// Takes completions until it is told to stop, in one of three manners.
fn take_all(queue: &CompletionQueue, manner: usize, seen: &Mutex<Vec<u64>>) {
    loop {
        let mut some = [Completion::default(); 7];
        let n = match manner {
            0 => {
                assert!(queue.wait_deadline(1, late()) >= 1, "nothing comes");
                let n = queue.pop_many(&mut some);
                // A stop too many is for another.
                let stops = some[..n].iter().filter(|one| one.user_data == STOP).count();
                (1..stops).for_each(|_| queue.post(STOP, 0));
                n
            }
            1 => {
                some[0] = block_on(queue.next());
                1
            }
            _ => {
                assert!(queue.wait_deadline(1, late()) >= 1, "nothing comes");
                queue.pop().map_or(0, |one| {
                    some[0] = one;
                    1
                })
            }
        };
        let stop = some[..n].iter().any(|one| one.user_data == STOP);
        let numbers = some[..n].iter().map(|one| one.user_data).filter(|&number| number != STOP);
        seen.lock().expect("nobody panics").extend(numbers);
        if stop {
            return;
        }
    }
}

#[test]
fn every_operation_of_many_threads_completes_once() {
    const SENDERS: u64 = 4;
    const EACH: u64 = 300;
    let queue = Arc::new(queue(16));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let takers: Vec<_> = (0..3)
        .map(|manner| {
            let (queue, seen) = (Arc::clone(&queue), Arc::clone(&seen));
            thread::spawn(move || take_all(&queue, manner, &seen))
        })
        .collect();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (queue, seen) = (Arc::clone(&queue), Arc::clone(&seen));
            let body = move || {
                let pipe = Pipe::new();
                for number in sender * EACH..(sender + 1) * EACH {
                    let other = pipe.clone();
                    let sent = match number % 4 {
                        0 => send(&queue, number, read_of(&pipe)),
                        1 => send(&queue, number, taking_call(pipe.read_end())),
                        2 => queue.threadlet(number, move || isize::from(other.get())),
                        _ => queue.threadlet(number, || 1),
                    };
                    if number % 4 != 3 {
                        pipe.put(1);
                    }
                    if let Queued::Done(ret) = sent {
                        assert_eq!(ret.raw(), 1);
                        seen.lock().expect("nobody panics").push(number);
                    }
                }
            };
            thread::spawn(move || attached(body))
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().expect("sends"));
    let all = || seen.lock().expect("nobody panics").len() as u64 >= SENDERS * EACH;
    assert!(eventually(all), "completions are lost");
    takers.iter().for_each(|_| queue.post(STOP, 0));
    takers.into_iter().for_each(|taker| taker.join().expect("takes"));
    let mut seen = std::mem::take(&mut *seen.lock().expect("nobody panics"));
    seen.sort_unstable();
    assert_eq!(seen, (0..SENDERS * EACH).collect::<Vec<_>>(), "each once");
    assert!(queue.is_empty());
    assert_eq!(queue.stats().outstanding, 0);
}

#[test]
fn answers_that_are_inline_are_not_queued_unless_asked_for() {
    attached(|| {
        let queue = queue(4);
        let getpid = number_call(libc::SYS_getpid, []);
        let pid = std::process::id() as isize;
        let Queued::Done(ret) = send(&queue, 1, getpid) else { panic!("getpid does not wait") };
        assert_eq!(ret.raw(), pid);
        assert!(queue.is_empty() && queue.pop().is_none());

        let queue = queue.always_queue(true);
        let id = queued(send(&queue, 2, getpid));
        assert_eq!(queue.cancel(id), syslet::CancelOutcome::TooLate);
        let _ = queue.threadlet(3, || -5);
        let (first, second) = (next(&queue), next(&queue));
        assert_eq!((first.user_data, first.res), (2, pid));
        assert_eq!((second.user_data, second.ret().errno()), (3, Some(5)));
        assert!(queue.pop().is_none());
    });
}

#[test]
fn overflow_loses_nothing_and_keeps_the_order() {
    attached(|| {
        let queue = queue(2).always_queue(true);
        assert_eq!(queue.capacity(), 2);
        let getpid = number_call(libc::SYS_getpid, []);
        for number in 0..10_000 {
            let _ = send(&queue, number, getpid);
        }
        assert_eq!(queue.len(), 10_000);
        let stats = queue.stats();
        assert_eq!((stats.pushed, stats.overflowed, stats.outstanding), (10_000, 9_998, 0));
        assert_eq!(queue.wait_deadline(10_000, late()), 10_000);
        let mut some = [Completion::default(); 100];
        for number in 0..5_000 {
            assert_eq!(queue.peek().map(|one| one.user_data), Some(number));
            assert_eq!(queue.pop().map(|one| one.user_data), Some(number));
        }
        for at in 0..50 {
            assert_eq!(queue.pop_many(&mut some), 100);
            let wanted = 5_000 + at * 100..5_100 + at * 100;
            assert!(some.iter().map(|one| one.user_data).eq(wanted));
        }
        assert_eq!((queue.pop(), queue.peek(), queue.pop_many(&mut some)), (None, None, 0));
        queue.post(1, 2);
        assert_eq!(next(&queue).res, 2, "the ring is used again");
        assert_eq!(queue.stats().overflowed, 9_998);
    });
}

#[test]
fn away_operations_that_overflow_come_once_each() {
    const ROUNDS: usize = 40;
    const AWAY: u64 = 50;
    attached(|| {
        let queue = queue(2);
        for round in 0..ROUNDS {
            let pipe = Pipe::new();
            // Parked, or with a thread each.
            let call = || match round % 2 {
                0 => read_of(&pipe),
                _ => taking_call(pipe.read_end()),
            };
            let ids: HashSet<_> =
                (0..AWAY).map(|number| queued(send(&queue, number, call()))).collect();
            assert_eq!(ids.len(), AWAY as usize, "an id names two operations");
            assert_eq!(queue.stats().outstanding, AWAY as usize);
            (0..AWAY).for_each(|_| pipe.put(1));
            assert!(queue.wait_deadline(AWAY as usize, late()) >= AWAY as usize);
            let mut got: Vec<_> =
                std::iter::from_fn(|| queue.pop()).map(|one| one.user_data).collect();
            got.sort_unstable();
            assert!(got.into_iter().eq(0..AWAY));
        }
        assert!(queue.stats().overflowed > 0, "nothing has overflowed");
    });
}

#[test]
fn many_threads_on_a_small_ring_keep_the_order_of_each() {
    const EACH: u64 = 20_000;
    const POSTERS: u64 = 3;
    bounded(LIMIT, || {
        let queue = queue(4);
        let takers = 2;
        let taken: Vec<Vec<u64>> = thread::scope(|scope| {
            for poster in 0..POSTERS {
                let queue = &queue;
                scope.spawn(move || (0..EACH).for_each(|n| queue.post(poster << 32 | n, 0)));
            }
            let taken: Vec<_> = (0..takers)
                .map(|_| {
                    scope.spawn(|| {
                        let mut mine = Vec::new();
                        loop {
                            let one = next_of_many(&queue);
                            if one.user_data == STOP {
                                return mine;
                            }
                            mine.push(one.user_data);
                            if mine.last().is_some_and(|n| n & 0xffff_ffff == EACH - 1) {
                                // The last of a poster: all have sent when all of these were seen.
                                FINISHED.fetch_add(1, Ordering::SeqCst);
                            }
                            if FINISHED.load(Ordering::SeqCst) == POSTERS as usize {
                                (0..takers).for_each(|_| queue.post(STOP, 0));
                                FINISHED.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    })
                })
                .collect();
            taken.into_iter().map(|taker| taker.join().expect("takes")).collect()
        });
        for mine in &taken {
            for poster in 0..POSTERS {
                let of = mine.iter().filter(|&&n| n >> 32 == poster);
                assert!(of.is_sorted(), "poster {poster}'s came in another order");
            }
        }
        let mut all: Vec<_> = taken.concat();
        all.sort_unstable();
        let wanted = (0..POSTERS).flat_map(|poster| (0..EACH).map(move |n| poster << 32 | n));
        assert!(all.into_iter().eq(wanted), "each once");
    });
}

/// Posters whose last completion was seen, of the test above.
static FINISHED: AtomicUsize = AtomicUsize::new(0);

/// As [`next`], where others take too.
fn next_of_many(queue: &CompletionQueue) -> Completion {
    loop {
        assert!(queue.wait_deadline(1, late()) >= 1, "nothing comes");
        if let Some(completion) = queue.pop() {
            return completion;
        }
    }
}

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

/// Notes that it was woken.
#[derive(Default)]
struct Flag(AtomicUsize);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
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
    let path = "queue::an_eventfd_whose_number_stands_for_another_file_is_left_alone";
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

#[test]
fn a_closure_that_panics_says_so() {
    attached(|| {
        let queue = queue(4).always_queue(true);
        let pipe = Pipe::new();
        let other = pipe.clone();
        let _ = queue.threadlet(1, || panic!("a closure panics, as intended"));
        let _ = queue.threadlet(2, move || {
            other.get();
            panic!("a closure panics away, as intended")
        });
        pipe.put(1);
        let mut got = [next(&queue), next(&queue)];
        got.sort_unstable_by_key(|one| one.user_data);
        assert!(got.iter().all(Completion::panicked), "{got:?}");
        assert_eq!(got.map(|one| one.user_data), [1, 2]);
    });
}

#[test]
fn a_handle_is_sent_to_a_queue() {
    attached(|| {
        let queue = queue(4);
        let pipe = Pipe::new();
        let away = pending(go(read_of(&pipe)));
        let id = away.send_to(&queue, 3);
        assert!(queue.pop().is_none());
        pipe.put(1);
        assert_eq!((next(&queue).user_data, queue.cancel(id)), (3, syslet::CancelOutcome::TooLate));

        // One that is over already, one that was polled before, and one whose waker is never woken.
        let mut away = pending(go(read_of(&pipe)));
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        assert!(std::pin::Pin::new(&mut away).poll(&mut Context::from_waker(&waker)).is_pending());
        let empty = Pipe::new();
        let over = pending(go(read_of(&empty)));
        let _ = over.cancel();
        assert!(eventually(|| over.is_done()));
        over.send_to(&queue, 4);
        let one = next(&queue);
        assert!(one.user_data == 4 && one.ret().is_cancelled(), "{one:?}");
        away.send_to(&queue, 5);
        pipe.put(1);
        assert_eq!((next(&queue).user_data, queue.pop()), (5, None));
        assert_eq!(flag.0.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn dropping_the_queue_closes_what_its_calls_make() {
    attached(|| {
        let listener = listener();
        // In the queue, also beyond the ring, when it is dropped.
        let full = queue(2);
        for number in 0..5 {
            let _ = send(&full, number, accept_of(&listener));
        }
        let early: Vec<_> = (0..5).map(|_| connect(&listener)).collect();
        assert!(full.wait_deadline(5, late()) >= 5);
        let popped = accepted(full.pop().expect("five are there").res);
        drop(full);
        let port = popped.peer_addr().expect("connected").port();
        for stream in &early {
            let is_popped = stream.local_addr().expect("connected").port() == port;
            assert!(is_popped || is_closed(stream), "a descriptor is left");
        }
        // Away when it is dropped.
        let away = queue(2);
        for number in 0..3 {
            let _ = queued(send(&away, number, accept_of(&listener)));
        }
        drop(away);
        let late: Vec<_> = (0..3).map(|_| connect(&listener)).collect();
        assert!(late.iter().all(is_closed), "a descriptor is left");
        drop(popped);
    });
}

#[test]
fn descriptors_that_only_some_operations_make_are_closed() {
    attached(|| {
        let (listener, queue) = (listener(), queue(4).always_queue(true));
        let mut client = connect(&listener);
        let (server, _) = listener.accept().expect("somebody has come");
        let number = server.as_raw_fd() as usize;
        for op in [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD] {
            let _ = queued(send(&queue, 1, number_call(libc::SYS_fcntl, [number, op as usize, 3])));
        }
        assert!(queue.wait_deadline(3, late()) >= 3);
        drop(server);
        client.set_nonblocking(true).expect("it can be set");
        let kind = |result: std::io::Result<usize>| result.map_err(|error| error.kind());
        assert_eq!(kind(client.read(&mut [0])), Err(std::io::ErrorKind::WouldBlock));
        drop(queue);
        assert_eq!(kind(client.read(&mut [0])), Ok(0), "a descriptor is left");
    });
}

#[test]
fn pairs_of_descriptors_that_nobody_pops_are_closed() {
    let path = "queue::pairs_of_descriptors_that_nobody_pops_are_closed";
    let ended = Child::new().run(path, || {
        attached(|| {
            let before = open_descriptors();
            let queue = queue(2).always_queue(true);
            for number in 0..4 {
                let _ = send(&queue, number, socketpair_call().0);
            }
            assert!(queue.wait_deadline(4, late()) >= 4);
            assert_eq!(open_descriptors(), before + 8);
            assert_eq!(next(&queue).res, 0);
            drop(queue);
            // Who has delivered the last one may hold the queue a moment longer.
            let closed = eventually(|| open_descriptors() == before + 2);
            assert!(closed, "only the popped pair stays: {} and {before}", open_descriptors());
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn what_cannot_be_sent_is_handed_back() {
    let path = "queue::what_cannot_be_sent_is_handed_back";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        bounded(LIMIT, || {
            let queue = queue(2);
            let gettid = number_call(libc::SYS_gettid, []);
            match try_send(&queue, 1, gettid) {
                Err(SubmitError::Refused(call, Refusal::BoundToThread("gettid", _))) => {
                    assert_eq!(call, gettid);
                }
                other => panic!("{other:?}"),
            }
            let pipe = Pipe::new();
            for number in 0..2 {
                let _ = queued(send(&queue, number, taking_call(pipe.read_end())));
            }
            let refused = try_send(&queue, 7, taking_call(pipe.read_end()));
            assert!(refused.is_err_and(|error| error.is_busy()));
            let word = String::from("the closure");
            let Err(back) = queue.try_threadlet(8, move || word.len() as isize) else {
                panic!("no crew thread is left")
            };
            assert!(back.is_busy());
            assert_eq!(back.into_inner()(), 11);
            let sent = queue.stats().outstanding;
            (0..sent).for_each(|_| pipe.put(1));
            assert!(queue.wait_deadline(sent, late()) >= sent);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn capacities_are_checked() {
    for capacity in [0, (1 << 22) + 1, usize::MAX] {
        let error = CompletionQueue::new(capacity).expect_err("out of range");
        assert!(error.to_string().contains("capacity"), "{error}");
    }
    for (asked, got) in [(1, 2), (2, 2), (3, 4), (100, 128)] {
        assert_eq!(queue(asked).capacity(), got);
    }
}

#[test]
fn a_queue_may_be_used_and_dropped_anywhere() {
    fn anywhere<T: Send + Sync>(_: &T) {}
    bounded(Duration::from_secs(60), || {
        let queue = Arc::new(queue(2));
        anywhere(&*queue);
        // The last who has it is a closure of its own.
        let pipe = Pipe::new();
        let (other, inner) = (pipe.clone(), Arc::clone(&queue));
        let _ = queue.threadlet(1, move || {
            other.get();
            drop(inner);
            0
        });
        drop(queue);
        pipe.put(1);
        assert_eq!(syslet::drain(late()), Ok(()));
    });
}
