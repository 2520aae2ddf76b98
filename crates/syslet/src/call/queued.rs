//! What waits for a crew thread: a call, or a chain of them, that is made by whoever comes to it first.
//!
//! A crew thread may be long in coming: all of them may sleep. So what waits for one can be taken out of the queue
//! again: by a cancel, which is its answer then; and by a thread that waits for it without a limit, which makes it
//! where it stands. `state` says who has it; whoever changes it to [`TAKEN`] stores the answer.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use std::sync::Arc;
use std::time::Instant;

use syslet_sys::uapi::{ECANCELED, Timespec};
use syslet_sys::{arch, call as kernel};

use super::number::Call;
use super::pending::{CancelOutcome, PendingCall, cancel_away, outcome_of};
use super::progress::{Progress, Remainder};
use super::retry::{has_enough, is_answer};
use super::submit::make_on_crew;
use super::timeout::{Limit, is_updated, limit, shorten};
use super::writers::Place;
use crate::complete::{Holder, Outcome, Slot};
use crate::crew::{Crew, Engine, Job, Withdrawable, engine, generation};
use crate::park::{hold_off_handlers, without_sigpipe};
use crate::sync::{AtomicU32, Mutex, Ordering, lock};

/// It waits behind the writes of its file, and is not counted among them.
const TURN: u32 = 0;
/// It waits for a crew thread.
const QUEUED: u32 = 1;
/// A crew thread has it, or a cancel: that is told to end it.
const TAKEN: u32 = 2;
/// The thread that waits for it has it.
const HERE: u32 = 3;

/// What can be made by a crew thread, by who waits for it, or by nobody.
pub(super) trait Work: Send + 'static {
    /// On a crew thread, which answers a cancel of `slot`.
    ///
    /// # Safety
    ///
    /// Its calls may be made.
    unsafe fn on_crew(self, crew: &'static Crew, slot: &Slot) -> Outcome;
    /// On the thread that waits for it.
    ///
    /// # Safety
    ///
    /// As above.
    unsafe fn here(self) -> Outcome;
    /// Not at all.
    fn cancelled(self) -> Outcome;
}

/// See the module.
pub(super) struct Queued<W: Work> {
    slot: Slot,
    state: AtomicU32,
    /// Emptied by who has it.
    work: Mutex<Option<W>>,
    /// Where a write is counted.
    place: Option<Place>,
}

impl<W: Work> std::fmt::Debug for Queued<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queued").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<W: Work> Queued<W> {
    /// Queues `work`, which is a write that is counted at `place`, if at any.
    ///
    /// # Safety
    ///
    /// Its calls may be made until it has its answer.
    pub(super) unsafe fn queue(
        engine: &'static Engine,
        work: W,
        place: Option<Place>,
    ) -> Arc<dyn PendingCall> {
        let full = place.is_some_and(|place| engine.writers.full(place));
        let queued = Arc::new(Self {
            slot: Slot::new(0, generation()),
            state: AtomicU32::new(if full { TURN } else { QUEUED }),
            work: Mutex::new(Some(work)),
            place,
        });
        let made = Arc::clone(&queued);
        let run = move |crew: &'static Crew| {
            if made.take(TAKEN).is_some() {
                // SAFETY: the duty of this function.
                let make = |work: W| unsafe { work.on_crew(crew, &made.slot) };
                made.end(engine, crew.lend_slot(&made.slot, || made.make(make)), QUEUED);
            }
        };
        let job = Job::withdrawable(Arc::clone(&queued) as Arc<dyn Withdrawable>, run);
        match place {
            Some(place) if full => engine.queue_writer(place, job),
            Some(place) => {
                engine.writers.enter(place);
                engine.enqueue(job);
            }
            None => engine.enqueue(job),
        }
        queued
    }

    /// Becomes the one who makes it, or has it not made; gives the state before. `None`: somebody else is.
    fn take(&self, who: u32) -> Option<u32> {
        let free = |state| (state < TAKEN).then_some(who);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()
    }

    /// What `make` makes of the work. Duty: the caller has taken it.
    fn make(&self, make: impl FnOnce(W) -> Outcome) -> Outcome {
        let work = lock(&self.work).take();
        make(work.expect("whoever takes it is the only one"))
    }

    /// Stores the answer. Duty: the caller has taken it, from state `before`.
    fn end(&self, engine: &'static Engine, outcome: Outcome, before: u32) {
        self.slot.complete(outcome);
        if let Some(place) = self.place
            && before == QUEUED
        {
            engine.writer_left(place);
        }
    }

    /// As [`end`](Self::end), and what is left in the queue means nothing.
    fn end_withdrawn(&self, outcome: Outcome, before: u32) {
        let Some(engine) = engine() else { return };
        match before {
            TURN => engine.writers.withdrawn(),
            _ => engine.job_withdrawn(),
        }
        self.end(engine, outcome, before);
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
        if let Some(before) = self.take(TAKEN) {
            self.end_withdrawn(self.make(W::cancelled), before);
            return CancelOutcome::NotBegun;
        }
        if self.state.load(Ordering::Acquire) == HERE && !self.slot.is_done() {
            // By another thread than the one that makes it and waits for it. It goes on to its end.
            return CancelOutcome::Asked;
        }
        cancel_away(&self.slot)
    }

    fn drive(&self, deadline: Option<Instant>) {
        // With a deadline it must be able to leave.
        if deadline.is_some() {
            return;
        }
        if let Some(before) = self.take(HERE) {
            // SAFETY: the duty of `queue`.
            let outcome = self.make(|work| unsafe { work.here() });
            let _busy = hold_off_handlers();
            self.end_withdrawn(outcome, before);
        }
    }
}

impl Work for Call {
    unsafe fn on_crew(self, crew: &'static Crew, slot: &Slot) -> Outcome {
        // SAFETY: the duty of this function.
        let answer = unsafe { make_on_crew(crew, slot, self) };
        // SAFETY: it has just ended.
        unsafe { outcome_of(&self, answer) }
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
