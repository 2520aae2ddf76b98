//! Of work on files: cold reads, tokio tasks, the server.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use file_server::Files;

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct ColdOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Reads at once; may be given several times [default: 1, 32 and 256]
    #[arg(long = "depth", value_parser = clap::value_parser!(u16).range(1..=256))]
    depths: Vec<u16>,
    /// Size of the file [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    size: Option<u32>,
    /// Segments of each way [default: 7]
    #[arg(long)]
    rounds: Option<usize>,
}

impl ColdOptions {
    /// The depths that are asked for: all that are usual if none is named.
    pub(crate) fn depths(&self) -> Vec<usize> {
        if self.depths.is_empty() {
            return vec![1, 32, 256];
        }
        self.depths.iter().map(|&depth| usize::from(depth)).collect()
    }

    /// Size of the file.
    pub(crate) fn bytes(&self) -> usize {
        let mib = self.size.unwrap_or(if self.common.quick { 8 } else { 1024 });
        mib as usize * (1 << 20)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 2 } else { 7 }).max(1)
    }

    /// Reads in a segment at `depth`: not so many that a block would come twice.
    pub(crate) fn reads(&self, depth: usize) -> usize {
        let wanted = match (self.common.quick, depth) {
            (true, _) => 512,
            (false, 1) => 4000,
            (false, _) => 20_000,
        };
        wanted.min(self.bytes() / crate::cold::BLOCK)
    }
}

#[derive(Debug, Args)]
pub(crate) struct TokioOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<TokioWork>,
    /// Batches of each way [default: 100]
    #[arg(long)]
    rounds: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum TokioWork {
    Metadata,
    OpenClose,
    #[value(name = "read_at4k")]
    ReadAt4k,
    #[value(name = "write_at4k")]
    WriteAt4k,
    #[value(name = "read4k")]
    Read4k,
    #[value(name = "read64k")]
    Read64k,
    #[value(name = "read1m")]
    Read1m,
    ReadDir,
    /// Another task of the worker, while a closure sleeps for 50 ms
    Away,
    /// A timer of the worker, beside a task that never waits for long
    Timer,
}

impl TokioWork {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::OpenClose => "open_close",
            Self::ReadAt4k => "read_at4k",
            Self::WriteAt4k => "write_at4k",
            Self::Read4k => "read4k",
            Self::Read64k => "read64k",
            Self::Read1m => "read1m",
            Self::ReadDir => "read_dir",
            Self::Away => "away",
            Self::Timer => "timer",
        }
    }

    /// Whether doing it once takes tens of microseconds and more.
    pub(crate) const fn is_long(self) -> bool {
        matches!(self, Self::Read64k | Self::Read1m | Self::ReadDir)
    }

    pub(crate) const fn is_delay(self) -> bool {
        matches!(self, Self::Away | Self::Timer)
    }
}

impl TokioOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[TokioWork] {
        if self.works.is_empty() { TokioWork::value_variants() } else { &self.works }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 5 } else { 100 }).max(1)
    }

    /// Repetitions in a batch: fewer of what takes longer.
    pub(crate) fn batch(&self, work: TokioWork) -> usize {
        let full = match work {
            TokioWork::Read1m => 20,
            TokioWork::Read64k | TokioWork::ReadDir => 100,
            // So many that waking the sentinel after tokio's own way, which sleeps, does not count.
            _ => 1000,
        };
        if self.common.quick { 10 } else { full }
    }

    /// Closures that sleep.
    pub(crate) fn delays(&self) -> usize {
        if self.common.quick { 3 } else { 200 }
    }

    /// Timers.
    pub(crate) fn ticks(&self) -> usize {
        if self.common.quick { 5 } else { 400 }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<ServerWork>,
    /// Measure these ways to files only
    #[arg(long = "way", value_enum)]
    ways: Vec<Files>,
    /// Segments of each way and work [default: 10]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of a segment of the hot set and the mix [default: 1000]
    #[arg(long, value_name = "MS")]
    segment: Option<u64>,
    /// Connections that ask for hot files, one request after the other
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Threads of each server
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: u16,
    /// Size of the hot files
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    pub(crate) size: u64,
    /// Instead of measuring: requests of all kinds for so long, of files that are slow, fail and end early
    #[arg(long, value_name = "SECONDS")]
    pub(crate) soak: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServerWork {
    /// A hundred files that are cached
    Hot,
    /// The same, while one request in a hundred waits for 50 ms
    Mix,
    /// Files that are fetched from the disk
    Cold,
}

impl ServerOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[ServerWork] {
        if self.works.is_empty() { ServerWork::value_variants() } else { &self.works }
    }

    /// The ways that are asked for: all if none is named; for a soak ours.
    pub(crate) fn ways(&self) -> Vec<Files> {
        match (self.ways.is_empty(), self.soak) {
            (false, _) => self.ways.clone(),
            (true, None) => Files::value_variants().to_vec(),
            (true, Some(_)) => vec![Files::SysletFs, Files::Unblock],
        }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 2 } else { 10 }).max(1)
    }

    pub(crate) fn segment(&self) -> Duration {
        let usual = if self.common.quick { 100 } else { 1000 };
        Duration::from_millis(self.segment.unwrap_or(usual).max(1))
    }

    pub(crate) fn connections(&self) -> usize {
        usize::from(self.connections)
    }

    /// Files of the cold set.
    pub(crate) fn cold(&self) -> usize {
        if self.common.quick { 64 } else { 2000 }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    pub(super) common: Common,
    pub(crate) root: PathBuf,
    #[arg(long, value_enum)]
    pub(crate) files: Files,
    #[arg(long)]
    pub(crate) workers: usize,
}

#[derive(Debug, Args)]
pub(crate) struct StallOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these ways only
    #[arg(long = "way", value_enum)]
    ways: Vec<StallWay>,
    /// Segments of each way [default: 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of a segment [default: 1000]
    #[arg(long, value_name = "MS")]
    segment: Option<u64>,
    /// How long each read of the slow file takes
    #[arg(long, value_name = "MS", default_value_t = 50)]
    delay: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum StallWay {
    /// No slow calls
    Alone,
    /// The loop makes the calls itself
    Plain,
    /// Threads that wait for work
    Pool,
    /// A raw ring
    IoUring,
    /// Closures that the loop runs itself until they sleep
    Threadlet,
    /// Operations of the library
    SysletFs,
    /// Closures of a loop that is pinned to a CPU
    ThreadletPinned,
    /// Operations of a loop that is pinned to a CPU
    SysletFsPinned,
    /// Closures of a loop that is not attached
    ThreadletPool,
    /// A task makes the calls itself
    TokioPlain,
    TokioFs,
    SpawnBlocking,
    TokioSysletFs,
    Unblock,
}

impl StallWay {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Plain => "plain",
            Self::Pool => "pool",
            Self::IoUring => "io_uring",
            Self::Threadlet => "threadlet",
            Self::SysletFs => "syslet_fs",
            Self::ThreadletPinned => "threadlet-pinned",
            Self::SysletFsPinned => "syslet_fs-pinned",
            Self::ThreadletPool => "threadlet-pool",
            Self::TokioPlain => "tokio-plain",
            Self::TokioFs => "tokio_fs",
            Self::SpawnBlocking => "spawn_blocking",
            Self::TokioSysletFs => "tokio-syslet_fs",
            Self::Unblock => "unblock",
        }
    }

    /// Whether the loop is a task of a runtime.
    pub(crate) const fn on_tokio(self) -> bool {
        matches!(
            self,
            Self::TokioPlain
                | Self::TokioFs
                | Self::SpawnBlocking
                | Self::TokioSysletFs
                | Self::Unblock
        )
    }

    /// How many handoffs a slow call takes, at least.
    pub(crate) const fn handed_off(self) -> u64 {
        matches!(
            self,
            Self::Threadlet
                | Self::SysletFs
                | Self::ThreadletPinned
                | Self::SysletFsPinned
                | Self::TokioSysletFs
                | Self::Unblock
        ) as u64
    }
}

impl StallOptions {
    /// The ways that are asked for: all if none is named.
    pub(crate) fn ways(&self) -> &[StallWay] {
        if self.ways.is_empty() { StallWay::value_variants() } else { &self.ways }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 1 } else { 5 }).max(1)
    }

    pub(crate) fn segment(&self) -> Duration {
        let usual = if self.common.quick { 100 } else { 1000 };
        Duration::from_millis(self.segment.unwrap_or(usual).max(1))
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay)
    }
}
