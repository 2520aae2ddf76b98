//! Works of `bench compare` by `tokio::fs`, with tokio's unstable feature `io-uring`.
//!
//! tokio-fs-uring FILE LISTED DEPTH: then, for each line "WORK COUNT" that is read, WORK is done COUNT times, DEPTH at
//! a time, and the nanoseconds of all are written on a line, or "error: ..." if one failed. What tokio does by io_uring
//! is opening, reading and writing whole files, renaming, and reading at a file's own position, after a seek that goes
//! to a thread; the first four are here. Metadata, directories, removing and syncing go to threads as without it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use futures_util::future::try_join_all;
use tokio::fs;
use tokio::runtime::Builder;

/// Bytes of the files that are read and written as a whole.
const READ: usize = 64 << 10;
const WRITTEN: usize = 4 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    if !cfg!(tokio_unstable) {
        println!("it was built without --cfg tokio_unstable");
        return Ok(());
    }
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [file, _, depth] = &args[..] else { return Err("FILE LISTED DEPTH".into()) };
    let dir = Path::new(file).parent().ok_or("FILE is in a directory")?.to_owned();
    let depth: usize = depth.to_str().ok_or("DEPTH is a number")?.parse()?;
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(runtime.spawn(serve(dir, depth)))??;
    Ok(())
}

/// Does what is wanted until nothing is any more.
async fn serve(dir: PathBuf, depth: usize) -> io::Result<()> {
    let slots: Vec<Slot> = (0..depth).map(|at| Slot::new(&dir, at)).collect();
    slots[0].open_close().await?; // makes the ring
    println!("ready");
    let mut line = String::new();
    while io::stdin().read_line(&mut line)? > 0 {
        let (work, count) = line.trim_end().split_once(' ').unwrap_or_default();
        let start = Instant::now();
        let mut done = Ok(());
        for _ in 0..count.parse().unwrap_or(0) / depth {
            done = try_join_all(slots.iter().map(|slot| slot.once(work))).await.map(drop);
            if done.is_err() {
                break;
            }
        }
        match done {
            Ok(()) => println!("{}", start.elapsed().as_nanos()),
            Err(error) => println!("error: {error}"),
        }
        line.clear();
    }
    Ok(())
}

/// The files of one of those under way.
#[derive(Debug)]
struct Slot {
    file: PathBuf,
    whole: PathBuf,
    moving: PathBuf,
    other: PathBuf,
    written: PathBuf,
}

impl Slot {
    fn new(dir: &Path, at: usize) -> Self {
        let own = |kind: &str| dir.join(format!("{kind}-{at}"));
        let [moving, other, written] = ["moving", "other", "written"].map(own);
        Self { file: dir.join("file"), whole: dir.join("whole"), moving, other, written }
    }

    async fn once(&self, work: &str) -> io::Result<()> {
        match work {
            "open_close" => self.open_close().await,
            "read_file" => match fs::read(&self.whole).await?.len() {
                READ => Ok(()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            },
            "write_file" => fs::write(&self.written, vec![1; WRITTEN]).await,
            "rename" => {
                fs::rename(&self.moving, &self.other).await?;
                fs::rename(&self.other, &self.moving).await
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn open_close(&self) -> io::Result<()> {
        fs::File::open(&self.file).await.map(drop)
    }
}
