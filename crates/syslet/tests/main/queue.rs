//! The answers of many operations come to one queue, once each.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures_executor::block_on;
use syslet::{Completion, CompletionQueue, Queued, Refusal, SubmitError};

use crate::util::calls::{go, number_call, pending, send, taking_call, try_send};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::queue::{Flag, next, next_of_many, queue, queued, read_of};
use crate::util::{LIMIT, attached, bounded, eventually, late};

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
