use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use syslet_kevent::{Event, Flags, Happened, Queue, Source};

use crate::util::{LONG, one, pair, put, queue, within_short};

/// Until the queue has something, without taking it.
fn wait_for(queue: &Queue) {
    let until = Instant::now() + LONG;
    while queue.is_empty() {
        assert!(Instant::now() < until, "nothing comes");
        std::thread::yield_now();
    }
}

#[test]
fn what_one_source_does_not_ask_for_is_for_the_others() {
    let (reads, writes, asks, (mine, theirs)) = (queue(), queue(), queue(), pair());
    assert!(reads.add(Source::recv(&mine).with(Flags::ET)).unwrap().is_none());
    let room = writes.add(Source::send(&mine).with(Flags::ET)).unwrap();
    assert_eq!(room.expect("there is room at once").happened(), Happened::SEND);
    put(&theirs);
    one(&reads);
    while !within_short(&writes).is_empty() {}
    // Another source has the kernel tell all that is ready now in one event.
    asks.add(Source::poll(source_number(&mine), libc::POLLPRI as u16).with(Flags::ET)).unwrap();
    assert_eq!(one(&reads).happened(), Happened::RECV);
    assert_eq!(one(&writes).happened(), Happened::SEND);
}

fn source_number(socket: &std::os::unix::net::UnixStream) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(socket)
}

#[test]
fn a_new_source_is_answered_what_is_ready_though_an_older_one_is_told() {
    let (old, new, (mine, theirs)) = (queue(), queue(), pair());
    old.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    put(&theirs);
    one(&old);
    let at_once = new.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    assert_eq!(at_once.expect("it is ready").happened(), Happened::RECV);
}

#[test]
fn what_was_told_to_a_source_that_is_removed_is_told_to_another() {
    let (first, second, (mine, theirs)) = (queue(), queue(), pair());
    for queue in [&first, &second] {
        queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    }
    put(&theirs);
    wait_for(&first);
    first.remove(Source::recv(&mine).key()).unwrap();
    assert_eq!(one(&second).happened(), Happened::RECV);
}

/// Two queues, with a source of one socket each, by two numbers; the first was told that there is something to read.
fn told_to_the_first(flags: Flags) -> ([Queue; 2], [UnixStream; 3]) {
    let (queues, (mine, theirs)) = ([queue(), queue()], pair());
    let twin = mine.try_clone().unwrap();
    queues[0].add(Source::recv(&mine).with(Flags::ET | flags)).unwrap();
    queues[1].add(Source::recv(&twin).with(Flags::ET)).unwrap();
    put(&theirs);
    wait_for(&queues[0]);
    (queues, [mine, twin, theirs])
}

/// Closed at once, before the keeper, which has much to do, has heard of it.
#[test]
fn what_was_told_to_a_source_that_is_removed_and_closed_is_told_to_another() {
    let (others, pairs) = (queue(), (0..300).map(|_| pair()).collect::<Vec<_>>());
    let sources: Vec<_> = pairs.iter().map(|(mine, _)| Source::recv(mine)).collect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                others.add_all(&sources);
                sources.iter().for_each(|source| others.remove(source.key()).unwrap());
            }
        });
        for _ in 0..50 {
            let ([first, second], [mine, _twin, _theirs]) = told_to_the_first(Flags::NONE);
            first.remove(Source::recv(&mine).key()).unwrap();
            drop(mine);
            let told = second.get_events(1, 1, Some(Instant::now() + LONG)).unwrap();
            is_over.store(told.is_empty(), Ordering::SeqCst);
            assert_eq!(told.first().map(Event::happened), Some(Happened::RECV));
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

#[test]
fn what_was_told_to_a_source_that_is_broken_is_told_to_another() {
    let ([first, second], [mine, _twin, _theirs]) = told_to_the_first(Flags::LAST_CHECK);
    drop(mine);
    assert!(one(&first).error().is_some());
    assert_eq!(one(&second).happened(), Happened::RECV);
}

/// As one that tells the queue of each thread to end.
#[test]
fn a_file_that_is_no_socket_can_be_in_many_queues() {
    let queues: Vec<_> = (0..20).map(|_| queue()).collect();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let source = Source::poll(std::os::fd::AsRawFd::as_raw_fd(&reader), libc::POLLIN as u16);
    for queue in &queues {
        assert_eq!(queue.add(source.with(Flags::ET)).unwrap(), None);
    }
    std::io::Write::write_all(&mut writer, b"!").unwrap();
    for queue in &queues {
        assert_eq!(one(queue).happened(), libc::POLLIN as u32);
    }
}
