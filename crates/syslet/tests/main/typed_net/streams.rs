//! Receiving and sending.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use syslet::net::{recv, send, send_all};

use super::{pair, tcp_pair};
use crate::util::calls::{count_signals, gettid, limit, signal_thread, signals_seen};
use crate::util::child::Child;
use crate::util::{LIMIT, attached, bounded, eventually, late, skip_in_pool, within};

#[test]
fn what_is_there_is_received_at_once_on_any_thread() {
    let body = || {
        let (one, other) = pair();
        let (tcp, mut peer) = tcp_pair();
        for _ in 0..20 {
            (&one).write_all(b"hello").expect("there is room");
            let receiving = recv(&other, vec![9; 8]);
            assert!(receiving.was_inline());
            let (count, buf) = receiving.wait();
            assert_eq!((count.expect("received"), &buf[..]), (5, &b"hello\x09\x09\x09"[..]));
            let sending = send(&tcp, "text");
            assert!(sending.was_inline());
            assert_eq!(sending.wait().0.expect("sent"), 4);
            let mut buf = [0; 4];
            peer.read_exact(&mut buf).expect("it can be read");
        }
    };
    attached(body);
    bounded(LIMIT, body);
}

#[test]
fn what_comes_later_is_received_later() {
    attached(|| {
        for shared in [false, true] {
            let (one, other) = pair();
            let other = Arc::new(other);
            let mut receiving =
                if shared { recv(&other, vec![0; 8]) } else { recv(&*other, vec![0; 8]) };
            assert!(!receiving.is_done());
            (&one).write_all(b"late").expect("there is room");
            let (count, buf) = receiving.wait();
            assert_eq!(&buf[..count.expect("received")], b"late");

            let receiving = recv(&other, vec![0; 8].into_boxed_slice());
            let writer = thread::spawn(move || (&one).write_all(b"later"));
            let (count, buf) = block_on(receiving);
            assert_eq!(&buf[..count.expect("received")], b"later");
            writer.join().expect("writing does not panic").expect("there is room");
        }
    });
}

#[test]
fn end_and_errors_are_those_of_std() {
    let path = "typed_net::streams::end_and_errors_are_those_of_std";
    // Alone: a program that another test starts beside it holds copies of its sockets for a moment.
    let ended = Child::new().run(path, || {
        attached(|| {
            let (one, other) = pair();
            let receiving = recv(&other, vec![0; 8]);
            one.shutdown(Shutdown::Write).expect("it is connected");
            assert_eq!(receiving.wait().0.expect("the end"), 0);
            drop(one);
            let (error, back) = send(&other, "text").wait();
            assert_eq!(error.expect_err("nobody is there").kind(), ErrorKind::BrokenPipe);
            assert_eq!(back, "text");
            let (error, _) = send_all(&other, "text").wait();
            assert_eq!(error.expect_err("nobody is there").kind(), ErrorKind::BrokenPipe);

            let (tcp, peer) = tcp_pair();
            let receiving = recv(&tcp, vec![0; 8]);
            (&tcp).write_all(b"unread").expect("there is room");
            let mut byte = [0];
            (&peer).read_exact(&mut byte).expect("it can be read");
            drop(peer);
            let (error, _) = receiving.wait();
            assert_eq!(error.expect_err("a reset").kind(), ErrorKind::ConnectionReset);

            let file = std::fs::File::open("/dev/null").expect("it is there");
            let (error, _) = recv(&file.as_fd(), vec![0; 8]).wait();
            assert_eq!(error.expect_err("not a socket").raw_os_error(), Some(libc::ENOTSOCK));
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn sockets_are_given_in_every_form() {
    attached(|| {
        let (one, other) = pair();
        let owned = Arc::new(OwnedFd::from(other.try_clone().expect("it can be cloned")));
        let take = |what: &str| {
            (&one).write_all(what.as_bytes()).expect("there is room");
        };
        take("a");
        assert_eq!(recv(&other, vec![0; 1]).wait().1, b"a");
        take("b");
        assert_eq!(recv(&other.as_fd(), vec![0; 1]).wait().1, b"b");
        take("c");
        assert_eq!(recv(&owned, vec![0; 1]).wait().1, b"c");
        let receiving = recv(&other.as_fd(), vec![0; 1]);
        let second = recv(&owned, vec![0; 1]);
        take("dd");
        assert_eq!((receiving.wait().1, second.wait().1), (b"d".to_vec(), b"d".to_vec()));
    });
}

#[test]
fn send_all_of_more_than_there_is_room_for() {
    attached(|| {
        let (one, other) = pair();
        let (tcp, peer) = tcp_pair();
        let bytes: Vec<u8> = (0..16_000_001u32).map(|n| (n % 253) as u8).collect();
        let read = |mut stream: Box<dyn Read + Send>| {
            thread::spawn(move || {
                let mut all = Vec::new();
                stream.read_to_end(&mut all).expect("it can be read");
                all
            })
        };
        let mut first = send_all(&one, bytes.clone());
        let mut second = send_all(&tcp, bytes.clone());
        assert!(!first.is_done() && !second.is_done());
        let readers = [read(Box::new(other)), read(Box::new(peer))];
        let (result, back) = first.wait();
        result.expect("all of it is sent");
        assert_eq!(back, bytes);
        block_on(second).0.expect("all of it is sent");
        drop((one, tcp));
        for reader in readers {
            assert_eq!(reader.join().expect("reading does not panic"), bytes);
        }
    });
}

/// Fills the socket's buffer up.
fn fill(mut stream: &UnixStream) {
    stream.set_nonblocking(true).expect("it can be set");
    while stream.write(&[0; 4096]).is_ok() {}
    stream.set_nonblocking(false).expect("it can be set");
}

#[test]
fn send_waits_for_room() {
    attached(|| {
        let (one, other) = pair();
        fill(&one);
        let mut sending = send(&one, "end");
        assert!(!sending.is_done());
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            (&other).read_to_end(&mut all).expect("it can be read");
            all
        });
        assert_eq!(sending.wait().0.expect("sent"), 3);
        drop(one);
        let all = reader.join().expect("reading does not panic");
        assert_eq!(&all[all.len() - 4..], b"\0end");
    });
}

#[test]
fn cancelled_send_all_says_so() {
    attached(|| {
        for progress in [0, 600_000] {
            let (one, other) = pair();
            let mut sending = send_all(&one, vec![1; 3_000_000]);
            assert!(!sending.is_done());
            // More than there was room for: the call in progress has sent something, and ends with
            // that when it is told to.
            (&other).read_exact(&mut vec![0; progress]).expect("it can be read");
            let _ = sending.cancel();
            let Ok((error, back)) = sending.wait_deadline(late()) else {
                panic!("it goes on after {progress}")
            };
            assert_eq!(error.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
            assert_eq!(back, vec![1; 3_000_000]);
        }
    });
}

#[test]
fn nonblocking_sockets_answer_would_block() {
    attached(|| {
        let (one, _other) = pair();
        fill(&one);
        one.set_nonblocking(true).expect("it can be set");
        let (error, buf) = recv(&one, vec![3; 4]).wait();
        assert_eq!(error.expect_err("nothing is there").kind(), ErrorKind::WouldBlock);
        assert_eq!(buf, [3; 4]);
        let (error, _) = send(&one, "text").wait();
        assert_eq!(error.expect_err("there is no room").kind(), ErrorKind::WouldBlock);
        let (error, _) = send_all(&one, "text").wait();
        assert_eq!(error.expect_err("there is no room").kind(), ErrorKind::WouldBlock);
        let listener = super::listener();
        listener.set_nonblocking(true).expect("it can be set");
        let nobody = syslet::net::accept(&listener).wait().expect_err("nobody comes");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn time_limits_of_the_socket_hold() {
    attached(|| {
        let (one, _other) = pair();
        let limit = Duration::from_millis(30);
        one.set_read_timeout(Some(limit)).expect("it can be set");
        let begun = Instant::now();
        let (error, _) = recv(&one, vec![0; 4]).wait();
        assert_eq!(error.expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
        assert!(begun.elapsed() >= limit);
    });
}

#[test]
fn socket_may_be_closed_while_an_operation_waits() {
    attached(|| {
        for shared in [false, true] {
            let (one, other) = pair();
            let other = Arc::new(other);
            let receiving =
                if shared { recv(&other, vec![0; 8]) } else { recv(&*other, vec![0; 8]) };
            drop(other);
            // Sockets that are made now do not get its number.
            let others: Vec<_> = (0..10).map(|_| pair()).collect();
            for (a, b) in &others {
                ({ a }).write_all(b"wrong").expect("there is room");
                ({ b }).write_all(b"wrong").expect("there is room");
            }
            (&one).write_all(b"right").expect("it is still held");
            let (count, buf) = receiving.wait();
            assert_eq!(&buf[..count.expect("received")], b"right");
            assert!(eventually(|| (&one).write(b"more").is_err()), "it is held no longer");
        }
    });
}

#[test]
fn no_descriptor_for_a_duplicate_is_an_error_and_an_arc_needs_none() {
    let path =
        "typed_net::streams::no_descriptor_for_a_duplicate_is_an_error_and_an_arc_needs_none";
    let ended = Child::new().run(path, || {
        attached(|| {
            let (one, other) = pair();
            let other = Arc::new(other);
            let highest = std::fs::File::open("/dev/null").expect("it is there").as_raw_fd();
            // What is open stays so; nothing else can be opened.
            let before = limit(libc::RLIMIT_NOFILE, highest as u64);
            let (error, buf) = recv(&*other, vec![4; 4]).wait();
            let mut waiting = recv(&other, vec![0; 4]);
            assert!(!waiting.is_done());
            limit(libc::RLIMIT_NOFILE, before);
            assert_eq!(error.expect_err("no number is left").raw_os_error(), Some(libc::EMFILE));
            assert_eq!(buf, [4; 4]);
            (&one).write_all(b"fine").expect("there is room");
            assert_eq!(waiting.wait().1, b"fine");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn interruption_inside_a_threadlet_is_not_answered() {
    let path = "typed_net::streams::interruption_inside_a_threadlet_is_not_answered";
    let ended = Child::new().run(path, || {
        if skip_in_pool("signals on crew threads") {
            return;
        }
        count_signals(libc::SIGUSR1);
        attached(|| {
            let (one, other) = pair();
            let (tell, told) = channel();
            let receiving = syslet::threadlet(move || {
                tell.send(gettid()).expect("somebody waits");
                recv(&other, vec![0; 3]).wait()
            });
            let tid = told.recv().expect("it was told");
            for number in 1..=20 {
                signal_thread(tid, libc::SIGUSR1);
                assert!(eventually(|| signals_seen() >= number), "signal {number} was not seen");
            }
            assert!(!receiving.is_finished(), "{:?}", receiving.join());
            (&one).write_all(b"end").expect("there is room");
            assert_eq!(receiving.join().1, b"end");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn send_all_goes_on_where_a_send_was_broken_off() {
    let path = "typed_net::streams::send_all_goes_on_where_a_send_was_broken_off";
    let ended = Child::new().run(path, || {
        if skip_in_pool("signals on crew threads") {
            return;
        }
        count_signals(libc::SIGUSR1);
        attached(|| {
            let (one, mut other) = pair();
            let bytes: Vec<u8> = (0..3_000_001u32).map(|n| (n % 251) as u8).collect();
            let (tell, told) = channel();
            let sent = bytes.clone();
            let sending = syslet::threadlet(move || {
                tell.send(gettid()).expect("somebody waits");
                send_all(&one, sent).wait().0
            });
            let tid = told.recv().expect("it was told");
            let (mut all, mut piece) = (Vec::new(), vec![0; 130_000]);
            for number in 1..=15 {
                other.read_exact(&mut piece).expect("it can be read");
                all.extend_from_slice(&piece);
                signal_thread(tid, libc::SIGUSR1);
                assert!(eventually(|| signals_seen() >= number), "signal {number} was not seen");
            }
            other.read_to_end(&mut all).expect("it can be read");
            sending.join().expect("all of it is sent");
            assert!(all == bytes, "something else was sent, {} bytes", all.len());
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn call_that_is_made_again_goes_to_the_same_socket() {
    let path = "typed_net::streams::call_that_is_made_again_goes_to_the_same_socket";
    let ended = Child::new().run(path, || {
        count_signals(libc::SIGUSR1);
        attached(|| {
            let (one, other) = pair();
            let tid = gettid();
            let mut receiving = recv(&other, vec![0; 8]);
            assert!(!receiving.is_done());
            drop(other);
            // One of these gets its number.
            let others: Vec<_> = (0..10).map(|_| pair()).collect();
            for (a, b) in &others {
                ({ a }).write_all(b"wrong").expect("there is room");
                ({ b }).write_all(b"wrong").expect("there is room");
            }
            // If the call sleeps on that thread it is interrupted, and made again.
            signal_thread(tid, libc::SIGUSR1);
            within(Duration::from_millis(200), || signals_seen() > 0);
            (&one).write_all(b"right").expect("it is still held");
            let (count, buf) = receiving.wait();
            assert_eq!(&buf[..count.expect("received")], b"right");
        });
    });
    ended.expect("this is the parent").expect_done();
}
