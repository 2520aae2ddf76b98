//! The steps of a chain: which calls, with which arguments, in which order.

use syslet_catalog::Class;

use super::descriptors::Touched;
use crate::Refusal;
use crate::call::{Call, Ret};

/// System calls that are made one after the other and feed each other, submitted as one: if none of
/// them sleeps all are done when [`submit_chain`](crate::submit_chain) returns, and if one does, it
/// and those after it go on elsewhere while the caller goes on here.
///
/// An argument of a step is a number, the result of an earlier step, or a word in memory ([`Arg`]).
/// After a step comes the one that was pushed next, unless a rule says otherwise:
/// [`stop_on`](Self::stop_on) ends the chain, [`skip_on`](Self::skip_on) goes on with a later step.
/// Without rules a step that fails stops nothing: the next one sees its `-errno`.
///
/// Steps only go forward. So each is made once at most, its result is kept, and a chain ends.
///
/// # Examples
///
/// A file is opened, read, and closed again, also if it cannot be read:
///
/// ```
/// use syslet::{Arg, Chain, When};
///
/// # let (path, buffer) = (c"Cargo.toml", [0u8; 64]);
/// let mut chain = Chain::new();
/// let here = libc::AT_FDCWD as usize;
/// let open = chain.push(
///     libc::SYS_openat as usize,
///     [here.into(), (path.as_ptr() as usize).into(), Arg::Value(libc::O_CLOEXEC as usize)],
/// );
/// chain.stop_on(open, When::Negative);
/// let read = chain.push(
///     libc::SYS_read as usize,
///     [open.into(), (buffer.as_ptr() as usize).into(), buffer.len().into()],
/// );
/// let close = chain.push(libc::SYS_close as usize, [open.into()]);
/// # assert_eq!((read.index(), close.index()), (1, 2));
/// ```
#[derive(Debug, Clone)]
pub struct Chain {
    pub(super) steps: Vec<Step>,
    /// Index of the first step whose call is refused, or [`END`].
    refused: u32,
    need: Need,
}

/// A step of a chain. It means nothing in another chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(u32);

/// An argument of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// A number, or an address.
    Value(usize),
    /// The result of an earlier step, as the kernel gave it: `-errno` if that failed, `-ECANCELED` if
    /// it was left out.
    Result(StepId),
    /// The word at this address, read when the step begins: what an earlier step has stored there.
    At(usize),
}

/// Results of a step: the stop conditions of 2007.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Anything but 0.
    Nonzero,
    /// 0.
    Zero,
    /// Below 0: the call has failed.
    Negative,
    /// 0 or below.
    NonPositive,
    /// Whatever it is: both `Zero` and `Nonzero`.
    Always,
}

/// How a chain may be made, by what its steps wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// No step waits.
    Nothing,
    /// What the steps wait for ends by itself.
    Disk,
    /// Somebody else may have to act.
    Protection,
}

/// A call, what feeds it, what comes after it, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Number and arguments; of an argument that is not a value, where to find it.
    pub(super) call: Call,
    /// Which arguments are [`Arg::Result`] and which [`Arg::At`], a bit for each.
    pub(super) results: u8,
    pub(super) words: u8,
    pub(super) class: Class,
    /// What it does to the descriptor table cannot be told from its answer alone.
    pub(super) noted: bool,
    /// Index of the step to go on with, by the sign of the result; or [`END`].
    then: [u32; 3],
    /// The answer, or [`NOT_RUN`].
    pub(super) answer: isize,
    /// What it has made or closed, if that is `noted`.
    pub(super) touched: Touched,
}

/// In place of the index of a next step: there is none.
pub(super) const END: u32 = u32::MAX;
/// In place of an answer. No call gives it: errors are -4095 to -1, and no address or count is as low.
pub(super) const NOT_RUN: isize = isize::MIN;

impl Chain {
    /// A chain without steps.
    pub const fn new() -> Self {
        Self { steps: Vec::new(), refused: END, need: Need::Nothing }
    }

    /// Adds the call of number `nr`; arguments that are not given are 0.
    ///
    /// # Panics
    ///
    /// If an argument is the result of a step that does not come before this one.
    #[track_caller]
    #[inline]
    pub fn push<const N: usize>(&mut self, nr: usize, args: [Arg; N]) -> StepId {
        const { assert!(N <= 6, "a system call has at most six arguments") };
        let index = self.steps.len();
        let step = Step::new(nr, &args, index);
        if !step.class.movable() && self.refused == END && step.refusal().is_some() {
            self.refused = index as u32;
        }
        self.need = self.need.max(Need::of(step.class));
        self.steps.push(step);
        StepId(index as u32)
    }

    /// The chain ends after `step` if its result is `when`. For these results, it replaces what was
    /// said of `step` before.
    ///
    /// # Panics
    ///
    /// If the chain has no such step.
    #[track_caller]
    pub fn stop_on(&mut self, step: StepId, when: When) {
        self.rule(step, when, END);
    }

    /// The chain goes on with `to`, leaving out the steps between, after `step` if its result is
    /// `when`. For these results, it replaces what was said of `step` before.
    ///
    /// # Panics
    ///
    /// If the chain has no such steps, or `to` does not come after `step`.
    #[track_caller]
    pub fn skip_on(&mut self, step: StepId, when: When, to: StepId) {
        assert!(to > step, "a chain goes forward: not from step {} to {}", step.0, to.0);
        assert!(to.index() < self.steps.len(), "the chain has no step {}", to.0);
        self.rule(step, when, to.0);
    }

    /// Removes all steps; their memory is kept for others.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.refused = END;
        self.need = Need::Nothing;
    }

    #[track_caller]
    fn rule(&mut self, step: StepId, when: When, to: u32) {
        let Some(step) = self.steps.get_mut(step.index()) else {
            panic!("the chain has no step {}", step.0)
        };
        for (sign, then) in step.then.iter_mut().enumerate() {
            if when.has(sign) {
                *then = to;
            }
        }
    }

    /// What the steps wait for, at worst.
    pub(super) fn need(&self) -> Need {
        self.need
    }

    /// True if a step's call is refused.
    #[inline(always)]
    pub(super) fn is_refused(&self) -> bool {
        self.refused != END
    }

    /// Why the chain is refused, if it is.
    #[cold]
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let step = StepId(self.refused);
        Some(match self.steps.get(step.index())?.refusal()? {
            Refusal::BoundToThread(name, reason) => Refusal::BoundStep { step, name, reason },
            Refusal::Unknown(nr) => Refusal::UnknownStep { step, nr },
            other => other,
        })
    }

    /// The answer of a step, if it was made.
    pub(super) fn ret(&self, step: StepId) -> Option<Ret> {
        let answer = self.steps.get(step.index())?.answer;
        (answer != NOT_RUN).then_some(Ret::new(answer))
    }

    /// Forgets the answers.
    pub(super) fn forget(&mut self) {
        for step in &mut self.steps {
            step.answer = NOT_RUN;
            step.touched = Touched::Nothing;
        }
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl StepId {
    /// How many steps come before it.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    pub(super) const fn new(index: usize) -> Self {
        Self(index as u32)
    }
}

impl From<usize> for Arg {
    fn from(value: usize) -> Self {
        Self::Value(value)
    }
}

impl From<StepId> for Arg {
    fn from(step: StepId) -> Self {
        Self::Result(step)
    }
}

impl When {
    /// Whether it covers results of this sign (see [`sign`]).
    const fn has(self, sign: usize) -> bool {
        match self {
            Self::Nonzero => sign != 1,
            Self::Zero => sign == 1,
            Self::Negative => sign == 0,
            Self::NonPositive => sign <= 1,
            Self::Always => true,
        }
    }
}

/// 0 for a result below 0, 1 for 0, 2 above.
const fn sign(answer: isize) -> usize {
    (answer.signum() + 1) as usize
}

impl Need {
    const fn of(class: Class) -> Self {
        match (class.may_wait(), class.waits_for_disk()) {
            (false, _) => Self::Nothing,
            (true, true) => Self::Disk,
            (true, false) => Self::Protection,
        }
    }
}

impl Step {
    #[track_caller]
    #[inline]
    fn new(nr: usize, args: &[Arg], index: usize) -> Self {
        let mut call = Call::new(nr, []);
        let (mut results, mut words) = (0, 0);
        for (at, arg) in args.iter().enumerate() {
            call.0[at + 1] = match *arg {
                Arg::Value(value) => value,
                Arg::Result(step) => {
                    assert!(step.index() < index, "step {} is not before {index}", step.0);
                    results |= 1 << at;
                    step.index()
                }
                Arg::At(address) => {
                    words |= 1 << at;
                    address
                }
            };
        }
        // Above 32 bits there is no call: that of the lower half is another one.
        let class = syslet_catalog::class(u32::try_from(nr).unwrap_or(u32::MAX));
        Self {
            call,
            results,
            words,
            class,
            noted: class.stores_descriptors() || words != 0,
            then: [index as u32 + 1; 3],
            answer: NOT_RUN,
            touched: Touched::Nothing,
        }
    }

    /// True if all arguments are values.
    #[inline(always)]
    pub(super) const fn is_plain(&self) -> bool {
        self.results | self.words == 0
    }

    /// Why its call is refused, if it is. Arguments that are not values are not known yet.
    fn refusal(&self) -> Option<Refusal> {
        let mut args = self.call.values();
        for (at, arg) in args.iter_mut().enumerate() {
            if (self.results | self.words) & (1 << at) != 0 {
                *arg = None;
            }
        }
        crate::call::submit::refusal(self.call.nr(), args)
    }

    /// Index of the step to go on with after `answer`, or [`END`].
    #[inline(always)]
    pub(super) fn next(&self, answer: isize) -> u32 {
        self.then[sign(answer)]
    }
}
