//! Of the C library.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct CapiOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<CapiWork>,
    /// Rounds of each call [default: 2000]
    #[arg(long)]
    rounds: Option<usize>,
    /// Threads that ask the servers
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CapiWork {
    Inline,
    Server,
}

impl CapiOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[CapiWork] {
        if self.works.is_empty() { CapiWork::value_variants() } else { &self.works }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 10 } else { 2000 }).clamp(1, 100_000)
    }

    pub(crate) fn clients(&self) -> usize {
        usize::from(self.clients)
    }

    /// Segments of each server, and the length of one.
    pub(crate) fn segments(&self) -> usize {
        if self.common.quick { 2 } else { 10 }
    }

    pub(crate) fn segment(&self) -> Duration {
        Duration::from_millis(if self.common.quick { 100 } else { 1000 })
    }
}
