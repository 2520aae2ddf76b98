//! Descriptors that nobody pops are closed with the queue.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use crate::util::calls::{accepted, number_call, open_descriptors, send, socketpair_call};
use crate::util::child::Child;
use crate::util::queue::{next, queue, queued};
use crate::util::{LIMIT, attached, eventually, late};

fn accept_of(listener: &TcpListener) -> syslet::Call {
    number_call(
        libc::SYS_accept4,
        [listener.as_raw_fd() as usize, 0, 0, libc::SOCK_CLOEXEC as usize],
    )
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port can be had")
}

fn connect(listener: &TcpListener) -> TcpStream {
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    stream
}

/// True if the other end was closed.
fn is_closed(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

#[test]
fn dropping_the_queue_closes_what_its_calls_make() {
    attached(|| {
        let listener = listener();
        // In the queue, also beyond the ring, when it is dropped.
        let full = queue(2);
        for number in 0..5 {
            let _ = send(&full, number, accept_of(&listener));
        }
        let early: Vec<_> = (0..5).map(|_| connect(&listener)).collect();
        assert!(full.wait_deadline(5, late()) >= 5);
        let popped = accepted(full.pop().expect("five are there").res);
        drop(full);
        let port = popped.peer_addr().expect("connected").port();
        for stream in &early {
            let is_popped = stream.local_addr().expect("connected").port() == port;
            assert!(is_popped || is_closed(stream), "a descriptor is left");
        }
        // Away when it is dropped.
        let away = queue(2);
        for number in 0..3 {
            let _ = queued(send(&away, number, accept_of(&listener)));
        }
        drop(away);
        let late: Vec<_> = (0..3).map(|_| connect(&listener)).collect();
        assert!(late.iter().all(is_closed), "a descriptor is left");
        drop(popped);
    });
}

#[test]
fn descriptors_that_only_some_operations_make_are_closed() {
    attached(|| {
        let (listener, queue) = (listener(), queue(4).always_queue(true));
        let mut client = connect(&listener);
        let (server, _) = listener.accept().expect("somebody has come");
        let number = server.as_raw_fd() as usize;
        for op in [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD] {
            let _ = queued(send(&queue, 1, number_call(libc::SYS_fcntl, [number, op as usize, 3])));
        }
        assert!(queue.wait_deadline(3, late()) >= 3);
        drop(server);
        client.set_nonblocking(true).expect("it can be set");
        let kind = |result: std::io::Result<usize>| result.map_err(|error| error.kind());
        assert_eq!(kind(client.read(&mut [0])), Err(std::io::ErrorKind::WouldBlock));
        drop(queue);
        assert_eq!(kind(client.read(&mut [0])), Ok(0), "a descriptor is left");
    });
}

#[test]
fn pairs_of_descriptors_that_nobody_pops_are_closed() {
    let path = "queue_descriptors::pairs_of_descriptors_that_nobody_pops_are_closed";
    let ended = Child::new().run(path, || {
        attached(|| {
            let before = open_descriptors();
            let queue = queue(2).always_queue(true);
            for number in 0..4 {
                let _ = send(&queue, number, socketpair_call().0);
            }
            assert!(queue.wait_deadline(4, late()) >= 4);
            assert_eq!(open_descriptors(), before + 8);
            assert_eq!(next(&queue).res, 0);
            drop(queue);
            // Who has delivered the last one may hold the queue a moment longer.
            let closed = eventually(|| open_descriptors() == before + 2);
            assert!(closed, "only the popped pair stays: {} and {before}", open_descriptors());
        });
    });
    ended.expect("this is the parent").expect_done();
}
