#![allow(unsafe_code, reason = "gives a number to another file")]

use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use syslet_kevent::{Event, Flags, Happened, Source};

use crate::util::{LONG, drain, one, pair, put, queue, within_short};

/// What is taken is closed again, and a message queue forgets its notification when it is closed anywhere.
#[test]
fn a_stranger_that_has_the_number_is_not_touched_when_its_source_ends() {
    let (queue, (reader, _writer)) = (queue(), std::io::pipe().unwrap());
    let name = std::ffi::CString::new(format!("/syslet-stranger-{}", std::process::id())).unwrap();
    // SAFETY: a string; no attributes.
    let messages = unsafe {
        libc::mq_open(name.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, std::ptr::null::<u8>())
    };
    if messages < 0 {
        let why = std::io::Error::last_os_error();
        return syslet_testfs::skip(&format!("there are no message queues: {why}"));
    }
    // SAFETY: a string.
    unsafe { libc::mq_unlink(name.as_ptr()) };
    // SAFETY: all zeros are one.
    let mut nothing: libc::sigevent = unsafe { std::mem::zeroed() };
    nothing.sigev_notify = libc::SIGEV_NONE;
    // SAFETY: the structure is live.
    let asks = || unsafe { libc::mq_notify(messages, &nothing) };
    queue.add(Source::pipe(reader.as_raw_fd(), Happened::RECV).with(Flags::ET)).unwrap();
    assert_eq!(asks(), 0);
    // SAFETY: the number is this test's.
    assert!(unsafe { libc::dup2(messages, reader.as_raw_fd()) } >= 0);
    queue.remove(Source::pipe(reader.as_raw_fd(), Happened::RECV).key()).unwrap();
    // What the keeper is asked for after that it does after that.
    let (mine, _theirs) = pair();
    queue.add(Source::recv(&mine)).unwrap();
    assert_eq!((asks(), std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EBUSY)));
    // SAFETY: the number is this test's.
    unsafe { libc::close(messages) };
}

#[test]
fn closing_takes_effect_at_once_though_the_socket_is_watched() {
    let (queue, (mine, mut theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    drop(mine);
    assert_eq!(theirs.read(&mut [0]).expect("the end is seen"), 0);
}

#[test]
fn a_closed_descriptor_ends_its_source_though_nothing_else_happens() {
    let (queue, (mine, _theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).with(Flags::ET).user_data(4)).unwrap();
    let begun = Instant::now();
    let number = mine.as_raw_fd();
    drop(mine);
    let event = one(&queue);
    assert!(begun.elapsed() < LONG / 4);
    assert_eq!((event.id, event.user_data), (number as u64, 4));
    assert_eq!(event.error().unwrap().raw_os_error(), Some(libc::EBADF));
    assert_eq!(queue.sources(), 0);
}

#[test]
fn what_is_closed_is_told_as_broken_once_with_each_flag() {
    let (queue, mut ids) = (queue(), Vec::new());
    let (mut sockets, mut pipes) = (Vec::new(), Vec::new());
    for flags in [
        Flags::NONE,
        Flags::ET,
        Flags::ONESHOT,
        Flags::ALWAYS_QUEUE,
        Flags::WAKEUP_ALL,
        Flags::LAST_CHECK,
    ] {
        let ((mine, theirs), (reads, writes)) = (pair(), std::io::pipe().unwrap());
        let pipe = Source::pipe(reads.as_raw_fd(), Happened::RECV);
        for source in [Source::recv(&mine), pipe] {
            assert_eq!(queue.add(source.with(flags)).unwrap(), None);
            ids.push(source.key().id);
        }
        sockets.push((mine, theirs));
        pipes.push((reads, writes));
    }
    // The other ends stay, so that nothing else happens.
    let _theirs: Vec<_> = sockets.into_iter().map(|(_, theirs)| theirs).collect();
    let _writes: Vec<_> = pipes.into_iter().map(|(_, writes)| writes).collect();
    let is_broken =
        |event: &Event| event.error().and_then(|error| error.raw_os_error()) == Some(libc::EBADF);
    let mut all: Vec<_> = ids.iter().map(|_| one(&queue)).collect();
    assert!(all.iter().all(is_broken), "{all:?}");
    all.sort_by_key(|event| event.id);
    ids.sort_unstable();
    assert_eq!(all.iter().map(|event| event.id).collect::<Vec<_>>(), ids);
    assert_eq!((within_short(&queue), queue.sources()), (vec![], 0));
}

/// Another file at the number of `old`, which is closed.
fn replace(old: impl Into<OwnedFd>, new: impl Into<OwnedFd>) -> OwnedFd {
    let (old, new) = (old.into().into_raw_fd(), new.into());
    // SAFETY: the number is ours.
    assert_eq!(unsafe { libc::dup2(new.as_raw_fd(), old) }, old);
    // SAFETY: it is open, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(old) }
}

#[test]
fn a_stranger_with_the_same_number_is_not_told_of() {
    for flags in [Flags::ET, Flags::NONE] {
        let (queue, (mine, theirs)) = (queue(), pair());
        let (stranger, friend) = pair();
        queue.add(Source::recv(&mine).with(flags)).unwrap();
        put(&theirs);
        one(&queue); // so a level-triggered one is looked at again
        let at = replace(mine, stranger);
        put(&friend);
        let event = one(&queue);
        assert_eq!(event.error().and_then(|error| error.raw_os_error()), Some(libc::EBADF));
        assert_eq!(within_short(&queue), []);
        drop(at);
    }
}

#[test]
fn a_number_that_is_added_anew_breaks_the_old_source_and_begins_another() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let (stranger, friend) = pair();
    queue.add(Source::recv(&mine).with(Flags::ET).user_data(1)).unwrap();
    let at = replace(mine, stranger);
    queue.add(Source::recv(&at).with(Flags::ET).user_data(2)).unwrap();
    let event = one(&queue);
    assert_eq!((event.user_data, event.error().is_some()), (1, true));
    put(&friend);
    assert_eq!(one(&queue).user_data, 2);
    assert_eq!((within_short(&queue).len(), queue.sources()), (0, 1));
    drop(theirs);
}

#[test]
fn a_duplicate_goes_on_being_told_after_its_source_was_removed_by_the_other_number() {
    // The epoll's own trap: what was put in by one number and is kept open by another.
    let (queue, (mine, theirs)) = (queue(), pair());
    let twin = mine.try_clone().unwrap();
    let source = Source::recv(&mine).with(Flags::ET);
    queue.add(source).unwrap();
    drop(mine);
    let _ = queue.remove(source.key());
    while !queue.get_events(0, 8, None).unwrap().is_empty() {}
    queue.add(Source::recv(&twin).with(Flags::ET).user_data(8)).unwrap();
    put(&theirs);
    assert_eq!(one(&queue).user_data, 8);
    assert_eq!(within_short(&queue), []);
    drain(&twin);
}

#[test]
fn everything_may_be_closed() {
    let queue = queue();
    let pairs: Vec<_> = (0..20).map(|_| pair()).collect();
    for (mine, _) in &pairs {
        queue.add(Source::recv(mine).with(Flags::ET)).unwrap();
    }
    drop(pairs);
    let mut broken = 0;
    while broken < 20 {
        broken += usize::from(one(&queue).error().is_some());
    }
    // And it works on.
    let (mine, theirs) = pair();
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    queue.add(Source::after(1, Duration::from_millis(1))).unwrap();
    put(&theirs);
    let kinds = [one(&queue).kind, one(&queue).kind];
    assert!(kinds.contains(&0) && kinds.contains(&2), "{kinds:?}");
}

#[test]
fn what_is_looked_at_last_is_broken_if_its_number_was_closed_or_is_a_strangers() {
    for is_closed in [true, false] {
        let (queue, (mine, theirs)) = (queue(), pair());
        let (stranger, friend) = pair();
        queue.add(Source::recv(&mine).with(Flags::ET | Flags::LAST_CHECK)).unwrap();
        put(&theirs);
        let limit = Instant::now() + LONG;
        while queue.is_empty() {
            assert!(Instant::now() < limit);
            std::thread::yield_now();
        }
        put(&friend);
        let number = mine.as_raw_fd();
        let at = if is_closed {
            drop(mine);
            None
        } else {
            Some(replace(mine, stranger))
        };
        let event = one(&queue);
        assert_eq!(event.id, number as u64);
        assert_eq!(event.error().and_then(|error| error.raw_os_error()), Some(libc::EBADF));
        assert_eq!(queue.sources(), 0);
        drop(at);
    }
}

#[test]
fn what_happens_to_a_file_that_is_open_elsewhere_too_is_told_until_it_is_found_out() {
    let (queue, (mine, theirs)) = (queue(), pair());
    let (stranger, _friend) = pair();
    let twin = mine.try_clone().unwrap();
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    let at = replace(mine, stranger);
    put(&theirs);
    while one(&queue).error().is_none() {
        drain(&twin);
        put(&theirs);
    }
    put(&theirs);
    assert_eq!((within_short(&queue), queue.sources()), (vec![], 0));
    drop((twin, at));
}
