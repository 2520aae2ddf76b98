//! The works on runtimes that are made for io_uring: compio and tokio-uring.

use std::io;

use compio::io::{AsyncReadAt, AsyncWriteAt};

use super::files::{LARGEST, Targets};
use super::raw::whole;
use super::worker::{Serve, serves};
use crate::error::Trouble;
use crate::options::{CompareWay, CompareWork};

/// Serves on the runtime.
pub(super) fn run(serve: Serve) -> Result<(), Trouble> {
    if serve.way == CompareWay::TokioUring {
        let ring = io_uring::IoUring::new(1);
        drop(ring.map_err(Trouble::io("io_uring_setup"))?); // its runtime panics without one
        return tokio_uring::start(on_tokio_uring(serve));
    }
    let runtime = compio::runtime::Runtime::new().map_err(Trouble::io("starting a runtime"))?;
    if !runtime.driver_type().is_iouring() {
        return Err(Trouble::Refused("compio", "it has no io_uring here".to_owned()));
    }
    runtime.block_on(on_compio(serve))
}

serves!(on_compio, Compio);
serves!(on_tokio_uring, TokioUring);

struct Compio {
    targets: &'static Targets,
    at: usize,
    file: compio::fs::File,
    cold: compio::fs::File,
    buffer: Vec<u8>,
}

impl Compio {
    async fn new(targets: &'static Targets, at: usize) -> io::Result<Self> {
        let mut options = compio::fs::OpenOptions::new();
        let file = options.read(true).write(true).open(targets.file.path).await?;
        let cold = compio::fs::File::open(targets.cold.path).await?;
        Ok(Self { targets, at, file, cold, buffer: Vec::with_capacity(LARGEST) })
    }

    async fn once(&mut self, work: CompareWork) -> io::Result<()> {
        use compio::fs;
        let slot = self.targets.slot(self.at);
        let path = self.targets.file.path;
        let mut buffer = std::mem::take(&mut self.buffer);
        match work {
            CompareWork::Metadata | CompareWork::ColdMetadata => {
                fs::metadata(self.targets.named(work).path).await.map(drop)
            }
            CompareWork::OpenClose => fs::File::open(path).await?.close().await,
            CompareWork::Read4k
            | CompareWork::Read64k
            | CompareWork::Read1m
            | CompareWork::ColdRead4k
            | CompareWork::ColdRead64k => {
                let file = if work.is_cold() { &self.cold } else { &self.file };
                buffer.resize(work.bytes(), 0);
                let (read, back) = file.read_at(buffer, self.targets.read_at(work)).await.into();
                self.buffer = back;
                whole(read?, work)
            }
            CompareWork::ReadFile => whole(fs::read(self.targets.whole.path).await?.len(), work),
            CompareWork::WriteFile => {
                buffer.resize(work.bytes(), 0);
                let (written, back) = fs::write(slot.written.path, buffer).await.into();
                self.buffer = back;
                written
            }
            CompareWork::Write4k | CompareWork::Fsync => {
                buffer.resize(work.bytes(), 0);
                let (written, back) =
                    self.file.write_at(buffer, self.targets.write_at(work)).await.into();
                self.buffer = back;
                whole(written?, work)?;
                if work == CompareWork::Fsync { self.file.sync_all().await } else { Ok(()) }
            }
            CompareWork::Unlink => {
                fs::File::create(slot.new.path).await?.close().await?;
                fs::remove_file(slot.new.path).await
            }
            CompareWork::Mkdir => {
                fs::create_dir(slot.new.path).await?;
                fs::remove_dir(slot.new.path).await
            }
            CompareWork::Rename => {
                fs::rename(slot.moving.path, slot.other.path).await?;
                fs::rename(slot.other.path, slot.moving.path).await
            }
            CompareWork::Getdents | CompareWork::Getxattr | CompareWork::Getaddrinfo => {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }
}

struct TokioUring {
    targets: &'static Targets,
    at: usize,
    file: tokio_uring::fs::File,
    cold: tokio_uring::fs::File,
    buffer: Vec<u8>,
}

impl TokioUring {
    async fn new(targets: &'static Targets, at: usize) -> io::Result<Self> {
        let mut options = tokio_uring::fs::OpenOptions::new();
        let file = options.read(true).write(true).open(targets.file.path).await?;
        let cold = tokio_uring::fs::File::open(targets.cold.path).await?;
        Ok(Self { targets, at, file, cold, buffer: Vec::with_capacity(LARGEST) })
    }

    async fn once(&mut self, work: CompareWork) -> io::Result<()> {
        use tokio_uring::fs;
        let slot = self.targets.slot(self.at);
        let path = self.targets.file.path;
        let mut buffer = std::mem::take(&mut self.buffer);
        match work {
            CompareWork::Metadata | CompareWork::ColdMetadata => {
                fs::statx(self.targets.named(work).path).await.map(drop)
            }
            CompareWork::OpenClose => fs::File::open(path).await?.close().await,
            CompareWork::Read4k
            | CompareWork::Read64k
            | CompareWork::Read1m
            | CompareWork::ColdRead4k
            | CompareWork::ColdRead64k => {
                let file = if work.is_cold() { &self.cold } else { &self.file };
                buffer.resize(work.bytes(), 0);
                let (read, back) = file.read_at(buffer, self.targets.read_at(work)).await;
                self.buffer = back;
                whole(read?, work)
            }
            CompareWork::Write4k | CompareWork::Fsync => {
                buffer.resize(work.bytes(), 0);
                let (written, back) =
                    self.file.write_at(buffer, self.targets.write_at(work)).submit().await;
                self.buffer = back;
                whole(written?, work)?;
                if work == CompareWork::Fsync { self.file.sync_all().await } else { Ok(()) }
            }
            CompareWork::Unlink => {
                fs::File::create(slot.new.path).await?.close().await?;
                fs::remove_file(slot.new.path).await
            }
            CompareWork::Mkdir => {
                fs::create_dir(slot.new.path).await?;
                fs::remove_dir(slot.new.path).await
            }
            CompareWork::Rename => {
                fs::rename(slot.moving.path, slot.other.path).await?;
                fs::rename(slot.other.path, slot.moving.path).await
            }
            CompareWork::ReadFile
            | CompareWork::WriteFile
            | CompareWork::Getdents
            | CompareWork::Getxattr
            | CompareWork::Getaddrinfo => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
