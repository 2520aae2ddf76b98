//! Models of the slot and of the queue, run by loom.

use std::sync::atomic::{AtomicUsize as StdCount, Ordering as StdOrdering};
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::Arc;
use loom::thread;

use super::bell::EventFd;
use super::registry::Marks;
use super::ring::Record;
use super::shared::Shared;
use super::slot::{Outcome, Slot};
use crate::sync::{AtomicU32, Ordering, bounded, bounded_by};

/// Counts wake-ups.
struct Counter(StdCount);

impl Wake for Counter {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, StdOrdering::SeqCst);
    }
}

#[test]
fn a_result_reaches_whoever_polls_for_it() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(0, 0));
        let finisher = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.complete(Outcome::Number(7)))
        };
        let counter = std::sync::Arc::new(Counter(StdCount::new(0)));
        let waker = Waker::from(std::sync::Arc::clone(&counter));
        let first = slot.poll(&mut Context::from_waker(&waker));
        finisher.join().unwrap();
        let outcome = match first {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                assert_eq!(counter.0.load(StdOrdering::SeqCst), 1, "no wake-up is lost");
                slot.try_fetch().expect("done")
            }
        };
        assert!(matches!(outcome, Outcome::Number(7)));
    });
}

/// A result that counts its destruction.
struct Counted(std::sync::Arc<Counter>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, StdOrdering::SeqCst);
    }
}

#[test]
fn a_result_that_nobody_wants_is_dropped_exactly_once() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(0, 0));
        let counter = std::sync::Arc::new(Counter(StdCount::new(0)));
        let result = Counted(std::sync::Arc::clone(&counter));
        let finisher = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.complete(Outcome::owned(result)))
        };
        slot.detach();
        finisher.join().unwrap();
        assert_eq!(counter.0.load(StdOrdering::SeqCst), 1);
    });
}

#[test]
fn a_cancel_before_the_thread_is_known_is_seen_by_the_thread() {
    loom::model(|| {
        let slot = Arc::new(Slot::new(0, 0));
        let runner = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                slot.set_tid(5);
                slot.cancel_asked()
            })
        };
        assert!(slot.ask_cancel());
        let signalled = slot.tid() == 5;
        let seen = runner.join().unwrap();
        assert!(signalled || seen, "the cancel is lost");
    });
}

#[test]
fn what_is_to_be_done_is_done_by_the_helper_or_by_who_finds_none() {
    loom::model(|| {
        let shared = Arc::new((Slot::new(0, 0), AtomicU32::new(0)));
        // The work: 0 not there yet, 1 there, 2 taken. Whoever takes it ends the call.
        let take = |(slot, work): &(Slot, AtomicU32)| {
            let (from, to, order) = (1, 2, Ordering::AcqRel);
            if work.compare_exchange(from, to, order, Ordering::Relaxed).is_ok() {
                slot.complete(Outcome::Number(7));
            }
        };
        let other = Arc::clone(&shared);
        let owner = thread::spawn(move || {
            let (slot, work) = &*other;
            work.store(1, Ordering::Release);
            if !slot.tell_helper() {
                take(&other);
            }
        });
        loop {
            take(&shared);
            if shared.0.wait_to_help() {
                break;
            }
        }
        owner.join().unwrap();
        assert!(matches!(shared.0.try_fetch(), Some(Outcome::Number(7))));
    });
}

/// A completion queue with room for two.
fn queue() -> std::sync::Arc<Shared> {
    std::sync::Arc::new(Shared::new(2, 0))
}

fn record(user_data: u64) -> Record {
    Record { user_data, ..Record::default() }
}

#[test]
fn who_asks_how_many_there_are_misses_none_that_moves() {
    bounded_by(5, || {
        let queue = queue();
        // One more than the ring holds.
        (0..3).for_each(|number| queue.post(record(number)));
        let consumers = [0; 2].map(|_| {
            let queue = Queue::clone(&queue);
            thread::spawn(move || assert!(queue.take_one().is_some()))
        });
        assert!(queue.len() > 0, "one is always there");
        consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
        assert_eq!(queue.len(), 1);
    });
}

/// A queue, used by threads of the model: std's `Arc`, as in the library.
type Queue = std::sync::Arc<Shared>;

fn producer(queue: &Queue, numbers: impl Iterator<Item = u64> + 'static) -> thread::JoinHandle<()> {
    let queue = Queue::clone(queue);
    thread::spawn(move || numbers.for_each(|number| queue.post(record(number))))
}

/// Waits for one record and takes it; tries again if another was faster.
fn take_waiting(queue: &Shared) -> u64 {
    loop {
        assert!(queue.wait(1, None) >= 1);
        if let Some(record) = queue.take_one() {
            return record.user_data;
        }
    }
}

/// Fails unless `got` is each of `of` once, and what one producer sent is in its order.
fn check_taken(got: &[u64], of: &[&[u64]]) {
    assert_eq!(got.len(), of.iter().map(|one| one.len()).sum::<usize>(), "{got:?}");
    for one in of {
        let theirs: Vec<_> = got.iter().copied().filter(|n| one.contains(n)).collect();
        assert_eq!(theirs, *one, "of {got:?}");
    }
}

#[test]
fn what_two_producers_put_in_comes_out_once_and_in_order() {
    // Four records, two places: some overflow, in most of the interleavings.
    bounded(|| {
        let queue = queue();
        let producers = [producer(&queue, 0..2), producer(&queue, 10..12)];
        let mut got: Vec<_> = (0..2).filter_map(|_| queue.take_one()).collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        got.extend(std::iter::from_fn(|| queue.take_one()));
        let got: Vec<_> = got.iter().map(|record| record.user_data).collect();
        check_taken(&got, &[&[0, 1], &[10, 11]]);
    });
}

#[test]
fn two_consumers_do_not_get_the_same_nor_leave_any() {
    bounded(|| {
        let queue = queue();
        (0..3).for_each(|number| queue.post(record(number))); // two fit
        let other = {
            let queue = Queue::clone(&queue);
            thread::spawn(move || (queue.take_one(), queue.take_one()))
        };
        let late = producer(&queue, 3..4);
        let mut got: Vec<_> = queue.take_one().into_iter().collect();
        let (first, second) = other.join().unwrap();
        if let (Some(first), Some(second)) = (first, second) {
            assert!(first.user_data < second.user_data, "the older first");
        }
        late.join().unwrap();
        got.extend(first.into_iter().chain(second));
        got.extend(std::iter::from_fn(|| queue.take_one()));
        let mut got: Vec<_> = got.iter().map(|record| record.user_data).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3]);
    });
}

#[test]
fn what_moves_up_into_the_ring_is_not_overlooked() {
    // One of three waits for room, and two make room: whoever looks meanwhile finds it there or here.
    bounded(|| {
        let queue = queue();
        (0..3).for_each(|number| queue.post(record(number)));
        let others = [(); 2].map(|()| {
            let queue = Queue::clone(&queue);
            thread::spawn(move || queue.take_one())
        });
        assert!(queue.wait(1, None) >= 1, "a deadlock if it is overlooked");
        let mut got = vec![queue.take_one()];
        got.extend(others.map(|other| other.join().unwrap()));
        let mut got: Vec<_> = got.iter().flatten().map(|record| record.user_data).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2], "as many as there were takers");
    });
}

#[test]
fn a_thread_that_waits_is_woken() {
    // A wake-up that is lost is a deadlock of the model.
    loom::model(|| {
        let queue = queue();
        let producer = producer(&queue, 0..1);
        assert_eq!(take_waiting(&queue), 0);
        producer.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_many_is_woken_by_the_last() {
    bounded_by(2, || {
        let queue = queue();
        let producers = [producer(&queue, 0..2), producer(&queue, 10..11)];
        assert!(queue.wait(3, None) >= 3);
        let got: Vec<_> =
            std::iter::from_fn(|| queue.take_one()).map(|record| record.user_data).collect();
        check_taken(&got, &[&[0, 1], &[10]]);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

#[test]
fn each_of_two_threads_that_wait_is_woken() {
    // The second record may be in the ring before the first: what uncovers it must wake both.
    // Four threads: a producer that is held up in between is one switch.
    bounded_by(1, || {
        let queue = queue();
        let producers = [producer(&queue, 0..1), producer(&queue, 1..2)];
        let other = {
            let queue = Queue::clone(&queue);
            thread::spawn(move || take_waiting(&queue))
        };
        let mut got = [take_waiting(&queue), other.join().unwrap()];
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

#[test]
fn a_thread_that_wants_one_is_not_forgotten_for_one_that_wants_two() {
    bounded(|| {
        let queue = queue();
        let [modest, greedy] = [1, 2].map(|min| {
            let queue = Queue::clone(&queue);
            thread::spawn(move || queue.wait(min, None))
        });
        queue.post(record(0));
        assert!(modest.join().unwrap() >= 1);
        queue.post(record(1));
        assert!(greedy.join().unwrap() >= 2);
    });
}

#[test]
fn a_task_that_waits_is_woken() {
    bounded(|| {
        let queue = queue();
        let producers = [producer(&queue, 0..1), producer(&queue, 1..2)];
        let counter = std::sync::Arc::new(Counter(StdCount::new(0)));
        let waker = Waker::from(std::sync::Arc::clone(&counter));
        let context = Context::from_waker(&waker);
        let mut got = Vec::new();
        while let Poll::Ready(record) = queue.poll_take(&context, None) {
            got.push(record.user_data);
            if got.len() == 2 {
                break;
            }
        }
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        let pending = got.len() < 2;
        assert!(!pending || counter.0.load(StdOrdering::SeqCst) >= 1, "the wake-up is lost");
        got.extend(std::iter::from_fn(|| queue.take_one()).map(|record| record.user_data));
        got.sort_unstable();
        assert_eq!(got, [0, 1]);
    });
}

#[test]
fn an_eventfd_is_told_of_what_comes_while_it_is_attached() {
    bounded(|| {
        let queue = queue();
        let producer = producer(&queue, 0..1);
        let told = std::sync::Arc::new(StdCount::new(0));
        queue.attach(EventFd(std::sync::Arc::clone(&told)));
        producer.join().unwrap();
        assert!(told.load(StdOrdering::SeqCst) >= 1, "nobody reads the queue");
    });
}

/// An operation that is away, with its slot.
fn send(queue: &Queue, user_data: u64) -> std::sync::Arc<Slot> {
    let slot = std::sync::Arc::new(Slot::new(0, 0));
    let marks = Marks { user_data, descriptors: [-1; 2] };
    let (_, ticket) = queue.enter(marks, slot.clone(), false);
    slot.send(ticket);
    slot
}

#[test]
fn of_finisher_and_sender_exactly_one_delivers() {
    loom::model(|| {
        let queue = queue();
        let slot = std::sync::Arc::new(Slot::new(0, 0));
        let finisher = {
            let slot = slot.clone();
            thread::spawn(move || slot.complete(Outcome::Number(7)))
        };
        let waker = Waker::noop();
        // A handle that was polled before it is sent: its waker is in the place of the ticket.
        if slot.poll(&mut Context::from_waker(waker)).is_pending() {
            let marks = Marks { user_data: 1, descriptors: [-1; 2] };
            let (_, ticket) = queue.enter(marks, slot.clone(), false);
            slot.send(ticket);
            finisher.join().unwrap();
            assert_eq!(queue.take_one(), Some(Record { res: 7, ..record(1) }));
        } else {
            finisher.join().unwrap();
        }
        assert_eq!(queue.take_one(), None);
    });
}

#[test]
fn operations_that_overflow_are_taken_once_each() {
    bounded(|| {
        let queue = queue();
        (0..2).for_each(|number| queue.post(record(number)));
        let finishers: Vec<_> = (2..4)
            .map(|number| {
                let slot = send(&queue, number);
                thread::spawn(move || slot.complete(Outcome::Number(5)))
            })
            .collect();
        let mut got: Vec<_> = (0..2).filter_map(|_| queue.take_one()).collect();
        assert_eq!(got.iter().map(|record| record.user_data).collect::<Vec<_>>(), [0, 1]);
        finishers.into_iter().for_each(|finisher| finisher.join().unwrap());
        got.extend(std::iter::from_fn(|| queue.take_one()));
        let mut rest: Vec<_> = got[2..].iter().map(|one| (one.user_data, one.res)).collect();
        rest.sort_unstable();
        assert_eq!(rest, [(2, 5), (3, 5)]);
    });
}

#[test]
fn a_result_comes_to_a_queue_that_is_given_up_or_is_dropped() {
    loom::model(|| {
        let queue = queue();
        let slot = send(&queue, 1);
        let finisher = {
            let slot = slot.clone();
            thread::spawn(move || slot.complete(Outcome::Number(7)))
        };
        queue.abandon();
        finisher.join().unwrap();
        assert!(matches!(slot.try_fetch(), Some(Outcome::Empty)), "the result is left behind");
        drop(slot);
        assert!(queue.take_one().is_none_or(|one| one.res == 7));
        assert_eq!(std::sync::Arc::strong_count(&queue), 1, "the slot has given the queue up");
    });
}
