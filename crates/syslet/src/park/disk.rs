//! A place for reads that an attempt has found cold: a ring of io_uring, which no descriptor names, and
//! the thread that owns it.
//!
//! A crew thread asleep in a read costs three thread switches and the kernel's wake-ups; a read that is
//! handed to the ring costs a part of one. The ring takes reads at a position of regular files and block
//! devices, of file systems that can be asked without waiting: those read without a thread of the kernel's.

#![allow(unsafe_code, reason = "hands the memory of calls to the kernel")]

use std::collections::VecDeque;
use std::sync::Arc;

use syslet_sys::uapi::{
    EAGAIN, ECANCELED, EINTR, EINVAL, EOPNOTSUPP, RingCompletion, RingRequest, Timespec,
};
use syslet_sys::uring::{self, COMPLETIONS, Memory};
use syslet_sys::{arch, futex};

use super::bell::{ASLEEP, Bell};
use super::op::Parked;
use crate::call::{Call, MOST_REPEATS, is_at_end, ring_read};
use crate::complete::Holder;
use crate::crew::{Engine, start_thread};
use crate::stats::Count;
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering, lock};

/// Most reads that the ring has at a time: it has room for their completions, for one of the bell and
/// for some of cancels.
pub(crate) const MOST_READS: usize = COMPLETIONS as usize - 16;

/// Nobody has wanted the ring.
const UNKNOWN: u32 = 0;
/// Its thread is making it.
const STARTING: u32 = 1;
/// It takes reads.
const READY: u32 = 2;
/// It cannot be had: with the error number above this.
const REFUSED: u32 = 1 << 16;

/// How long the thread waits where the kernel takes nothing.
const PAUSE: Timespec = Timespec { sec: 0, nsec: 1_000_000 };

/// What a completion carries that is not a read's.
const BELL: u64 = u64::MAX;
const CANCEL: u64 = u64::MAX - 1;

/// See the module.
#[derive(Debug)]
pub(crate) struct Disk {
    state: AtomicU32,
    /// Reads that the ring's thread has not taken.
    queue: Mutex<VecDeque<Arc<Parked>>>,
    bell: Bell,
    /// Changes when a read that the ring may have is to end.
    cancels: AtomicU32,
    /// Most reads that the ring has at a time; 0: it is not used.
    limit: AtomicUsize,
    /// Reads that the ring was given so far.
    pub(crate) total: Count,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(UNKNOWN),
            queue: Mutex::new(VecDeque::new()),
            bell: Bell::new(),
            cancels: AtomicU32::new(0),
            limit: AtomicUsize::new(MOST_READS),
            total: Count::default(),
        }
    }

    /// Most reads that the ring has at a time, from now on; 0: none.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit.min(MOST_READS), Ordering::Relaxed);
        self.ring_bell(); // some that wait may be begun now
    }

    /// True if the ring is there and wanted.
    pub(crate) fn takes_reads(&self) -> bool {
        self.state.load(Ordering::Acquire) == READY && self.limit.load(Ordering::Relaxed) > 0
    }

    /// A read is to end that was asked to, and that the ring may have.
    pub(super) fn tell_of_cancel(&self) {
        self.cancels.fetch_add(1, Ordering::SeqCst);
        self.ring_bell();
    }

    fn ring_bell(&self) {
        if self.bell.ring() {
            futex::wake(self.bell.word(), 1);
        }
    }

    fn settle(&self, state: u32) {
        self.state.store(state, Ordering::Release);
        futex::wake(&self.state, i32::MAX as u32);
    }
}

impl Engine {
    /// Makes the ring, unless somebody has begun to. It takes reads some time later, or never.
    pub(crate) fn start_disk(&'static self) {
        let disk = &self.park.disk;
        let state = &disk.state;
        if disk.limit.load(Ordering::Relaxed) == 0
            || state
                .compare_exchange(UNKNOWN, STARTING, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let run = move || match Reader::new(self) {
            Ok(mut reader) => {
                disk.settle(READY);
                reader.run();
            }
            Err(error) => disk.settle(REFUSED + error.unsigned_abs() as u32),
        };
        if start_thread(b"syslet-disk\0\0\0\0\0", None, run).is_err() {
            disk.settle(REFUSED + EAGAIN as u32);
        }
    }

    /// Why the ring takes no reads: the error number of io_uring_setup(2); `None` if it does.
    ///
    /// **Blocking**: until its thread knows.
    pub(crate) fn disk_refused(&'static self) -> Option<i32> {
        self.start_disk();
        let state = &self.park.disk.state;
        loop {
            match state.load(Ordering::Acquire) {
                STARTING => futex::wait(state, STARTING, None),
                READY | UNKNOWN => return None,
                refused => return Some((refused - REFUSED) as i32),
            };
        }
    }

    /// Gives a read to the ring. Duty: the caller owns it.
    pub(super) fn give_to_disk(&'static self, call: Arc<Parked>) {
        let disk = &self.park.disk;
        disk.total.add(1);
        // From here on the ring's thread takes it, a cancel ends it, or who waits for it makes it.
        call.wait();
        lock(&disk.queue).push_back(call);
        disk.ring_bell();
    }

    /// Makes a read that the ring's thread has not begun yet, on a thread that has nothing better to do
    /// than to wait for it.
    pub(super) fn read_here(&'static self, call: &Parked) {
        if !call.claim() {
            return;
        }
        let Call([nr, args @ ..]) = call.call();
        // SAFETY: the duties of `submit`: the call may be made until it ends.
        let make = || unsafe { arch::syscall(nr, args) };
        let mut answer = make();
        for _ in 1..MOST_REPEATS {
            if answer != -EINTR {
                break;
            }
            answer = make();
        }
        call.finish(&self.park, answer);
    }
}

/// A read that the ring has.
struct Begun {
    call: Arc<Parked>,
    /// The ring was told to end it.
    cancelled: bool,
}

/// The ring, on its thread.
struct Reader {
    engine: &'static Engine,
    ring: uring::Ring,
    /// The reads that the ring has, each at the place that its completion carries. The kernel may write
    /// to the memory of what is here.
    reads: Vec<Option<Begun>>,
    /// Places that are free.
    free: Vec<usize>,
    /// The ring waits for the bell.
    listens: bool,
    /// Wishes to cancel that were seen.
    cancels: u32,
}

impl Reader {
    fn new(engine: &'static Engine) -> Result<Self, isize> {
        let layout = std::alloc::Layout::new::<Memory>();
        // SAFETY: not of size zero.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<Memory>();
        if memory.is_null() {
            return Err(-EAGAIN);
        }
        // SAFETY: zeroed just now, and never freed if the ring is made.
        let mut ring = unsafe { uring::Ring::new(memory) }.inspect_err(|_| {
            // SAFETY: allocated above; the kernel does not have it.
            unsafe { std::alloc::dealloc(memory.cast(), layout) };
        })?;
        // The bell is not `ASLEEP`, so the wait ends at once. Where the kernel cannot wait for a futex (Linux 6.6)
        // each would, and this thread would never sleep.
        let wait = RingRequest::wait(engine.park.disk.bell.word(), ASLEEP);
        // SAFETY: the word is in the engine, which is never freed.
        let answer = unsafe { ring.answer(&wait) };
        if answer != -EAGAIN {
            return Err(if answer < 0 { answer } else { -EINVAL });
        }
        Ok(Self {
            engine,
            ring,
            reads: (0..MOST_READS).map(|_| None).collect(),
            free: (0..MOST_READS).collect(),
            listens: false,
            cancels: 0,
        })
    }

    fn run(&mut self) -> ! {
        let disk = &self.engine.park.disk;
        loop {
            self.take();
            self.pass_cancels_on();
            if !self.listens {
                self.listens = true;
                let wait = RingRequest::wait(disk.bell.word(), ASLEEP).carrying(BELL);
                // SAFETY: the word is in the engine, which is never freed.
                unsafe { self.ring.push(&wait) };
            }
            disk.bell.doze();
            let sleep = !self.is_wanted();
            if !sleep {
                disk.bell.rise();
            }
            // Whatever the answer: what was not taken is given again next time.
            let answer = self.ring.enter(sleep);
            disk.bell.rise();
            let mut came = false;
            while let Some(completion) = self.ring.pop() {
                came = true;
                self.complete(completion);
            }
            if answer < 0 && answer != -EINTR && !came {
                // No memory, for one: others must give some back first.
                futex::wait(&AtomicU32::new(0), 0, Some(&PAUSE));
            }
        }
    }

    /// True if a read could be taken, or a cancel is to be passed on. Not only if there is room for requests:
    /// there will be when the kernel has taken those that are there, and it may answer none of them for long.
    fn is_wanted(&self) -> bool {
        let disk = &self.engine.park.disk;
        (self.may_begin() && !lock(&disk.queue).is_empty())
            || disk.cancels.load(Ordering::SeqCst) != self.cancels
    }

    /// True if the ring has fewer reads than it may have.
    fn may_begin(&self) -> bool {
        let limit = self.engine.park.disk.limit.load(Ordering::Relaxed).max(1);
        MOST_READS - self.free.len() < limit
    }

    /// True if a read may be begun now; two more requests have room beside it.
    fn has_room(&self) -> bool {
        self.may_begin() && self.ring.room() > 2
    }

    /// Takes reads from the queue.
    fn take(&mut self) {
        let disk = &self.engine.park.disk;
        while self.has_room() {
            let Some(call) = lock(&disk.queue).pop_front() else { return };
            // If not: cancelled, or made by who waits for it.
            if call.claim() {
                self.begin(call);
            }
        }
    }

    /// Gives a claimed read to the kernel.
    fn begin(&mut self, call: Arc<Parked>) {
        let request = ring_read(&call.call());
        let Some((request, place)) = request.and_then(|read| Some((read, self.free.pop()?))) else {
            return self.engine.go_away(&call);
        };
        self.reads[place] = Some(Begun { call, cancelled: false });
        // SAFETY: the duties of `submit`: the memory is the call's until it ends, which is after its
        // completion was taken.
        unsafe { self.ring.push(&request.carrying(place as u64)) };
    }

    /// Asks the ring to end what was cancelled.
    fn pass_cancels_on(&mut self) {
        let cancels = self.engine.park.disk.cancels.load(Ordering::SeqCst);
        if cancels == self.cancels {
            return;
        }
        for (place, read) in self.reads.iter_mut().enumerate() {
            let Some(read) = read else { continue };
            if read.cancelled || !read.call.slot().cancel_asked() {
                continue;
            }
            if self.ring.room() < 2 {
                return; // the others next time
            }
            read.cancelled = true;
            // SAFETY: it names no memory.
            unsafe { self.ring.push(&RingRequest::cancel(place as u64).carrying(CANCEL)) };
        }
        self.cancels = cancels;
    }

    fn complete(&mut self, completion: RingCompletion) {
        match completion.data {
            BELL => self.listens = false,
            CANCEL => {}
            place => {
                let place = place as usize;
                let read = self.reads[place].take().expect("a place is free or has a read");
                self.free.push(place);
                self.finish(&read.call, completion.result as isize);
            }
        }
    }

    /// The ring has answered a read, which is owned by this thread therefore.
    fn finish(&self, call: &Arc<Parked>, answer: isize) {
        let again = match -answer {
            // The ring could not: not an answer that the call gives.
            EAGAIN | EINTR | EINVAL | EOPNOTSUPP => true,
            ECANCELED => !call.slot().cancel_asked(),
            // A plain read is short at the end of the file only.
            // SAFETY: the call was just made: its memory is there.
            _ => answer > 0 && !unsafe { is_at_end(&call.call(), answer) },
        };
        if again {
            self.engine.go_away(call);
        } else {
            call.finish(&self.engine.park, answer);
        }
    }
}
