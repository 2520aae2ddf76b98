//! The works as tokio tasks do them.

use std::io::{self, SeekFrom};
use std::thread;

use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::task::{block_in_place, spawn_blocking, yield_now};

use super::files::{LARGEST, Targets};
use super::operations::listed_whole;
use super::raw::{found, whole};
use super::witness::Server;
use super::worker::{Order, Serve, Timed, by, serves, strays};
use crate::error::Trouble;
use crate::on_tokio::on_worker_named as on_worker;
use crate::options::{CompareWay, CompareWork};

/// Serves as a task of a runtime with one worker.
pub(super) fn run(serve: Serve) -> Result<(), Trouble> {
    let name = &super::witness::name(serve.way, serve.depth);
    match serve.way {
        CompareWay::TokioFs => on_worker(name, files_of_tokio(serve))?,
        CompareWay::SysletTokioFs => on_worker(name, async move {
            is_attached()?;
            files_of_syslet(serve).await
        })?,
        CompareWay::Unblock => on_worker(name, async move {
            is_attached()?;
            closures(serve).await
        })?,
        _ => on_worker(name, closures(serve))?,
    }
}

/// A worker that is not would measure something else.
fn is_attached() -> Result<(), Trouble> {
    if syslet::is_attached() {
        return Ok(());
    }
    Err(Trouble::Refused("tokio", "the worker is not attached".to_owned()))
}

/// Closures that make the calls.
async fn closures(serve: Serve) -> Result<(), Trouble> {
    let Serve { way, targets, depth, wanted, done, ready } = serve;
    let _ = ready.send(Ok(Server::here()));
    while let Ok(Order { work, size }) = wanted.recv() {
        let mut timed = Timed::start();
        let mut result = Ok(());
        for _ in 0..size / depth {
            let worker = thread::current().id();
            let closure = |slot| move || by(worker, work, targets, slot);
            let once = match way {
                CompareWay::SpawnBlocking => {
                    let all = (0..depth).map(|slot| spawn_blocking(closure(slot)));
                    let all = try_join_all(all).await.map_err(io::Error::from);
                    all.and_then(|all| all.into_iter().collect()).map(strays)
                }
                CompareWay::Unblock => {
                    let all = (0..depth).map(|slot| syslet_tokio::unblock(closure(slot)));
                    let all = try_join_all(all).await.map_err(io::Error::from);
                    // Which thread it is does not matter: the counters tell what became of it.
                    all.and_then(|all| all.into_iter().collect::<io::Result<Vec<_>>>()).map(|_| 0)
                }
                _ => {
                    let once = block_in_place(closure(0)).map(u64::from);
                    // The worker was given away, and is given back: as whenever a task awaits next.
                    yield_now().await;
                    once
                }
            };
            match once {
                Ok(astray) => timed.strays += astray,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let _ = done.send(result.map(|()| timed.batch(size)));
    }
    Ok(())
}

/// What a task has that uses `$fs`, and how it does the works: the names are the same in both.
macro_rules! files_of {
    ($slot:ident, $serve:ident, $fs:ident :: fs, $lookup_host:path) => {
        /// What one of those under way has for itself.
        #[derive(Debug)]
        struct $slot {
            targets: &'static Targets,
            at: usize,
            file: $fs::fs::File,
            cold: $fs::fs::File,
            buffer: Vec<u8>,
        }

        serves!($serve, $slot);

        impl $slot {
            async fn new(targets: &'static Targets, at: usize) -> io::Result<Self> {
                let mut options = $fs::fs::OpenOptions::new();
                let file = options.read(true).write(true).open(targets.file.path).await?;
                let cold = $fs::fs::File::open(targets.cold.path).await?;
                Ok(Self { targets, at, file, cold, buffer: vec![0; LARGEST] })
            }

            async fn once(&mut self, work: CompareWork) -> io::Result<()> {
                use $fs::fs;
                let slot = self.targets.slot(self.at);
                let path = self.targets.file.path;
                match work {
                    CompareWork::Metadata | CompareWork::ColdMetadata => {
                        fs::metadata(self.targets.named(work).path).await.map(drop)
                    }
                    CompareWork::OpenClose => fs::File::open(path).await.map(drop),
                    // There is no positioned read in tokio's files.
                    CompareWork::Read4k
                    | CompareWork::Read64k
                    | CompareWork::Read1m
                    | CompareWork::ColdRead4k
                    | CompareWork::ColdRead64k => {
                        let file = if work.is_cold() { &mut self.cold } else { &mut self.file };
                        file.seek(SeekFrom::Start(self.targets.read_at(work))).await?;
                        file.read_exact(&mut self.buffer[..work.bytes()]).await.map(drop)
                    }
                    CompareWork::ReadFile => {
                        whole(fs::read(self.targets.whole.path).await?.len(), work)
                    }
                    CompareWork::WriteFile => {
                        let bytes = self.buffer[..work.bytes()].to_vec();
                        fs::write(slot.written.path, bytes).await
                    }
                    CompareWork::Write4k | CompareWork::Fsync => {
                        self.file.seek(SeekFrom::Start(self.targets.write_at(work))).await?;
                        self.file.write_all(&self.buffer[..work.bytes()]).await?;
                        self.file.flush().await?;
                        match work {
                            CompareWork::Fsync => self.file.sync_all().await,
                            _ => Ok(()),
                        }
                    }
                    CompareWork::Unlink => {
                        drop(fs::File::create(slot.new.path).await?);
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
                    CompareWork::Getdents => {
                        let mut listed = fs::read_dir(self.targets.listed.path).await?;
                        let mut count = 0;
                        while listed.next_entry().await?.is_some() {
                            count += 1;
                        }
                        listed_whole(count)
                    }
                    CompareWork::Getaddrinfo => found($lookup_host(("localhost", 80)).await?),
                    CompareWork::Getxattr => Err(io::ErrorKind::Unsupported.into()),
                }
            }
        }
    };
}

files_of!(TokioSlot, files_of_tokio, tokio::fs, tokio::net::lookup_host);
files_of!(SysletSlot, files_of_syslet, syslet_tokio::fs, syslet_tokio::net::lookup_host);
