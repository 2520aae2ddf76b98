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
    /// Measure these ways only [default: all; with --quick all but `tokio_fs_uring`, which is built first]
    #[arg(long = "way", value_enum)]
    ways: Vec<CompareWay>,
    /// How many are under way at once, where a way can have several; may be given several times [default: 1 and 32]
    #[arg(long = "depth", value_parser = clap::value_parser!(u16).range(1..=32))]
    depths: Vec<u16>,
    /// Batches of each way [default: 20; 7 of the cold works]
    #[arg(long)]
    rounds: Option<usize>,
}

impl CompareOptions {
    /// The works that are asked for: all if none is named.
    pub(crate) fn works(&self) -> &[CompareWork] {
        if self.works.is_empty() { CompareWork::value_variants() } else { &self.works }
    }

    /// The ways that are asked for; if none is named all that there are at once.
    pub(crate) fn ways(&self) -> Vec<CompareWay> {
        if !self.ways.is_empty() {
            return self.ways.clone();
        }
        let all = CompareWay::value_variants().iter().copied();
        // A program that would have to be built first is not tiny.
        all.filter(|&way| !self.common.quick || way != CompareWay::TokioFsUring).collect()
    }

    /// The depths of a way.
    pub(crate) fn depths(&self, way: CompareWay) -> Vec<usize> {
        let asked = if self.depths.is_empty() { vec![1, 32] } else { self.depths.clone() };
        let possible = asked.into_iter().filter(|&depth| depth == 1 || way.has_depth());
        possible.map(usize::from).collect()
    }

    /// Batches of each way: fewer of what comes from the disk.
    pub(crate) fn rounds(&self, work: CompareWork) -> usize {
        let usual = match (self.common.quick, work.is_cold()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, true) => 7,
            (false, false) => 20,
        };
        self.rounds.unwrap_or(usual).max(1)
    }

    /// Times that a work is done in a batch: a multiple of every depth.
    pub(crate) fn batch(&self, work: CompareWork) -> usize {
        match work {
            _ if self.common.quick => 32,
            // Waits for the disk.
            CompareWork::Fsync => 32,
            _ if work.is_cold() => 256,
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
    /// A file of 64 KiB is opened, read as a whole and closed
    ReadFile,
    /// A file is opened, emptied, written with 4 KiB and closed
    WriteFile,
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
    /// Reads at random places of a file that is not in memory
    #[value(name = "cold_read4k")]
    ColdRead4k,
    #[value(name = "cold_read64k")]
    ColdRead64k,
    /// Metadata of files whose names and inodes are not in memory: root only
    ColdMetadata,
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
            Self::ReadFile => "read_file",
            Self::WriteFile => "write_file",
            Self::ColdRead4k => "cold_read4k",
            Self::ColdRead64k => "cold_read64k",
            Self::ColdMetadata => "cold_metadata",
        }
    }

    /// Bytes that it reads or writes.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Read64k | Self::ColdRead64k | Self::ReadFile => 64 << 10,
            Self::Read1m => 1 << 20,
            _ => 4 << 10,
        }
    }

    pub(crate) const fn is_on_files(self) -> bool {
        !matches!(self, Self::Getaddrinfo)
    }

    /// True if it is of what is not in memory.
    pub(crate) const fn is_cold(self) -> bool {
        matches!(self, Self::ColdRead4k | Self::ColdRead64k | Self::ColdMetadata)
    }

    /// Bytes that come from the disk for it, at least. Of metadata that is an inode.
    pub(crate) const fn bytes_from_disk(self) -> usize {
        match self {
            Self::ColdRead4k | Self::ColdRead64k => self.bytes(),
            Self::ColdMetadata => 256,
            _ => 0,
        }
    }

    /// Requests that it takes if each step of it is one.
    pub(crate) const fn requests(self) -> usize {
        match self {
            Self::ReadFile | Self::WriteFile | Self::Unlink => 3,
            Self::OpenClose | Self::Fsync | Self::Mkdir | Self::Rename => 2,
            _ => 1,
        }
    }

    /// True if the calling thread may sleep in it, which is no fault: for the disk, the journal (a directory's inode
    /// is looked for in the disk's maps; blocks are given back), a server.
    pub(crate) const fn may_wait(self) -> bool {
        self.is_cold()
            || matches!(self, Self::Fsync | Self::Mkdir | Self::WriteFile | Self::Getaddrinfo)
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
    /// `tokio::fs` as tokio's unstable feature `io-uring` has it, in a program of its own
    TokioFsUring,
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

/// How it is seen that a way is what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// There is nothing between the bench and the calls.
    Itself,
    /// The library's counters tell.
    Counters,
    /// The closures know on which thread they run.
    Closures,
    /// The kernel knows the CPU time of the way's threads.
    Threads,
    /// The kernel's ring counts its requests.
    Ring,
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
            Self::TokioFs => "tokio_fs",
            Self::TokioFsUring => "tokio_fs_uring",
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

    /// True if it can have several under way at once.
    pub(crate) const fn has_depth(self) -> bool {
        !matches!(self, Self::Plain | Self::BlockInPlace)
    }

    /// How it is seen that it went the way that its name says.
    pub(crate) const fn passage(self) -> Passage {
        match self {
            Self::Plain => Passage::Itself,
            Self::BlockInPlace | Self::SpawnBlocking | Self::Blocking => Passage::Closures,
            Self::TokioFs | Self::Libuv | Self::GlibcAio => Passage::Threads,
            Self::TokioFsUring
            | Self::Compio
            | Self::TokioUring
            | Self::IoUring
            | Self::KernelAio => Passage::Ring,
            Self::Submit
            | Self::Threadlet
            | Self::SysletFs
            | Self::SysletTokioFs
            | Self::Unblock => Passage::Counters,
        }
    }

    /// Requests that its ring takes for a work, at least.
    pub(crate) const fn requests(self, work: CompareWork) -> usize {
        match (self, work) {
            // They close a file by dropping it: that is no request.
            (Self::TokioFsUring, CompareWork::OpenClose) => 1,
            (Self::TokioFsUring | Self::Compio, CompareWork::WriteFile) => 2,
            _ => work.requests(),
        }
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
            Self::SysletTokioFs | Self::TokioFs => !matches!(work, Work::Getxattr),
            Self::Libuv => !matches!(work, Work::Getxattr | Work::ReadFile | Work::WriteFile),
            // The rest of it goes to threads, as without the feature.
            Self::TokioFsUring => {
                matches!(work, Work::OpenClose | Work::ReadFile | Work::WriteFile | Work::Rename)
            }
            Self::SysletFs => !matches!(work, Work::Getxattr | Work::Getaddrinfo),
            Self::IoUring => !matches!(work, Work::Getdents | Work::Getaddrinfo),
            Self::TokioUring if matches!(work, Work::ReadFile | Work::WriteFile) => false,
            Self::Compio | Self::TokioUring => {
                !matches!(work, Work::Getdents | Work::Getxattr | Work::Getaddrinfo)
            }
            Self::GlibcAio | Self::KernelAio => matches!(
                work,
                Work::Read4k
                    | Work::Read64k
                    | Work::Read1m
                    | Work::Write4k
                    | Work::Fsync
                    | Work::ColdRead4k
                    | Work::ColdRead64k
            ),
        }
    }
}
