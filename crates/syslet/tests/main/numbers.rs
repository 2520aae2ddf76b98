//! A number that was a file's and names something else by now costs time at most.

#![allow(unsafe_code, reason = "gives numbers to other files by dup2; see `util::calls`")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Instant;

use syslet::{Call, Pending, Submitted, stats};

use crate::util::calls::{
    Block, Counter, Landing, Words, go, hand_over, leave_cache, number_call, pending, read_call,
    replace_descriptor, set_nonblocking, sleep_call,
};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::temp::Folder;
use crate::util::{LIMIT, attached, bounded, within};

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

/// A number that the library knows as a pipe's, and that names the file of `other` by now. It is never closed.
fn was_a_pipes(other: RawFd) -> RawFd {
    let pipe = Pipe::new();
    let number = pipe.read_end();
    pipe.put(1);
    assert_eq!(go(read_call(number, Landing::leak())).wait().raw(), 1);
    replace_descriptor(number, other);
    std::mem::forget(pipe);
    number
}

/// The answer, which comes.
fn answer(submitted: Submitted) -> isize {
    match submitted {
        Submitted::Done(ret) => ret.raw(),
        Submitted::Pending(pending) => {
            pending.wait_deadline(Instant::now() + LIMIT / 6).expect("it ends").raw()
        }
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

#[test]
fn a_read_that_is_short_because_the_rest_is_not_in_memory_goes_on() {
    const LENGTH: usize = 64 * 4096;
    let path = "numbers::a_read_that_is_short_because_the_rest_is_not_in_memory_goes_on";
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            let memory = Words::leak((0..LENGTH / 8).map(|_| 0)).address();
            let vector = Words::leak([memory as u64, LENGTH as u64]).address();
            for which in 0..4 {
                // A new one each time: of one that was read what is left in memory is not so sure.
                let name = folder.at(&format!("file-{which}"));
                std::fs::write(&name, vec![7; LENGTH]).expect("there is room");
                let file = File::open(&name).expect("it is there");
                file.sync_all().expect("it can be written out");
                leave_cache(&file);
                let mut byte = [0];
                file.read_exact_at(&mut byte, 0).expect("the first page is read");
                let number = was_a_pipes(file.as_raw_fd()) as usize;
                let read = match which {
                    0 => number_call(libc::SYS_read, [number, memory, LENGTH]),
                    1 => number_call(libc::SYS_readv, [number, vector, 1]),
                    2 => number_call(libc::SYS_preadv2, [number, vector, 1, usize::MAX, 0, 0]),
                    _ => number_call(libc::SYS_preadv2, [number, vector, 1, 0, 0, 0]),
                };
                assert_eq!(answer(go(read)), LENGTH as isize, "{read:?}");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn what_tells_of_one_event_at_a_time_is_no_file() {
    let path = "numbers::what_tells_of_one_event_at_a_time_is_no_file";
    let ended = Child::new().run(path, || {
        attached(|| {
            for which in 0..2 {
                let counter = Counter::new();
                set_nonblocking(counter.fd(), false);
                let file = File::from(counter.into_inner());
                let event = || (&file).write_all(&1u64.to_ne_bytes()).expect("it can be counted");
                // The second time the number is remembered.
                for round in 0..2 {
                    event();
                    let read = go(reads(file.as_raw_fd())[which]);
                    assert_eq!(answer(read), 8, "read {which} in round {round}");
                }
                let waits = go(reads(file.as_raw_fd())[which]);
                event();
                assert_eq!(answer(waits), 8, "read {which} that has waited");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_clock_and_a_kind_of_children_are_no_descriptors() {
    let path = "numbers::a_clock_and_a_kind_of_children_are_no_descriptors";
    let ended = Child::new().run(path, || {
        attached(|| {
            // CLOCK_MONOTONIC, and P_PID: number 1, which is a file's now.
            let file = File::open("/proc/self/exe").expect("it is there");
            // SAFETY: both are open.
            let out = unsafe { libc::dup(1) };
            // SAFETY: as above.
            assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 1) }, 1);
            assert_eq!(answer(go(read_call(1, Landing::leak()))), 1);
            let long = sleep_call(LIMIT).args()[0];
            let clock = libc::CLOCK_MONOTONIC as usize;
            let sleep = number_call(libc::SYS_clock_nanosleep, [clock, 0, long, 0]);
            for how in [go, hand_over] {
                let sleeping = parked(sleep, how);
                let _ = sleeping.cancel();
                assert!(sleeping.wait().is_cancelled());
            }
            // SAFETY: as above.
            assert_eq!(unsafe { libc::dup2(out, 1) }, 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// The call, parked without having had a thread before.
fn parked(call: Call, how: fn(Call) -> Submitted) -> Pending {
    let before = stats().parked_in_all;
    let submitted = pending(how(call));
    assert!(within(LIMIT / 6, || stats().parked_in_all > before), "{call:?} has a thread");
    submitted
}

#[test]
fn a_message_on_what_was_a_files_number_waits_without_a_thread() {
    let path = "numbers::a_message_on_what_was_a_files_number_waits_without_a_thread";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            for how in [go, hand_over] {
                let (socket, mut peer) = UnixStream::pair().expect("a pair");
                let number = was_a_files(socket.as_raw_fd()) as usize;
                let args = [number, Block::leak().address(), 4096, 0, 0, 0];
                let receiving = parked(number_call(libc::SYS_recvfrom, args), how);
                peer.write_all(&[7; 10]).expect("there is room");
                assert_eq!(receiving.wait().raw(), 10);
            }
            for how in [go, hand_over] {
                let pipe = Pipe::new();
                let number = was_a_files(pipe.read_end());
                let reading = parked(reads(number)[0], how);
                pipe.put(1);
                assert_eq!(reading.wait().raw(), 1);
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}
