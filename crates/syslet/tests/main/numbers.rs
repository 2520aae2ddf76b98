//! A number that was a file's and names something else by now costs time at most.

#![allow(unsafe_code, reason = "gives numbers to other files by dup2; see `util::calls`")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use syslet::{Call, Submitted};

use crate::util::calls::{Block, Landing, go, number_call, read_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, bounded, late};

/// A number that the library knows as a file's, and that names the file of `other` by now. It is never closed.
fn was_a_files(other: RawFd) -> RawFd {
    let file = File::open("/proc/self/exe").expect("it is there");
    let number = file.as_raw_fd();
    assert_eq!(go(read_call(number, Landing::leak())).wait().raw(), 1);
    // SAFETY: both are open; who has the file only closes the number.
    assert_eq!(unsafe { libc::dup2(other, number) }, number);
    std::mem::forget(file);
    number
}

/// The answer, which comes.
fn answer(submitted: Submitted) -> isize {
    match submitted {
        Submitted::Done(ret) => ret.raw(),
        Submitted::Pending(pending) => pending.wait_deadline(late()).expect("it ends").raw(),
    }
}

/// Reads of as much as there may be, in one piece and in two.
fn reads(number: RawFd) -> [Call; 2] {
    let number = number as usize;
    let vectors = [(); 2].map(|()| [Block::leak().address(), 4096]);
    let vectors: &'static [[usize; 2]; 2] = Box::leak(Box::new(vectors));
    [
        number_call(libc::SYS_read, [number, Block::leak().address(), 4096]),
        number_call(libc::SYS_readv, [number, vectors.as_ptr() as usize, vectors.len()]),
    ]
}

#[test]
fn a_read_that_is_short_because_there_is_no_more_is_over() {
    let path = "numbers::a_read_that_is_short_because_there_is_no_more_is_over";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            for which in 0..2 {
                let pipe = Pipe::new();
                let (stream, mut peer) = UnixStream::pair().expect("a pair");
                let (datagrams, sender) = UnixDatagram::pair().expect("a pair");
                (0..10).for_each(|byte| pipe.put(byte));
                peer.write_all(&[7; 10]).expect("there is room");
                for length in [10, 20] {
                    assert_eq!(sender.send(&vec![7; length]).expect("there is room"), length);
                }
                for other in [pipe.read_end(), stream.as_raw_fd(), datagrams.as_raw_fd()] {
                    let number = was_a_files(other);
                    assert_eq!(answer(go(reads(number)[which])), 10, "read {which} of {other}");
                }
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}
