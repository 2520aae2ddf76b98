//! Loops that are tasks of a tokio runtime with one worker.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use syslet_tokio::unblock;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::task::{JoinSet, spawn_blocking};

use super::ticks::Ticks;
use super::witness::Witness;
use super::{Outcomes, SIZE, Segment, slow_read, slow_reader};
use crate::error::Trouble;
use crate::guest::Path;
use crate::on_tokio::on_worker;
use crate::options::{StallOptions, StallWay};

pub(super) fn segment(
    options: &StallOptions,
    way: StallWay,
    file: &FilePath,
) -> Result<Segment, Trouble> {
    let (file, segment) = (file.to_owned(), options.segment());
    let ticking = async move {
        let before = Path::now();
        let witness = Arc::new(Witness::start());
        let (ticks, outcomes) = ticking(Ticks::start(segment)?, way, file, &witness).await?;
        let mut path = Path::default();
        path.add_since(before);
        let seen = witness.seen(way, outcomes.calls());
        Ok(Segment { ticks, outcomes, path, seen })
    };
    on_worker(ticking)?.map_err(|error: io::Error| Trouble::Work("stall", error))
}

async fn ticking(
    mut ticks: Ticks,
    way: StallWay,
    file: PathBuf,
    witness: &Arc<Witness>,
) -> io::Result<(Ticks, Outcomes)> {
    let timer = readable(ticks.timer().try_clone_to_owned()?)?;
    let mut calls = JoinSet::new();
    let mut outcomes = Outcomes::default();
    while !ticks.are_over() {
        timer.readable().await?.clear_ready();
        ticks.serve()?;
        while let Some(ended) = calls.try_join_next() {
            count(&mut outcomes, ended?)?;
        }
        if ticks.call_is_due() {
            calls.spawn(call(way, file.clone(), Arc::clone(witness)));
        }
    }
    while let Some(ended) = calls.join_next().await {
        count(&mut outcomes, ended?)?;
    }
    Ok((ticks, outcomes))
}

#[allow(unsafe_code, reason = "registers a descriptor with the runtime")]
fn readable(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is one descriptor, open until it is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

fn count(outcomes: &mut Outcomes, (result, bytes): (io::Result<usize>, Vec<u8>)) -> io::Result<()> {
    outcomes.count(result, &bytes)
}

async fn call(way: StallWay, file: PathBuf, witness: Arc<Witness>) -> (io::Result<usize>, Vec<u8>) {
    let nothing = |error: io::Error| (Err(error), Vec::new());
    match way {
        StallWay::TokioPlain => slow_read(&file, &witness),
        StallWay::TokioFs => match tokio::fs::File::open(&file).await {
            Ok(file) => read(file).await,
            Err(error) => nothing(error),
        },
        StallWay::TokioSysletFs => match syslet_tokio::fs::File::open(&file).await {
            Ok(file) => read(file).await,
            Err(error) => nothing(error),
        },
        StallWay::SpawnBlocking => spawn_blocking(slow_reader(&file, &witness))
            .await
            .unwrap_or_else(|error| nothing(error.into())),
        StallWay::Unblock => unblock(slow_reader(&file, &witness))
            .await
            .unwrap_or_else(|error| nothing(error.into())),
        _ => unreachable!("a thread of its own"),
    }
}

async fn read(mut file: impl AsyncRead + Unpin) -> (io::Result<usize>, Vec<u8>) {
    let mut bytes = vec![0; SIZE];
    (file.read(&mut bytes).await, bytes)
}
