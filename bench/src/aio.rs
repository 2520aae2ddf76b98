//! A drop-in library beside the library that it stands in for: fio, which knows nothing of either, does the same
//! work with both, turn by turn.
//!
//! A figure is the time of one operation in one turn, the inverse of fio's rate; the ratio is of times, ours to the
//! system's in the turn beside it, so below 1 is faster. What fio says of submitting stands in the remark, and
//! how the library says, in a turn that is not measured, that it has done the operations. A turn in which an operation
//! failed is a fault, and one with another library than its name says, or in which that did something else.

mod fio;
mod witness;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use syslet_testfs::{Answer, Request, TestFs};

use self::fio::{Job, Turn};
use self::witness::fault;
use crate::error::Trouble;
use crate::options::{AioOptions, AioWork};
use crate::report::{More, Row};
use crate::samples::Samples;

/// How long each read of the slow file takes.
const SLOW: Duration = Duration::from_millis(20);
/// Size of the slow file.
const SLOW_SIZE: u64 = 4 << 20;
/// Operations at a time, where the work asks for no other number.
const DEPTH: usize = 32;
const SLOW_DEPTH: usize = 16;

/// A library that programs do asynchronous I/O by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// The C library's aio_read and its kin.
    PosixAio,
    /// libaio's io_submit and its kin.
    Libaio,
}

impl Library {
    /// fio's engine that uses it.
    fn engine(self) -> &'static str {
        match self {
            Self::PosixAio => "posixaio",
            Self::Libaio => "libaio",
        }
    }

    /// The file of ours.
    fn file(self) -> &'static str {
        match self {
            Self::PosixAio => "libsyslet_posix_aio.so",
            Self::Libaio => "libaio.so.1",
        }
    }

    /// How ours is got, for who has not got it.
    fn how(self) -> &'static str {
        match self {
            Self::PosixAio => "cargo build --release -p syslet-posix-aio",
            Self::Libaio => "cargo xtask libaio FOLDER, and name it by --library",
        }
    }
}

/// Measures.
pub(crate) fn run(library: Library, options: &AioOptions) -> Result<Vec<Row>, Trouble> {
    let ours = find(library, options)?;
    let folder = Folder::make(&options.common.dir())?;
    let mut rows = Vec::new();
    for &work in options.works() {
        let slow = match work {
            AioWork::Slow => match mount(&folder.0) {
                Ok(slow) => Some(slow),
                Err(error) => {
                    eprintln!("bench: slow is left out: FUSE cannot be used here: {error}");
                    continue;
                }
            },
            _ => None,
        };
        let job = job(library, work, options, &folder.0);
        rows.extend(compare(library, &job, work, options, &ours)?);
        drop(slow);
    }
    Ok(rows)
}

/// Our library: the one that is named, or beside this program.
fn find(library: Library, options: &AioOptions) -> Result<PathBuf, Trouble> {
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join(library.file()));
    let path = options.library.clone().or_else(beside).unwrap_or_default();
    if path.is_file() {
        // As the loader will name it.
        return std::path::absolute(path).map_err(Trouble::io("finding the library"));
    }
    let why = format!("{} is not there: {}", path.display(), library.how());
    Err(Trouble::Io("finding the library", io::Error::new(io::ErrorKind::NotFound, why)))
}

/// A folder of the bench's own, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn make(dir: &Path) -> Result<Self, Trouble> {
        let path = dir.join(format!("syslet-bench-aio-{}", std::process::id()));
        fs::create_dir(&path).map_err(Trouble::io("making a folder"))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // nothing more can be done
    }
}

fn mount(dir: &Path) -> io::Result<TestFs> {
    let at = dir.join("slow");
    fs::create_dir_all(&at)?;
    let slow = |request: &Request| match request {
        Request::Open { .. } => Answer::NOW,
        Request::Read { .. } => Answer { delay: SLOW, ..Answer::NOW },
    };
    let file = syslet_testfs::File { name: "file".to_owned(), size: SLOW_SIZE };
    TestFs::mount(at, vec![file], slow)
}

fn job(library: Library, work: AioWork, options: &AioOptions, folder: &Path) -> Job {
    let job = Job::new(library, folder, options.bytes(), options.segment());
    match work {
        AioWork::Cached => {
            job.with(&["--rw=randread", "--invalidate=0", "--pre_read=1", "--time_based"])
        }
        // Each block once: a second time it would not be cold.
        AioWork::Cold => job.with(&["--rw=randread", "--invalidate=1"]),
        AioWork::Direct => job.with(&["--rw=randread", "--direct=1", "--time_based"]),
        AioWork::Fsync => job.with(&["--rw=randwrite", "--fsync=1", "--time_based"]),
        AioWork::Slow => job.on(folder.join("slow/file"), SLOW_SIZE).depth(SLOW_DEPTH).with(&[
            "--rw=randread",
            "--invalidate=0",
            "--readonly",
            "--time_based",
        ]),
    }
}

/// Whose functions fio uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    name: &'static str,
    /// Ours, in front.
    pub(crate) library: Option<&'a Path>,
    /// The program's threads are guests.
    pub(crate) attached: bool,
}

/// Turns of all, one after the other.
fn compare(
    library: Library,
    job: &Job,
    work: AioWork,
    options: &AioOptions,
    ours: &Path,
) -> Result<Vec<Row>, Trouble> {
    job.lay_out()?;
    let ours = Some(ours);
    let ways = [
        Way { name: "system", library: None, attached: false },
        Way { name: "syslet", library: ours, attached: false },
        Way { name: "syslet-attached", library: ours, attached: true },
    ];
    let turn = |way, run: fn(&Job, Way<'_>) -> Result<Turn, Trouble>| {
        if work == AioWork::Cold {
            job.drop_cached()?;
        }
        run(job, way)
    };
    let mut counted: [Option<Turn>; 3] = Default::default();
    for (counted, way) in counted.iter_mut().zip(ways).filter(|(_, way)| way.library.is_some()) {
        *counted = Some(turn(way, Job::run_counted)?);
    }
    let mut turns: [Vec<Turn>; 3] = Default::default();
    for _ in 0..options.rounds() {
        for (turns, way) in turns.iter_mut().zip(ways) {
            turns.push(turn(way, Job::run)?);
        }
    }
    let times = turns.each_ref().map(|turns| {
        let mut times = Samples::default();
        turns.iter().for_each(|turn| times.push(1e9 / turn.rate.max(f64::MIN_POSITIVE)));
        times
    });
    let [system, ..] = &times;
    let rows = ways.iter().zip(&times).zip(turns.iter().zip(&counted));
    let rows = rows.map(|((way, times), (turns, counted))| {
        let mut row = row(work, way.name, times, turns, counted.as_ref(), job);
        row.fault = fault(library, work, *way, turns, counted.as_ref());
        if way.library.is_some() { row.against(times, system) } else { row }
    });
    Ok(rows.collect())
}

fn row(
    work: AioWork,
    way: &str,
    times: &Samples,
    turns: &[Turn],
    counted: Option<&Turn>,
    job: &Job,
) -> Row {
    let submit = median(turns.iter().map(|turn| turn.submit_p99)) / 1e3;
    let mut remark = format!("submit p99 {submit:.1} us");
    if let Some(counted) = counted {
        remark += &format!("; of a turn by the report: {}", counted.seen.told());
    }
    let more = More {
        depth: Some(job.depth),
        per_second: Some(1e9 / times.median()),
        remark: Some(remark),
        ..More::default()
    };
    Row { more, ..Row::new(work.name(), way, times) }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut samples = Samples::default();
    figures.for_each(|figure| samples.push(figure));
    samples.median()
}
