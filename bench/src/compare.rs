//! The same work in every way there is, side by side: plain calls, this library's ways, tokio's, smol's, compio's,
//! io_uring's, libuv's, the AIO of the C library and of the kernel.
//!
//! Each way has a thread, or a runtime, of its own, and is told to do batches. Batches of the ways take turns, so each
//! is compared with the plain one beside it. Everything is cached: what is not is in `bench cold`.

mod aio;
mod files;
mod libuv;
mod operations;
mod raw;
mod rings;
mod runtimes;
mod tasks;
mod worker;

use std::path::{Path as FilePath, PathBuf};

use self::files::{Files, Overlay, Targets};
use self::worker::{Batch, Worker};
use crate::error::Trouble;
use crate::guest::Path;
use crate::machine::file_system;
use crate::options::{CompareOptions, CompareWay, CompareWork};
use crate::report::Row;
use crate::samples::Samples;

/// A tmpfs wherever there is one.
const MEMORY: &str = "/dev/shm";

/// What one way gave.
#[derive(Debug, Default)]
struct Tally {
    samples: Samples,
    path: Path,
    /// Times that a work was done by another thread than it should.
    strays: u64,
}

/// A way, with how many of its works are under way at once.
#[derive(Debug)]
struct Runner {
    way: CompareWay,
    depth: usize,
    worker: Worker,
}

/// Measures every work that is asked for, on the file system of the directory, a tmpfs and an overlayfs.
pub(crate) fn run(options: &CompareOptions) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    let dir = options.common.dir();
    let mut places: Vec<(String, PathBuf)> = vec![(file_system(&dir), dir.clone())];
    if places[0].0 != "tmpfs" && file_system(FilePath::new(MEMORY)) == "tmpfs" {
        places.push(("tmpfs".to_owned(), MEMORY.into()));
    }
    // Only root can mount one: without it there are fewer figures.
    let overlay = Overlay::mount(&dir);
    match &overlay {
        Ok(overlay) => places.push(("overlay".to_owned(), overlay.path())),
        Err(error) => eprintln!("bench: no overlayfs: {}", crate::chain(error)),
    }
    for (at, (kind, place)) in places.iter().enumerate() {
        let files = Files::make(place)?;
        let mut runners = start(options, &files, at == 0);
        for &work in options.works() {
            // What does not touch a file is the same everywhere.
            if at == 0 || work.is_on_files() {
                rows.extend(measure(options, work, kind, files.targets(), &mut runners)?);
            }
        }
    }
    Ok(rows)
}

/// Starts every way that is asked for and there is on this machine.
fn start(options: &CompareOptions, files: &Files, says: bool) -> Vec<Runner> {
    let mut runners = Vec::new();
    for &way in options.ways() {
        for depth in options.depths(way) {
            match Worker::start(way, files.targets(), depth) {
                Ok(worker) => runners.push(Runner { way, depth, worker }),
                Err(error) if says => {
                    eprintln!("bench: no {}: {}", way.name(), crate::chain(&error))
                }
                Err(_) => {}
            }
        }
    }
    runners
}

fn measure(
    options: &CompareOptions,
    work: CompareWork,
    kind: &str,
    files: &Targets,
    runners: &mut [Runner],
) -> Result<Vec<Row>, Trouble> {
    let mut runners: Vec<_> = runners.iter_mut().filter(|runner| runner.way.does(work)).collect();
    let mut tallies: Vec<_> = runners.iter().map(|_| Tally::default()).collect();
    let size = options.batch(work);
    for runner in &runners {
        files.shorten().map_err(Trouble::io("making the file shorter"))?;
        runner.worker.batch(work, size)?; // warms caches and branch predictors
    }
    for round in 0..options.rounds() {
        // Who follows whom changes from round to round.
        for turn in 0..runners.len() {
            let at = (round + turn) % runners.len();
            files.shorten().map_err(Trouble::io("making the file shorter"))?;
            let Batch { nanos, path, strays } = runners[at].worker.batch(work, size)?;
            tallies[at].samples.push(nanos);
            tallies[at].path.add(path);
            tallies[at].strays += strays;
        }
    }
    let plain = runners.iter().position(|runner| runner.way == CompareWay::Plain);
    let rows = runners.iter_mut().zip(&tallies).map(|(runner, tally)| {
        let deep = if runner.depth > 1 { format!("-x{}", runner.depth) } else { String::new() };
        let name = format!("{}{deep}", runner.way.name());
        let mut row = Row::new(work.name(), name, &tally.samples);
        if work.is_on_files() {
            row.work = format!("{} on {kind}", work.name()).into();
        }
        row.more.batch = Some(size);
        row.more.depth = Some(runner.depth);
        if runner.way.is_ours() {
            row.more.inline = Some(tally.path.inline);
            row.more.handed_off = Some(tally.path.handed_off);
        }
        row.fault = fault(runner.way, work, tally);
        match plain {
            Some(plain) if runner.way != CompareWay::Plain => {
                row.against(&tally.samples, &tallies[plain].samples)
            }
            _ => row,
        }
    });
    Ok(rows.collect())
}

/// What is wrong with the path that a way took.
fn fault(way: CompareWay, work: CompareWork, tally: &Tally) -> Option<String> {
    if tally.strays > 0 {
        return Some(format!("{} times it was not the thread that it should be", tally.strays));
    }
    if !way.is_ours() || work.may_wait() {
        return None;
    }
    let Path { inline, handed_off, unprotected, .. } = tally.path;
    let all = inline + handed_off + unprotected;
    // On a busy machine the thread is preempted in the middle of some.
    (all == 0 || inline < all - all / 5).then(|| {
        format!("of {all} calls {inline} were inline, {handed_off} handed off, {unprotected} unprotected")
    })
}
