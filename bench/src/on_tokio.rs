//! Cached work in tokio tasks: std in place, `tokio::fs`, `spawn_blocking`, `syslet_tokio::fs` and `unblock`;
//! and how long a closure that sleeps, or a task that never waits, holds up the others of its worker.
//!
//! As in `bench inline`, batches of the ways take turns and each is compared with the batch of std's beside
//! it.

mod delay;
mod files;
mod works;

use std::future::Future;
use std::path::Path as FilePath;

use tokio::runtime::{Builder, Runtime};

use self::files::TokioFiles;
use self::works::{Way, batch};
use crate::error::Trouble;
use crate::guest::Path;
use crate::machine::file_system;
use crate::options::{TokioOptions, TokioWork};
use crate::report::Row;
use crate::samples::Samples;

/// The name of the threads of a runtime.
pub(crate) const WORKER: &str = "bench-tokio";
/// A tmpfs wherever there is one.
const MEMORY: &str = "/dev/shm";

/// Measures every work that is asked for, on the file system of the directory and on a tmpfs.
pub(crate) fn run(options: &TokioOptions) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    let mut places = vec![options.common.dir()];
    if file_system(&places[0]) != "tmpfs" && file_system(FilePath::new(MEMORY)) == "tmpfs" {
        places.push(MEMORY.into());
    }
    for place in places {
        let files = TokioFiles::make(&place)?;
        let kind = file_system(&place);
        for &work in options.works() {
            if !work.is_delay() {
                rows.extend(measure(options, work, &files, &kind)?);
            }
        }
    }
    for &work in options.works() {
        match work {
            TokioWork::Away => rows.extend(delay::away(options)?),
            TokioWork::Timer => rows.extend(delay::timer(options)?),
            _ => {}
        }
    }
    Ok(rows)
}

/// Runs the future as a task of a runtime with one worker: what is measured shares it with nothing else.
pub(crate) fn on_worker<F>(future: F) -> Result<F::Output, Trouble>
where
    F: Future<Output: Send> + Send + 'static,
{
    on_worker_named(WORKER, future)
}

/// The same; the threads of the runtime have a name.
pub(crate) fn on_worker_named<F>(name: &str, future: F) -> Result<F::Output, Trouble>
where
    F: Future<Output: Send> + Send + 'static,
{
    let runtime = runtime(name)?;
    runtime
        .block_on(runtime.spawn(future))
        .map_err(|error| Trouble::Io("running a task", error.into()))
}

fn runtime(name: &str) -> Result<Runtime, Trouble> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .on_thread_start(syslet_tokio::on_thread_start(|| {}))
        .build()
        .map_err(Trouble::io("building a runtime"))
}

/// What one way gave.
#[derive(Debug, Default)]
struct Tally {
    samples: Samples,
    path: Path,
}

fn measure(
    options: &TokioOptions,
    work: TokioWork,
    files: &TokioFiles,
    kind: &str,
) -> Result<Vec<Row>, Trouble> {
    let (rounds, size) = (options.rounds(), options.batch(work));
    let files = files.clone();
    let ways = &Way::ALL;
    let tallies = on_worker(async move {
        if !syslet::is_attached() {
            return Err(Trouble::Refused(work.name(), "the worker is not attached".to_owned()));
        }
        let mut tallies: Vec<Tally> = ways.iter().map(|_| Tally::default()).collect();
        for &way in ways {
            batch(work, way, &files, size).await?; // warms caches and branch predictors
        }
        for round in 0..rounds {
            // Who follows whom changes from round to round.
            for turn in 0..ways.len() {
                let at = (round + turn) % ways.len();
                let before = Path::now();
                let nanos = batch(work, ways[at], &files, size).await?;
                tallies[at].path.add_since(before);
                tallies[at].samples.push(nanos);
            }
        }
        Ok(tallies)
    })??;
    let std = &tallies[0];
    let row = |(&way, tally): (&Way, &Tally)| {
        let mut row = Row::new(work.name(), format!("{kind}-{}", way.name()), &tally.samples);
        row.more.batch = Some(size);
        row.more.inline = Some(tally.path.inline);
        row.more.handed_off = Some(tally.path.handed_off);
        let calls = (rounds * size) as u64 * way.protected();
        row.fault = match work.is_long() && calls > 0 {
            true => tally.path.not_mostly_inline(calls),
            false => tally.path.not_inline(calls),
        };
        if way == Way::Std { row } else { row.against(&tally.samples, &std.samples) }
    };
    Ok(ways.iter().zip(&tallies).map(row).collect())
}
