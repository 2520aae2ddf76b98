//! Of everything together.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct AllOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Take these measures only
    #[arg(long = "part", value_enum)]
    parts: Vec<Part>,
    /// Write report.html, report.md and report.json into a folder, which is made
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
}

/// A measure of `bench all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Inline,
    Handoff,
    Compare,
    Scan,
    Stall,
    Parked,
    Queue,
    Cold,
    Tokio,
    Server,
    Capi,
    Libaio,
    Posixaio,
    Kevent,
}

impl Part {
    /// Its subcommand.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Handoff => "handoff",
            Self::Compare => "compare",
            Self::Scan => "scan",
            Self::Stall => "stall",
            Self::Parked => "parked",
            Self::Queue => "queue",
            Self::Cold => "cold",
            Self::Tokio => "tokio",
            Self::Server => "server",
            Self::Capi => "capi",
            Self::Libaio => "libaio",
            Self::Posixaio => "posixaio",
            Self::Kevent => "kevent",
        }
    }
}

impl AllOptions {
    /// The measures that are asked for: all if none is named.
    pub(crate) fn parts(&self) -> &[Part] {
        if self.parts.is_empty() { Part::value_variants() } else { &self.parts }
    }

    /// What each measure is told too.
    pub(crate) fn passed_on(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        if self.common.quick {
            args.push("--quick".into());
        }
        if let Some(cpu) = self.common.cpu {
            args.extend(["--cpu".into(), cpu.to_string().into()]);
        }
        if let Some(dir) = &self.common.dir {
            args.extend(["--dir".into(), dir.into()]);
        }
        args
    }
}
