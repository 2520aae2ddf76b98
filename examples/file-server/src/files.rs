//! The ways to files: opening one with its first bytes, and reading on.
//!
//! Each way decides between opening and reading what is to be read, if anything is.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::condition::{Asked, Decision};
use crate::meta::Meta;
use crate::root::Root;

/// Most bytes that are read at a time, and kept for a response.
const CHUNK: u64 = 256 << 10;

/// A FIFO is not waited for, a terminal not made ours.
const FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// Which way files are opened and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Files {
    /// `syslet_tokio::fs`.
    SysletFs,
    /// `tokio::fs`: the same code with another `use`.
    TokioFs,
    /// Closures of blocking code in `syslet_tokio::unblock`.
    Unblock,
    /// The same closures in `tokio::task::spawn_blocking`.
    SpawnBlocking,
}

impl Files {
    /// True if the library does it: its workers are attached when they start.
    pub const fn is_syslet(self) -> bool {
        matches!(self, Self::SysletFs | Self::Unblock)
    }
}

/// A file that was opened for a request.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) meta: Meta,
    pub(crate) decision: Decision,
    /// The first of the bytes that are to be sent.
    pub(crate) first: Bytes,
    /// Where the others come from, at their place. Nothing if there are none.
    pub(crate) source: Option<Source>,
}

/// An open file, in each way.
#[derive(Debug)]
pub(crate) enum Source {
    SysletFs(syslet_tokio::fs::File),
    TokioFs(tokio::fs::File),
    Unblock(std::fs::File),
    SpawnBlocking(std::fs::File),
}

/// What to do with a file once it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) root: Arc<Root>,
    pub(crate) asked: Asked,
}

impl Job {
    /// What is to be sent of the file, once it is known to be one that may be.
    fn decide(
        &self,
        file: impl std::os::fd::AsFd,
        metadata: &std::fs::Metadata,
    ) -> io::Result<(Meta, Decision)> {
        self.root.check(file, metadata)?;
        let meta = Meta::of(metadata);
        let decision = self.asked.decide(&meta);
        Ok((meta, decision))
    }

    /// Where reading begins, how much is read before the response is begun, and whether that is all.
    fn first(&self, meta: &Meta, decision: &Decision) -> (u64, usize, bool) {
        let range = match decision {
            Decision::Whole if self.asked.get => 0..meta.size,
            Decision::Part(range) => range.clone(),
            _ => 0..0,
        };
        let length = range.end - range.start;
        (range.start, chunk(length), length <= CHUNK)
    }
}

/// How much of `left` bytes is read at a time.
fn chunk(left: u64) -> usize {
    left.min(CHUNK) as usize
}

/// Opens the file, decides, and reads the first bytes of what is to be sent.
pub(crate) async fn open(files: Files, path: PathBuf, job: Job) -> io::Result<Opened> {
    match files {
        Files::SysletFs => by_syslet_fs::open(&path, &job).await,
        Files::TokioFs => by_tokio_fs::open(&path, &job).await,
        Files::Unblock => {
            syslet_tokio::unblock(move || open_blocking(&path, &job, Source::Unblock)).await?
        }
        Files::SpawnBlocking => {
            let closure = move || open_blocking(&path, &job, Source::SpawnBlocking);
            tokio::task::spawn_blocking(closure).await?
        }
    }
}

/// The next bytes of a body of which `left` are left.
pub(crate) async fn read(mut source: Source, left: u64) -> io::Result<(Source, Bytes)> {
    let count = chunk(left);
    match source {
        Source::SysletFs(ref mut file) => {
            by_syslet_fs::read(file, count).await.map(|b| (source, b))
        }
        Source::TokioFs(ref mut file) => by_tokio_fs::read(file, count).await.map(|b| (source, b)),
        Source::Unblock(file) => {
            let closure = move || read_blocking(&file, count).map(|b| (Source::Unblock(file), b));
            syslet_tokio::unblock(closure).await?
        }
        Source::SpawnBlocking(file) => {
            let closure =
                move || read_blocking(&file, count).map(|b| (Source::SpawnBlocking(file), b));
            tokio::task::spawn_blocking(closure).await?
        }
    }
}

/// The code of both crates' `fs`.
macro_rules! by_fs {
    ($module:ident, $($fs:ident)::+, $source:ident) => {
        mod $module {
            use super::*;
            use $($fs)::+ as fs;

            pub(super) async fn open(path: &Path, job: &Job) -> io::Result<Opened> {
                let mut options = fs::OpenOptions::new();
                let mut file = options.read(true).custom_flags(FLAGS).open(path).await?;
                let (meta, decision) = job.decide(&file, &file.metadata().await?)?;
                let (start, count, all) = job.first(&meta, &decision);
                if start > 0 {
                    file.seek(SeekFrom::Start(start)).await?;
                }
                let first = read(&mut file, count).await?;
                Ok(Opened { meta, decision, first, source: (!all).then_some(Source::$source(file)) })
            }

            pub(super) async fn read(file: &mut fs::File, count: usize) -> io::Result<Bytes> {
                let mut bytes = BytesMut::with_capacity(count);
                while bytes.len() < count {
                    let left = count - bytes.len();
                    let mut room = (&mut bytes).limit(left);
                    if file.read_buf(&mut room).await? == 0 {
                        return Err(ended_early());
                    }
                }
                Ok(bytes.freeze())
            }
        }
    };
}

by_fs!(by_syslet_fs, syslet_tokio::fs, SysletFs);
by_fs!(by_tokio_fs, tokio::fs, TokioFs);

/// The code of both crates' closures.
fn open_blocking(
    path: &Path,
    job: &Job,
    source: fn(std::fs::File) -> Source,
) -> io::Result<Opened> {
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(FLAGS).open(path)?;
    let (meta, decision) = job.decide(&file, &file.metadata()?)?;
    let (start, count, all) = job.first(&meta, &decision);
    if start > 0 {
        file.seek(SeekFrom::Start(start))?;
    }
    let first = read_blocking(&file, count)?;
    Ok(Opened { meta, decision, first, source: (!all).then(|| source(file)) })
}

fn read_blocking(mut file: &std::fs::File, count: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; count];
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ended_early(),
        _ => error,
    })?;
    Ok(bytes.into())
}

fn ended_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file has become shorter while it was read")
}
