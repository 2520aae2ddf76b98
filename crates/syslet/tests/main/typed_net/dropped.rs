//! What is dropped or cancelled early.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use syslet::net::{accept, recv, send};

use super::{listener, pair, talks};
use crate::util::calls::open_descriptors;
use crate::util::child::Child;
use crate::util::{attach, attached, eventually};

/// Bytes that a dropped call has asked for: a size that an allocator gives out again at once.
const SIZE: usize = 4096;

/// Drops a receive in flight, puts canaries where its buffer was if that was freed, and sends: the call
/// may have been cancelled or not.
fn drop_and_send(round: u8) {
    let (one, other) = pair();
    let mut receiving = recv(&other, vec![0; SIZE]);
    assert!(!receiving.is_done());
    drop(receiving);
    let canaries: Vec<Vec<u8>> = (0..8).map(|_| vec![round; SIZE]).collect();
    (&one).write_all(&[!round; SIZE]).expect("there is room");
    // The call lets go of its duplicate when it is over, one way or the other.
    drop(other);
    assert!(eventually(|| (&one).write(b"x").is_err()), "the dropped call is over");
    for canary in &canaries {
        assert!(canary.iter().all(|&byte| byte == round), "the kernel wrote into freed memory");
    }
}

#[test]
fn dropped_receives_of_many_threads_keep_their_buffers() {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(|| {
                let guard = attach();
                (0..30).for_each(drop_and_send);
                drop(guard);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no canary was hurt"));
}

#[test]
fn dropped_receive_takes_nothing_that_comes_later() {
    let path = "typed_net::dropped::dropped_receive_takes_nothing_that_comes_later";
    let ended = Child::new().run(path, || {
        attached(|| {
            for _ in 0..100 {
                let (one, other) = pair();
                let mut receiving = recv(&other, vec![0; 8]);
                assert!(!receiving.is_done());
                drop(receiving);
                assert!(eventually(|| syslet::stats().outstanding == 0), "it was not cancelled");
                talks(&one, &other);
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn dropped_send_keeps_its_buffer() {
    attached(|| {
        for round in 0..50 {
            let (one, other) = pair();
            one.set_nonblocking(true).expect("it can be set");
            while (&one).write(&[round; SIZE]).is_ok() {}
            one.set_nonblocking(false).expect("it can be set");
            let mut sending = send(&one, vec![round; SIZE]);
            assert!(!sending.is_done());
            drop(sending);
            let canaries: Vec<Vec<u8>> = (0..8).map(|_| vec![!round; SIZE]).collect();
            drop(one);
            let mut all = Vec::new();
            (&other).read_to_end(&mut all).expect("it can be read");
            assert!(all.iter().all(|&byte| byte == round), "freed memory was sent");
            drop(canaries);
        }
    });
}

#[test]
fn dropped_and_cancelled_accepts_lose_nobody_who_comes_later() {
    let path = "typed_net::dropped::dropped_and_cancelled_accepts_lose_nobody_who_comes_later";
    let ended = Child::new().run(path, || {
        attached(|| {
            let listener = Arc::new(listener());
            let address = listener.local_addr().expect("it is bound");
            let before = open_descriptors();
            for round in 0..100 {
                let mut accepting = accept(&listener);
                assert!(!accepting.is_done());
                if round % 2 == 0 {
                    drop(accepting);
                } else {
                    let _ = accepting.cancel();
                    let error = accepting.wait().expect_err("it was cancelled");
                    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
                }
                assert!(eventually(|| syslet::stats().outstanding == 0), "it was not cancelled");
                let client = TcpStream::connect(address).expect("somebody listens");
                let (server, _) = accept(&listener).wait().expect("somebody has come");
                talks(&client, &server);
            }
            assert_eq!(open_descriptors(), before);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn connection_that_a_dropped_accept_has_taken_is_closed() {
    let path = "typed_net::dropped::connection_that_a_dropped_accept_has_taken_is_closed";
    let ended = Child::new().run(path, || {
        attached(|| {
            let listener = Arc::new(listener());
            let address = listener.local_addr().expect("it is bound");
            let before = open_descriptors();
            for _ in 0..100 {
                let accepting = accept(&listener);
                let client = TcpStream::connect(address).expect("somebody listens");
                // Taken by now, or just being taken, or cancelled before.
                drop(accepting);
                assert!(eventually(|| syslet::stats().outstanding == 0));
                listener.set_nonblocking(true).expect("it can be set");
                match listener.accept() {
                    Ok((server, _)) => talks(&client, &server),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::WouldBlock);
                        assert_eq!((&client).read(&mut [0]).expect("it was closed"), 0);
                    }
                }
                listener.set_nonblocking(false).expect("it can be set");
            }
            assert_eq!(open_descriptors(), before);
        });
    });
    ended.expect("this is the parent").expect_done();
}
