//! Where the system has no kernel AIO left, the keeper does it.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use syslet::{CancelOutcome, stats};

use crate::container::{deny, deny_everywhere};
use crate::util::calls::{Landing, limit, read_call};
use crate::util::child::Child;
use crate::util::message::Message;
use crate::util::parking::parked;
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually, late};

/// Has this process find no kernel AIO left, as it is when others use all that the system allows. That is done once, to
/// see that the kernel says `EAGAIN`, and given back, because other tests need some; from then on a filter says so.
pub(crate) fn use_up_aio() {
    let number = |name: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/{name}")).expect("it is there");
        text.trim().parse().expect("a number")
    };
    let mut left = number("aio-max-nr").saturating_sub(number("aio-nr")).max(1);
    let mut contexts = Vec::new();
    let refusal = loop {
        let mut context = 0usize;
        // SAFETY: the kernel writes the word, which is live.
        if unsafe { libc::syscall(libc::SYS_io_setup, left, &mut context) } == 0 {
            contexts.push(context);
        } else if left > 1 {
            left /= 2;
        } else {
            break std::io::Error::last_os_error().raw_os_error();
        }
    };
    for context in contexts {
        // SAFETY: made above; nothing was submitted.
        assert_eq!(unsafe { libc::syscall(libc::SYS_io_destroy, context) }, 0);
    }
    assert_eq!(refusal, Some(libc::EAGAIN));
    deny_everywhere(&[(libc::SYS_io_setup, libc::EAGAIN)]);
}

/// No descriptor of another process may be taken, nor of this one: as in Docker's default profile.
pub(crate) fn deny_taking() {
    deny(&[(libc::SYS_pidfd_getfd, libc::EPERM), (libc::SYS_kcmp, libc::EPERM)]);
}

/// Crew threads that may be there besides. A guest that was preempted leaves some; where files are sent each of those
/// whose guest was preempted while they were tried has one: no thread of ours sends files.
pub(crate) fn strays() -> usize {
    // SAFETY: numbers.
    let refused = unsafe { libc::syscall(libc::SYS_pidfd_getfd, -1, -1, 0) } == -1
        && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
    if refused { 50 } else { 5 }
}

#[test]
fn without_kernel_aio_the_second_way_does_it() {
    let path = "parked_without_aio::without_kernel_aio_the_second_way_does_it";
    Child::new().run(path, expect_the_second_way).expect("this is the parent").expect_done();
}

#[test]
fn without_kernel_aio_files_are_sent_where_they_may_not_be_taken() {
    let path = "parked_without_aio::without_kernel_aio_files_are_sent_where_they_may_not_be_taken";
    let ended = Child::new().run(path, || {
        deny_taking();
        expect_the_second_way();
    });
    ended.expect("this is the parent").expect_done();
}

fn expect_the_second_way() {
    limit(libc::RLIMIT_NOFILE, 4096);
    attached(|| {
        use_up_aio();
        let pairs: Vec<_> = (0..500).map(|_| UnixStream::pair().expect("a pair")).collect();
        let landings: Vec<_> = pairs.iter().map(|_| Landing::leak()).collect();
        let crew = stats().crew;
        for round in 0..3 {
            let reads: Vec<_> = pairs
                .iter()
                .zip(&landings)
                .map(|((mine, _), landing)| parked(read_call(mine.as_raw_fd(), landing)))
                .collect();
            let most = strays();
            assert!(eventually(|| stats().held + most >= 500), "{} are held", stats().held);
            assert!(stats().crew <= crew + most, "{} crew threads", stats().crew);
            pairs.iter().for_each(|(_, theirs)| {
                let _ = (&*theirs).write(&[round]).expect("there is room");
            });
            for (read, landing) in reads.into_iter().zip(&landings) {
                let answer = read.wait_deadline(late()).expect("it ends").raw();
                assert_eq!((answer, landing.byte()), (1, round));
            }
            assert!(eventually(|| stats().held == 0));
        }
        let read = parked(read_call(pairs[0].0.as_raw_fd(), landings[0]));
        assert_eq!(read.cancel(), CancelOutcome::Asked);
        assert!(read.wait().is_cancelled());
    });
}

#[test]
fn without_kernel_aio_connections_are_accepted_in_the_programs_table() {
    let path =
        "parked_without_aio::without_kernel_aio_connections_are_accepted_in_the_programs_table";
    let ended = Child::new().run(path, || {
        attached(|| {
            use_up_aio();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let mut accepting = syslet::net::accept(&listener);
            assert!(!accepting.is_done());
            let client = std::net::TcpStream::connect(address).expect("somebody listens");
            let (server, _) = accepting.wait().expect("somebody has come");
            (&client).write_all(b"x").expect("it is connected");
            assert_eq!(syslet::net::recv(&server, vec![0; 1]).wait().1, b"x");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_kernel_aio_descriptors_are_received_in_the_programs_table() {
    let path =
        "parked_without_aio::without_kernel_aio_descriptors_are_received_in_the_programs_table";
    let ended = Child::new().run(path, || {
        attached(|| {
            use_up_aio();
            let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
            let pipe = Pipe::new();
            let got = Message::leak();
            let receive = parked(got.receiving(mine.as_raw_fd()));
            let sent = Message::with(pipe.write_end());
            assert_eq!(sent.send(theirs.as_raw_fd()), 1);
            assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), 1);
            got.expect_end_of(&pipe);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_kernel_aio_descriptors_are_sent_from_the_programs_table() {
    let path =
        "parked_without_aio::without_kernel_aio_descriptors_are_sent_from_the_programs_table";
    let ended = Child::new().run(path, || {
        attached(|| {
            use_up_aio();
            let (mine, mut theirs) = UnixStream::pair().expect("a pair can be made");
            mine.set_nonblocking(true).expect("it can be set");
            let mut filled = 0;
            while let Ok(count) = (&mine).write(&[1; 4096]) {
                filled += count;
            }
            mine.set_nonblocking(false).expect("it can be set");
            let pipe = Pipe::new();
            let sent = Message::with(pipe.write_end());
            let send = parked(sent.sending(mine.as_raw_fd()));
            theirs.read_exact(&mut vec![0; filled]).expect("all is there");
            assert_eq!(send.wait_deadline(late()).expect("it ends").raw(), 1);
            let got = Message::leak();
            assert_eq!(got.receive(theirs.as_raw_fd()), 1);
            got.expect_end_of(&pipe);
        });
    });
    ended.expect("this is the parent").expect_done();
}
