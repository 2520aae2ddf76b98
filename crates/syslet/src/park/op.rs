//! A parked call: what waits without a thread.
//! Its phase says who may touch it: see this folder's README.md.

#![allow(unsafe_code, reason = "the call's cells are guarded by the phase")]

use std::cell::UnsafeCell;
use std::sync::Arc;

use syslet_sys::uapi::{ECANCELED, Iocb, Stat};

use super::keeper::Delivery;
use super::phase::Phase;
use super::timers::Clock;
use super::{Park, drives};
use crate::call::{Call, CancelOutcome, PendingCall, Progress, outcome_of, store_time_left};
use crate::complete::{Holder, Interrupt, Slot};
use crate::crew::{Busy, Engine, Guest, Withdrawable, current_guest, engine, generation};
use crate::sync::{AtomicU32, Ordering};

/// No time limit.
pub(crate) const NEVER: u64 = u64::MAX;
/// The keeper does not hold its file.
const NOT_KEPT: u32 = u32::MAX;
/// The call is over: its file is not to be held any more.
const GONE: u32 = u32::MAX - 1;
/// Not among the timers, or in no ring.
pub(super) const NOWHERE: u32 = u32::MAX;

/// After which nanoseconds a child that is waited for is looked at, once more each time: a tracer of its own waits for
/// it as soon as it has forked it, and what becomes of it later costs little.
pub(crate) const CHILD_LOOKS: [u64; 4] = [20_000_000, 80_000_000, 320_000_000, 1_280_000_000];

/// How a call that waits is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It only sleeps: the time is its end.
    Sleep,
    /// It is tried again without waiting: `RWF_NOWAIT`.
    Nowait,
    /// The same by `MSG_DONTWAIT`: `read` and `write` on sockets, and the calls that have flags.
    Message,
    /// There is no way to try it: once the descriptor is ready a thread makes it.
    Thread,
    /// It asks for one descriptor's readiness: the event is the answer.
    Poll,
    /// It asks for the readiness of several: they are asked again.
    Several,
    /// It was begun, and is made again when that is over: `connect`.
    Connect,
    /// It is tried again with a time limit of zero: `epoll_wait`.
    Zero,
    /// It is tried again with `WNOHANG` when the child has ended.
    Child,
    /// It reads storage that has to be fetched: io_uring does it.
    Disk,
}

/// See the module. 256 bytes with the counts of its references.
///
/// # Safety
///
/// The cells are touched by the owner only (clause *owner*).
#[derive(Debug)]
pub(crate) struct Parked {
    slot: Slot,
    iocb: UnsafeCell<Iocb>,
    args: UnsafeCell<[usize; 6]>,
    /// Where the answer goes if not into `slot`: the caller had gone on before the call was parked.
    outer: UnsafeCell<Option<Arc<Slot>>>,
    /// Bytes that a write has written before it had to wait; the kernel writes less than 2^31 in one.
    done: UnsafeCell<u32>,
    /// The inode that the descriptor named when the call was made: its lower half, which is all that
    /// pipes, sockets and their kin have.
    pub(super) file: u32,
    /// When the time is over, in nanoseconds of `clock`; [`NEVER`].
    deadline: u64,
    phase: Phase,
    /// Index among the timers; changed under their lock.
    pub(super) timer: AtomicU32,
    /// Ring that its poll is armed in, or [`NOWHERE`]: ordered by the fences of the phase, as its models have it.
    pub(super) place: AtomicU32,
    /// Its file's descriptor in the keeper's table, [`NOT_KEPT`], or [`GONE`].
    kept: AtomicU32,
    nr: u16,
    pub(super) way: Way,
    pub(super) clock: Clock,
    /// Rounds in a row that found nothing.
    vain: UnsafeCell<u8>,
}

// SAFETY: see the type; everything else is `Sync` by itself.
unsafe impl Sync for Parked {}
// SAFETY: the call's pointers are used under the duties of `submit`, from any thread.
unsafe impl Send for Parked {}

/// What the kernel's ring and the queue add must fit.
const _: () = assert!(size_of::<Parked>() + 2 * size_of::<usize>() <= 256);

/// A call to be parked.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) call: Call,
    pub(crate) way: Way,
    /// The inode of its descriptor, where it has one; 0: not to be looked at.
    pub(crate) file: u64,
    /// Bytes written already.
    pub(crate) done: usize,
    pub(crate) deadline: u64,
    pub(crate) clock: Clock,
}

impl Order {
    /// True if a part of it is done: bytes, or the beginning of a connection.
    pub(crate) fn has_begun(&self) -> bool {
        self.done > 0 || self.way == Way::Connect
    }
}

impl Parked {
    /// A call that its maker owns.
    pub(super) fn new(park: &Park, order: Order, outer: Option<Arc<Slot>>) -> Arc<Self> {
        let [nr, args @ ..] = order.call.0;
        if Progress::writes(&order.call) {
            park.writes.fetch_add(1, Ordering::SeqCst);
        }
        Arc::new(Self {
            slot: Slot::new(0, generation()),
            iocb: UnsafeCell::new(Iocb::default()),
            args: UnsafeCell::new(args),
            outer: UnsafeCell::new(outer),
            nr: nr as u16,
            done: UnsafeCell::new(order.done as u32),
            file: order.file as u32,
            deadline: order.deadline,
            phase: Phase::new(),
            timer: AtomicU32::new(NOWHERE),
            place: AtomicU32::new(NOWHERE),
            kept: AtomicU32::new(NOT_KEPT),
            way: order.way,
            clock: order.clock,
            vain: UnsafeCell::new(0),
        })
    }

    /// The call. Duty: the caller is the owner.
    pub(super) fn call(&self) -> Call {
        // SAFETY: owner.
        let args = unsafe { *self.args.get() };
        Call::new(usize::from(self.nr), args)
    }

    /// Changes the call's arguments to what is left of it. Duty: the caller is the owner.
    pub(super) fn set_rest(&self, rest: &Call) {
        let [_, args @ ..] = rest.0;
        // SAFETY: owner.
        unsafe { *self.args.get() = args };
    }

    /// Bytes written before. Duty: the caller is the owner.
    pub(super) fn done(&self) -> usize {
        // SAFETY: owner.
        unsafe { *self.done.get() as usize }
    }

    /// Duty: the caller is the owner.
    pub(super) fn add_done(&self, bytes: usize) {
        // SAFETY: owner.
        unsafe { *self.done.get() += bytes as u32 };
    }

    /// Counts a round that found nothing, or forgets them; returns how many there were. Duty: the
    /// caller is the owner.
    pub(super) fn in_vain(&self, again: bool) -> u8 {
        // SAFETY: owner.
        let vain = unsafe { &mut *self.vain.get() };
        *vain = if again { vain.saturating_add(1) } else { 0 };
        *vain
    }

    /// The kernel's block. Written by the owner before [`wait`](Self::wait), read by the kernel when
    /// it is armed; its address names the poll.
    pub(super) fn iocb(&self) -> *mut Iocb {
        self.iocb.get()
    }

    /// When its time is over.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Where the keeper holds its file.
    pub(super) fn kept_at(&self) -> Option<u32> {
        Some(self.kept.load(Ordering::Acquire)).filter(|kept| *kept < GONE)
    }

    /// The keeper holds its file from now on, at `place`. False: the call is over.
    pub(super) fn keep_at(&self, place: u32) -> bool {
        self.change_kept(NOT_KEPT, place)
    }

    /// The keeper does not hold it any more. False: the call is over, and has said so.
    pub(super) fn keep_no_more(&self, place: u32) -> bool {
        self.change_kept(place, NOT_KEPT)
    }

    /// The call is over: where its file is held, if it is.
    pub(super) fn end_keeping(&self) -> Option<u32> {
        Some(self.kept.swap(GONE, Ordering::AcqRel)).filter(|kept| *kept < GONE)
    }

    fn change_kept(&self, from: u32, to: u32) -> bool {
        self.kept.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// True if its time has not come yet.
    pub(super) fn is_among_timers(&self) -> bool {
        self.timer.load(Ordering::SeqCst) != NOWHERE
    }

    /// An event came, to the caller, who becomes the owner if the call waits: nothing is armed.
    pub(super) fn claim_by_event(&self) -> bool {
        let claimed = self.claim();
        if claimed {
            self.place.store(NOWHERE, Ordering::Relaxed);
        }
        claimed
    }

    /// True if it has a time limit or is one.
    pub(super) fn is_timed(&self) -> bool {
        self.deadline != NEVER
    }

    /// The owner lets go. From here on whoever claims the call goes on with it.
    pub(super) fn wait(&self) {
        self.phase.wait();
    }

    /// Becomes the owner, if the call waits.
    pub(super) fn claim(&self) -> bool {
        self.phase.claim()
    }

    /// Becomes the owner, if the call waits, by who has just taken it from the timers.
    pub(super) fn claim_by_time(&self) -> bool {
        self.phase.claim_after()
    }

    /// The owner lets go, for a thread that makes the call. Others may claim it too.
    pub(super) fn queue(&self) {
        self.phase.queue();
    }

    /// Becomes the owner, if the call waits for a thread.
    pub(super) fn claim_queued(&self) -> bool {
        self.phase.claim_queued()
    }

    /// Where the answer goes, if not to its own slot. Duty: the caller is the owner.
    pub(super) fn outer(&self) -> Option<Arc<Slot>> {
        // SAFETY: owner.
        unsafe { (*self.outer.get()).clone() }
    }

    /// True if the call is finished, to who has just noted where it is armed or kept.
    pub(super) fn is_over_after(&self) -> bool {
        self.phase.is_over_after()
    }

    /// True if the call is finished.
    pub(super) fn is_over(&self) -> bool {
        self.phase.is_over()
    }

    /// Finishes the call, which answered `answer` in the end. Duty: the caller is the owner.
    pub(super) fn finish(&self, park: &Park, answer: isize) {
        let call = self.call();
        let done = self.done();
        // What was written is the answer, whatever came after it: as for a blocking write.
        let answer = match (done, answer) {
            (0, answer) => answer,
            (done, more) => done as isize + more.max(0),
        };
        // SAFETY: owner.
        let outer = unsafe { (*self.outer.get()).take() };
        if self.is_timed() && matches!(self.way, Way::Poll | Way::Several) {
            let left = self.deadline.saturating_sub(self.clock.now());
            // SAFETY: the duties of `submit`: it may be made until it has ended, which is now.
            unsafe { store_time_left(&call, left) };
        }
        self.phase.finish();
        park.forget(self);
        // SAFETY: it has just ended.
        let outcome = unsafe { outcome_of(&call, answer) };
        if let Some(untold) = outer.as_deref().unwrap_or(&self.slot).store(outcome) {
            let engine = if drives() { engine() } else { None };
            match engine {
                None => outer.as_deref().unwrap_or(&self.slot).tell(untold),
                Some(engine) => {
                    let holder =
                        outer.map_or_else(|| self.holder(), |outer| outer as Arc<dyn Holder>);
                    engine.deliver(Delivery::Tell(holder, untold));
                }
            }
        }
        if Progress::writes(&call)
            && park.writes.fetch_sub(1, Ordering::SeqCst) == 1
            && let Some(engine) = engine()
        {
            engine.announce();
        }
    }

    /// A reference of its own.
    fn holder(&self) -> Arc<dyn Holder> {
        // SAFETY: every call is made by `new`, in an `Arc`, of which the borrowed one is a reference.
        unsafe { Arc::increment_strong_count(self) };
        // SAFETY: the reference just made.
        unsafe { Arc::from_raw(std::ptr::from_ref(self)) }
    }

    /// True if the file behind `stat` is the call's.
    pub(super) fn is_of(&self, stat: &Stat) -> bool {
        stat.ino as u32 == self.file
    }

    /// Ends a call that was asked to, if it waits.
    pub(super) fn end_if_cancelled(&self, park: &Park) {
        if self.claim_if_cancelled() {
            self.finish(park, -ECANCELED);
        }
    }

    /// The same, if it waits for a thread.
    pub(super) fn end_queued_if_cancelled(&self, engine: &Engine) {
        if self.slot.cancel_asked() && self.claim_queued() {
            engine.job_withdrawn();
            self.finish(&engine.park, -ECANCELED);
        }
    }

    /// Becomes the owner of a call that was asked to end, if it waits.
    pub(super) fn claim_if_cancelled(&self) -> bool {
        self.slot.cancel_asked() && self.claim()
    }
}

impl Withdrawable for Parked {
    fn is_wanted(&self) -> bool {
        self.phase.is_queued()
    }
}

/// On a guest: a signal handler that runs until this is dropped must not begin a call, which would find
/// locks held.
pub(crate) fn hold_off_handlers() -> Option<Busy<'static>> {
    // SAFETY: null, or a record, which is never freed.
    unsafe { current_guest().as_ref() }.map(Guest::keep_busy)
}

impl Interrupt for Parked {
    fn interrupt(&self) {
        self.cancel();
    }

    fn help(&self) {
        if let Some(engine) = engine() {
            engine.make_queued_here(self);
        }
    }
}

impl Holder for Parked {
    fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl PendingCall for Parked {
    fn cancel(&self) -> CancelOutcome {
        if !self.slot.ask_cancel() {
            return CancelOutcome::TooLate;
        }
        let Some(engine) = engine() else { return CancelOutcome::TooLate };
        let _busy = hold_off_handlers();
        self.end_if_cancelled(&engine.park);
        self.end_queued_if_cancelled(engine);
        // If not: its owner sees the wish when it lets go. A thread may be making it.
        if self.way == Way::Disk {
            engine.park.disk.tell_of_cancel();
        }
        if self.slot.tid() != 0 {
            // Asked in time, whatever has become of it meanwhile.
            self.slot.cancel();
        }
        CancelOutcome::Asked
    }

    fn drive(&self, deadline: Option<std::time::Instant>) {
        let Some(engine) = engine() else { return };
        if deadline.is_none() && engine.make_queued_here(self) {
            return;
        }
        let _busy = hold_off_handlers();
        engine.drive(self, deadline);
    }
}
