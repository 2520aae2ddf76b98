#![allow(unsafe_code, reason = "signals to threads")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use syslet_kevent::{Event, Queue, Source};

use crate::util::{LONG, SHORT, errno, one, pair, put, queue, within_short};

fn post(queue: &Queue, ids: std::ops::Range<u64>) {
    ids.for_each(|id| queue.post(Event { id, kind: 9, ..Event::default() }));
}

#[test]
fn the_minimum_is_waited_for_and_the_maximum_holds() {
    let queue = queue();
    post(&queue, 0..2);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.get_events(4, 5, Some(Instant::now() + LONG)).unwrap());
        std::thread::sleep(Duration::from_millis(10));
        assert!(!waits.is_finished());
        post(&queue, 2..9);
        let events = waits.join().unwrap();
        assert!((4..=5).contains(&events.len()), "{events:?}");
        let rest = queue.get_events(0, 64, None).unwrap();
        let ids: Vec<_> = events.iter().chain(&rest).map(|event| event.id).collect();
        assert_eq!(ids, (0..9).collect::<Vec<_>>());
    });
}

#[test]
fn a_deadline_ends_the_wait_with_what_there_is() {
    let queue = queue();
    let begun = Instant::now();
    let deadline = begun + Duration::from_millis(15);
    assert_eq!(queue.get_events(1, 8, Some(deadline)).unwrap(), []);
    assert!(begun.elapsed() >= Duration::from_millis(15));
    post(&queue, 0..2);
    assert_eq!(queue.get_events(3, 8, Some(Instant::now())).unwrap().len(), 2);
    assert_eq!(queue.get_events(0, 8, None).unwrap(), [], "never waits for nothing");
}

extern "C" fn ignore(_: libc::c_int) {}

#[test]
fn a_signal_handler_ends_the_wait_and_loses_nothing() {
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(libc::SIGUSR1, ignore as *const () as usize) };
    let queue = queue();
    let thread = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            // SAFETY: no memory.
            thread.store(unsafe { libc::pthread_self() } as usize, Ordering::SeqCst);
            queue.get_events(1, 1, Some(Instant::now() + LONG))
        });
        while !waits.is_finished() {
            let at = thread.load(Ordering::SeqCst);
            if at != 0 {
                // SAFETY: it has not been joined.
                unsafe { libc::pthread_kill(at as libc::pthread_t, libc::SIGUSR1) };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(errno(waits.join().unwrap()), libc::EINTR);
    });
    post(&queue, 0..1);
    assert_eq!(one(&queue).id, 0);
}

#[test]
fn each_event_is_handed_to_one_of_the_threads_that_wait() {
    const EVENTS: u64 = 20_000;
    let queue = queue();
    let seen: Vec<AtomicUsize> = (0..EVENTS).map(|_| AtomicUsize::new(0)).collect();
    let left = AtomicUsize::new(EVENTS as usize);
    std::thread::scope(|scope| {
        for min in [1, 1, 2, 3] {
            let (queue, seen, left) = (&queue, &seen, &left);
            scope.spawn(move || {
                while left.load(Ordering::SeqCst) > 0 {
                    let deadline = Instant::now() + Duration::from_millis(50);
                    for event in queue.get_events(min, 7, Some(deadline)).unwrap() {
                        seen[event.id as usize].fetch_add(1, Ordering::SeqCst);
                        left.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for part in 0..2 {
            let queue = &queue;
            scope.spawn(move || post(queue, part * EVENTS / 2..(part + 1) * EVENTS / 2));
        }
    });
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1));
}

#[test]
fn events_wake_as_many_threads_as_there_are_events() {
    // Each thread takes one event and then stays away: nobody else may be left asleep.
    for _ in 0..200 {
        let queue = queue();
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..4).map(|_| scope.spawn(|| one(&queue).id)).collect();
            post(&queue, 0..4);
            let mut ids: Vec<_> = waits.into_iter().map(|wait| wait.join().unwrap()).collect();
            ids.sort_unstable();
            assert_eq!(ids, [0, 1, 2, 3]);
        });
    }
}

#[test]
fn a_thread_that_dies_hands_its_events_on() {
    let queue = queue();
    post(&queue, 0..5);
    let dies = || {
        let mut batch = queue.batch(4);
        assert_eq!(batch.len(), 4);
        batch.each(|event| assert!(event.id < 2, "this thread dies"));
    };
    assert!(catch_unwind(AssertUnwindSafe(dies)).is_err());
    let ids: Vec<_> = queue.get_events(0, 9, None).unwrap().iter().map(|e| e.id).collect();
    assert_eq!(ids, [2, 3, 4], "in their order, and what was done with is gone");
    // By hand, as C does it: to a thread that waits.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| one(&queue).id);
        queue.hand_on(&[Event { id: 9, ..Event::default() }]);
        assert_eq!(waits.join().unwrap(), 9);
    });
}

#[test]
fn events_of_removed_sources_are_not_counted() {
    let queue = queue();
    for id in 0..1000 {
        queue.add(Source::user(id)).unwrap();
        queue.make_ready(Source::user(id).key());
        if id % 10 != 0 {
            queue.remove(Source::user(id).key()).unwrap();
        }
    }
    assert_eq!(queue.len(), 100);
    assert_eq!(queue.get_events(100, 1000, Some(Instant::now())).unwrap().len(), 100);
    assert_eq!(within_short(&queue), []);
}

#[test]
fn a_level_triggered_event_is_handed_out_once_in_a_call() {
    let (queue, (mine, theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).user_data(5)).unwrap();
    put(&theirs);
    let two = || queue.get_events(2, 8, Some(Instant::now() + SHORT)).unwrap();
    assert_eq!(two().len(), 1, "it is one event, though it still holds");
    assert_eq!(two().len(), 1, "and one of the next call");
    // A second one ends the wait.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.get_events(2, 8, Some(Instant::now() + LONG)).unwrap());
        post(&queue, 1..2);
        let users: Vec<_> = waits.join().unwrap().iter().map(|event| event.user_data).collect();
        assert!(users.len() == 2 && users.contains(&5), "{users:?}");
    });
}

/// What `act` returns, which must not take for ever.
fn in_time<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(act()));
    told.recv_timeout(LONG).expect("it ends")
}

#[test]
fn who_is_given_events_may_use_the_queue() {
    for count in [3, 300] {
        let posts = in_time(move || {
            let queue = queue();
            post(&queue, 0..count);
            let max = count as usize;
            let taken = queue.fetch_each(max, max, None, |event| queue.post(event)).unwrap();
            (taken, queue.len())
        });
        assert_eq!(posts, (count as usize, count as usize));
    }
}

#[test]
fn events_that_were_not_given_are_handed_on_if_somebody_panics() {
    let queue = queue();
    post(&queue, 0..5);
    let gives = || queue.fetch_each(5, 5, None, |event| assert_ne!(event.id, 2));
    assert!(catch_unwind(AssertUnwindSafe(gives)).is_err());
    let ids: Vec<_> = within_short(&queue).iter().map(|event| event.id).collect();
    assert_eq!(ids, [3, 4]);
}

mod waker {
    //! A waker that uses the queue when it is cloned and dropped.
    #![allow(unsafe_code, reason = "a table of functions for a waker")]

    use std::sync::Arc;
    use std::task::{RawWaker, RawWakerVTable, Waker};

    use syslet_kevent::Queue;

    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, drop_it, |_| {}, drop_it);

    fn clone(data: *const ()) -> RawWaker {
        // SAFETY: it is of `into_raw`.
        let queue = unsafe { &*data.cast::<Queue>() };
        let _ = queue.len();
        // SAFETY: as above; the clone is one more reference.
        unsafe { Arc::increment_strong_count(data.cast::<Queue>()) };
        RawWaker::new(data, &TABLE)
    }

    fn drop_it(data: *const ()) {
        // SAFETY: it is of `into_raw`, and this reference is used no more.
        let queue = unsafe { Arc::from_raw(data.cast::<Queue>()) };
        let _ = queue.len();
    }

    pub(super) fn of(queue: &Arc<Queue>) -> Waker {
        let data = Arc::into_raw(Arc::clone(queue)).cast();
        // SAFETY: the functions do what the contract says.
        unsafe { Waker::from_raw(RawWaker::new(data, &TABLE)) }
    }
}

#[test]
fn a_waker_may_use_the_queue() {
    in_time(|| {
        let queue = std::sync::Arc::new(queue());
        let waker = waker::of(&queue);
        let mut context = std::task::Context::from_waker(&waker);
        for _ in 0..2 {
            assert!(queue.poll_next(&mut context).is_pending());
        }
        post(&queue, 0..1);
        assert!(queue.poll_next(&mut context).is_ready());
    });
}
