//! The works, in each way.

use std::hint::black_box;
use std::io::{self, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use syslet_tokio::unblock;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use super::files::{BLOCK, TokioFiles, check_entries};
use crate::error::Trouble;
use crate::options::TokioWork;

/// How a work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// std's function in the task itself, which holds the worker up.
    Std,
    TokioFs,
    SpawnBlocking,
    SysletFs,
    Unblock,
}

impl Way {
    /// The first is the plain one.
    pub(super) const ALL: [Self; 5] =
        [Self::Std, Self::TokioFs, Self::SpawnBlocking, Self::SysletFs, Self::Unblock];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Std => "std",
            Self::TokioFs => "tokio_fs",
            Self::SpawnBlocking => "spawn_blocking",
            Self::SysletFs => "syslet_fs",
            Self::Unblock => "unblock",
        }
    }

    /// How many closures of the library's doing a work once takes.
    pub(super) const fn protected(self) -> u64 {
        matches!(self, Self::SysletFs | Self::Unblock) as u64
    }
}

/// Nanoseconds of each of `size` repetitions: one loop for each way.
macro_rules! timed {
    ($size:expr, $once:expr) => {{
        let start = Instant::now();
        for _ in 0..$size {
            black_box($once?);
        }
        Ok(start.elapsed().as_nanos() as f64 / $size as f64)
    }};
}

/// Nanoseconds of each of `size` repetitions of the work.
pub(super) async fn batch(
    work: TokioWork,
    way: Way,
    files: &TokioFiles,
    size: usize,
) -> Result<f64, Trouble> {
    let result = match work {
        TokioWork::Metadata => metadata(way, &files.of_size(BLOCK), size).await,
        TokioWork::OpenClose => open_close(way, &files.of_size(BLOCK), size).await,
        TokioWork::ReadAt4k => read_at(way, files.open()?, size).await,
        TokioWork::WriteAt4k => write_at(way, files.open()?, size).await,
        TokioWork::Read4k => read(way, &files.of_size(4 << 10), size).await,
        TokioWork::Read64k => read(way, &files.of_size(64 << 10), size).await,
        TokioWork::Read1m => read(way, &files.of_size(1 << 20), size).await,
        TokioWork::ReadDir => read_dir(way, &files.listed(), size).await,
        TokioWork::Away | TokioWork::Timer => unreachable!("measured elsewhere"),
    };
    result.map_err(|error| Trouble::Work(work.name(), error))
}

async fn metadata(way: Way, path: &Path, size: usize) -> io::Result<f64> {
    let owned = || path.to_owned();
    match way {
        Way::Std => timed!(size, std::fs::metadata(path)),
        Way::TokioFs => timed!(size, tokio::fs::metadata(path).await),
        Way::SysletFs => timed!(size, syslet_tokio::fs::metadata(path).await),
        Way::SpawnBlocking => timed!(size, {
            let path = owned();
            spawn_blocking(|| std::fs::metadata(path)).await?
        }),
        Way::Unblock => timed!(size, {
            let path = owned();
            unblock(|| std::fs::metadata(path)).await?
        }),
    }
}

async fn open_close(way: Way, path: &Path, size: usize) -> io::Result<f64> {
    let owned = || path.to_owned();
    match way {
        Way::Std => timed!(size, std::fs::File::open(path)),
        Way::TokioFs => timed!(size, tokio::fs::File::open(path).await),
        Way::SysletFs => timed!(size, syslet_tokio::fs::File::open(path).await),
        Way::SpawnBlocking => timed!(size, {
            let path = owned();
            spawn_blocking(|| std::fs::File::open(path)).await?
        }),
        Way::Unblock => timed!(size, {
            let path = owned();
            unblock(|| std::fs::File::open(path)).await?
        }),
    }
}

/// `tokio::fs` has no positioned read: it seeks and reads.
async fn read_at(way: Way, file: std::fs::File, size: usize) -> io::Result<f64> {
    let mut buf = vec![0; BLOCK];
    match way {
        Way::Std => timed!(size, file.read_exact_at(&mut buf, 0)),
        Way::TokioFs => {
            let mut file = tokio::fs::File::from_std(file);
            timed!(size, {
                file.seek(SeekFrom::Start(0)).await?;
                file.read_exact(&mut buf).await
            })
        }
        Way::SysletFs => {
            let file = syslet_tokio::fs::File::from_std(file);
            timed!(size, {
                let (count, back) = file.read_at(buf, 0).await;
                buf = back;
                count
            })
        }
        Way::SpawnBlocking => {
            let file = Arc::new(file);
            timed!(size, {
                let file = Arc::clone(&file);
                let read = move || file.read_exact_at(&mut buf, 0).map(|()| buf);
                let back = spawn_blocking(read).await?;
                buf = back?;
                io::Result::Ok(())
            })
        }
        Way::Unblock => {
            let file = Arc::new(file);
            timed!(size, {
                let file = Arc::clone(&file);
                let read = move || file.read_exact_at(&mut buf, 0).map(|()| buf);
                let back = unblock(read).await?;
                buf = back?;
                io::Result::Ok(())
            })
        }
    }
}

/// `tokio::fs` has no positioned write: it seeks, writes and flushes.
async fn write_at(way: Way, file: std::fs::File, size: usize) -> io::Result<f64> {
    let mut buf = vec![2; BLOCK];
    match way {
        Way::Std => timed!(size, file.write_all_at(&buf, 0)),
        Way::TokioFs => {
            let mut file = tokio::fs::File::from_std(file);
            timed!(size, {
                file.seek(SeekFrom::Start(0)).await?;
                file.write_all(&buf).await?;
                file.flush().await
            })
        }
        Way::SysletFs => {
            let file = syslet_tokio::fs::File::from_std(file);
            timed!(size, {
                let (count, back) = file.write_at(buf, 0).await;
                buf = back;
                count
            })
        }
        Way::SpawnBlocking => {
            let file = Arc::new(file);
            timed!(size, {
                let file = Arc::clone(&file);
                let write = move || file.write_all_at(&buf, 0).map(|()| buf);
                let back = spawn_blocking(write).await?;
                buf = back?;
                io::Result::Ok(())
            })
        }
        Way::Unblock => {
            let file = Arc::new(file);
            timed!(size, {
                let file = Arc::clone(&file);
                let write = move || file.write_all_at(&buf, 0).map(|()| buf);
                let back = unblock(write).await?;
                buf = back?;
                io::Result::Ok(())
            })
        }
    }
}

async fn read(way: Way, path: &Path, size: usize) -> io::Result<f64> {
    let owned = || path.to_owned();
    match way {
        Way::Std => timed!(size, std::fs::read(path)),
        Way::TokioFs => timed!(size, tokio::fs::read(path).await),
        Way::SysletFs => timed!(size, syslet_tokio::fs::read(path).await),
        Way::SpawnBlocking => timed!(size, {
            let path = owned();
            spawn_blocking(|| std::fs::read(path)).await?
        }),
        Way::Unblock => timed!(size, {
            let path = owned();
            unblock(|| std::fs::read(path)).await?
        }),
    }
}

async fn read_dir(way: Way, path: &Path, size: usize) -> io::Result<f64> {
    let owned = || path.to_owned();
    let names = |path: &Path| -> io::Result<()> {
        check_entries(
            std::fs::read_dir(path)?.filter_map(|entry| Some(entry.ok()?.file_name())).count(),
        )
    };
    match way {
        Way::Std => timed!(size, names(path)),
        Way::TokioFs => timed!(size, {
            let (mut entries, mut count) = (tokio::fs::read_dir(path).await?, 0);
            while let Some(entry) = entries.next_entry().await? {
                black_box(entry.file_name());
                count += 1;
            }
            check_entries(count)
        }),
        Way::SysletFs => timed!(size, {
            let (mut entries, mut count) = (syslet_tokio::fs::read_dir(path).await?, 0);
            while let Some(entry) = entries.next_entry().await? {
                black_box(entry.file_name());
                count += 1;
            }
            check_entries(count)
        }),
        Way::SpawnBlocking => timed!(size, {
            let path = owned();
            spawn_blocking(move || names(&path)).await?
        }),
        Way::Unblock => timed!(size, {
            let path = owned();
            unblock(move || names(&path)).await?
        }),
    }
}
