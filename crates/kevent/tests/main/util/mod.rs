//! What the tests share.

pub(crate) mod child;
pub(crate) mod ring;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use syslet_kevent::{Event, Queue};

/// Longer than anything takes that happens.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// Long enough to see that nothing happens.
pub(crate) const SHORT: Duration = Duration::from_millis(30);

pub(crate) fn queue() -> Queue {
    Queue::new().expect("there can be threads")
}

pub(crate) fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().expect("there are sockets");
    one.set_nonblocking(true).expect("it is a socket");
    other.set_nonblocking(true).expect("it is a socket");
    (one, other)
}

/// The next event, which must come.
pub(crate) fn one(queue: &Queue) -> Event {
    loop {
        match queue.get_events(1, 1, Some(Instant::now() + LONG)) {
            Ok(events) => return *events.first().expect("an event comes in time"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
        }
    }
}

/// What comes within a short time.
pub(crate) fn within_short(queue: &Queue) -> Vec<Event> {
    loop {
        match queue.get_events(1, 64, Some(Instant::now() + SHORT)) {
            Ok(events) => return events,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
        }
    }
}

pub(crate) fn put(mut to: &UnixStream) {
    to.write_all(b"!").expect("there is room");
}

/// Reads all there is.
pub(crate) fn drain(mut from: &UnixStream) -> usize {
    let (mut bytes, mut all) = ([0; 256], 0);
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return all,
            Ok(count) => all += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.expect_err("it fails").raw_os_error().expect("it has a number")
}
