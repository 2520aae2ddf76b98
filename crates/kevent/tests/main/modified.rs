#![allow(unsafe_code, reason = "signals, time")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use syslet_kevent::{Clock, Event, Happened, Queue, Source};

use crate::util::child::{in_child, status};
use crate::util::{LONG, one, queue, within_short};

/// Until something has come that is not fetched.
fn wait_for_event(queue: &Queue) {
    let limit = Instant::now() + LONG;
    while queue.is_empty() {
        assert!(Instant::now() < limit, "an event comes in time");
        std::thread::yield_now();
    }
}

/// Modifies `source` until `act`, on a thread of its own, has ended; then how often it was told in all.
fn told_while_modified(queue: &Queue, source: Source, act: impl FnOnce() + Send) -> u32 {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for number in [1, 2] {
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    queue.modify(source.user_data(number)).unwrap();
                }
            });
        }
        scope.spawn(|| {
            act();
            is_over.store(true, Ordering::SeqCst);
        });
    });
    let mut count = 0;
    loop {
        let events = within_short(queue);
        if events.is_empty() {
            return count;
        }
        count += events.iter().map(Event::count).sum::<u32>();
    }
}

#[test]
fn what_had_come_of_a_signal_is_told_with_what_it_was_modified_to() {
    let pid = in_child(|| {
        let (queue, number) = (queue(), libc::SIGRTMIN() + 6);
        let source = Source::signal_only(number as u32);
        queue.add(source.user_data(1)).unwrap();
        // SAFETY: no memory.
        let send = || assert_eq!(unsafe { libc::raise(number) }, 0);
        send();
        wait_for_event(&queue);
        queue.modify(source.user_data(2)).unwrap();
        let event = one(&queue);
        assert_eq!((event.user_data, event.count()), (2, 1));
        assert_eq!(within_short(&queue), []);
        // None is lost that comes meanwhile.
        let sends = || (0..5000).for_each(|_| send());
        assert_eq!(told_while_modified(&queue, source, sends), 5000);
        true
    });
    assert_eq!(status(pid), 0);
}

#[test]
fn what_had_come_to_a_directory_is_told_with_what_it_was_modified_to() {
    let folder = std::env::temp_dir().join(format!("syslet-modified-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (queue, directory) = (queue(), File::open(&folder).unwrap());
    let asked = Happened::CREATE | Happened::REMOVE;
    let source = Source::inode(directory.as_raw_fd(), asked);
    queue.add(source.user_data(1)).unwrap();
    let create = |name: u32| drop(File::create(folder.join(name.to_string())).unwrap());
    create(0);
    wait_for_event(&queue);
    queue.modify(source.user_data(2)).unwrap();
    let event = one(&queue);
    assert_eq!((event.user_data, event.happened(), event.count()), (2, Happened::CREATE, 1));
    assert_eq!(within_short(&queue), []);
    // None is lost or told twice that comes meanwhile.
    let creates = || (1..=2000).for_each(create);
    assert_eq!(told_while_modified(&queue, source, creates), 2000);
    // What is asked for no more is not told.
    create(2001);
    wait_for_event(&queue);
    queue.modify(Source::inode(directory.as_raw_fd(), Happened::REMOVE)).unwrap();
    assert_eq!(within_short(&queue), []);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_the_program_has_said_is_told_with_what_it_was_modified_to() {
    let (queue, source) = (queue(), Source::user(1));
    queue.add(source.user_data(1)).unwrap();
    assert_eq!(queue.ready(&[source.key()]), 0);
    queue.modify(source.user_data(2)).unwrap();
    assert_eq!(one(&queue).user_data, 2);
    assert_eq!(within_short(&queue), []);
    queue.modify(source.user_data(3)).unwrap();
    assert_eq!(within_short(&queue), [], "it has nothing to tell");
}

#[test]
fn a_timer_that_is_set_anew_has_not_fired() {
    let queue = queue();
    let timer = |after: Duration| {
        let first = Clock::Monotonic.now() + after.as_nanos() as u64;
        Source::timer_that_stays(1, Clock::Monotonic, first, 0)
    };
    queue.add(timer(Duration::ZERO)).unwrap();
    wait_for_event(&queue);
    queue.modify(timer(Duration::from_secs(3600))).unwrap();
    assert_eq!(within_short(&queue), []);
}

#[test]
fn a_child_that_had_ended_is_told_with_what_its_source_was_modified_to() {
    let (queue, pid) = (queue(), in_child(|| true));
    let source = Source::child(pid);
    if queue.add(source.user_data(1)).unwrap().is_some() {
        queue.add(source.user_data(1).with(syslet_kevent::Flags::ALWAYS_QUEUE)).unwrap();
    }
    wait_for_event(&queue);
    queue.modify(source.user_data(2)).unwrap();
    assert_eq!(one(&queue).user_data, 2);
    assert_eq!(status(pid), 0);
}

#[test]
fn what_comes_to_a_directory_is_told_once_though_its_source_is_added_and_modified_at_once() {
    let folder = std::env::temp_dir().join(format!("syslet-modified-added-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let (queue, directory) = (queue(), File::open(&folder).unwrap());
    let source = Source::inode(directory.as_raw_fd(), Happened::CREATE);
    const CREATED: u32 = 30;
    for _ in 0..60 {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let _ = queue.modify(source);
                }
            });
            scope.spawn(|| {
                let create = |name: u32| drop(File::create(folder.join(name.to_string())).unwrap());
                let remove =
                    |name: u32| std::fs::remove_file(folder.join(name.to_string())).unwrap();
                (0..CREATED).for_each(create);
                (0..CREATED).for_each(remove);
                is_over.store(true, Ordering::SeqCst);
            });
            queue.add(source).unwrap();
        });
        let told: u32 =
            std::iter::from_fn(|| Some(within_short(&queue)).filter(|told| !told.is_empty()))
                .flatten()
                .map(|event| event.count())
                .sum();
        assert!(told <= CREATED, "{told} of {CREATED}");
        queue.remove(source.key()).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Nobody fetches meanwhile, so that the first of them is known for as long.
#[test]
fn a_source_may_be_modified_as_often_as_one_likes_before_its_event_is_fetched() {
    let (queue, source) = (queue(), Source::user(1));
    queue.add(source).unwrap();
    assert_eq!(queue.ready(&[source.key()]), 0);
    let deaf = source.named(source.key(), 0);
    (0..100_000).for_each(|number| queue.modify(deaf.user_data(number)).unwrap());
    queue.modify(source).unwrap();
    assert_eq!(within_short(&queue), []);
}
