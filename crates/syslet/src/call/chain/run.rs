//! Making the steps of a chain, wherever they are made.

#![allow(unsafe_code, reason = "makes system calls")]

use syslet_catalog::Class;
use syslet_sys::arch;
use syslet_sys::uapi::{ECANCELED, EINTR};

use super::descriptors::{read, touched};
use super::steps::{Chain, END, NOT_RUN, Step, StepId};
use crate::call::Call;
use crate::call::retry::Clockwork;
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

/// How a step's call is made.
pub(super) trait Make {
    /// Makes it.
    ///
    /// # Safety
    ///
    /// The duties of [`submit`](crate::submit).
    unsafe fn make(&mut self, call: &Call, class: Class) -> isize;

    /// Whether the chain was cancelled.
    fn is_cancelled(&self) -> bool;
}

impl Chain {
    /// Makes the steps, by `make`.
    ///
    /// # Safety
    ///
    /// The duties of [`submit_chain`](crate::submit_chain).
    #[inline(always)]
    pub(super) unsafe fn run(&mut self, make: &mut impl Make) -> End {
        let mut last = None;
        let mut at = 0;
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
            let answer = unsafe { make.make(call, step.class) };
            // SAFETY: as above: the call's memory is still valid.
            let touched = step.noted.then(|| unsafe { touched(call, answer) });
            let next = step.next(answer);
            let step = &mut self.steps[at];
            step.answer = answer;
            if let Some(touched) = touched {
                step.touched = touched;
            }
            if answer == -ECANCELED && make.is_cancelled() {
                return End { last, how: How::Cancelled };
            }
            if next == END {
                return End { last, how: How::Stopped };
            }
            at = next as usize;
        }
        End { last, how: How::Finished }
    }

    /// The end of a chain that was cancelled before its first step.
    pub(super) fn cancel_first(&mut self) -> End {
        let first = self.steps.first_mut();
        let last = first.map(|first| {
            first.answer = -ECANCELED;
            StepId::new(0)
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
    unsafe fn make(&mut self, call: &Call, _: Class) -> isize {
        // SAFETY: the duties of `submit`.
        unsafe { crate::call::submit::in_place(call) }.raw()
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// On the thread that waits for the chain.
#[derive(Debug)]
pub(super) struct ByWaiter;

impl Make for ByWaiter {
    unsafe fn make(&mut self, call: &Call, _: Class) -> isize {
        // SAFETY: the duties of `submit`.
        unsafe { crate::call::make_as_waiter(call, 0, None) }
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// On a crew thread without a guest.
#[derive(Debug)]
pub(super) struct OnCrew<'a>(pub(super) &'a Crew);

impl Make for OnCrew<'_> {
    unsafe fn make(&mut self, call: &Call, class: Class) -> isize {
        // SAFETY: the duties of `submit`.
        let clock = unsafe { start(call, class) };
        // SAFETY: as above.
        let answer = unsafe { arch::syscall_cancellable(&self.0.cancel, &call.0) };
        // SAFETY: as above.
        unsafe { clock.persist(self.0, *call, answer) }
    }

    fn is_cancelled(&self) -> bool {
        self.0.cancel.load(Ordering::Acquire) != 0
    }
}

/// On the crew thread that carries a guest, all steps as one call of that guest.
///
/// Whether the guest is still there is not known while the steps are made, and need not be, but when one
/// was interrupted: with the guest there its signal handler has run, and `EINTR` is the answer; without
/// it the call is made again. So the guest's call is finished then, and if the guest has stayed,
/// another one begins for the other steps.
#[derive(Debug)]
pub(super) struct OnGuest<'a> {
    guest: &'a Guest,
    crew: &'a Crew,
    engine: &'a Engine,
    /// The guest's call; `None` once the guest is known to be gone.
    number: Option<u64>,
}

impl<'a> OnGuest<'a> {
    /// Publishes the call.
    #[inline(always)]
    pub(super) fn begin(guest: &'a Guest, crew: &'a Crew, engine: &'a Engine) -> Self {
        Self { guest, crew, engine, number: Some(guest.begin(engine, crew)) }
    }

    /// The steps are made. True: the guest is still ours.
    #[inline(always)]
    pub(super) fn finish(self) -> bool {
        self.number.is_some_and(|number| self.guest.finish(self.engine, self.crew, number))
    }

    /// A step was interrupted, or cancelled.
    ///
    /// # Safety
    ///
    /// The duties of [`submit`](crate::submit).
    #[cold]
    #[inline(never)]
    unsafe fn broken_off(&mut self, call: &Call, answer: isize, clock: &Clockwork) -> isize {
        if let Some(number) = self.number.take()
            && self.guest.finish(self.engine, self.crew, number)
        {
            self.number = Some(self.guest.begin(self.engine, self.crew));
            return answer;
        }
        // SAFETY: the duties of `submit`.
        unsafe { clock.persist(self.crew, *call, answer) }
    }
}

impl Make for OnGuest<'_> {
    #[inline(always)]
    unsafe fn make(&mut self, call: &Call, class: Class) -> isize {
        // SAFETY: the duties of `submit`.
        let clock = unsafe { start(call, class) };
        // SAFETY: as above.
        let answer = unsafe { arch::syscall_cancellable(&self.crew.cancel, &call.0) };
        if answer != -EINTR && answer != arch::CANCELLED {
            return answer;
        }
        // SAFETY: as above.
        unsafe { self.broken_off(call, answer, &clock) }
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
