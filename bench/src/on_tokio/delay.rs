//! How long the other tasks of a worker wait.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syslet_tokio::unblock;
use tokio::sync::Notify;

use super::files::TokioFiles;
use super::on_worker;
use crate::error::Trouble;
use crate::guest::Path;
use crate::options::{TokioOptions, TokioWork};
use crate::report::Row;
use crate::samples::Samples;

/// How long the closures sleep, and the timer's task.
const SLEEP: Duration = Duration::from_millis(50);
const TICK: Duration = Duration::from_millis(5);

/// From the moment in which a task hands a closure over that sleeps, until another task of the same worker,
/// which is ready, runs.
pub(super) fn away(options: &TokioOptions) -> Result<Vec<Row>, Trouble> {
    let name = TokioWork::Away.name();
    let count = options.delays();
    let (samples, path) = on_worker(async move {
        let before = Path::now();
        let samples = delays(count, |begun| async move {
            begun.now();
            unblock(|| std::thread::sleep(SLEEP)).await.map_err(io::Error::from)
        })
        .await?;
        let mut path = Path::default();
        path.add_since(before);
        Ok::<_, Trouble>((samples, path))
    })??;
    let mut unblock = Row::new(name, "unblock", &samples);
    unblock.more.inline = Some(path.inline);
    unblock.more.handed_off = Some(path.handed_off);
    unblock.fault = path.not_handed_off(count as u64);
    let samples = on_worker(async move {
        delays(count, |begun| async move {
            begun.now();
            let slept = tokio::task::spawn_blocking(|| std::thread::sleep(SLEEP));
            slept.await.map_err(io::Error::from)
        })
        .await
    })??;
    Ok(vec![Row::new(name, "spawn_blocking", &samples), unblock])
}

/// Nanoseconds from `begin`'s moment until the other task runs.
async fn delays<F>(count: usize, begin: impl Fn(Arc<Moment>) -> F) -> Result<Samples, Trouble>
where
    F: Future<Output = io::Result<()>>,
{
    let mut samples = Samples::default();
    for _ in 0..count {
        let begun = Arc::new(Moment::new());
        let go = Arc::new(Notify::new());
        let other = tokio::spawn({
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                go.notified().await;
                begun.elapsed()
            }
        });
        tokio::task::yield_now().await; // the other task waits
        go.notify_one(); // and is ready, behind this one
        begin(begun).await.map_err(|error| Trouble::Work(TokioWork::Away.name(), error))?;
        let nanos = other.await.map_err(|error| Trouble::Io("running a task", error.into()))?;
        samples.push(nanos);
    }
    Ok(samples)
}

/// A point in time that is told by one task to another.
#[derive(Debug)]
struct Moment {
    start: Instant,
    nanos: AtomicU64,
}

impl Moment {
    fn new() -> Self {
        Self { start: Instant::now(), nanos: AtomicU64::new(u64::MAX) }
    }

    fn now(&self) {
        self.nanos.store(self.start.elapsed().as_nanos() as u64, Ordering::Release);
    }

    /// Nanoseconds since then; 0 if it has not come.
    fn elapsed(&self) -> f64 {
        let now = self.start.elapsed().as_nanos() as u64;
        now.saturating_sub(self.nanos.load(Ordering::Acquire)) as f64
    }
}

/// How much later than it wanted a task wakes from a timer, beside a task that never waits for long.
pub(super) fn timer(options: &TokioOptions) -> Result<Vec<Row>, Trouble> {
    let files = TokioFiles::make(&options.common.dir())?;
    let (small, large) = (files.of_size(4096), files.of_size(1 << 20));
    let count = options.ticks();
    let mut rows = Vec::new();
    rows.push(beside(count, "alone", |stop| async move {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    })?);
    let metadata = move |stop: Arc<AtomicBool>| async move {
        while !stop.load(Ordering::Relaxed) {
            let path = small.clone();
            unblock(move || std::fs::metadata(path)).await??;
        }
        Ok(())
    };
    rows.push(beside(count, "unblock-metadata", metadata)?);
    let read = move |stop: Arc<AtomicBool>| async move {
        while !stop.load(Ordering::Relaxed) {
            let path = large.clone();
            unblock(move || std::fs::read(path)).await??;
        }
        Ok(())
    };
    rows.push(beside(count, "unblock-read1m", read)?);
    let reference = rows.remove(0);
    let rows = rows.into_iter().map(|(row, samples)| row.against(&samples, &reference.1));
    Ok(std::iter::once(reference.0).chain(rows.collect::<Vec<_>>()).collect())
}

fn beside<F>(
    count: usize,
    way: &'static str,
    busy: impl FnOnce(Arc<AtomicBool>) -> F,
) -> Result<(Row, Samples), Trouble>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let stop = Arc::new(AtomicBool::new(false));
    let busy = busy(Arc::clone(&stop));
    let samples = on_worker(async move {
        let busy = tokio::spawn(busy);
        let mut samples = Samples::default();
        for _ in 0..count {
            let wanted = Instant::now() + TICK;
            tokio::time::sleep_until(wanted.into()).await;
            samples.push(wanted.elapsed().as_nanos() as f64);
        }
        stop.store(true, Ordering::Relaxed);
        let done = busy.await.map_err(io::Error::from).and_then(|done| done);
        done.map(|()| samples).map_err(|error| Trouble::Work(TokioWork::Timer.name(), error))
    })??;
    Ok((Row::new(TokioWork::Timer.name(), way, &samples), samples))
}
