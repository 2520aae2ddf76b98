//! Datagrams and their addresses.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use futures_executor::block_on;
use syslet::net::{recv, recv_from, send, send_to};

use crate::util::attached;
use crate::util::child::Child;
use crate::util::temp::Folder;

fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free")
}

#[test]
fn datagrams_come_whole_and_with_their_sender() {
    attached(|| {
        let (one, other) = (socket(), Arc::new(socket()));
        let to = other.local_addr().expect("it is bound");
        let from = one.local_addr().expect("it is bound");
        // Received later, and at once; cut off where the buffer ends.
        let mut receiving = recv_from(&other, vec![0; 20]);
        assert!(!receiving.is_done());
        assert_eq!(send_to(&one, "first", &to).wait().0.expect("sent"), 5);
        let (received, buf) = receiving.wait();
        assert_eq!(received.expect("received"), (5, from));
        assert_eq!(&buf[..5], b"first");
        for text in ["", "second", "third"] {
            assert_eq!(send_to(&one, text, &to).wait().0.expect("sent"), text.len());
        }
        let (received, _) = recv_from(&other, vec![0; 20]).wait();
        assert_eq!(received.expect("received"), (0, from));
        let (received, buf) = recv_from(&*other, vec![0; 3]).wait();
        assert_eq!((received.expect("received"), &buf[..]), ((3, from), &b"sec"[..]));
        one.connect(to).expect("it can be connected");
        block_on(send(&one, "connected")).0.expect("sent");
        assert_eq!(block_on(recv(&other, vec![0; 20])).0.expect("received"), 5);
        assert_eq!(block_on(recv(&other, vec![0; 9])).1, b"connected");
        let (error, _) = send_to(&one, vec![0; 100_000], &to).wait();
        assert_eq!(error.expect_err("too long").raw_os_error(), Some(libc::EMSGSIZE));
    });
}

#[test]
fn unix_datagrams_have_names_or_none() {
    let path = "typed_net::datagrams::unix_datagrams_have_names_or_none";
    // Alone: a program that another test starts beside it holds copies of its sockets for a moment.
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            let other = UnixDatagram::bind(folder.at("other")).expect("it can be bound");
            let named = UnixDatagram::bind(folder.at("named")).expect("it can be bound");
            let unnamed = UnixDatagram::unbound().expect("it can be made");
            let to = other.local_addr().expect("it is bound");

            let receiving = recv_from(&other, vec![0; 9]);
            send_to(&named, "one", &to).wait().0.expect("sent");
            let (count, from) = receiving.wait().0.expect("received");
            assert_eq!((count, from.as_pathname()), (3, Some(folder.at("named").as_path())));

            send_to(&unnamed, "two", &to).wait().0.expect("sent");
            let (count, from) = recv_from(&other, vec![0; 9]).wait().0.expect("received");
            assert!(count == 3 && from.is_unnamed());

            drop(other);
            let (error, _) = send_to(&named, "three", &to).wait();
            assert_eq!(error.expect_err("nobody is there").kind(), ErrorKind::ConnectionRefused);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn sending_a_datagram_waits_for_room() {
    attached(|| {
        let folder = Folder::new();
        let other = UnixDatagram::bind(folder.at("other")).expect("it can be bound");
        let one = UnixDatagram::unbound().expect("it can be made");
        let to = other.local_addr().expect("it is bound");
        one.set_nonblocking(true).expect("it can be set");
        let mut filled = 0;
        while one.send_to(b"fill", folder.at("other")).is_ok() {
            filled += 1;
        }
        one.set_nonblocking(false).expect("it can be set");
        let mut sending = send_to(&one, "last", &to);
        assert!(!sending.is_done());
        for _ in 0..filled {
            assert_eq!(recv(&other, vec![0; 4]).wait().1, b"fill");
        }
        assert_eq!(sending.wait().0.expect("sent"), 4);
        assert_eq!(recv(&other, vec![0; 4]).wait().1, b"last");
    });
}
