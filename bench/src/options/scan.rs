//! Of scans of trees.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct ScanOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work", value_enum)]
    works: Vec<ScanWork>,
    /// Scans of each way [default: 7]
    #[arg(long)]
    rounds: Option<usize>,
    /// What is scanned [default: /usr/include]
    #[arg(long, value_name = "DIR")]
    pub(crate) tree: Option<PathBuf>,
    /// Threads of the pool; may be given several times [default: 2, 8 and 32]
    #[arg(long = "pool", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pools: Vec<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScanWork {
    /// Everything is in memory
    Cached,
    /// Everything comes from the disk; for root
    Cold,
}

impl ScanWork {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cached => "scan_cached",
            Self::Cold => "scan_cold",
        }
    }
}

impl ScanOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[ScanWork] {
        if self.works.is_empty() { ScanWork::value_variants() } else { &self.works }
    }

    pub(crate) fn pools(&self) -> Vec<usize> {
        match (self.common.quick, &self.pools[..]) {
            (true, []) => vec![8],
            (false, []) => vec![2, 8, 32],
            (_, pools) => pools.iter().map(|&jobs| usize::from(jobs)).collect(),
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 1 } else { 7 }).max(1)
    }
}
