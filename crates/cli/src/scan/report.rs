//! The sums of a scan, and how they are shown.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};
use rustix::fs::FileType;
use serde::Serialize;

use super::drive::{EngineRun, Run};
use crate::args::{ManifestTo, Mode, ScanPlan};
use crate::exit::{Trouble, print, print_json};

/// Columns of the longest bar of the histogram.
const BAR: u64 = 40;

/// What was found and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    pub(super) files: u64,
    pub(super) directories: u64,
    pub(super) symlinks: u64,
    /// FIFOs, sockets, devices.
    pub(super) others: u64,
    /// Of regular files, as their metadata say.
    pub(super) bytes: u64,
    /// Files that were read to their end.
    pub(super) hashed: u64,
    pub(super) bytes_read: u64,
    /// Entries that could not be read.
    pub(super) errors: u64,
}

impl Tally {
    pub(super) fn count(&mut self, kind: FileType, size: u64) {
        match kind {
            FileType::RegularFile => {
                self.files += 1;
                self.bytes += size;
            }
            FileType::Directory => self.directories += 1,
            FileType::Symlink => self.symlinks += 1,
            _ => self.others += 1,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.directories += other.directories;
        self.symlinks += other.symlinks;
        self.others += other.others;
        self.bytes += other.bytes;
        self.hashed += other.hashed;
        self.bytes_read += other.bytes_read;
        self.errors += other.errors;
    }

    pub(super) fn entries(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.others
    }
}

/// What is said at the end.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    mode: Mode,
    jobs: usize,
    entries: u64,
    #[serde(flatten)]
    tally: Tally,
    seconds: f64,
    entries_per_second: f64,
    bytes_per_second: f64,
    /// Mode `syslet` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Calls>,
}

/// What became of the threadlets.
#[derive(Debug, Serialize)]
struct Calls {
    /// `attached`, or why the engine's pool was used.
    mechanism: String,
    /// Files, directories, and batches of what is neither.
    units: u64,
    /// Of these, done by threadlets that had waited and went on beside the guest.
    units_away: u64,
    inline: u64,
    handed_off: u64,
    queued: u64,
    in_place: u64,
    /// Of those handed off: computing, not asleep.
    computing: u64,
    /// From when a sentinel or the watchdog found a call in progress until the guest was taken over. Not from when the
    /// call went to sleep: see `syslet::Histogram`.
    handoff_latency: Vec<Bucket>,
}

#[derive(Debug, Serialize)]
struct Bucket {
    below_ns: u64,
    count: u64,
}

impl Report {
    pub(super) fn new(plan: &ScanPlan, run: &Run, tally: Tally) -> Self {
        let seconds = run.elapsed.as_secs_f64();
        let rate = |count: u64| count as f64 / seconds.max(1e-9);
        Self {
            mode: plan.mode,
            jobs: plan.jobs,
            entries: tally.entries(),
            tally,
            seconds,
            entries_per_second: rate(tally.entries()),
            bytes_per_second: rate(tally.bytes_read),
            calls: run.engine.as_ref().map(Calls::new),
        }
    }

    /// On standard output, or on standard error if the manifest has taken that.
    pub(super) fn print(&self, plan: &ScanPlan) -> Result<(), Trouble> {
        if plan.json {
            return print_json(self);
        }
        let text = self.text();
        if let Some(ManifestTo::Stdout) = plan.manifest {
            // Where standard error takes nothing there is nobody to tell; the manifest is what counts.
            let _ = io::stderr().write_all(text.as_bytes());
            return Ok(());
        }
        print(&text)
    }

    fn text(&self) -> String {
        let Tally { files, directories, symlinks, others, bytes, hashed, bytes_read, errors } =
            self.tally;
        let mut text = format!(
            "{}: {}, {}, {}, {}; {} in files\n",
            counted(self.entries, "entry", "entries"),
            counted(files, "file", "files"),
            counted(directories, "directory", "directories"),
            counted(symlinks, "link", "links"),
            counted(others, "other", "others"),
            BinaryBytes(bytes),
        );
        let per_second = HumanCount(self.entries_per_second as u64);
        let _ = write!(text, "{:.3} s, {per_second} entries/s", self.seconds);
        if hashed > 0 {
            let rate = BinaryBytes(self.bytes_per_second as u64);
            let _ = write!(
                text,
                "; {} read, {}, {rate}/s",
                counted(hashed, "file", "files"),
                BinaryBytes(bytes_read)
            );
        }
        text.push('\n');
        if errors > 0 {
            let _ = writeln!(text, "{} could not be read", HumanCount(errors));
        }
        if let Some(calls) = &self.calls {
            calls.write_text(&mut text);
        }
        text
    }
}

impl Calls {
    fn new(run: &EngineRun) -> Self {
        let total = &run.stats.total;
        let bucket = |(below, count): (Duration, u64)| Bucket {
            below_ns: u64::try_from(below.as_nanos()).unwrap_or(u64::MAX),
            count,
        };
        Self {
            mechanism: match &run.unsupported {
                None => "attached".to_owned(),
                Some(why) => format!("pool: {why}"),
            },
            units: run.units.all,
            units_away: run.units.going_on,
            inline: total.inline,
            handed_off: total.handed_off,
            queued: total.queued,
            in_place: total.in_place,
            computing: run.stats.total.false_handoffs,
            handoff_latency: total.latency.buckets().map(bucket).collect(),
        }
    }

    fn write_text(&self, text: &mut String) {
        let count = HumanCount;
        let Self { mechanism, units, units_away, inline, handed_off, computing, .. } = self;
        let _ = writeln!(
            text,
            "{mechanism}; {} inline, {} handed off, {} of them computing",
            counted(*inline, "threadlet", "threadlets"),
            count(*handed_off),
            count(*computing)
        );
        let (units, away) = (counted(*units, "unit", "units"), count(*units_away));
        let _ = writeln!(text, "{units} of work, {away} of them by threadlets handed off");
        let most = self.handoff_latency.iter().map(|bucket| bucket.count).max().unwrap_or(0);
        if most > 0 {
            text.push_str(
                "handoff latency, from when a waiting call was found until its caller went on:\n",
            );
        }
        for Bucket { below_ns, count } in &self.handoff_latency {
            let bar = "#".repeat((count * BAR).div_ceil(most) as usize);
            let below = format!("{:?}", Duration::from_nanos(*below_ns));
            let _ = writeln!(text, "  < {below:>12} {count:>9} {bar}");
        }
    }
}

/// A number and what it is of.
fn counted(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", HumanCount(n), if n == 1 { one } else { more })
}
