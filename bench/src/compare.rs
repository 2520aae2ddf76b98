//! The same work in every way there is, side by side: plain calls, this library's ways, tokio's, smol's, compio's,
//! io_uring's, libuv's, the AIO of the C library and of the kernel.
//!
//! Each way has a thread, or a runtime, of its own, and is told to do batches. Batches of the ways take turns, so each
//! is compared with the plain one beside it. Most works are of what is in memory; the cold ones are not, and it is
//! checked that the disk was read. That each way went as its name says is checked too (`Passage`).

mod aio;
mod files;
mod libuv;
mod operations;
mod process;
mod raw;
mod rings;
mod runtimes;
mod tasks;
mod tokio_fs_uring;
mod witness;
mod worker;

use std::path::{Path as FilePath, PathBuf};

use self::files::{Files, Overlay, Targets};
pub(crate) use self::witness::{taken, times};
use self::worker::{Batch, Worker};
use crate::chain;
use crate::error::Trouble;
use crate::guest::Path;
use crate::machine::file_system;
use crate::options::{CompareOptions, CompareWay, CompareWork, Passage};
use crate::report::Row;
use crate::samples::Samples;

/// CPU time that threads have for a work at least if they do it, in nanoseconds: a system call takes more.
pub(crate) const THREADS_NS: u64 = 100;
/// A tmpfs wherever there is one.
const MEMORY: &str = "/dev/shm";

/// What one way gave.
#[derive(Debug, Default)]
struct Tally {
    samples: Samples,
    path: Path,
    /// Times that a work was done by another thread than it should.
    strays: u64,
    /// Requests that the way's ring has taken, or nanoseconds of CPU time of its threads.
    witnessed: u64,
    /// Bytes that came from the disk.
    from_disk: u64,
    /// Works that were done.
    works: u64,
}

impl Tally {
    fn add(&mut self, batch: Batch, size: usize) {
        self.samples.push(batch.nanos);
        self.path.add(batch.path);
        self.strays += batch.strays;
        self.witnessed += batch.witnessed;
        self.from_disk += batch.from_disk;
        self.works += size as u64;
    }
}

/// A way, with how many of its works are under way at once.
#[derive(Debug)]
struct Runner {
    way: CompareWay,
    depth: usize,
    worker: Worker,
}

/// Measures every work that is asked for, on the file system of the directory, a tmpfs and an overlayfs.
pub(crate) fn run(options: &CompareOptions, lost: &mut Vec<String>) -> Result<Vec<Row>, Trouble> {
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
        Err(error) => eprintln!("bench: no overlayfs: {}", chain(error)),
    }
    for (at, (kind, place)) in places.iter().enumerate() {
        let files = Files::make(place)?;
        let runners = start(options, &files, at == 0);
        for &work in options.works() {
            // What does not touch a file is the same everywhere.
            if (at == 0 || work.is_on_files()) && can_be_cold(work, kind, at == 0, files.targets())
            {
                rows.extend(measure(options, work, kind, files.targets(), &runners, lost)?);
            }
        }
    }
    Ok(rows)
}

/// False if a cold work cannot be measured there, with a line that says so unless that is no news.
fn can_be_cold(work: CompareWork, kind: &str, says: bool, files: &Targets) -> bool {
    let why = match files.forget(work) {
        _ if !work.is_cold() => return true,
        _ if kind == "tmpfs" && !says => return false,
        _ if kind == "tmpfs" => "what is there is always in memory".to_owned(),
        Ok(()) => return true,
        Err(error) => format!("it cannot be had out of memory: {error}"),
    };
    eprintln!("bench: no {} on {kind}: {why}", work.name());
    false
}

/// Starts every way that is asked for and there is on this machine.
fn start(options: &CompareOptions, files: &Files, says: bool) -> Vec<Runner> {
    let mut runners = Vec::new();
    for way in options.ways() {
        for depth in options.depths(way) {
            match Worker::start(way, files.targets(), depth) {
                Ok(worker) => runners.push(Runner { way, depth, worker }),
                Err(error) if says => {
                    eprintln!("bench: no {}: {}", way.name(), chain(&error))
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
    runners: &[Runner],
    lost: &mut Vec<String>,
) -> Result<Vec<Row>, Trouble> {
    let title = if work.is_on_files() {
        format!("{} on {kind}", work.name())
    } else {
        work.name().to_owned()
    };
    let mut taken: Vec<_> = runners.iter().map(|_| Tally::default()).collect();
    let size = options.batch(work);
    // What fails is not asked again: its thread, or its program, may have ended.
    let mut failed = Vec::new();
    for round in 0..=options.rounds(work) {
        // Who follows whom changes from round to round.
        for turn in 0..runners.len() {
            let at = (round + turn) % runners.len();
            if !runners[at].way.does(work) || failed.contains(&at) {
                continue;
            }
            files.begin_anew().map_err(Trouble::io("making the file shorter"))?;
            let worker = &runners[at].worker;
            // The first warms caches and branch predictors.
            let batch = if round == 0 {
                worker.batch(work, size)
            } else {
                files.forget(work).map_err(Trouble::io("having the kernel forget the files"))?;
                worker.watched(work, size)
            };
            match batch {
                Ok(_) if round == 0 => {}
                Ok(batch) => taken[at].add(batch, size),
                Err(trouble) => {
                    lost.push(format!("{title} {}: {}", runners[at].name(), chain(&trouble)));
                    failed.push(at);
                }
            }
        }
    }
    let done = |at: &usize| taken[*at].works > 0 && !failed.contains(at);
    let done: Vec<usize> = (0..runners.len()).filter(done).collect();
    let plain = done.iter().copied().find(|&at| runners[at].way == CompareWay::Plain);
    let rows = done.iter().map(|&at| {
        let row = runners[at].row(work, size, &title, &taken[at]);
        match plain {
            Some(plain) if plain != at => row.against(&taken[at].samples, &taken[plain].samples),
            _ => row,
        }
    });
    Ok(rows.collect())
}

impl Runner {
    fn name(&self) -> String {
        let deep = if self.depth > 1 { format!("-x{}", self.depth) } else { String::new() };
        format!("{}{deep}", self.way.name())
    }

    fn row(&self, work: CompareWork, size: usize, title: &str, tally: &Tally) -> Row {
        let mut row = Row::new(work.name(), self.name(), &tally.samples);
        row.work = title.to_owned().into();
        row.more.batch = Some(size);
        row.more.depth = Some(self.depth);
        match self.way.passage() {
            Passage::Counters => {
                row.more.inline = Some(tally.path.inline);
                row.more.handed_off = Some(tally.path.handed_off);
                row.more.by_ring = work.is_cold().then_some(tally.path.by_ring);
            }
            Passage::Ring => row.more.ring_requests = Some(tally.witnessed),
            Passage::Threads => row.more.threads_cpu_ns = Some(tally.witnessed / tally.works),
            Passage::Itself | Passage::Closures => {}
        }
        row.fault = fault(self.way, work, tally);
        row
    }
}

/// What is wrong with the path that a way took.
fn fault(way: CompareWay, work: CompareWork, tally: &Tally) -> Option<String> {
    let Tally { works, witnessed, from_disk, strays, .. } = *tally;
    let needed = works * work.bytes_from_disk() as u64;
    if from_disk < needed / 10 * 9 {
        return Some(format!("{from_disk} of {needed} bytes came from the disk"));
    }
    match way.passage() {
        Passage::Itself => None,
        Passage::Closures => {
            let wrong = format!("{strays} times it was not the thread that it should be");
            (strays > 0).then_some(wrong)
        }
        Passage::Threads => {
            let wrong = format!("its threads had {witnessed} ns of CPU time for {works} works");
            (witnessed < works * THREADS_NS).then_some(wrong)
        }
        Passage::Ring => {
            let wrong = format!("its ring took {witnessed} requests for {works} works");
            (witnessed < works * way.requests(work) as u64).then_some(wrong)
        }
        Passage::Counters => {
            let Path { inline, handed_off, unprotected, .. } = tally.path;
            let all = inline + handed_off + unprotected;
            // On a busy machine the thread is preempted in the middle of some.
            let wrong = all < works || (!work.may_wait() && inline < all - all / 5);
            wrong.then(|| {
                let ways =
                    format!("{inline} inline, {handed_off} handed off, {unprotected} unprotected");
                format!("of {all} calls for {works} works {ways}")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CompareWay as Way, CompareWork as Work, Tally, fault};

    #[test]
    fn a_way_that_did_not_go_as_it_says_is_at_fault() {
        let seen = |way, work, witnessed| {
            fault(way, work, &Tally { works: 100, witnessed, ..Tally::default() })
        };
        assert_eq!(seen(Way::IoUring, Work::OpenClose, 200), None);
        let half = seen(Way::IoUring, Work::OpenClose, 199);
        assert_eq!(half.as_deref(), Some("its ring took 199 requests for 100 works"));
        assert_eq!(seen(Way::TokioFsUring, Work::OpenClose, 100), None);
        assert!(seen(Way::KernelAio, Work::Read4k, 0).is_some());
        assert_eq!(seen(Way::Libuv, Work::Metadata, 100_000), None);
        for way in [Way::Libuv, Way::TokioFs, Way::GlibcAio] {
            assert!(seen(way, Work::Read4k, 1000).is_some(), "{way:?}");
        }
        let none = Tally { works: 100, ..Tally::default() };
        for work in [Work::Metadata, Work::ColdMetadata, Work::Fsync] {
            assert!(fault(Way::Submit, work, &none).is_some(), "{work:?}");
        }
        let strays = Tally { works: 100, strays: 1, ..Tally::default() };
        assert!(fault(Way::SpawnBlocking, Work::Metadata, &strays).is_some());
    }

    #[test]
    fn what_was_in_memory_is_no_cold_read() {
        let read = |from_disk| {
            let tally = Tally { works: 100, from_disk, ..Tally::default() };
            fault(Way::Plain, Work::ColdRead4k, &tally)
        };
        assert_eq!(read(409_600), None);
        assert_eq!(read(4096).as_deref(), Some("4096 of 409600 bytes came from the disk"));
    }
}
