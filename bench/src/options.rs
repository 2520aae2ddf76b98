//! The command line, and the size of each measure.

mod all;
mod c_programs;
mod calls;
mod compare;
mod files;
mod scan;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use all::{AllOptions, Part};
pub(crate) use c_programs::{CapiOptions, CapiWork};
pub(crate) use calls::{
    EndOptions, HandoffOptions, HandoffSize, HandoffWork, How, InlineOptions, InlineWork,
    ParkedOptions, ParkedWork, Place, QueueOptions, QueueWork,
};
pub(crate) use compare::{CompareOptions, CompareWay, CompareWork, Passage};
pub(crate) use files::{
    ColdOptions, ServeOptions, ServerOptions, ServerWork, StallOptions, StallWay, TokioOptions,
    TokioWork,
};
pub(crate) use scan::{ScanOptions, ScanWork};

/// Measures what syslet costs, against the plain call in the same loop.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything below, one after the other; takes about half an hour.
    All(AllOptions),
    /// Calls that do not wait: what protection adds to them.
    Inline(InlineOptions),
    /// Calls that wait: how soon the caller goes on; attaching; idling.
    Handoff(HandoffOptions),
    /// Calls that wait without a thread: parking and waking one, and a million at once.
    Parked(ParkedOptions),
    /// The completion queue: in and out, alone and shared, beyond its room.
    Queue(QueueOptions),
    /// Reads that miss the page cache: threads, crew threads, io_uring.
    Cold(ColdOptions),
    /// Cached work in tokio tasks beside tokio::fs and spawn_blocking; how long other tasks wait.
    Tokio(TokioOptions),
    /// The same work in every way there is: plain, ours, tokio's, io_uring's, libuv's, AIO.
    Compare(CompareOptions),
    /// `syslet scan` of a tree: through threadlets, by threads, one after the other; from memory, from the disk.
    Scan(ScanOptions),
    /// An event loop with a tick each millisecond, while calls of its doing are slow: how late it is.
    Stall(StallOptions),
    /// A static-file server in each way, over hot, cold and slow files; a soak with faults.
    Server(ServerOptions),
    /// The C library: what calls cost C programs, and its server of threadlets beside one on epoll.
    Capi(CapiOptions),
    /// fio with libaio, the system's and the drop-in
    Libaio(AioOptions),
    /// fio with POSIX AIO, by the C library's functions and by the drop-in's.
    Posixaio(AioOptions),
    /// The event queue beside epoll: events, timers, idle connections, the same server in four ways.
    Kevent(KeventOptions),
    /// The program whose end `bench handoff` measures.
    #[command(hide = true)]
    End(EndOptions),
    /// The server that `bench kevent` starts.
    #[command(hide = true)]
    ServeKevent(ServeKeventOptions),
    /// The server that `bench server` starts.
    #[command(hide = true)]
    Serve(ServeOptions),
}

impl Command {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::All(options) => &options.common,
            Self::Inline(options) => &options.common,
            Self::Handoff(options) => &options.common,
            Self::Parked(options) => &options.common,
            Self::Queue(options) => &options.common,
            Self::Cold(options) => &options.common,
            Self::Tokio(options) => &options.common,
            Self::Compare(options) => &options.common,
            Self::Scan(options) => &options.common,
            Self::Stall(options) => &options.common,
            Self::Server(options) => &options.common,
            Self::Capi(options) => &options.common,
            Self::Libaio(options) | Self::Posixaio(options) => &options.common,
            Self::Kevent(options) => &options.common,
            Self::End(options) => &options.common,
            Self::ServeKevent(options) => &options.common,
            Self::Serve(options) => &options.common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Tiny parameters: shows that the bench works, not how fast the library is
    #[arg(long)]
    pub(crate) quick: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// CPU of pinned guests [default: the last that may be used]
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// Where the files of the measures are made [default: the temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Common {
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }
}

#[derive(Debug, Args)]
pub(crate) struct AioOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<AioWork>,
    /// Turns of each library and work [default: 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of a turn [default: 3000]
    #[arg(long, value_name = "MS")]
    segment: Option<u64>,
    /// Size of the file [default: 256]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    size: Option<u32>,
    /// The drop-in library [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AioWork {
    /// Random reads of a file in the page cache.
    Cached,
    /// The same of one that is not.
    Cold,
    /// Reads of a file system on which each takes 20 ms.
    Slow,
    /// Random reads by O_DIRECT.
    Direct,
    /// Random writes, each synced.
    Fsync,
}

impl AioWork {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Cold => "cold",
            Self::Slow => "slow",
            Self::Direct => "direct",
            Self::Fsync => "fsync",
        }
    }
}

impl AioOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[AioWork] {
        if self.works.is_empty() { AioWork::value_variants() } else { &self.works }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 1 } else { 5 }).max(1)
    }

    pub(crate) fn segment(&self) -> Duration {
        let usual = if self.common.quick { 200 } else { 3000 };
        Duration::from_millis(self.segment.unwrap_or(usual).max(1))
    }

    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.size.unwrap_or(if self.common.quick { 8 } else { 256 })) << 20
    }
}

#[derive(Debug, Args)]
pub(crate) struct KeventOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<KeventWork>,
    /// Rounds of each way; segments of each server [default: 200; 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// Sockets that become ready in a round
    #[arg(long)]
    sockets: Option<usize>,
    /// Connections of the servers, most of them idle; may be given several times; threadlets are left out of more than
    /// 1,000 [default: 10, 100, 1000, 10000]
    #[arg(long = "connections")]
    connections: Vec<usize>,
    /// Connections of these that ask without a pause
    #[arg(long, default_value_t = 10)]
    pub(crate) active: usize,
    /// Measure these servers only
    #[arg(long = "way", value_enum)]
    ways: Vec<KeventWay>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum KeventWork {
    /// Sockets that become ready
    Events,
    /// Timers that are added
    Timers,
    /// Connections on which nothing happens
    Idle,
    /// A server
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum KeventWay {
    /// Edge-triggered epoll
    Epoll,
    /// The event queue
    Kevent,
    /// A receive for each connection, parked; answers by a completion queue
    Calls,
    /// A threadlet for each connection, which is a crew thread for each: with 1,000 connections at most
    Threadlets,
}

impl KeventWay {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Kevent => "kevent",
            Self::Calls => "calls",
            Self::Threadlets => "threadlets",
        }
    }

    /// Most connections that it is asked to have: there are 4,096 crew threads at most. `--help` says it, and the
    /// report who was left out for it.
    pub(crate) const fn most(self) -> usize {
        match self {
            Self::Threadlets => 1000,
            _ => usize::MAX,
        }
    }
}

impl KeventOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[KeventWork] {
        if self.works.is_empty() { KeventWork::value_variants() } else { &self.works }
    }

    /// The servers that are asked for: all if none is named.
    pub(crate) fn ways(&self) -> &[KeventWay] {
        if self.ways.is_empty() { KeventWay::value_variants() } else { &self.ways }
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 3 } else { 200 }).max(1)
    }

    pub(crate) fn segments(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 1 } else { 5 }).max(1)
    }

    pub(crate) fn sockets(&self) -> usize {
        self.sockets.unwrap_or(if self.common.quick { 50 } else { 2000 }).max(1)
    }

    pub(crate) fn timers(&self) -> u64 {
        if self.common.quick { 1000 } else { 100_000 }
    }

    pub(crate) fn idle(&self) -> usize {
        if self.common.quick { 100 } else { 10_000 }
    }

    pub(crate) fn windows(&self) -> usize {
        if self.common.quick { 1 } else { 5 }
    }

    pub(crate) fn window(&self) -> Duration {
        Duration::from_millis(if self.common.quick { 100 } else { 2000 })
    }

    /// How many connections the servers have.
    pub(crate) fn connections(&self) -> &[usize] {
        match (self.connections.is_empty(), self.common.quick) {
            (false, _) => &self.connections,
            (true, true) => &[20],
            (true, false) => &[10, 100, 1000, 10000],
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ServeKeventOptions {
    #[command(flatten)]
    common: Common,
    #[arg(long, value_enum)]
    pub(crate) way: KeventWay,
}
