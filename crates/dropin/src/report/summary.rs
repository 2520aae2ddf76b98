//! Reading what was counted, when the program has ended.

#![allow(unsafe_code, reason = "reads the mapping; see page.rs")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::layout::{ERRORS, Kind, Latency, Library, Page, Section, Way, end_of};
use super::page;

/// What went through, by library.
#[derive(Debug, Clone)]
pub struct Summary {
    /// One for each of [`Library::ALL`].
    pub libraries: Vec<LibrarySummary>,
}

/// What went through one library.
#[derive(Debug, Clone)]
pub struct LibrarySummary {
    /// Which.
    pub library: Library,
    /// Processes that loaded it.
    pub processes: u64,
    /// By what was done and how; none that are empty.
    pub cells: Vec<Cell>,
    /// Answers that were errors, also of what was refused, by number, with how often; 0: all whose number is above
    /// those of Linux. Of what the kernel's own asynchronous I/O did, those that the program asked us for.
    pub errors: Vec<(i32, u64)>,
}

/// Operations of one kind that were done in one way.
#[derive(Debug, Clone)]
pub struct Cell {
    /// What was done.
    pub kind: Kind,
    /// How.
    pub way: Way,
    /// How often.
    pub count: u64,
    /// How long together, from when the program asked until the answer was there.
    pub sum: Duration,
    /// The longest.
    pub max: Duration,
    /// How often below a time that they did not reach, for each step that is not empty; nothing, and no times, where
    /// that is not known ([`Way::Kernel`]).
    pub histogram: Vec<(Duration, u64)>,
}

impl Summary {
    /// Makes the file at `path`, which must not exist, for a program to be started with
    /// [`VARIABLE`](super::VARIABLE) naming it.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn create(path: &Path) -> io::Result<()> {
        page::create(path)
    }

    /// Reads the file.
    ///
    /// # Errors
    ///
    /// What the file system says, and if it is none of [`create`](Self::create)'s.
    pub fn read(path: &Path) -> io::Result<Self> {
        let page = page::map(path)?;
        // SAFETY: clause *page*.
        let sections = unsafe { &(*page).sections };
        let libraries =
            Library::ALL.iter().map(|library| of(*library, &sections[*library as usize]));
        let summary = Self { libraries: libraries.collect() };
        // SAFETY: mapped above, and not used any more.
        unsafe { libc::munmap(page.cast(), size_of::<Page>()) };
        Ok(summary)
    }

    /// True if no library was asked for anything.
    pub fn is_empty(&self) -> bool {
        self.libraries.iter().all(|library| library.cells.is_empty())
    }
}

impl Cell {
    /// A time that a part `quantile` (0 to 1) of the operations did not exceed, to a quarter of a power of two.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let wanted = (self.count as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        let reaches = |(_, count): &&(Duration, u64)| {
            seen += count;
            seen >= wanted
        };
        self.histogram.iter().find(reaches).map_or(self.max, |(end, _)| *end).min(self.max)
    }
}

fn number(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

fn of(library: Library, section: &Section) -> LibrarySummary {
    let all = Kind::ALL.iter().flat_map(|kind| Way::ALL.iter().map(|way| (*kind, *way)));
    let cells = all.filter_map(|(kind, way)| {
        cell(kind, way, &section.operations[kind as usize][way as usize])
    });
    let errors =
        section.errors.iter().enumerate().map(|(errno, count)| {
            (if errno == ERRORS - 1 { 0 } else { errno as i32 }, number(count))
        });
    LibrarySummary {
        library,
        processes: number(&section.processes),
        cells: cells.collect(),
        errors: errors.filter(|(_, count)| *count > 0).collect(),
    }
}

fn cell(kind: Kind, way: Way, latency: &Latency) -> Option<Cell> {
    let count = number(&latency.count);
    let steps = latency.buckets.iter().enumerate();
    let steps = steps.map(|(at, count)| (Duration::from_nanos(end_of(at)), number(count)));
    (count > 0).then(|| Cell {
        kind,
        way,
        count,
        sum: Duration::from_nanos(number(&latency.sum)),
        max: Duration::from_nanos(number(&latency.max)),
        histogram: steps.filter(|(_, count)| *count > 0).collect(),
    })
}
