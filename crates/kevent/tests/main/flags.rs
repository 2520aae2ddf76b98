#![allow(unsafe_code, reason = "setrlimit(2)")]

use std::os::fd::AsRawFd;
use std::time::Instant;

use syslet_kevent::{Flags, Happened, Queue, Source};

use crate::util::child::{in_child, status};
use crate::util::{LONG, drain, one, pair, put, queue, within_short};

#[test]
fn without_et_an_event_comes_for_as_long_as_it_holds() {
    let (queue, (mine, theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine)).unwrap();
    put(&theirs);
    for _ in 0..3 {
        assert_eq!(one(&queue).happened(), Happened::RECV);
    }
    drain(&mine);
    assert_eq!(within_short(&queue), []);
    put(&theirs);
    assert_eq!(one(&queue).happened(), Happened::RECV);
}

#[test]
fn with_et_an_event_comes_when_something_changes() {
    let (queue, (mine, theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    put(&theirs);
    assert_eq!(one(&queue).happened(), Happened::RECV);
    assert_eq!(within_short(&queue), [], "nothing has changed, though it was not read");
    put(&theirs);
    assert_eq!(one(&queue).happened(), Happened::RECV);
    assert_eq!(drain(&mine), 2);
}

#[test]
fn oneshot_ends_with_its_event() {
    let (queue, (mine, theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).with(Flags::ONESHOT)).unwrap();
    put(&theirs);
    one(&queue);
    assert_eq!(queue.sources(), 0);
    put(&theirs);
    assert_eq!(within_short(&queue), []);
    // And it can be added again: ready at once, so it has ended at once.
    assert!(queue.add(Source::recv(&mine).with(Flags::ONESHOT)).unwrap().is_some());
    assert_eq!(queue.sources(), 0);
}

#[test]
fn last_check_drops_what_holds_no_more() {
    let (queue, (mine, theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).with(Flags::LAST_CHECK | Flags::ET)).unwrap();
    put(&theirs);
    while queue.is_empty() {
        std::thread::yield_now();
    }
    drain(&mine);
    assert_eq!(within_short(&queue), []);
    put(&theirs);
    assert_eq!(one(&queue).happened(), Happened::RECV, "the source is still there");
}

#[test]
fn last_check_leaves_out_what_holds_no_more() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let both = Source::socket(mine.as_raw_fd(), Happened::RECV | Happened::SEND);
    let checked = both.with(Flags::LAST_CHECK | Flags::ET);
    assert_eq!(queue.add(checked).unwrap().map(|event| event.happened()), Some(Happened::SEND));
    put(&theirs);
    while queue.is_empty() {
        std::thread::yield_now();
    }
    drain(&mine);
    assert_eq!(one(&queue).happened(), Happened::SEND);
}

#[test]
fn always_queue_queues_what_is_ready_at_once() {
    let (queue, (mine, theirs)) = (queue(), pair());
    put(&theirs);
    let source = Source::recv(&mine).with(Flags::ALWAYS_QUEUE | Flags::ET);
    assert_eq!(queue.add(source).unwrap(), None);
    assert_eq!(one(&queue).happened(), Happened::RECV);
}

#[test]
fn ready_makes_a_source_ready_when_it_is_added() {
    let (queue, (mine, _theirs)) = (queue(), pair());
    assert_eq!(queue.add(Source::recv(&mine).with(Flags::READY | Flags::ET)).unwrap(), None);
    assert_eq!(one(&queue).happened(), Happened::RECV);
    assert_eq!(within_short(&queue), []);
}

fn told(queues: &[Queue]) -> usize {
    queues.iter().map(|queue| within_short(queue).len()).sum()
}

#[test]
fn of_several_queues_on_one_socket_the_first_is_told_and_with_wakeup_all_each() {
    for (flags, expected) in [(Flags::NONE, 1), (Flags::WAKEUP_ALL, 3)] {
        let (queues, (mine, theirs)) = ([queue(), queue(), queue()], pair());
        for queue in &queues {
            queue.add(Source::recv(&mine).with(flags | Flags::ET)).unwrap();
        }
        // Adding the next one asks anew what is ready: nothing is.
        assert_eq!(told(&queues), 0);
        put(&theirs);
        assert_eq!(told(&queues), expected, "{flags:?}");
    }
}

#[test]
fn user_sources_are_ready_when_the_program_says_so() {
    let queue = queue();
    queue.add(Source::user(3).user_data(9)).unwrap();
    assert_eq!(within_short(&queue), []);
    let missing = Source::user(4).key();
    assert_eq!(queue.ready(&[Source::user(3).key(), missing]), 1, "one there is not");
    assert_eq!(one(&queue).user_data, 9);
    // Twice before it is fetched is once.
    assert!(queue.make_ready(Source::user(3).key()));
    assert!(queue.make_ready(Source::user(3).key()));
    one(&queue);
    assert_eq!(within_short(&queue), []);
    queue.remove(Source::user(3).key()).unwrap();
}

#[test]
fn any_source_can_be_made_ready() {
    let (queue, (mine, _theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    assert!(queue.make_ready(Source::recv(&mine).key()));
    assert_eq!(one(&queue).id, mine.as_raw_fd() as u64);
}

/// poll(2) refuses to look at more than the limit, which may be lowered below what is open.
#[test]
fn level_triggered_sources_are_looked_at_under_a_low_limit_of_descriptors() {
    const COUNT: usize = 70;
    let pid = in_child(|| {
        let (queue, pairs) = (queue(), (0..COUNT).map(|_| pair()).collect::<Vec<_>>());
        let sources: Vec<_> = pairs.iter().map(|(mine, _)| Source::recv(mine)).collect();
        let added = queue.add_all(&sources).iter().all(|added| matches!(added, Ok(None)));
        pairs.iter().for_each(|(_, theirs)| put(theirs));
        let fetch = || queue.get_events(COUNT, COUNT, Some(Instant::now() + LONG)).unwrap().len();
        let first = fetch();
        let low = libc::rlimit { rlim_cur: COUNT as u64 / 2, rlim_max: COUNT as u64 / 2 };
        // SAFETY: reads the limit.
        let lowered = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &low) } == 0;
        added && lowered && first == COUNT && fetch() == COUNT
    });
    assert_eq!(status(pid), 0);
}

#[test]
fn what_is_ready_by_request_is_told_in_the_words_of_its_kind() {
    let (queue, (mine, theirs)) = (queue(), pair());
    drop(theirs); // which poll(2) tells by more bits than these sources have
    queue.add(Source::recv(&mine).with(Flags::ET | Flags::READY)).unwrap();
    assert_eq!(one(&queue).happened(), Happened::RECV);
}
