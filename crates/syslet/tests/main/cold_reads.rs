//! Reads that have to be fetched from a disk answer what plain reads answer, also by io_uring.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use syslet::{Limits, Submitted, set_limits, stats};

use crate::container::sandbox;
use crate::util::calls::{Block, go, leave_cache, number_call, open_descriptors, plain};
use crate::util::child::Child;
use crate::util::temp::Folder;
use crate::util::{LIMIT, Property, Way, attached, bounded, eventually, skip, way, within};

const BLOCK: usize = 4096;
/// Whole blocks, and a part of one: the end of the file is within a read.
const BLOCKS: usize = 256;
const LEN: usize = BLOCKS * BLOCK + 1000;

/// The byte at `at`.
fn byte(at: usize) -> u8 {
    (at / BLOCK * 31 + at % 251) as u8
}

/// A file that is on a disk, and not in memory. `None`: with a skip line, where there are no cold reads or
/// io_uring may not be used.
struct Cold {
    file: File,
    _folder: Folder,
}

impl Cold {
    #[track_caller]
    fn new() -> Option<Self> {
        let probe = syslet::probe().expect("the thread can be looked at");
        if let Some(why) = probe.no_ring {
            skip(&why.to_string());
            return None;
        }
        assert!(sandbox().is_none(), "the sandbox denies io_uring");
        let folder = Folder::new();
        let bytes: Vec<u8> = (0..LEN).map(byte).collect();
        std::fs::write(folder.at("file"), bytes).expect("a file can be written");
        let file = File::open(folder.at("file")).expect("it is there");
        file.sync_all().expect("it can be written back");
        let cold = Self { file, _folder: folder };
        // What somebody uses at the moment stays.
        let left = within(Duration::from_secs(3), || {
            cold.leave_cache();
            cold.is_cold(5 * BLOCK)
        });
        if !left {
            skip("files of the temporary directory stay in memory");
            return None;
        }
        Some(cold)
    }

    fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn leave_cache(&self) {
        leave_cache(&self.file);
    }

    /// True if a read without waiting finds nothing.
    fn is_cold(&self, offset: usize) -> bool {
        let block = Block::leak();
        let vector: &'static [usize; 2] = Box::leak(Box::new([block.address(), 1]));
        let at = vector.as_ptr() as usize;
        let args = [self.fd() as usize, at, 1, offset, 0, libc::RWF_NOWAIT as usize];
        plain(libc::SYS_preadv2 as usize, args) == -libc::EAGAIN as isize
    }

    /// Reads cold blocks until the ring has had one: the first ones show that reads are cold.
    fn warm_up(&self) {
        let came = eventually(|| {
            self.leave_cache();
            (0..8).for_each(|n| Read::of(self.fd(), n * 9 * BLOCK, BLOCK).check());
            stats().ring_reads > 0
        });
        assert!(came, "cold reads do not come to the ring: {:?}", stats());
    }
}

/// A read that was submitted.
struct Read {
    offset: usize,
    len: usize,
    block: &'static Block,
    submitted: Option<Submitted>,
}

impl Read {
    fn of(fd: RawFd, offset: usize, len: usize) -> Self {
        let block = Block::leak();
        let args = [fd as usize, block.address(), len, offset];
        let submitted = Some(go(number_call(libc::SYS_pread64, args)));
        Self { offset, len, block, submitted }
    }

    /// The same by two vectors.
    fn by_vectors(fd: RawFd, offset: usize, len: usize) -> Self {
        let (block, half) = (Block::leak(), len / 2);
        let at = block.address();
        let vectors: &'static [usize; 4] = Box::leak(Box::new([at, half, at + half, len - half]));
        let args = [fd as usize, vectors.as_ptr() as usize, 2, offset, 0, 0];
        let submitted = Some(go(number_call(libc::SYS_preadv2, args)));
        Self { offset, len, block, submitted }
    }

    fn cancel(&self) {
        if let Some(Submitted::Pending(pending)) = &self.submitted {
            let _ = pending.cancel();
        }
    }

    /// Waits, and looks at what was read. True: it was cancelled instead.
    fn ended(mut self) -> bool {
        let ret = self.submitted.take().expect("once").wait();
        if ret.is_cancelled() {
            return true;
        }
        let there = self.len.min(LEN.saturating_sub(self.offset));
        assert_eq!(ret.raw(), there as isize, "at {} of {LEN}", self.offset);
        let bytes = self.block.bytes();
        for (at, found) in bytes[..there].iter().enumerate() {
            assert_eq!(*found, byte(self.offset + at), "at {} + {at}", self.offset);
        }
        assert!(bytes[there..].iter().all(|byte| *byte == 0), "more was written than read");
        false
    }

    fn check(self) {
        assert!(!self.ended(), "nobody has cancelled it");
    }
}

/// Runs `body` attached, with a cold file that the ring has been used for, in a process of its own.
macro_rules! with_ring {
    ($path:literal, $body:expr) => {
        let ended = Child::new().run($path, || {
            attached(|| {
                if let Some(cold) = Cold::new() {
                    cold.warm_up();
                    $body(&cold);
                }
            });
        });
        ended.expect("this is the parent").expect_done();
    };
}

#[test]
fn many_at_once_answer_what_is_in_the_file() {
    with_ring!("cold_reads::many_at_once_answer_what_is_in_the_file", |cold: &Cold| {
        let before = stats().ring_reads;
        for round in 0..10 {
            cold.leave_cache();
            let offset = |n: usize| (n * 37 + round) % (BLOCKS + 1) * BLOCK;
            let reads: Vec<_> = (0..400).map(|n| Read::of(cold.fd(), offset(n), BLOCK)).collect();
            reads.into_iter().for_each(Read::check);
        }
        // Whether the kernel gave the memory up each time is its own business.
        assert!(stats().ring_reads > before, "none came to the ring");
    });
}

#[test]
fn vectors_and_odd_places_are_read_as_by_a_plain_call() {
    with_ring!("cold_reads::vectors_and_odd_places_are_read_as_by_a_plain_call", |cold: &Cold| {
        let before = stats().ring_reads;
        for round in 0..20 {
            cold.leave_cache();
            for n in 0..40 {
                let offset = (n * 7919 + round * 977) * 27 % (LEN + BLOCK);
                Read::by_vectors(cold.fd(), offset, 3001).check();
                Read::of(cold.fd(), offset, 3001).check();
            }
        }
        assert!(stats().ring_reads > before, "none came to the ring");
        // Over the end, and behind it.
        for offset in [LEN - 10, LEN, LEN + 1, LEN + BLOCK] {
            cold.leave_cache();
            Read::of(cold.fd(), offset, 4000).check();
        }
    });
}

#[test]
fn vectors_at_the_position_of_the_file_are_filled() {
    let path = "cold_reads::vectors_at_the_position_of_the_file_are_filled";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            let Some(cold) = Cold::new() else { return };
            for n in 0..100 {
                cold.leave_cache();
                let offset = n * 2 * BLOCK;
                let first = Read::of(cold.fd(), offset, 10); // only one of two blocks is in memory
                first.check();
                let to = [Block::leak(), Block::leak()];
                let vectors: &'static [usize; 4] =
                    Box::leak(Box::new([to[0].address(), BLOCK, to[1].address(), BLOCK]));
                let seek = [cold.fd() as usize, offset, libc::SEEK_SET as usize, 0, 0, 0];
                assert_eq!(plain(libc::SYS_lseek as usize, seek), offset as isize);
                let args = [cold.fd() as usize, vectors.as_ptr() as usize, 2];
                let ret = go(number_call(libc::SYS_readv, args)).wait();
                assert_eq!(ret.raw(), 2 * BLOCK as isize, "a part was an answer");
                for (at, block) in to.iter().enumerate() {
                    let from = offset + at * BLOCK;
                    assert!(block.bytes().iter().enumerate().all(|(n, b)| *b == byte(from + n)));
                }
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn errors_are_those_of_the_plain_call() {
    with_ring!("cold_reads::errors_are_those_of_the_plain_call", |cold: &Cold| {
        let block = Block::leak().address();
        let answer = |fd: RawFd, at: usize, offset: usize| {
            cold.leave_cache();
            // The descriptor is one whose reads are tried first.
            go(number_call(libc::SYS_pread64, [fd as usize, at, BLOCK, offset])).wait().errno()
        };
        assert_eq!(answer(cold.fd(), 8, 40 * BLOCK), Some(libc::EFAULT));
        assert_eq!(answer(cold.fd(), block, usize::MAX), Some(libc::EINVAL));
        let closed = cold.file.try_clone().map(|file| file.as_raw_fd()).expect("one is left");
        assert_eq!(answer(closed, block, 0), Some(libc::EBADF));
    });
}

#[test]
fn a_cancelled_read_has_one_answer() {
    with_ring!("cold_reads::a_cancelled_read_has_one_answer", |cold: &Cold| {
        let mut cancelled = 0;
        for round in 0..60 {
            cold.leave_cache();
            let offset = |n: usize| (n * 37 + round) % BLOCKS * BLOCK;
            // More than the ring takes at a time: some are cancelled before they have begun.
            let reads: Vec<_> = (0..200).map(|n| Read::of(cold.fd(), offset(n), BLOCK)).collect();
            reads.iter().rev().for_each(Read::cancel);
            cancelled += reads.into_iter().filter_map(|read| read.ended().then_some(())).count();
        }
        assert!(cancelled > 0, "no cancel came in time");
        assert!(eventually(|| stats().parked == 0), "{:?}", stats());
    });
}

#[test]
fn the_ring_is_no_descriptor_of_the_program() {
    let path = "cold_reads::the_ring_is_no_descriptor_of_the_program";
    let ended = Child::new().run(path, || {
        attached(|| {
            syslet::threadlet(|| ()).join();
            let before = open_descriptors();
            if let Some(cold) = Cold::new() {
                cold.warm_up();
                assert_eq!(open_descriptors(), before + 1, "the file, and nothing else");
                // What the program closes is its own.
                let (keep, all) = (cold.fd() as usize, usize::MAX >> 32);
                plain(libc::SYS_close_range as usize, [3, keep - 1, 0, 0, 0, 0]);
                plain(libc::SYS_close_range as usize, [keep + 1, all, 0, 0, 0, 0]);
                let before = stats().ring_reads;
                let came = eventually(|| {
                    cold.leave_cache();
                    (0..50).for_each(|n| Read::of(cold.fd(), n * 3 * BLOCK, BLOCK).check());
                    stats().ring_reads > before
                });
                assert!(came, "the ring is gone");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn with_a_limit_of_zero_crew_threads_read() {
    with_ring!("cold_reads::with_a_limit_of_zero_crew_threads_read", |cold: &Cold| {
        set_limits(Limits::new().ring_reads(0));
        assert!(eventually(|| stats().parked == 0));
        let before = stats().ring_reads;
        cold.leave_cache();
        let reads: Vec<_> = (0..BLOCKS).map(|n| Read::of(cold.fd(), n * BLOCK, BLOCK)).collect();
        reads.into_iter().for_each(Read::check);
        assert_eq!(stats().ring_reads, before);
    });
}

#[test]
fn a_file_that_stays_in_memory_is_read_inline_again() {
    with_ring!("cold_reads::a_file_that_stays_in_memory_is_read_inline_again", |cold: &Cold| {
        if way() == Way::Pool {
            return skip(
                "nothing is remembered of a thread's reads where threads are not attached",
            );
        }
        (0..BLOCKS).for_each(|n| Read::of(cold.fd(), n * BLOCK, BLOCK).check());
        let (guest, ring) = (stats().guest.expect("attached"), stats().ring_reads);
        (0..BLOCKS).for_each(|n| Read::of(cold.fd(), n * BLOCK, BLOCK).check());
        let after = stats().guest.expect("attached");
        // A call may be preempted and handed off at any time.
        assert!(after.inline - guest.inline >= BLOCKS as u64 * 9 / 10, "{guest:?}, {after:?}");
        assert!(stats().ring_reads - ring <= BLOCKS as u64 / 10, "warm reads go to the ring");
    });
}

#[test]
fn a_forked_child_reads_on_its_own() {
    with_ring!("cold_reads::a_forked_child_reads_on_its_own", |cold: &Cold| {
        let away: Vec<_> = (0..100).map(|n| Read::of(cold.fd(), n * BLOCK, BLOCK)).collect();
        // SAFETY: the child makes calls of the library, which are allowed there, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // Its parent's reads are not answered here.
            std::mem::forget(away);
            cold.leave_cache();
            (0..100).for_each(|n| Read::of(cold.fd(), n * BLOCK, BLOCK).check());
            // SAFETY: ends the process.
            unsafe { libc::_exit(7) };
        }
        away.into_iter().for_each(Read::check);
        let mut status = 0;
        // SAFETY: writes one integer.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7, "{status}");
    });
}

/// What is done, and to which read.
#[derive(Debug, Clone, Copy)]
enum Step {
    Read(usize, usize),
    Vectors(usize, usize),
    LeaveCache,
    Cancel(usize),
    Drop(usize),
    Wait(usize),
}

fn play(cold: &Cold, steps: &[Step]) {
    let mut reads: Vec<Read> = Vec::new();
    for step in steps {
        let at = |at: usize, reads: &[Read]| at % reads.len().max(1);
        match *step {
            Step::Read(offset, len) => reads.push(Read::of(cold.fd(), offset, len)),
            Step::Vectors(offset, len) => reads.push(Read::by_vectors(cold.fd(), offset, len)),
            Step::LeaveCache => cold.leave_cache(),
            Step::Cancel(n) => reads.get(at(n, &reads)).map_or((), Read::cancel),
            Step::Drop(_) | Step::Wait(_) if reads.is_empty() => {}
            Step::Drop(n) => drop(reads.swap_remove(at(n, &reads))),
            Step::Wait(n) => {
                let _ = reads.swap_remove(at(n, &reads)).ended();
            }
        }
    }
    for read in reads {
        let _ = read.ended();
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0..LEN + BLOCK, 1..=BLOCK);
    let at = || 0usize..64;
    let step = prop_oneof![
        12 => place().prop_map(|(offset, len)| Step::Read(offset, len)),
        4 => place().prop_map(|(offset, len)| Step::Vectors(offset, len)),
        2 => Just(Step::LeaveCache),
        3 => at().prop_map(Step::Cancel),
        1 => at().prop_map(Step::Drop),
        3 => at().prop_map(Step::Wait),
    ];
    vec(step, 1..200)
}

#[test]
fn any_interleaving_answers_each_read_once() {
    with_ring!("cold_reads::any_interleaving_answers_each_read_once", |cold: &Cold| {
        let before = open_descriptors();
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
        let property = Property::tried();
        let outcome = TestRunner::new(config).run(&steps(), |steps| {
            play(cold, &steps);
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(eventually(|| stats().parked == 0 && stats().outstanding == 0), "{:?}", stats());
        assert_eq!(open_descriptors(), before, "descriptors are left");
        property.held();
    });
}

#[test]
fn others_see_the_same_bytes_meanwhile() {
    with_ring!("cold_reads::others_see_the_same_bytes_meanwhile", |cold: &Cold| {
        let file = cold.file.try_clone().expect("a descriptor is left");
        let other = std::thread::spawn(move || {
            let mut bytes = [0; BLOCK];
            for n in 0..BLOCKS {
                file.read_exact_at(&mut bytes, (n * BLOCK) as u64).expect("it is there");
                assert!(bytes.iter().enumerate().all(|(at, found)| *found == byte(n * BLOCK + at)));
            }
        });
        cold.leave_cache();
        let reads: Vec<_> = (0..BLOCKS).map(|n| Read::of(cold.fd(), n * BLOCK, BLOCK)).collect();
        other.join().expect("plain reads go on beside ours");
        reads.into_iter().for_each(Read::check);
    });
}
