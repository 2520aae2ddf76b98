//! An event loop that ticks each millisecond, while calls of its doing hit a file that is slow: how late
//! its ticks are, for each way of making the calls.
//!
//! Every tick that was due counts, also those that a stalled loop has skipped: whoever waited for one of
//! them waited as long. The slow file is on a file system of the bench's own; some of its reads also
//! fail or end early. What the calls bring is compared with what the file system says it has answered; and it is looked
//! at where each was made.

mod tasks;
mod threads;
mod ticks;
mod witness;

use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use syslet_testfs::{Answer, Fault, File, Request, TestFs, mismatch};

use self::ticks::Ticks;
use self::witness::{Witness, place};
use crate::error::Trouble;
use crate::guest::Path;
use crate::options::{StallOptions, StallWay};
use crate::report::Row;
use crate::samples::Samples;
use crate::scratch::Scratch;

/// Bytes of the slow file, all of which a call asks for.
const SIZE: usize = 4096;

/// One read in so many fails, and one ends early (but not for the raw ring).
const FAULTY: u64 = 10;

/// What became of the slow calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Outcomes {
    right: u64,
    failed: u64,
    short: u64,
}

impl Outcomes {
    /// Counts one call; an error if it brought what no slow call may bring.
    fn count(&mut self, result: io::Result<usize>, bytes: &[u8]) -> io::Result<()> {
        match result {
            Ok(n) if mismatch(0, 0, &bytes[..n]).is_some() => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a wrong byte"));
            }
            Ok(SIZE) => self.right += 1,
            Ok(_) => self.short += 1,
            Err(error) if error.raw_os_error() == Some(libc::EIO) => self.failed += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.failed += other.failed;
        self.short += other.short;
    }

    fn calls(self) -> u64 {
        self.right + self.failed + self.short
    }
}

/// What one way gave in all its segments.
#[derive(Debug, Default)]
struct Tally {
    delays: Samples,
    outcomes: Outcomes,
    path: Path,
    /// Calls that were seen to be made as the way's name says.
    seen: u64,
    /// What the file system says.
    answered: Outcomes,
}

/// What a way gave in one segment.
#[derive(Debug)]
struct Segment {
    ticks: Ticks,
    outcomes: Outcomes,
    path: Path,
    seen: u64,
}

/// Measures every way that is asked for.
pub(crate) fn run(options: &StallOptions) -> Result<Vec<Row>, Trouble> {
    let scratch = Scratch::make(&options.common.dir(), "stall")?;
    let shortens = Arc::new(AtomicBool::new(true));
    let slow = mount(scratch.path(), options.delay(), Arc::clone(&shortens))?;
    let file = slow.path().join("slow");
    let mut tallies: Vec<Tally> = options.ways().iter().map(|_| Tally::default()).collect();
    for round in 0..options.rounds() {
        // Who follows whom changes from round to round.
        for turn in 0..options.ways().len() {
            let at = (round + turn) % options.ways().len();
            // Of a read that ends early, the kernel's ring reads the rest again, from the same place as before (seen on
            // Linux 6.18, for FUSE files without a cache): the bytes are wrong.
            shortens.store(options.ways()[at] != StallWay::IoUring, Ordering::Relaxed);
            let before = answered(&slow);
            let segment = segment(options, options.ways()[at], &file)?;
            let after = answered(&slow);
            let tally = &mut tallies[at];
            tally.delays.append(segment.ticks.delays());
            tally.outcomes.add(segment.outcomes);
            tally.path.add(segment.path);
            tally.seen += segment.seen;
            tally.answered.add(Outcomes {
                right: after.right - before.right,
                failed: after.failed - before.failed,
                short: after.short - before.short,
            });
        }
    }
    let rows = options.ways().iter().zip(tallies);
    Ok(rows.map(|(&way, tally)| row(options, way, &tally)).collect())
}

fn segment(options: &StallOptions, way: StallWay, file: &FilePath) -> Result<Segment, Trouble> {
    match way.on_tokio() {
        true => tasks::segment(options, way, file),
        false => threads::segment(options, way, file),
    }
}

fn row(options: &StallOptions, way: StallWay, tally: &Tally) -> Row {
    let mut row = Row::new("stall", way.name(), &tally.delays);
    let Outcomes { right, failed, short } = tally.outcomes;
    row.more.p999_ns = Some(tally.delays.quantile(0.999).round());
    row.more.handed_off = Some(tally.path.handed_off);
    row.more.inline = Some(tally.path.inline);
    if way != StallWay::Alone {
        let delay = options.delay().as_millis();
        row.more.remark = Some(format!(
            "slow calls of {delay} ms: {right} right, {failed} failed, {short} short"
        ));
    }
    row.fault = if tally.outcomes != tally.answered {
        let Outcomes { right, failed, short } = tally.answered;
        Some(format!("the file system has answered {right} right, {failed} failed, {short} short"))
    } else if way != StallWay::Alone && tally.outcomes.calls() == 0 {
        Some("no call was made".to_owned())
    } else if tally.path.handed_off < tally.outcomes.calls() * way.handed_off() {
        Some("not every slow call was handed off".to_owned())
    } else if tally.seen < tally.outcomes.calls() {
        let (seen, calls) = (tally.seen, tally.outcomes.calls());
        Some(format!("{seen} of {calls} calls were seen {}", place(way)))
    } else {
        None
    };
    row
}

/// Reads that the file system has answered.
fn answered(slow: &TestFs) -> Outcomes {
    let counts = slow.counts();
    Outcomes {
        right: counts.reads - counts.failed - counts.shorter,
        failed: counts.failed,
        short: counts.shorter,
    }
}

fn mount(dir: &FilePath, delay: Duration, shortens: Arc<AtomicBool>) -> Result<TestFs, Trouble> {
    let at = dir.join("slow");
    std::fs::create_dir(&at).map_err(Trouble::io("making a directory"))?;
    let reads = AtomicU64::new(0);
    let script = move |request: &Request| match request {
        Request::Open { .. } => Answer::NOW,
        Request::Read { .. } => {
            let fault = match reads.fetch_add(1, Ordering::Relaxed) % FAULTY {
                3 => Some(Fault::Failed),
                7 if shortens.load(Ordering::Relaxed) => Some(Fault::Shorter(SIZE / 2)),
                _ => None,
            };
            Answer { delay, fault }
        }
    };
    let file = File { name: "slow".to_owned(), size: SIZE as u64 };
    TestFs::mount(at, vec![file], script).map_err(Trouble::io("mounting a file system (FUSE)"))
}

/// The slow call, as a function that waits: what pools and closures make.
fn slow_read(path: &FilePath, witness: &Witness) -> (io::Result<usize>, Vec<u8>) {
    witness.call();
    let mut bytes = vec![0; SIZE];
    let read = std::fs::File::open(path).and_then(|file| file.read_at(&mut bytes, 0));
    (read, bytes)
}

/// The same, for those that need a path of their own.
fn slow_reader(
    path: &FilePath,
    witness: &Arc<Witness>,
) -> impl FnOnce() -> (io::Result<usize>, Vec<u8>) + Send + 'static {
    let (path, witness): (PathBuf, _) = (path.to_owned(), Arc::clone(witness));
    move || slow_read(&path, &witness)
}
