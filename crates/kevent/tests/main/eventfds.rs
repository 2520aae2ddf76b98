#![allow(unsafe_code, reason = "eventfd(2), numbers that are closed on purpose")]

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, mpsc};

use syslet_kevent::{Event, Flags, Source};

use crate::util::{LONG, drain, pair, put, queue};

#[test]
fn an_eventfd_is_readable_when_there_are_events() {
    let (queue, (mine, theirs)) = (queue(), pair());
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    let eventfd = eventfd();
    queue.attach_eventfd(eventfd.as_fd().try_clone_to_owned().unwrap()).unwrap();
    put(&theirs);
    let mut count = [0; 8];
    (&eventfd).read_exact(&mut count).expect("waits until it is told");
    assert_eq!(u64::from_ne_bytes(count), 1);
    assert_eq!(queue.get_events(0, 8, None).unwrap()[0].id, mine.as_raw_fd() as u64);
    queue.detach_eventfd();
    queue.post(Event::default());
    queue.attach_eventfd(eventfd.as_fd().try_clone_to_owned().unwrap()).unwrap();
    (&eventfd).read_exact(&mut count).expect("something is there already");
}

fn eventfd() -> std::fs::File {
    with(0)
}

/// One whose reads do not wait.
pub(super) fn nonblocking() -> std::fs::File {
    with(libc::EFD_NONBLOCK)
}

fn with(flags: i32) -> std::fs::File {
    use std::os::fd::FromRawFd;
    // SAFETY: no memory.
    let number = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | flags) };
    // SAFETY: it is new.
    unsafe { std::fs::File::from_raw_fd(number) }
}

/// A number that nobody owns, as C programs have them.
struct Number(RawFd);

impl AsFd for Number {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open whenever it is asked for.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

#[test]
fn nothing_is_written_to_a_stranger_that_has_the_number_of_the_eventfd() {
    let queue = queue();
    // A number of its own, high enough that no other test gets it while it is closed.
    // SAFETY: no memory.
    let number = unsafe { libc::fcntl(eventfd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, 600) };
    assert!(number >= 600);
    queue.attach_eventfd(Number(number)).unwrap();
    let (stranger, theirs) = pair();
    // SAFETY: the number is this test's.
    assert_eq!(unsafe { libc::dup2(stranger.as_raw_fd(), number) }, number);
    queue.post(Event::default());
    // From the clock's thread too: a readiness event is told there.
    let (mine, other) = pair();
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    put(&other);
    assert_eq!(queue.get_events(2, 8, None).unwrap().len(), 2);
    queue.detach_eventfd();
    assert_eq!(drain(&theirs), 0, "bytes that a stranger has sent");
    // It is still open: nothing of the stranger's was closed either.
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::close(number) }, 0);
}

#[test]
fn a_full_eventfd_holds_nobody_up() {
    let (queue, eventfd) = (Arc::new(queue()), eventfd());
    (&eventfd).write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
    queue.attach_eventfd(eventfd.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let (tell, told) = mpsc::channel();
    let other = Arc::clone(&queue);
    std::thread::spawn(move || {
        other.post(Event::default());
        let _ = tell.send(other.get_events(1, 8, None).unwrap().len());
    });
    assert_eq!(told.recv_timeout(LONG), Ok(1), "it waits for room in the eventfd");
}

#[test]
fn what_is_no_eventfd_is_refused() {
    assert!(queue().attach_eventfd(pair().0).is_err());
}
