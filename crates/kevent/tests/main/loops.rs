//! A queue in the event loops that programs have: mio's.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use syslet_kevent::{Flags, Kind, Queue, Source};

use crate::util::{LONG, pair, put, queue};

const QUEUE: Token = Token(0);
const LISTENER: Token = Token(1);
const STREAM: Token = Token(2);

/// The kinds that the queue tells until nothing is left, after its eventfd was read, as its documentation has it.
fn tells(queue: &Queue, eventfd: &mut std::fs::File, kinds: &mut BTreeSet<u32>) {
    let mut count = [0; 8];
    match eventfd.read(&mut count) {
        Ok(8) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        other => panic!("{other:?}"),
    }
    loop {
        let events = queue.get_events(0, 16, None).unwrap();
        if events.is_empty() {
            return;
        }
        kinds.extend(events.iter().map(|event| event.kind));
    }
}

/// A connection that mio serves, beside a socket, a timer, a closure and a word of another thread, of which the queue
/// tells.
#[test]
fn a_loop_of_mio_serves_its_own_sockets_and_a_queue() {
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    let mut eventfd = super::eventfds::nonblocking();
    poll.registry()
        .register(&mut SourceFd(&eventfd.as_raw_fd()), QUEUE, Interest::READABLE)
        .unwrap();

    let (queue, (mine, theirs)) = (queue(), pair());
    queue.attach_eventfd(eventfd.as_fd().try_clone_to_owned().unwrap()).unwrap();
    queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
    queue.add(Source::after(1, Duration::from_millis(2))).unwrap();
    queue.add(Source::user(1)).unwrap();
    queue.threadlet(2, 0, || 2).unwrap();

    let address = listener.local_addr().unwrap();
    let (mut served, mut kinds) = (None::<TcpStream>, BTreeSet::new());
    let mut is_read = false;
    let expected =
        [Kind::Socket, Kind::Timer, Kind::Completion, Kind::User].map(|kind| kind as u32);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = StdStream::connect(address).unwrap();
            client.write_all(b"!").unwrap();
            put(&theirs);
            queue.make_ready(Source::user(1).key());
            // Until the server has closed it.
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
        });
        let mut events = Events::with_capacity(8);
        while !(is_read && kinds == expected.into()) {
            match poll.poll(&mut events, Some(LONG)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                answer => answer.unwrap(),
            }
            assert!(!events.is_empty(), "the queue has told {kinds:?} only");
            for event in &events {
                match event.token() {
                    QUEUE => tells(&queue, &mut eventfd, &mut kinds),
                    LISTENER => {
                        let (mut stream, _) = listener.accept().unwrap();
                        let registry = poll.registry();
                        registry.register(&mut stream, STREAM, Interest::READABLE).unwrap();
                        served = Some(stream);
                    }
                    _ => is_read |= served.as_mut().unwrap().read(&mut [0]).is_ok(),
                }
            }
        }
        drop(served);
    });
}
