//! The command line, and the size of each measure.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use file_server::Files;

/// Measures what syslet costs, against the plain call in the same loop.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
            Self::Inline(options) => &options.common,
            Self::Handoff(options) => &options.common,
            Self::Parked(options) => &options.common,
            Self::Queue(options) => &options.common,
            Self::Cold(options) => &options.common,
            Self::Tokio(options) => &options.common,
            Self::Server(options) => &options.common,
            Self::Capi(options) => &options.common,
            Self::Libaio(options) | Self::Posixaio(options) => &options.common,
            Self::Kevent(options) => &options.common,
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

#[derive(Debug, Args)]
pub(crate) struct HandoffOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work")]
    works: Vec<HandoffWork>,
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
    Million,
    Away,
}

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

impl ParkedOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[ParkedWork] {
        if self.works.is_empty() { ParkedWork::value_variants() } else { &self.works }
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.common.quick { 5 } else { 500 }
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

    /// The ways that are asked for: all if none is named; for a soak that of `syslet_tokio::fs`.
    pub(crate) fn ways(&self) -> Vec<Files> {
        match (self.ways.is_empty(), self.soak) {
            (false, _) => self.ways.clone(),
            (true, None) => Files::value_variants().to_vec(),
            (true, Some(_)) => vec![Files::SysletFs],
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

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    common: Common,
    pub(crate) root: PathBuf,
    #[arg(long, value_enum)]
    pub(crate) files: Files,
    #[arg(long)]
    pub(crate) workers: usize,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HandoffWork {
    Handoff,
    HandoffBusy,
    HandoffCpu,
    #[value(name = "attach_detach")]
    AttachDetach,
    Idle,
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
            attach: 500,
            idle: 5,
            window: Duration::from_secs(1),
        };
        if self.common.quick { quick } else { full }
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
    /// Connections of the servers, most of them idle; may be given several times [default: 10, 100, 1000, 9000]
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
    /// A threadlet for each connection
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

    /// Most connections that it is asked to have: a thread for each is too much at some point.
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
            (true, false) => &[10, 100, 1000, 9000],
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
