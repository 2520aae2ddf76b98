//! Reads of a disk that holds its answers, fails, or ends in the middle of them: by io_uring.

use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use syslet::{CancelOutcome, CompletionQueue, Limits, Pending, Submitted, set_limits, stats};

use crate::util::calls::{
    Block, go, hand_over, leave_cache, number_call, pending, taking_call, try_go,
};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::slow_disk::{Control, LEN, PAGE, PAGES, with_slow_disk};
use crate::util::{LIMIT, attached, eventually, late, skip, within};

/// A page that is in memory before the disk holds anything.
const WARM: usize = PAGES - 2;

/// The disk, of which nothing is in memory, and whose cold reads come to the ring.
struct Disk {
    file: File,
    control: Control,
}

impl Disk {
    /// `None`: with a skip line, where io_uring may not be used.
    fn open() -> Option<Self> {
        let probe = syslet::probe().expect("the thread can be looked at");
        if let Some(why) = probe.no_ring {
            skip(&why.to_string());
            return None;
        }
        let disk = Self { file: Control::open(0), control: Control::connect() };
        let came = eventually(|| {
            disk.leave_cache();
            (0..8).for_each(|n| disk.read(n * 9 * PAGE, PAGE).check());
            stats().ring_reads > 0
        });
        assert!(came, "cold reads do not come to the ring: {:?}", stats());
        disk.leave_cache();
        disk.read(WARM * PAGE, PAGE).check();
        Some(disk)
    }

    fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn leave_cache(&self) {
        leave_cache(&self.file);
    }

    fn read(&self, offset: usize, len: usize) -> Read {
        Read::of(self.fd(), offset, len, go)
    }

    /// A read that the ring has, of a page from `first` on. (One whose attempt was preempted has a thread:
    /// it is read to its end when the disk lets go.)
    fn read_by_the_ring(&self, first: usize) -> Read {
        for page in first.. {
            let before = stats().ring_reads;
            let read = self.read(page * PAGE, PAGE);
            if stats().ring_reads > before {
                return read;
            }
            assert!(page < first + 50, "no read comes to the ring");
        }
        unreachable!("the range has no end")
    }

    /// Waits until the ring has done all that it was asked for before: a read of what is in memory goes
    /// through it behind that.
    fn wait_for_the_ring(&self) {
        Read::of(self.fd(), WARM * PAGE, PAGE, hand_over).check();
    }
}

/// A read that was submitted.
struct Read {
    offset: usize,
    len: usize,
    blocks: Vec<&'static Block>,
    submitted: Submitted,
}

impl Read {
    fn of(fd: RawFd, offset: usize, len: usize, how: fn(syslet::Call) -> Submitted) -> Self {
        let blocks: Vec<_> = (0..len.div_ceil(PAGE)).map(|_| Block::leak()).collect();
        let vectors: Vec<_> = (0..blocks.len())
            .map(|at| [blocks[at].address(), (len - at * PAGE).min(PAGE)])
            .collect();
        let vectors: &'static [[usize; 2]] = vectors.leak();
        let args = [fd as usize, vectors.as_ptr() as usize, vectors.len(), offset];
        Self { offset, len, blocks, submitted: how(number_call(libc::SYS_preadv, args)) }
    }

    fn pending(&self) -> &Pending {
        match &self.submitted {
            Submitted::Pending(pending) => pending,
            Submitted::Done(ret) => panic!("the disk has nothing to say, and yet: {ret:?}"),
        }
    }

    /// Waits, without helping, and looks at what was read.
    fn check(self) {
        let Self { offset, len, blocks, submitted } = self;
        let ret = match submitted {
            Submitted::Done(ret) => ret,
            Submitted::Pending(pending) => {
                pending.wait_deadline(late()).unwrap_or_else(|_| panic!("no answer at {offset}"))
            }
        };
        let there = len.min(LEN - offset);
        assert_eq!(ret.raw(), there as isize, "{len} bytes at {offset} of {LEN}");
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.bytes()).collect();
        assert_eq!(syslet_testfs::mismatch(0, offset as u64, &bytes[..there]), None, "at {offset}");
        assert!(bytes[there..].iter().all(|byte| *byte == 0), "more was written than read");
    }
}

/// Keeps all crew threads asleep but the one that carries the guest, until it is dropped.
struct NoCrew {
    pipe: Pipe,
    held: Vec<Pending>,
}

impl NoCrew {
    fn new() -> Self {
        let (pipe, mut held) = (Pipe::new(), Vec::new());
        let full = eventually(|| match try_go(taking_call(pipe.read_end())) {
            Ok(submitted) => {
                held.push(pending(submitted));
                false
            }
            Err(error) => error.is_busy() && stats().crew == stats().crew_limit,
        });
        assert!(full, "crew threads are left: {:?}", stats());
        Self { pipe, held }
    }
}

impl Drop for NoCrew {
    fn drop(&mut self) {
        self.held.iter().for_each(|_| self.pipe.put(1));
        self.held.drain(..).for_each(|away| assert_eq!(away.wait().raw(), 1));
    }
}

/// Runs `body` attached, with the disk, in a process of its own, with `crew` crew threads at most.
macro_rules! with_disk {
    ($path:literal, $crew:expr, $body:expr) => {
        with_slow_disk(Child::new().var("SYSLET_MAX_CREW", $crew), $path, || {
            attached(|| {
                if let Some(disk) = Disk::open() {
                    $body(&disk);
                    assert!(eventually(|| stats().parked == 0), "{:?}", stats());
                }
            });
        })
    };
}

#[test]
fn reads_that_meet_the_end_of_a_disk_need_no_crew_thread() {
    with_disk!(
        "slow_reads::reads_that_meet_the_end_of_a_disk_need_no_crew_thread",
        2,
        |disk: &Disk| {
            let nobody = NoCrew::new();
            for (offset, len) in [(LEN - 10, 4000), (LEN - 2000, 3 * PAGE), (LEN - PAGE, 2 * PAGE)]
            {
                // A page that the kernel has just read may stay in memory for a moment.
                let by_the_ring = eventually(|| {
                    disk.leave_cache();
                    let before = stats().ring_reads;
                    disk.read(offset, len).check();
                    stats().ring_reads > before
                });
                assert!(by_the_ring, "not by the ring, at {offset}");
            }
            drop(nobody);
        }
    );
}

#[test]
fn a_read_of_which_a_part_is_in_memory_is_whole() {
    with_disk!("slow_reads::a_read_of_which_a_part_is_in_memory_is_whole", 16, |disk: &Disk| {
        for page in (0..200).step_by(4) {
            disk.leave_cache();
            disk.read(page * PAGE, PAGE).check();
            disk.read(page * PAGE, 2 * PAGE).check();
        }
    });
}

#[test]
fn a_read_that_fails_half_way_is_made_again_as_a_whole() {
    with_disk!(
        "slow_reads::a_read_that_fails_half_way_is_made_again_as_a_whole",
        16,
        |disk: &Disk| {
            for page in (0..40).step_by(4) {
                disk.leave_cache();
                disk.control.fail(page + 1);
                let before = stats().ring_reads;
                let read = Read::of(disk.fd(), page * PAGE, 2 * PAGE, hand_over);
                assert!(stats().ring_reads > before, "not by the ring, page {page}");
                read.check();
            }
        }
    );
}

#[test]
fn a_cancelled_read_that_the_disk_has_ends_when_the_disk_answers() {
    with_disk!(
        "slow_reads::a_cancelled_read_that_the_disk_has_ends_when_the_disk_answers",
        16,
        |disk: &Disk| {
            // Of the page cache the disk can be asked for a read that no thread of the kernel's has begun.
            let direct = Control::open(libc::O_DIRECT);
            disk.control.hold();
            let before = stats().ring_reads;
            let read = Read::of(direct.as_raw_fd(), 10 * PAGE, PAGE, hand_over);
            assert!(stats().ring_reads > before, "not by the ring");
            assert!(eventually(|| disk.control.held() > 0), "the disk was not asked");
            assert_eq!(read.pending().cancel(), CancelOutcome::Asked);
            disk.wait_for_the_ring();
            // Nobody may use its memory as long as the disk may still write there.
            assert!(!read.pending().is_done(), "over, and the disk has it");
            disk.control.let_go();
            read.check();
        }
    );
}

#[test]
fn cancels_end_what_the_kernel_has_not_begun() {
    /// Requests that the device takes at a time.
    const TAKEN: usize = 4;
    /// More than the device takes, and the kernel has threads to wait with: four for each CPU, and no more
    /// than the ring has room for requests.
    const READS: usize = 100;
    /// The last ones, which wait behind all those.
    const CANCELLED: usize = 20;
    /// From one to the next: the kernel makes one request of reads that follow on each other.
    const STRIDE: usize = 4 * PAGE;
    with_disk!("slow_reads::cancels_end_what_the_kernel_has_not_begun", 16, |disk: &Disk| {
        if !Control::take_at_most(TAKEN) {
            return skip("the device takes as many requests at a time as it will");
        }
        let direct = Control::open(libc::O_DIRECT);
        let queue = CompletionQueue::new(2 * READS).expect("a queue can be made");
        disk.control.hold();
        let before = stats().ring_reads;
        let reads = (0..READS).map(|n| Read::of(direct.as_raw_fd(), n * STRIDE, PAGE, hand_over));
        let (ids, blocks): (Vec<_>, Vec<_>) = reads
            .enumerate()
            .map(|(n, Read { submitted, blocks, .. })| {
                (pending(submitted).send_to(&queue, n as u64), blocks[0])
            })
            .unzip();
        assert_eq!(stats().ring_reads - before, READS as u64, "not by the ring");
        disk.wait_for_the_ring();
        assert!(eventually(|| disk.control.held() > 0), "the disk was not asked");
        // The first one is the disk's; the last ones nobody has begun.
        let told = ids.iter().rev().take(CANCELLED).chain(&ids[..1]);
        assert!(told.into_iter().all(|id| queue.cancel(*id) == CancelOutcome::Asked));
        assert_eq!(queue.wait_deadline(CANCELLED, late()), CANCELLED, "cancels do not arrive");
        disk.wait_for_the_ring();
        let mut cancelled: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|one| {
                assert!(one.ret().is_cancelled(), "{one:?}");
                one.user_data as usize
            })
            .collect();
        cancelled.sort_unstable();
        assert!(cancelled.into_iter().eq(READS - CANCELLED..READS), "others are over");
        // The rest, once each, whole, the first one too.
        disk.control.let_go();
        let rest = READS - CANCELLED;
        assert!(queue.wait_deadline(rest, late()) >= rest, "some are lost");
        let mut left: Vec<_> = (0..rest).collect();
        for one in std::iter::from_fn(|| queue.pop()) {
            let n = one.user_data as usize;
            assert_eq!(one.res, PAGE as isize, "read {n}");
            let at = left.iter().position(|left| *left == n);
            left.swap_remove(at.unwrap_or_else(|| panic!("read {n} is over twice")));
            let wrong = syslet_testfs::mismatch(0, (n * STRIDE) as u64, &blocks[n].bytes());
            assert_eq!(wrong, None, "read {n}");
        }
        assert!(left.is_empty() && queue.stats().outstanding == 0, "{left:?} are lost");
    });
}

#[test]
fn reads_that_have_waited_for_room_are_begun_while_the_disk_is_silent() {
    with_disk!(
        "slow_reads::reads_that_have_waited_for_room_are_begun_while_the_disk_is_silent",
        16,
        |disk: &Disk| {
            set_limits(Limits::new().ring_reads(1));
            disk.leave_cache();
            disk.read(WARM * PAGE, PAGE).check();
            disk.control.hold();
            let first = disk.read_by_the_ring(10);
            assert!(eventually(|| disk.control.held() > 0), "the disk was not asked");
            // More than the ring has room for requests, and fewer than the device takes.
            let page = |n: usize| (100 + 2 * n) * PAGE;
            let more = (0..80).map(|n| Read::of(disk.fd(), page(n), PAGE, hand_over));
            let more: Vec<_> = more.collect();
            let last = Read::of(disk.fd(), WARM * PAGE, PAGE, hand_over);
            set_limits(Limits::new().ring_reads(usize::MAX));
            last.check(); // it is in memory, behind all those
            assert!(more.iter().all(|read| !read.pending().is_done()), "the disk is silent");
            disk.control.let_go();
            more.into_iter().for_each(Read::check);
            first.check();
        }
    );
}

#[test]
fn a_cancelled_read_that_the_ring_has_not_taken_is_over_at_once() {
    with_disk!(
        "slow_reads::a_cancelled_read_that_the_ring_has_not_taken_is_over_at_once",
        16,
        |disk: &Disk| {
            set_limits(Limits::new().ring_reads(1));
            disk.leave_cache();
            disk.control.hold();
            let first = disk.read_by_the_ring(10);
            assert!(eventually(|| disk.control.held() > 0), "the disk was not asked");
            let second = disk.read_by_the_ring(100);
            assert!(!second.pending().is_done());
            assert_eq!(second.pending().cancel(), CancelOutcome::Asked);
            assert!(within(LIMIT, || second.pending().is_done()), "nobody has begun it");
            assert!(second.submitted.wait().is_cancelled());
            assert!(!first.pending().is_done(), "over, and the disk has it");
            disk.control.let_go();
            first.check();
        }
    );
}

#[test]
fn a_wait_with_a_deadline_leaves_a_disk_that_says_nothing() {
    with_disk!(
        "slow_reads::a_wait_with_a_deadline_leaves_a_disk_that_says_nothing",
        16,
        |disk: &Disk| {
            disk.leave_cache();
            disk.control.hold();
            let read = disk.read_by_the_ring(10);
            let Read { offset, len, blocks, submitted } = read;
            let deadline = std::time::Instant::now() + Duration::from_millis(20);
            let back = pending(submitted).wait_deadline(deadline).expect_err("the disk is silent");
            assert!(std::time::Instant::now() >= deadline);
            disk.control.let_go();
            Read { offset, len, blocks, submitted: Submitted::Pending(back) }.check();
        }
    );
}
