//! Making the steps of a chain, wherever they are made.

#![allow(unsafe_code, reason = "makes system calls")]

use syslet_catalog::Class;
use syslet_sys::arch;
use syslet_sys::uapi::{ECANCELED, EINTR};

use super::descriptors::{read, touched};
use super::steps::{Chain, END, NOT_RUN, Step, StepId};
use crate::call::Call;
use crate::call::retry::Clockwork;
use crate::call::writers::{Place, Turn, Write};
use crate::crew::{Crew, Engine, Guest};
use crate::sync::Ordering;

/// How a chain came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The last step that was made, or would have been.
    pub(super) last: Option<StepId>,
    pub(super) how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// No step was left.
    Finished,
    /// A stop condition held.
    Stopped,
    /// The last step was cancelled.
    Cancelled,
}

/// The chain waits for its turn to make a step that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// Index of the step.
    pub(super) at: usize,
    pub(super) place: Place,
}

/// How a step's call is made.
pub(super) trait Make {
    /// Makes it, unless it has to wait for its turn, at the place that is given then.
    ///
    /// # Safety
    ///
    /// The duties of [`submit`](crate::submit).
    unsafe fn make(&mut self, call: &Call, class: Class) -> Result<isize, Place>;

    /// Whether the chain was cancelled.
    fn is_cancelled(&self) -> bool;
}

impl Chain {
    /// Makes the steps beginning with that of index `from`, by `make`.
    ///
    /// # Safety
    ///
    /// The duties of [`submit_chain`](crate::submit_chain).
    #[inline(always)]
    pub(super) unsafe fn run(&mut self, from: usize, make: &mut impl Make) -> Result<End, Stop> {
        let mut last = None;
        let mut at = from;
        while let Some(step) = self.steps.get(at) {
            last = Some(StepId::new(at));
            let mut filled;
            let call = if step.is_plain() {
                &step.call
            } else {
                filled = step.call;
                // SAFETY: the duty of this function.
                unsafe { self.fill(step, &mut filled) };
                &filled
            };
            // SAFETY: as above.
            let answer = match unsafe { make.make(call, step.class) } {
                Ok(answer) => answer,
                Err(place) => return Err(Stop { at, place }),
            };
            // SAFETY: as above: the call's memory is still valid.
            let touched = step.noted.then(|| unsafe { touched(call, answer) });
            let next = step.next(answer);
            let step = &mut self.steps[at];
            step.answer = answer;
            if let Some(touched) = touched {
                step.touched = touched;
            }
            if answer == -ECANCELED && make.is_cancelled() {
                return Ok(End { last, how: How::Cancelled });
            }
            if next == END {
                return Ok(End { last, how: How::Stopped });
            }
            at = next as usize;
        }
        Ok(End { last, how: How::Finished })
    }

    /// The end of a chain that was cancelled before the step of index `at`.
    pub(super) fn cancel_at(&mut self, at: usize) -> End {
        let step = self.steps.get_mut(at);
        let last = step.map(|step| {
            step.answer = -ECANCELED;
            StepId::new(at)
        });
        End { last, how: How::Cancelled }
    }

    /// Fills in the arguments of `call`, which is that of `step`. (Where it stands: words that were just
    /// written are slow to copy.)
    ///
    /// # Safety
    ///
    /// The words at the addresses of [`Arg::At`](super::Arg::At) are readable.
    #[inline]
    pub(super) unsafe fn fill(&self, step: &Step, call: &mut Call) {
        for at in bits(step.results) {
            let word = &mut call.0[1 + at];
            let answer = self.steps[*word].answer;
            let answer = if answer == NOT_RUN { LEFT_OUT } else { answer };
            *word = answer as usize;
        }
        for at in bits(step.words) {
            let word = &mut call.0[1 + at];
            // SAFETY: the duty of this function.
            *word = unsafe { read(*word) };
        }
    }
}

/// What a step that was left out passes on.
const LEFT_OUT: isize = -ECANCELED;

/// The places of the bits that are set.
#[inline(always)]
fn bits(mut set: u8) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (lowest < 8).then_some(lowest)
    })
}

/// Here and now, by whatever thread this is.
#[derive(Debug)]
pub(super) struct InPlace;

impl Make for InPlace {
    #[inline]
    unsafe fn make(&mut self, call: &Call, _: Class) -> Result<isize, Place> {
        // SAFETY: the duties of `submit`.
        Ok(unsafe { crate::call::submit::in_place(call) }.raw())
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// On the thread that waits for the chain.
#[derive(Debug)]
pub(super) struct ByWaiter;

impl Make for ByWaiter {
    unsafe fn make(&mut self, call: &Call, _: Class) -> Result<isize, Place> {
        // SAFETY: the duties of `submit`.
        Ok(unsafe { crate::call::make_as_waiter(call, 0, None) })
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// On a crew thread without a guest.
#[derive(Debug)]
pub(super) struct OnCrew<'a> {
    pub(super) crew: &'a Crew,
    pub(super) engine: &'static Engine,
    /// That of the first step, if it has waited for one.
    pub(super) turn: Option<Turn>,
}

impl Make for OnCrew<'_> {
    unsafe fn make(&mut self, call: &Call, class: Class) -> Result<isize, Place> {
        // Held until the step is made.
        let _turn = match self.turn.take() {
            Some(turn) => turn,
            None => self.engine.turn(call)?,
        };
        // SAFETY: the duties of `submit`.
        let clock = unsafe { start(call, class) };
        // SAFETY: as above.
        let answer = unsafe { arch::syscall_cancellable(&self.crew.cancel, &call.0) };
        // SAFETY: as above.
        Ok(unsafe { clock.persist(self.crew, *call, answer) })
    }

    fn is_cancelled(&self) -> bool {
        self.crew.cancel.load(Ordering::Acquire) != 0
    }
}

/// On the crew thread that carries a guest, all steps as one call of that guest.
///
/// Whether the guest is still there is not known while the steps are made, and need not be, but when one
/// was interrupted: with the guest there its signal handler has run, and `EINTR` is the answer; without
/// it the call is made again. So the guest's call is finished then, and if the guest has stayed,
/// another one begins for the other steps.
///
/// A step that writes is a call of its own: so that whoever goes on with the guest during it knows that it is to be
/// counted, and this thread that it was.
#[derive(Debug)]
pub(super) struct OnGuest<'a> {
    guest: &'a Guest,
    crew: &'a Crew,
    engine: &'static Engine,
    /// The guest's call; `None` once the guest is known to be gone.
    number: Option<u64>,
}

impl<'a> OnGuest<'a> {
    /// Publishes the call.
    #[inline(always)]
    pub(super) fn begin(guest: &'a Guest, crew: &'a Crew, engine: &'static Engine) -> Self {
        Self { guest, crew, engine, number: Some(guest.begin(engine, crew)) }
    }

    /// The steps are made. True: the guest is still ours.
    #[inline(always)]
    pub(super) fn finish(self) -> bool {
        self.number.is_some_and(|number| self.guest.finish(self.engine, self.crew, number))
    }

    /// Finishes the guest's call and begins another, which is `write`, if it is one. False: the guest is gone.
    #[inline(always)]
    fn begin_next(&mut self, write: Option<Write>) -> bool {
        let number = self.number.take();
        let stayed = number.is_some_and(|number| self.guest.finish(self.engine, self.crew, number));
        if stayed {
            self.guest.writes.set(write);
            self.number = Some(self.guest.begin(self.engine, self.crew));
        }
        stayed
    }

    /// A step that writes.
    ///
    /// # Safety
    ///
    /// The duties of [`submit`](crate::submit).
    unsafe fn write(&mut self, call: &Call) -> Result<isize, Place> {
        let descriptor = call.args()[0];
        let place = self.engine.place_of_guest(descriptor, false)?;
        // No write has a time limit.
        let clock = Clockwork::none();
        if self.begin_next(Some(Write { place, descriptor })) {
            // SAFETY: the duty of this function.
            let answer = unsafe { arch::syscall_cancellable(&self.crew.cancel, &call.0) };
            if self.begin_next(None) {
                return Ok(answer);
            }
            // Who went on with the guest has counted it, or will.
            let _turn = Turn::counted(self.engine, place);
            // SAFETY: as above.
            return Ok(unsafe { clock.persist(self.crew, *call, answer) });
        }
        let _turn = self.engine.turn(call)?;
        // SAFETY: as above.
        Ok(unsafe { self.make_with(call, &clock) })
    }

    /// # Safety
    ///
    /// The duties of [`submit`](crate::submit).
    #[inline(always)]
    unsafe fn make_with(&mut self, call: &Call, clock: &Clockwork) -> isize {
        // SAFETY: the duties of `submit`.
        let answer = unsafe { arch::syscall_cancellable(&self.crew.cancel, &call.0) };
        if answer != -EINTR && answer != arch::CANCELLED {
            return answer;
        }
        // SAFETY: as above.
        unsafe { self.broken_off(call, answer, clock) }
    }

    /// A step was interrupted, or cancelled.
    ///
    /// # Safety
    ///
    /// The duties of [`submit`](crate::submit).
    #[cold]
    #[inline(never)]
    unsafe fn broken_off(&mut self, call: &Call, answer: isize, clock: &Clockwork) -> isize {
        if self.begin_next(None) {
            return answer;
        }
        // SAFETY: the duties of `submit`.
        unsafe { clock.persist(self.crew, *call, answer) }
    }
}

impl Make for OnGuest<'_> {
    #[inline(always)]
    unsafe fn make(&mut self, call: &Call, class: Class) -> Result<isize, Place> {
        if class.writes() {
            // SAFETY: the duties of `submit`.
            return unsafe { self.write(call) };
        }
        // SAFETY: as above.
        let clock = unsafe { start(call, class) };
        // SAFETY: as above.
        Ok(unsafe { self.make_with(call, &clock) })
    }

    fn is_cancelled(&self) -> bool {
        self.crew.cancel.load(Ordering::Acquire) != 0
    }
}

/// The clock of a call whose time limit counts from now.
///
/// # Safety
///
/// As [`Clockwork::start`].
#[inline(always)]
unsafe fn start(call: &Call, class: Class) -> Clockwork {
    if class.has_relative_timeout() {
        // SAFETY: the duty of this function.
        unsafe { Clockwork::start(call) }
    } else {
        Clockwork::none()
    }
}
