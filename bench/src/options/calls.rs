//! Of calls: inline, handed off, parked, queued.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct InlineOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<InlineWork>,
    /// How the guest is attached
    #[arg(long, value_enum, default_value_t = Place::Follow)]
    pub(crate) placement: Place,
    /// Batches of each way [default: 1000]
    #[arg(long)]
    rounds: Option<usize>,
    /// Calls in a batch [default: 1000]
    #[arg(long)]
    batch: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum InlineWork {
    Getppid,
    Lseek,
    Pread4k,
    Statx,
    OpenClose,
    OpenReadClose,
    Pwrite4k,
    Sparse,
}

impl InlineOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[InlineWork] {
        if self.works.is_empty() { InlineWork::value_variants() } else { &self.works }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 20 } else { 1000 }).max(1)
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch.unwrap_or(if self.common.quick { 50 } else { 1000 }).max(1)
    }

    /// Segments of each way, and calls in one.
    pub(crate) fn sparse(&self) -> (usize, usize) {
        if self.common.quick { (2, 20) } else { (10, 200) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct HandoffOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<HandoffWork>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandoffWork {
    Handoff,
    HandoffBusy,
    HandoffCpu,
    EndBusy,
    #[value(name = "attach_detach")]
    AttachDetach,
    Idle,
}

/// How much the measures of `bench handoff` do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandoffSize {
    /// Handoffs back to back.
    pub(crate) awake: usize,
    /// Handoffs with a pause before each, and the pause.
    pub(crate) asleep: usize,
    pub(crate) pause: Duration,
    /// Handoffs on busy CPUs.
    pub(crate) busy: usize,
    /// Closures that compute, and for how long.
    pub(crate) computing: usize,
    pub(crate) closure: Duration,
    /// Programs that end on busy CPUs.
    pub(crate) ending: usize,
    pub(crate) attach: usize,
    /// Windows of idling, and the length of one.
    pub(crate) idle: usize,
    pub(crate) window: Duration,
}

impl HandoffOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[HandoffWork] {
        if self.works.is_empty() { HandoffWork::value_variants() } else { &self.works }
    }

    pub(crate) fn size(&self) -> HandoffSize {
        let quick = HandoffSize {
            awake: 20,
            asleep: 10,
            pause: Duration::from_millis(3),
            busy: 10,
            computing: 3,
            closure: Duration::from_millis(10),
            ending: 2,
            attach: 10,
            idle: 2,
            window: Duration::from_millis(50),
        };
        let full = HandoffSize {
            awake: 5000,
            asleep: 400,
            pause: Duration::from_millis(5),
            busy: 500,
            computing: 30,
            closure: Duration::from_millis(50),
            ending: 30,
            attach: 500,
            idle: 5,
            window: Duration::from_secs(1),
        };
        if self.common.quick { quick } else { full }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EndOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    #[arg(long)]
    pub(crate) how: How,
    /// Where its guest is, if it has one.
    #[arg(long)]
    pub(crate) place: Option<Place>,
}

/// What a program with guests does that concerns all its threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    Exit,
    Exec,
    Setgid,
}

impl How {
    pub(crate) const ALL: [Self; 3] = [Self::Exit, Self::Exec, Self::Setgid];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Exec => "exec",
            Self::Setgid => "setgid",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ParkedOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<ParkedWork>,
    /// Calls parked at once [default: 1000000]
    #[arg(long)]
    calls: Option<usize>,
    /// Calls away at once; those for which there is no crew thread wait for one [default: 10000]
    #[arg(long)]
    away: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ParkedWork {
    Wake,
    Late,
    Million,
    Away,
}

impl ParkedOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[ParkedWork] {
        if self.works.is_empty() { ParkedWork::value_variants() } else { &self.works }
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.common.quick { 5 } else { 500 }
    }

    /// Sleeps of each way.
    pub(crate) fn sleeps(&self) -> usize {
        if self.common.quick { 20 } else { 2000 }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.unwrap_or(if self.common.quick { 10_000 } else { 1_000_000 })
    }

    pub(crate) fn away(&self) -> usize {
        self.away.unwrap_or(if self.common.quick { 20 } else { 10_000 })
    }
}

#[derive(Debug, Args)]
pub(crate) struct QueueOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<QueueWork>,
    /// Batches of each way [default: 300]
    #[arg(long)]
    rounds: Option<usize>,
    /// Completions in a batch [default: 10000]
    #[arg(long)]
    batch: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum QueueWork {
    PostPop,
    Overflow,
    Shared,
}

impl QueueOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[QueueWork] {
        if self.works.is_empty() { QueueWork::value_variants() } else { &self.works }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 5 } else { 300 }).max(1)
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch.unwrap_or(if self.common.quick { 100 } else { 10_000 }).max(1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Place {
    Follow,
    Pinned,
}

impl Place {
    pub(crate) const BOTH: [Self; 2] = [Self::Follow, Self::Pinned];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Pinned => "pinned",
        }
    }
}
