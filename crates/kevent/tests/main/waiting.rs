#![allow(unsafe_code, reason = "signals to threads")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use syslet_kevent::{Event, Queue, Source};

use crate::util::{LONG, errno, one, queue, within_short};

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
