//! What a call names in memory may stand at any address, as it may for the kernel.

use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use syslet::Call;

use crate::util::calls::{Block, go, number_call, pending};
use crate::util::parking::parked;
use crate::util::pipe::Pipe;
use crate::util::{attached, late};

/// More than a pipe or a socket holds.
const LENGTH: usize = 1_000_000;

/// Where `words` stand, at an odd address.
fn odd(words: &[usize]) -> usize {
    let bytes: Vec<_> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Block::with(&[&[0], &bytes[..]].concat()).address() + 1
}

/// Writes `LENGTH` bytes in two pieces.
fn written(nr: i64, fd: RawFd) -> Call {
    let bytes: &'static [u8] = Box::leak(vec![7; LENGTH].into_boxed_slice());
    let at = bytes.as_ptr() as usize;
    let vectors = odd(&[at, LENGTH / 2, at, LENGTH / 2]);
    match nr {
        libc::SYS_sendmsg => {
            number_call(nr, [fd as usize, odd(&[0, 0, vectors, 2, 0, 0, 0]), 0, 0, 0, 0])
        }
        _ => number_call(nr, [fd as usize, vectors, 2, 0, 0, 0]),
    }
}

#[test]
fn vectors_may_stand_anywhere() {
    attached(|| {
        let pipe = Pipe::new();
        let (sender, receiver) = UnixStream::pair().expect("a pair");
        let receiver = std::os::fd::OwnedFd::from(receiver);
        for (call, from) in [
            (written(libc::SYS_writev, pipe.write_end()), pipe.read_end()),
            (written(libc::SYS_sendmsg, sender.as_raw_fd()), receiver.as_raw_fd()),
        ] {
            let write = pending(go(call));
            let mut left = LENGTH;
            while left > 0 {
                let read = number_call(
                    libc::SYS_read,
                    [from as usize, Block::leak().address(), left.min(4096), 0, 0, 0],
                );
                left -= usize::try_from(go(read).wait().raw()).expect("it is read");
            }
            assert_eq!(write.wait_deadline(late()).expect("it ends").raw(), LENGTH as isize);
        }
    });
}

#[test]
fn what_is_polled_may_stand_anywhere() {
    attached(|| {
        let pipe = Pipe::new();
        let entry = odd(&[pipe.read_end() as usize | (libc::POLLIN as usize) << 32]);
        let wait = parked(number_call(libc::SYS_poll, [entry, 1, u32::MAX as usize]));
        pipe.put(1);
        assert_eq!(wait.wait_deadline(late()).expect("it ends").raw(), 1);
    });
}

#[test]
fn what_is_told_of_a_child_may_stand_anywhere() {
    attached(|| {
        let mut child = Command::new("true").spawn().expect("it is there");
        let (pid, info) = (child.id() as usize, Block::leak().address() + 1);
        let how = (libc::WEXITED | libc::WNOWAIT) as usize;
        let args = [libc::P_PID as usize, pid, info, how, 0];
        assert_eq!(go(number_call(libc::SYS_waitid, args)).wait().raw(), 0);
        assert!(child.wait().expect("it has ended").success());
    });
}
