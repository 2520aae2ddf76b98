//! A static-file server over syslet_tokio::fs, tokio::fs, and closures in `unblock` and `spawn_blocking`.
//!
//! Each way has a server of its own, a process that does nothing while the others are measured; segments
//! of the ways take turns. One thread of this process makes the load: connections on the loopback that each have one
//! request under way. It compares every byte.
//!
//! - `hot`: a hundred files that are cached. For every 99 requests one more is made by other connections,
//!   for one more such file.
//! - `mix`: the same, but that request is for a file which takes 50 ms (FUSE, in this process). It is compared
//!   with the segment of `hot` before it.
//! - `cold`: files that are fetched from the disk, each once. Caches are emptied before.
//!
//! What the servers' workers really did is counted by the library, what came from the disk by the kernel.

mod child;
mod load;
mod places;
mod soak;

use std::time::{Duration, Instant};

use file_server::Files;

pub(crate) use self::child::serve;
use self::child::{Child, Counts};
use self::load::{Load, Segment};
use self::places::Places;
use crate::cold::bytes_read_by;
use crate::error::Trouble;
use crate::options::{ServerOptions, ServerWork};
use crate::report::{Row, rounded, thousandths};
use crate::samples::Samples;

/// How long a slow file takes.
const SLOW: Duration = Duration::from_millis(50);

/// Of so many requests, one is for the other file.
const ONE_IN: u64 = 100;

/// Of so many calls, one may be handed off because its worker was preempted in it: here the CPUs have more to do than
/// they can.
const PREEMPTED: u64 = 20;

/// Measures every way, or lets it soak.
pub(crate) fn run(options: &ServerOptions) -> Result<Vec<Row>, Trouble> {
    if let Some(seconds) = options.soak {
        return soak::run(options, Duration::from_secs(seconds));
    }
    let places = Places::make(options)?;
    let mut works = options.works().to_vec();
    if let Err(error) = &places.slow {
        if works.contains(&ServerWork::Mix) {
            eprintln!("bench: skipped: the mix: FUSE cannot be used here: {error}");
        }
        works.retain(|&work| work != ServerWork::Mix);
    }
    // What the mix is compared with.
    if works.contains(&ServerWork::Mix) && !works.contains(&ServerWork::Hot) {
        works.push(ServerWork::Hot);
    }
    works.sort_by_key(|&work| work as usize);
    let ways = options.ways();
    let mut tallies = Vec::new();
    for &way in &ways {
        let child = Child::start(way, &places.root(), options)?;
        tallies.push(Tally {
            way,
            child,
            hot: Work::default(),
            mix: Work::default(),
            cold: Work::default(),
        });
    }
    let bench = Bench { options, places: &places, load: Load::new()? };
    for tally in &mut tallies {
        bench.hot(tally, Duration::from_millis(200))?; // warms caches and branch predictors
        tally.hot = Work::default();
    }
    for round in 0..options.rounds() {
        // Who follows whom changes from round to round.
        for turn in 0..ways.len() {
            let tally = &mut tallies[(round + turn) % ways.len()];
            for &work in &works {
                match work {
                    ServerWork::Hot => bench.hot(tally, options.segment())?,
                    ServerWork::Mix => bench.mix(tally, options.segment())?,
                    ServerWork::Cold => bench.cold(tally)?,
                }
            }
        }
    }
    let rows = works.iter().flat_map(|&work| rows(work, &tallies)).collect();
    tallies.into_iter().try_for_each(|tally| tally.child.end())?;
    Ok(rows)
}

/// What one way gave.
struct Tally {
    way: Files,
    child: Child,
    hot: Work,
    mix: Work,
    cold: Work,
}

/// What one way gave for one work.
#[derive(Debug, Default)]
struct Work {
    latency: Samples,
    /// Of the requests for the other file.
    other: Samples,
    /// For each segment: p99, and requests in a second, without those for the other file.
    p99: Samples,
    rate: Samples,
    /// What the library has counted.
    counts: Counts,
    /// Bytes that were asked for, and those that came from the disk.
    asked: u64,
    read: u64,
}

impl Work {
    fn add(&mut self, segment: Segment) {
        self.p99.push(segment.latency.quantile(0.99));
        self.rate.push(segment.latency.len() as f64 / segment.time.as_secs_f64());
        self.latency.append(segment.latency);
        self.other.append(segment.other);
    }

    fn requests(&self) -> u64 {
        (self.latency.len() + self.other.len()) as u64
    }
}

struct Bench<'a> {
    options: &'a ServerOptions,
    places: &'a Places,
    load: Load,
}

impl Bench<'_> {
    fn hot(&self, tally: &mut Tally, time: Duration) -> Result<(), Trouble> {
        self.beside(&mut tally.hot, &mut tally.child, "/hot/other", time)
    }

    fn mix(&self, tally: &mut Tally, time: Duration) -> Result<(), Trouble> {
        self.beside(&mut tally.mix, &mut tally.child, "/slow/file", time)
    }

    /// Hot requests, and one in a hundred for `other`.
    fn beside(
        &self,
        work: &mut Work,
        child: &mut Child,
        other: &'static str,
        time: Duration,
    ) -> Result<(), Trouble> {
        let before = child.counts()?;
        let connections = self.options.connections();
        let other = self.places.other(other);
        let segment = self.load.hot(child.address, connections, &self.places.hot, &other, time)?;
        work.counts.add(child.counts()?.since(before));
        work.add(segment);
        Ok(())
    }

    fn cold(&self, tally: &mut Tally) -> Result<(), Trouble> {
        self.places.forget_cold()?;
        let work = &mut tally.cold;
        let (before, read) = (tally.child.counts()?, bytes_read_by(tally.child.id())?);
        let start = Instant::now();
        let connections = self.options.connections() * 2;
        let mut segment = self.load.once(tally.child.address, connections, &self.places.cold)?;
        segment.time = start.elapsed();
        work.read += bytes_read_by(tally.child.id())? - read;
        work.asked += self.places.cold.iter().map(|page| page.body.len() as u64).sum::<u64>();
        work.counts.add(tally.child.counts()?.since(before));
        work.add(segment);
        Ok(())
    }
}

/// How many closures of the library's a hot request takes.
const fn closures(way: Files) -> u64 {
    match way {
        Files::SysletFs => 3, // open, metadata, read
        Files::Unblock => 1,
        Files::TokioFs | Files::SpawnBlocking => 0,
    }
}

pub(crate) const fn name(way: Files) -> &'static str {
    match way {
        Files::SysletFs => "syslet_fs",
        Files::TokioFs => "tokio_fs",
        Files::Unblock => "unblock",
        Files::SpawnBlocking => "spawn_blocking",
    }
}

fn rows(work: ServerWork, tallies: &[Tally]) -> Vec<Row> {
    let reference = tallies.iter().find(|tally| tally.way == Files::TokioFs);
    let reference = reference.map(|tally| &select(tally, work).rate);
    let mut rows = Vec::new();
    for tally in tallies {
        let (way, done) = (name(tally.way), select(tally, work));
        let label = match work {
            ServerWork::Hot => "hot",
            ServerWork::Mix => "mix",
            ServerWork::Cold => "cold",
        };
        let mut row = Row::new(label, way, &done.latency);
        row.more.p999_ns = Some(rounded(done.latency.quantile(0.999)));
        row.more.per_second = Some(done.rate.median().round());
        row.more.inline = Some(done.counts.inline);
        row.more.handed_off = Some(done.counts.handed_off);
        row.more.queued = Some(done.counts.unprotected);
        row.more.rescued = Some(done.counts.rescued);
        if let Some(reference) = reference.filter(|_| tally.way != Files::TokioFs) {
            let ratio = done.rate.paired(reference, |ours, theirs| ours / theirs);
            row.more.ratio_median = Some(thousandths(ratio.median()));
        }
        if work == ServerWork::Mix {
            let ratio = done.p99.paired(&tally.hot.p99, |mix, hot| mix / hot);
            row.more.p99_ratio_median = Some(thousandths(ratio.median()));
        }
        row.fault = fault(work, tally.way, done);
        rows.push(row);
        if work == ServerWork::Mix {
            rows.push(Row::new("mix-slow", way, &done.other));
        }
    }
    rows
}

fn select(tally: &Tally, work: ServerWork) -> &Work {
    match work {
        ServerWork::Hot => &tally.hot,
        ServerWork::Mix => &tally.mix,
        ServerWork::Cold => &tally.cold,
    }
}

/// What shows that the requests did not go the way that the row claims.
fn fault(work: ServerWork, way: Files, done: &Work) -> Option<String> {
    let Counts { handed_off, unprotected, .. } = done.counts;
    if !way.is_syslet() && done.counts.calls() > 0 {
        return Some("the library was used".to_owned());
    }
    match work {
        ServerWork::Hot => {
            let calls = done.requests() * closures(way);
            let stray = handed_off + unprotected;
            (stray > calls / PREEMPTED + 5 || done.counts.calls() != calls)
                .then(|| format!("{calls} calls should finish inline: {:?}", done.counts))
        }
        ServerWork::Mix => {
            let slow = done.other.len() as u64;
            let fast = done.other.quantile(0.0) < SLOW.as_nanos() as f64;
            let held_up = way.is_syslet() && handed_off + unprotected < slow;
            if fast {
                Some("a slow file was fast".to_owned())
            } else if held_up {
                Some(format!(
                    "of {slow} slow requests {} left the worker",
                    handed_off + unprotected
                ))
            } else {
                None
            }
        }
        ServerWork::Cold => (done.read < done.asked / 10 * 9)
            .then(|| format!("{} of {} bytes came from the disk", done.read, done.asked)),
    }
}
