//! Errors of attaching and of submitting.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use crate::StepId;
use crate::crew::Unsupported;

/// Why a thread could not be attached.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttachError {
    /// The mechanism cannot be used here and [`Attach::require`](crate::Attach::require) was asked
    /// for: without it the guard would stand for the pool.
    Unsupported(Unsupported),
    /// A setting is out of range.
    OutOfRange {
        /// The setting's name.
        setting: &'static str,
        /// What was asked for.
        value: usize,
        /// What is possible.
        range: RangeInclusive<usize>,
    },
    /// The thread is attached already with another placement or limit of crew threads, or the process has a crew with
    /// another stack size. [`Attach`](crate::Attach) says what is compared.
    SettingDiffers {
        /// The setting's name.
        setting: &'static str,
        /// The value in force.
        current: String,
        /// The value asked for.
        asked: String,
    },
    /// The code runs on a crew thread: inside a threadlet.
    OnCrewThread,
    /// The code runs in a signal handler that has interrupted a call.
    InSignalHandler,
    /// The thread is ending: its thread-locals are being destroyed.
    ThreadEnding,
    /// The thread is sandboxed and the crew was started outside that sandbox: a handoff would lead
    /// out of it. Says which field differs.
    IdentityDiffers(&'static str),
    /// As many guests as there can be are attached.
    TooManyGuests,
    /// No crew thread is free to carry the guest, and the limit on crew threads is reached.
    NoCrew,
    /// A thread could not be made, or another call of setting up failed.
    Io(&'static str, io::Error),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) => write!(f, "threads cannot be attached here: {why}"),
            Self::OutOfRange { setting, value, range } => {
                write!(f, "{setting} is {value}, not within {} to {}", range.start(), range.end())
            }
            Self::SettingDiffers { setting, current, asked } => {
                write!(f, "{setting} is {current} already and {asked} is asked for")
            }
            Self::OnCrewThread => f.write_str("a crew thread cannot be attached"),
            Self::InSignalHandler => {
                f.write_str("a thread cannot be attached from a signal handler inside a call")
            }
            Self::ThreadEnding => f.write_str("the thread is ending"),
            Self::IdentityDiffers(field) => {
                write!(f, "{field} of this thread differs from that of the crew")
            }
            Self::TooManyGuests => {
                write!(f, "{} threads are attached", crate::crew::MAX_GUESTS)
            }
            Self::NoCrew => {
                f.write_str("no crew thread is free, or a limit on outstanding work is reached")
            }
            Self::Io(step, error) => write!(f, "{step}: {error}"),
        }
    }
}

// The message holds the cause: it is said once.
impl std::error::Error for AttachError {}

/// Why work was not accepted. What was to be done is handed back.
#[non_exhaustive]
pub enum SubmitError<Op> {
    /// No crew thread is left to do it, or a bound of [`Limits`](crate::Limits) is reached, and waiting was not
    /// asked for.
    Busy(Op),
    /// The call must not go through the engine, or is not known; nothing was run.
    Refused(Op, Refusal),
}

impl<Op> SubmitError<Op> {
    /// What was to be done.
    pub fn into_inner(self) -> Op {
        match self {
            Self::Busy(op) | Self::Refused(op, _) => op,
        }
    }

    /// True if the work may be tried again later.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

impl<Op> fmt::Debug for SubmitError<Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(_) => f.write_str("Busy"),
            Self::Refused(_, why) => f.debug_tuple("Refused").field(why).finish(),
        }
    }
}

impl<Op> fmt::Display for SubmitError<Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(_) => f.write_str("no crew thread is free and the limit is reached"),
            Self::Refused(_, why) => why.fmt(f),
        }
    }
}

impl<Op> std::error::Error for SubmitError<Op> {}

/// Why a system call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No call of this number is in the catalogue.
    Unknown(usize),
    /// The call acts on, or answers for, the kernel thread that makes it. Its name and the reason.
    BoundToThread(&'static str, &'static str),
    /// No call of this number is in the catalogue; it is that of a chain's step.
    UnknownStep {
        /// The step.
        step: StepId,
        /// The call's number.
        nr: usize,
    },
    /// The call of a chain's step acts on, or answers for, the kernel thread that makes it.
    BoundStep {
        /// The step.
        step: StepId,
        /// The call's name.
        name: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// The completion queue belongs to the parent process.
    OtherProcess,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(nr) => write!(f, "system call {nr} is not known"),
            Self::BoundToThread(name, reason) => write!(f, "{name} is refused: {reason}"),
            Self::UnknownStep { step, nr } => {
                write!(f, "step {}: system call {nr} is not known", step.index())
            }
            Self::BoundStep { step, name, reason } => {
                write!(f, "step {}: {name} is refused: {reason}", step.index())
            }
            Self::OtherProcess => f.write_str("the completion queue belongs to the parent process"),
        }
    }
}

impl std::error::Error for Refusal {}
