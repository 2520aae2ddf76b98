//! Calls that do not wait: plain, by `submit`, in a threadlet, and some as a chain, in the same loop.
//!
//! A batch of calls is timed as a whole and divided. Batches of the ways take turns, and each
//! is compared with the plain batch beside it: what disturbs the machine for longer than a batch
//! disturbs both, and what disturbs one only is far from the median.

use std::io;
use std::time::Instant;

use crate::calls::{Files, Getppid, Plain, Submit, Work};
use crate::error::Trouble;
use crate::guest::{Path, on_guest, placement};
use crate::options::{InlineOptions, InlineWork};
use crate::report::Row;
use crate::samples::Samples;
use crate::sparse;

/// How a work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    Submit,
    Threadlet,
    Chain,
}

impl Way {
    /// The ways of every work.
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Submit, Self::Threadlet];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Submit => "submit",
            Self::Threadlet => "threadlet",
            Self::Chain => "chain",
        }
    }

    /// How many protected calls doing `W` once makes.
    pub(crate) const fn protected<W: Work>(self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Submit => W::PROTECTED,
            Self::Threadlet | Self::Chain => 1,
        }
    }
}

/// Measures every work that is asked for.
pub(crate) fn run(options: &InlineOptions) -> Result<Vec<Row>, Trouble> {
    let files = Files::make(&options.common.dir())?;
    let mut rows = Vec::new();
    for work in options.works() {
        rows.extend(match work {
            InlineWork::Getppid => measure(options, Getppid)?,
            InlineWork::Lseek => measure(options, files.lseek())?,
            InlineWork::Pread4k => measure(options, files.pread())?,
            InlineWork::Statx => measure(options, files.statx())?,
            InlineWork::OpenClose => measure(options, files.open_close())?,
            InlineWork::OpenReadClose => measure(options, files.open_read_close())?,
            InlineWork::Pwrite4k => measure(options, files.pwrite())?,
            InlineWork::Sparse => sparse::measure(options, files.pread())?,
        });
    }
    Ok(rows)
}

/// Does `work` once in one of the ways.
#[inline(always)]
pub(crate) fn once<W: Work>(work: W, way: Way) -> isize {
    match way {
        Way::Plain => work.once(&Plain),
        Way::Submit => work.once(&Submit),
        Way::Threadlet => syslet::threadlet(move || work.once(&Plain)).join(),
        Way::Chain => work.chained(),
    }
}

/// Fails if the answer of a work says so.
pub(crate) fn check<W: Work>(answer: isize) -> Result<(), Trouble> {
    match answer {
        answer if answer < 0 => {
            Err(Trouble::Work(W::NAME, io::Error::from_raw_os_error(-answer as i32)))
        }
        _ => Ok(()),
    }
}

/// What one way gave.
#[derive(Debug, Default)]
struct Tally {
    samples: Samples,
    path: Path,
}

fn measure<W: Work>(options: &InlineOptions, work: W) -> Result<Vec<Row>, Trouble> {
    let (rounds, size) = (options.rounds(), options.batch());
    let place = placement(options.placement, options.common.cpu)?;
    let tallies = on_guest(place, || {
        let mut tallies: Vec<Tally> = W::WAYS.iter().map(|_| Tally::default()).collect();
        for &way in W::WAYS {
            batch(work, way, size)?; // warms caches and branch predictors
        }
        for round in 0..rounds {
            // Who follows whom changes from round to round.
            for turn in 0..W::WAYS.len() {
                let at = (round + turn) % W::WAYS.len();
                let before = Path::now();
                let nanos = batch(work, W::WAYS[at], size)?;
                tallies[at].path.add_since(before);
                tallies[at].samples.push(nanos);
            }
        }
        Ok(tallies)
    })?;
    let plain = &tallies[0];
    let row = |(&way, tally): (&Way, &Tally)| {
        let mut row = Row::new(W::NAME, way.name(), &tally.samples);
        row.more.placement = Some(options.placement.name().into());
        row.more.batch = Some(size);
        row.more.inline = Some(tally.path.inline);
        row.more.handed_off = Some(tally.path.handed_off);
        row.fault = tally.path.not_inline((rounds * size) as u64 * way.protected::<W>());
        if way == Way::Plain { row } else { row.against(&tally.samples, &plain.samples) }
    };
    Ok(W::WAYS.iter().zip(&tallies).map(row).collect())
}

/// Nanoseconds of each of `size` repetitions.
fn batch<W: Work>(work: W, way: Way, size: usize) -> Result<f64, Trouble> {
    // One loop for each way, so that none asks for the way inside.
    match way {
        Way::Plain => timed::<W>(size, || once(work, Way::Plain)),
        Way::Submit => timed::<W>(size, || once(work, Way::Submit)),
        Way::Threadlet => timed::<W>(size, || once(work, Way::Threadlet)),
        Way::Chain => timed::<W>(size, || once(work, Way::Chain)),
    }
}

#[inline(never)]
fn timed<W: Work>(size: usize, once: impl Fn() -> isize) -> Result<f64, Trouble> {
    let mut worst = 0;
    let start = Instant::now();
    for _ in 0..size {
        worst = worst.min(once());
    }
    let nanos = start.elapsed().as_nanos() as f64 / size as f64;
    check::<W>(worst)?;
    Ok(nanos)
}
