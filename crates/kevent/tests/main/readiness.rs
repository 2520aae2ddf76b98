use std::io::{Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use syslet_kevent::{Flags, Happened, Key, Kind, Source};

use crate::util::{drain, errno, one, pair, put, queue, within_short};

#[test]
fn a_socket_with_something_to_read_is_told_with_its_number() {
    let (queue, (mine, theirs)) = (queue(), pair());
    assert_eq!(queue.add(Source::recv(&mine).user_data(42)).unwrap(), None);
    assert!(queue.is_empty());
    put(&theirs);
    let event = one(&queue);
    assert_eq!((event.kind(), event.id), (Some(Kind::Socket), mine.as_raw_fd() as u64));
    assert_eq!((event.user_data, event.happened()), (42, Happened::RECV));
    assert!(event.error().is_none());
}

#[test]
fn what_is_ready_at_once_is_answered_and_not_queued() {
    let (queue, (mine, theirs)) = (queue(), pair());
    put(&theirs);
    let event = queue.add(Source::recv(&mine).with(Flags::ET)).unwrap().expect("it is ready");
    assert_eq!(event.happened(), Happened::RECV);
    assert_eq!(within_short(&queue), []);
    drain(&mine);
    put(&theirs);
    assert_eq!(one(&queue).happened(), Happened::RECV, "it goes on");
}

#[test]
fn room_to_write_is_told_when_there_is_some_again() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let mut filled = 0;
    while let Ok(count) = (&mine).write(&[0; 4096]) {
        filled += count;
    }
    assert_eq!(queue.add(Source::send(&mine).with(Flags::ET)).unwrap(), None);
    assert_eq!(drain(&theirs), filled);
    assert_eq!(one(&queue).happened(), Happened::SEND);
}

#[test]
fn a_listener_is_told_of_connections_and_a_socket_of_the_end() {
    let queue = queue();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(queue.add(Source::accept(&listener).with(Flags::ET)).unwrap(), None);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(one(&queue).happened(), Happened::ACCEPT);
    let (server, _) = listener.accept().unwrap();
    queue.add(Source::recv(&server).with(Flags::ET)).unwrap();
    drop(client);
    assert_eq!(one(&queue).id, server.as_raw_fd() as u64, "the end can be read");
}

#[test]
fn both_ends_of_a_pipe_are_sources_of_their_own() {
    let queue = queue();
    let (reads, mut writes) = pipe().unwrap();
    let source = Source::pipe(reads.as_raw_fd(), Happened::RECV);
    assert_eq!(queue.add(source.with(Flags::ET)).unwrap(), None);
    let room = Source::pipe(writes.as_raw_fd(), Happened::SEND).with(Flags::ET);
    assert!(queue.add(room).unwrap().is_some(), "there is room at once");
    writes.write_all(b"x").unwrap();
    let event = one(&queue);
    assert_eq!((event.id, event.happened()), (reads.as_raw_fd() as u64, Happened::RECV));
}

#[test]
fn poll_tells_the_words_of_poll() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let mask = (libc::POLLIN | libc::POLLRDHUP) as u16;
    queue.add(Source::poll(mine.as_raw_fd(), mask).with(Flags::ET)).unwrap();
    drop(theirs);
    let wanted = (libc::POLLIN | libc::POLLRDHUP | libc::POLLHUP) as u32;
    assert_eq!(one(&queue).happened(), wanted);
}

#[test]
fn one_descriptor_can_have_a_source_of_each_kind_and_two_of_one_are_refused() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let poll = Source::poll(mine.as_raw_fd(), libc::POLLIN as u16);
    queue.add(Source::recv(&mine).with(Flags::WAKEUP_ALL | Flags::ET)).unwrap();
    queue.add(poll.with(Flags::WAKEUP_ALL | Flags::ET)).unwrap();
    assert_eq!(errno(queue.add(Source::recv(&mine))), libc::EEXIST);
    put(&theirs);
    let kinds = [one(&queue).kind(), one(&queue).kind()];
    assert!(kinds.contains(&Some(Kind::Socket)) && kinds.contains(&Some(Kind::Poll)), "{kinds:?}");
}

#[test]
fn bad_descriptors_are_answered_and_the_others_take_effect() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let folder = std::fs::File::open("/etc").unwrap();
    let sources = [
        Source::socket(-1, Happened::RECV),
        Source::poll(file.as_raw_fd(), libc::POLLIN as u16),
        Source::recv(&mine).with(Flags::ET),
        Source::signal(libc::SIGKILL as u32),
        Source::child(i32::MAX),
        Source::pipe(file.as_raw_fd(), Happened::RECV),
        Source::inode(-1, Happened::CREATE),
        Source::directory(&folder, 0),
    ];
    let mut answers = queue.add_all(&sources).into_iter();
    assert_eq!(errno(answers.next().unwrap()), libc::EBADF);
    assert_eq!(errno(answers.next().unwrap()), libc::EPERM);
    assert_eq!(answers.next().unwrap().unwrap(), None);
    assert_eq!(errno(answers.next().unwrap()), libc::EINVAL);
    assert_eq!(errno(answers.next().unwrap()), libc::ECHILD);
    assert_eq!(errno(answers.next().unwrap()), libc::EPERM);
    assert_eq!(errno(answers.next().unwrap()), libc::EBADF);
    assert_eq!(errno(answers.next().unwrap()), libc::EINVAL);
    assert_eq!((answers.len(), queue.sources()), (0, 1));
    put(&theirs);
    assert_eq!(one(&queue).id, mine.as_raw_fd() as u64);
}

#[test]
fn modify_asks_anew_and_remove_ends() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let key = Source::recv(&mine).key();
    assert_eq!(errno(queue.modify(Source::recv(&mine))), libc::ENOENT);
    assert_eq!(errno(queue.remove(key)), libc::ENOENT);
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    let both = Source::socket(mine.as_raw_fd(), Happened::RECV | Happened::SEND);
    queue.modify(both.with(Flags::ET).user_data(5)).unwrap();
    let event = one(&queue);
    assert_eq!((event.user_data, event.happened()), (5, Happened::SEND));
    put(&theirs);
    assert!(one(&queue).happened() & Happened::RECV != 0);
    put(&theirs);
    queue.remove(key).unwrap();
    assert_eq!(within_short(&queue), []);
    put(&theirs);
    assert_eq!(within_short(&queue), [], "a removed source is told nothing");
    assert_eq!(queue.sources(), 0);
}

/// Its number was closed, or there is no such signal.
#[test]
fn a_source_that_cannot_be_as_modified_is_none_afterwards() {
    let (queue, (mine, _theirs)) = (queue(), pair());
    let source = Source::recv(&mine).with(Flags::ET);
    assert_eq!(errno(queue.modify(Source::socket(-1, Happened::RECV))), libc::ENOENT);
    queue.add(source).unwrap();
    drop(mine);
    assert_eq!(errno(queue.modify(source)), libc::EBADF);
    assert_eq!(queue.sources(), 0);
}

#[test]
fn two_thousand_sockets_are_told_each_once() {
    let queue = queue();
    let pairs: Vec<_> = (0..400).map(|_| pair()).collect();
    let sources: Vec<_> =
        pairs.iter().map(|(mine, _)| Source::recv(mine).with(Flags::ET)).collect();
    assert!(queue.add_all(&sources).iter().all(|added| matches!(added, Ok(None))));
    for _ in 0..5 {
        pairs.iter().for_each(|(_, theirs)| put(theirs));
        let mut seen = std::collections::HashSet::new();
        while seen.len() < pairs.len() {
            let event = one(&queue);
            assert!(seen.insert(event.id), "{event:?} came twice");
        }
        assert_eq!(within_short(&queue), []);
        pairs.iter().for_each(|(mine, _)| assert_eq!(drain(mine), 1));
    }
    let key = Key { kind: Kind::Socket, id: pairs[0].0.as_raw_fd() as u64 };
    queue.remove(key).unwrap();
    assert_eq!(queue.sources(), pairs.len() - 1);
}
