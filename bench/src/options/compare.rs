//! Of the comparison of all ways.

use clap::{Args, ValueEnum};

use super::Common;

#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Measure these works only
    #[arg(long = "work", value_enum)]
    works: Vec<CompareWork>,
    /// Measure these ways only
    #[arg(long = "way", value_enum)]
    ways: Vec<CompareWay>,
    /// How many are under way at once, where a way can have several; may be given several times [default: 1 and 32]
    #[arg(long = "depth", value_parser = clap::value_parser!(u16).range(1..=32))]
    depths: Vec<u16>,
    /// Batches of each way [default: 20]
    #[arg(long)]
    rounds: Option<usize>,
}

impl CompareOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[CompareWork] {
        if self.works.is_empty() { CompareWork::value_variants() } else { &self.works }
    }

    /// The ways that are asked for, likewise.
    pub(crate) fn ways(&self) -> &[CompareWay] {
        if self.ways.is_empty() { CompareWay::value_variants() } else { &self.ways }
    }

    /// The depths of a way.
    pub(crate) fn depths(&self, way: CompareWay) -> Vec<usize> {
        let asked = if self.depths.is_empty() { vec![1, 32] } else { self.depths.clone() };
        let possible = asked.into_iter().filter(|&depth| depth == 1 || way.has_depth());
        possible.map(usize::from).collect()
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.common.quick { 2 } else { 20 }).max(1)
    }

    /// Times that a work is done in a batch: a multiple of every depth.
    pub(crate) fn batch(&self, work: CompareWork) -> usize {
        match work {
            _ if self.common.quick => 32,
            // Waits for the disk.
            CompareWork::Fsync => 32,
            CompareWork::Read1m | CompareWork::Getaddrinfo | CompareWork::Getdents => 96,
            _ => 512,
        }
    }
}

/// What is done, the same in each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum CompareWork {
    /// Metadata of a file, by its name
    Metadata,
    OpenClose,
    /// Reads at the file's beginning
    #[value(name = "read4k")]
    Read4k,
    #[value(name = "read64k")]
    Read64k,
    #[value(name = "read1m")]
    Read1m,
    /// A write over what is there, without a sync
    #[value(name = "write4k")]
    Write4k,
    /// A write at the file's end, and fsync(2)
    Fsync,
    /// A file is made and removed
    Unlink,
    /// A directory is made and removed
    Mkdir,
    /// A file is renamed, and back
    Rename,
    /// The names of a directory with 100 files
    Getdents,
    Getxattr,
    /// The address of `localhost`
    Getaddrinfo,
}

impl CompareWork {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::OpenClose => "open_close",
            Self::Read4k => "read4k",
            Self::Read64k => "read64k",
            Self::Read1m => "read1m",
            Self::Write4k => "write4k",
            Self::Fsync => "fsync",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::Rename => "rename",
            Self::Getdents => "getdents",
            Self::Getxattr => "getxattr",
            Self::Getaddrinfo => "getaddrinfo",
        }
    }

    /// Bytes that it reads or writes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Read64k => 64 << 10,
            Self::Read1m => 1 << 20,
            _ => 4 << 10,
        }
    }

    pub(crate) const fn is_on_files(self) -> bool {
        !matches!(self, Self::Getaddrinfo)
    }

    /// True if the calling thread may sleep in it, which is no fault: for the disk, the journal (a directory's inode
    /// is looked for in the disk's maps), a server.
    pub(crate) const fn may_wait(self) -> bool {
        matches!(self, Self::Fsync | Self::Mkdir | Self::Getaddrinfo)
    }
}

/// How it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum CompareWay {
    /// The system calls themselves, on a thread
    Plain,
    /// `syslet::submit`
    Submit,
    /// `syslet::threadlet`
    Threadlet,
    /// `syslet::fs`
    SysletFs,
    /// `syslet_tokio::fs` in a task
    SysletTokioFs,
    /// `syslet_tokio::unblock`
    Unblock,
    /// `tokio::fs`
    TokioFs,
    /// `tokio::task::spawn_blocking`
    SpawnBlocking,
    /// `tokio::task::block_in_place`
    BlockInPlace,
    /// `blocking::unblock` of smol
    Blocking,
    /// compio, on io_uring
    Compio,
    /// tokio-uring
    TokioUring,
    /// The io_uring interface itself
    IoUring,
    /// libuv, by a program in C
    Libuv,
    /// POSIX AIO of the C library
    GlibcAio,
    /// AIO of the kernel
    KernelAio,
}

impl CompareWay {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Submit => "submit",
            Self::Threadlet => "threadlet",
            Self::SysletFs => "syslet_fs",
            Self::SysletTokioFs => "syslet_tokio_fs",
            Self::Unblock => "unblock",
            // Which of its two it has is decided when it is compiled.
            Self::TokioFs if cfg!(tokio_unstable) => "tokio_fs_uring",
            Self::TokioFs => "tokio_fs",
            Self::SpawnBlocking => "spawn_blocking",
            Self::BlockInPlace => "block_in_place",
            Self::Blocking => "blocking",
            Self::Compio => "compio",
            Self::TokioUring => "tokio_uring",
            Self::IoUring => "io_uring",
            Self::Libuv => "libuv",
            Self::GlibcAio => "glibc_aio",
            Self::KernelAio => "kernel_aio",
        }
    }

    /// True if it is this library's.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(
            self,
            Self::Submit | Self::Threadlet | Self::SysletFs | Self::SysletTokioFs | Self::Unblock
        )
    }

    /// True if it can have several under way at once. What is finished where it stands has none under way.
    pub(crate) const fn has_depth(self) -> bool {
        !matches!(self, Self::Plain | Self::Submit | Self::Threadlet | Self::BlockInPlace)
    }

    /// True if it has an interface for the work.
    pub(crate) const fn does(self, work: CompareWork) -> bool {
        use CompareWork as Work;
        match self {
            // Whatever a closure can do.
            Self::Plain
            | Self::Threadlet
            | Self::Unblock
            | Self::SpawnBlocking
            | Self::BlockInPlace
            | Self::Blocking => true,
            Self::Submit => !matches!(work, Work::Getaddrinfo),
            Self::SysletTokioFs | Self::TokioFs | Self::Libuv => !matches!(work, Work::Getxattr),
            Self::SysletFs => !matches!(work, Work::Getxattr | Work::Getaddrinfo),
            Self::IoUring => !matches!(work, Work::Getdents | Work::Getaddrinfo),
            Self::Compio | Self::TokioUring => {
                !matches!(work, Work::Getdents | Work::Getxattr | Work::Getaddrinfo)
            }
            Self::GlibcAio | Self::KernelAio => matches!(
                work,
                Work::Read4k | Work::Read64k | Work::Read1m | Work::Write4k | Work::Fsync
            ),
        }
    }
}
