//! What waits for a crew thread: a call, or a chain of them, that is made by whoever comes to it first.
//!
//! A crew thread may be long in coming: all of them may sleep. So what waits for one can be taken out of the queue
//! again: by a cancel, which is its answer then; and by a thread that waits for it without a limit, which makes it
//! where it stands. `state` says who has it; whoever changes it to [`TAKEN`] stores the answer.
//!
//! What writes to a file waits for its turn first (see [`Turn`]), without a thread. A chain may come to a step that
//! writes when others are made: then its thread leaves it, and it waits again, from [`TAKEN`] back to [`TURN`].

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use std::sync::Arc;
use std::time::Instant;

use syslet_sys::uapi::{ECANCELED, Timespec};
use syslet_sys::{arch, call as kernel};

use super::number::Call;
use super::pending::{CancelOutcome, PendingCall, cancel_away, outcome_of};
use super::progress::{Progress, Remainder};
use super::retry::{Clockwork, has_enough, is_answer};
use super::submit::make_on_crew;
use super::timeout::{Limit, is_updated, limit, shorten};
use super::writers::{End, Place, Turn};
use crate::complete::{Holder, Interrupt, Outcome, Slot};
use crate::crew::{Crew, Engine, Job, Withdrawable, generation};
use crate::park::{hold_off_handlers, without_sigpipe};
use crate::sync::{AtomicU32, Mutex, Ordering, fence, lock};

/// It waits behind the writes of its file, and is not counted among them.
const TURN: u32 = 0;
/// It waits for a crew thread.
const QUEUED: u32 = 1;
/// A crew thread has it, or a cancel: that is told to end it.
const TAKEN: u32 = 2;
/// The thread that waits for it has it.
const HERE: u32 = 3;

/// What became of work on a crew thread.
#[derive(Debug)]
pub(super) enum Made<W> {
    Over(Outcome),
    /// What is left of it waits for its turn at a place.
    Waits(Place, W),
}

/// What can be made by a crew thread, by who waits for it, or by nobody.
pub(super) trait Work: Sized + Send + 'static {
    /// On a crew thread, which answers a cancel of `slot`, with the turn that it needs to begin with.
    ///
    /// # Safety
    ///
    /// Its calls may be made.
    unsafe fn on_crew(self, crew: &'static Crew, slot: &Slot, turn: Turn) -> Made<Self>;
    /// On the thread that waits for it.
    ///
    /// # Safety
    ///
    /// As above.
    unsafe fn here(self) -> Outcome;
    /// Not at all, or no further.
    fn cancelled(self) -> Outcome;
    /// True if a part of it is done.
    fn has_begun(&self) -> bool {
        false
    }
    /// Where it waits for its turn: what has written a part goes on before others write between its parts.
    fn end_of_line(&self) -> End {
        End::Back
    }
}

/// See the module.
pub(super) struct Queued<W: Work> {
    slot: Slot,
    engine: &'static Engine,
    state: AtomicU32,
    inside: Mutex<Inside<W>>,
}

/// What belongs to who has it.
struct Inside<W> {
    /// Emptied by who has it.
    work: Option<W>,
    /// Where it waits for its turn ([`TURN`]), or has it ([`QUEUED`]).
    place: Place,
    /// Where the answer goes, if not to its own slot.
    outer: Option<Arc<Slot>>,
}

impl<W: Work> std::fmt::Debug for Queued<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<W: Work> Queued<W> {
    /// Queues `work`: for a crew thread if it has its turn, and for that if not.
    ///
    /// # Safety
    ///
    /// Its calls may be made until it has its answer.
    pub(super) unsafe fn queue(
        engine: &'static Engine,
        work: W,
        turn: Result<Turn, Place>,
    ) -> Arc<dyn PendingCall> {
        let (state, place) = match turn {
            Ok(turn) => (QUEUED, turn.into_place()),
            Err(place) => (TURN, place),
        };
        let end = work.end_of_line();
        let queued = Self::new(engine, work, state, place, None);
        match state {
            QUEUED => engine.enqueue(queued.job()),
            _ => engine.queue_writer(place, queued.job(), end),
        }
        queued
    }

    /// Has `work`, whose caller has gone on and waits for the answer in `outer`, wait for its turn.
    ///
    /// # Safety
    ///
    /// As above.
    pub(super) unsafe fn queue_away(
        engine: &'static Engine,
        work: W,
        place: Place,
        outer: Arc<Slot>,
    ) {
        let end = work.end_of_line();
        let queued = Self::new(engine, work, TURN, place, Some(Arc::clone(&outer)));
        engine.queue_writer(place, queued.job(), end);
        outer.move_to(queued);
        outer.tell_helper();
    }

    fn new(
        engine: &'static Engine,
        work: W,
        state: u32,
        place: Place,
        outer: Option<Arc<Slot>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            slot: Slot::new(0, generation()),
            engine,
            state: AtomicU32::new(state),
            inside: Mutex::new(Inside { work: Some(work), place, outer }),
        })
    }

    /// What a crew thread does with it.
    fn job(self: &Arc<Self>) -> Job {
        let made = Arc::clone(self);
        Job::withdrawable(Arc::clone(self) as Arc<dyn Withdrawable>, move |crew| made.run(crew))
    }

    fn run(self: &Arc<Self>, crew: &'static Crew) {
        let Some(before) = self.take(TAKEN) else { return };
        let (work, turn) = self.open(before);
        // SAFETY: the duty of `queue`.
        let make = || unsafe { work.on_crew(crew, &self.slot, turn) };
        match crew.lend_slot(&self.slot, make) {
            Made::Over(outcome) => self.complete(outcome),
            Made::Waits(place, work) => self.wait_again(place, work),
        }
    }

    /// What is left of it waits for another turn. Duty: the caller has taken it.
    fn wait_again(self: &Arc<Self>, place: Place, work: W) {
        let end = work.end_of_line();
        let outer = {
            let inside = &mut *lock(&self.inside);
            (inside.work, inside.place) = (Some(work), place);
            inside.outer.clone()
        };
        // Release: who takes it finds what is left. Before it is in line: its turn may come at once.
        self.state.store(TURN, Ordering::Release);
        self.engine.queue_writer(place, self.job(), end);
        // SeqCst: pairs with the fence in `ask_cancel`. Either the canceller finds that it waits, or we find the wish.
        fence(Ordering::SeqCst);
        if self.slot.cancel_asked() {
            self.end_free();
        }
        outer.as_deref().unwrap_or(&self.slot).tell_helper();
    }

    /// Becomes the one who makes it, or has it not made; gives the state before. `None`: somebody else is.
    fn take(&self, who: u32) -> Option<u32> {
        let free = |state| (state < TAKEN).then_some(who);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()
    }

    /// The work, and its turn. Duty: the caller has taken it, from state `before`.
    fn open(&self, before: u32) -> (W, Turn) {
        let inside = &mut *lock(&self.inside);
        let work = inside.work.take().expect("whoever takes it is the only one");
        let turn = match before {
            QUEUED => Turn::counted(self.engine, inside.place),
            _ => Turn::of_none(self.engine),
        };
        (work, turn)
    }

    /// Stores the answer. Duty: the caller has taken it.
    fn complete(&self, outcome: Outcome) {
        let outer = lock(&self.inside).outer.take();
        outer.as_deref().unwrap_or(&self.slot).complete(outcome);
    }

    /// What is left in the queue means nothing. Duty: as [`open`](Self::open).
    fn withdrawn(&self, before: u32) {
        match before {
            TURN => self.engine.writers.withdrawn(),
            _ => self.engine.job_withdrawn(),
        }
    }

    /// Ends it by a cancel, if nobody has it.
    fn end_free(&self) -> Option<CancelOutcome> {
        let before = self.take(TAKEN)?;
        let (work, turn) = self.open(before);
        let begun = work.has_begun();
        // First: so those that are outstanding are never fewer than they are, and who hears of the end finds its room.
        drop(turn);
        self.withdrawn(before);
        self.complete(work.cancelled());
        Some(if begun { CancelOutcome::Asked } else { CancelOutcome::NotBegun })
    }
}

impl<W: Work> Withdrawable for Queued<W> {
    fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Acquire) < TAKEN
    }

    fn begin_turn(&self) -> bool {
        self.state.compare_exchange(TURN, QUEUED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl<W: Work> Holder for Queued<W> {
    fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl<W: Work> PendingCall for Queued<W> {
    fn cancel(&self) -> CancelOutcome {
        let _busy = hold_off_handlers();
        if let Some(outcome) = self.end_free() {
            return outcome;
        }
        if self.state.load(Ordering::Acquire) == HERE && !self.slot.is_done() {
            // By another thread than the one that makes it and waits for it. It goes on to its end.
            return CancelOutcome::Asked;
        }
        let outcome = cancel_away(&self.slot);
        // It may wait by now for another turn.
        self.end_free().unwrap_or(outcome)
    }

    fn drive(&self, deadline: Option<Instant>) {
        // With a deadline it must be able to leave.
        if deadline.is_some() {
            return;
        }
        let busy = hold_off_handlers();
        let Some(before) = self.take(HERE) else { return };
        let (work, turn) = self.open(before);
        // It needs no crew thread, and may wait for something else before its end.
        drop(turn);
        drop(busy);
        // SAFETY: the duty of `queue`.
        let outcome = unsafe { work.here() };
        let _busy = hold_off_handlers();
        self.withdrawn(before);
        self.complete(outcome);
    }
}

impl<W: Work> Interrupt for Queued<W> {
    fn interrupt(&self) {
        self.cancel();
    }

    fn help(&self) {
        self.drive(None);
    }
}

impl Work for Call {
    unsafe fn on_crew(self, crew: &'static Crew, slot: &Slot, _turn: Turn) -> Made<Self> {
        // SAFETY: the duty of this function.
        let answer = unsafe { make_on_crew(crew, slot, self) };
        // SAFETY: it has just ended.
        Made::Over(unsafe { outcome_of(&self, answer) })
    }

    unsafe fn here(self) -> Outcome {
        // SAFETY: the duty of this function.
        let answer = unsafe { make_as_waiter(&self, 0, None) };
        // SAFETY: it has just ended.
        unsafe { outcome_of(&self, answer) }
    }

    fn cancelled(self) -> Outcome {
        Outcome::Number(-ECANCELED)
    }
}

/// What is left of a call that has transferred `done` bytes without waiting.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) call: Call,
    pub(super) done: usize,
}

impl Rest {
    /// The outcome of the call, if the rest answered `more`: what was done is the answer, whatever came after it.
    ///
    /// # Safety
    ///
    /// As [`outcome_of`].
    unsafe fn outcome(&self, more: isize) -> Outcome {
        let answer = if self.done > 0 { self.done as isize + more.max(0) } else { more };
        // SAFETY: the duty of this function.
        unsafe { outcome_of(&self.call, answer) }
    }

    /// Makes it on a crew thread, whose call it is.
    ///
    /// # Safety
    ///
    /// The call may be made.
    pub(super) unsafe fn make(&self, crew: &Crew) -> Outcome {
        // SAFETY: the duty of this function.
        let more = unsafe { Clockwork::none().make_rest(crew, self.call, self.done) };
        // SAFETY: it has just ended.
        unsafe { self.outcome(more) }
    }
}

impl Work for Rest {
    unsafe fn on_crew(self, crew: &'static Crew, slot: &Slot, _turn: Turn) -> Made<Self> {
        if slot.cancel_asked() {
            return Made::Over(self.cancelled());
        }
        // SAFETY: the duty of this function.
        Made::Over(unsafe { self.make(crew) })
    }

    unsafe fn here(self) -> Outcome {
        // SAFETY: the duty of this function.
        let more = unsafe { make_as_waiter(&self.call, self.done, None) };
        // SAFETY: it has just ended.
        unsafe { self.outcome(more) }
    }

    fn cancelled(self) -> Outcome {
        Outcome::Number(if self.done > 0 { self.done as isize } else { -ECANCELED })
    }

    fn has_begun(&self) -> bool {
        self.done > 0
    }

    fn end_of_line(&self) -> End {
        if self.done > 0 { End::Front } else { End::Back }
    }
}

/// Makes `call`, of which `done` bytes are written, on a thread that has nothing better to do than to wait for it: the
/// program's, where signal handlers run. Its limit runs out at `end`, in nanoseconds of CLOCK_MONOTONIC, if it was
/// parked with one. As a call that is away it is not ended by handlers, and raises no SIGPIPE.
///
/// **Blocking**: until it ends.
///
/// # Safety
///
/// The call may be made.
pub(crate) unsafe fn make_as_waiter(call: &Call, done: usize, end: Option<u64>) -> isize {
    // SAFETY: the duty of this function.
    without_sigpipe(call, || unsafe { persist(*call, done, end) })
}

/// # Safety
///
/// As [`make_as_waiter`].
unsafe fn persist(mut call: Call, done: usize, end: Option<u64>) -> isize {
    let end = end.or_else(|| {
        if is_updated(&call) {
            return None; // the kernel itself writes back what is left
        }
        // SAFETY: the duty of this function: the time argument is the call's.
        match unsafe { limit(&call) } {
            Limit::After(nanos) => Some(kernel::monotonic_nanos().saturating_add(nanos)),
            Limit::Never | Limit::Unsound => None,
        }
    });
    let rest = (done > 0 && Progress::has_vectors(&call))
        // SAFETY: as above: its vectors are readable.
        .then(|| unsafe { Remainder::of(&call, done) });
    if let Some(rest) = &rest {
        call = rest.call();
    }
    let mut repeats = 0_u32;
    loop {
        repeats = repeats.wrapping_add(1);
        let left = end.map(|end| end.saturating_sub(kernel::monotonic_nanos()));
        let left = left.map(Timespec::from_nanos);
        if let Some(left) = &left {
            shorten(&mut call, left);
        }
        let Call([number, args @ ..]) = call;
        // SAFETY: as above; what the call points to beside the caller's memory outlives it.
        let answer = unsafe { arch::syscall(number, args) };
        std::hint::black_box((&left, &rest));
        if is_answer(&call, answer) || has_enough(&call, repeats) {
            return answer;
        }
    }
}
