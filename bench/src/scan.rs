//! A tree is walked and its files are hashed by `syslet scan`: one after the other, by threads, and through
//! threadlets; from memory and from the disk.
//!
//! Each scan is a process of its own. Scans of the ways take turns, so each is compared with the one of plain calls
//! beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::Trouble;
use crate::options::{ScanOptions, ScanWork};
use crate::report::Row;
use crate::samples::Samples;

/// Pages, names and inodes: proc_sys_vm(5).
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// A way to scan: what the command is told, and what it is called here.
#[derive(Debug)]
struct Way {
    name: String,
    mode: &'static str,
    jobs: Option<usize>,
}

/// What a scan says of itself.
#[derive(Debug, Deserialize)]
struct Summary {
    entries: u64,
    bytes_read: u64,
    errors: u64,
    seconds: f64,
    calls: Option<Calls>,
}

#[derive(Debug, Default, Deserialize)]
struct Calls {
    mechanism: String,
    inline: u64,
    handed_off: u64,
}

/// What a way gave.
#[derive(Debug, Default)]
struct Tally {
    samples: Samples,
    calls: Calls,
    /// What was wrong with a scan.
    fault: Option<String>,
}

/// Measures every work that is asked for.
pub(crate) fn run(options: &ScanOptions) -> Result<Vec<Row>, Trouble> {
    let this = std::env::current_exe().map_err(Trouble::io("finding this program"))?;
    let command = this.with_file_name("syslet");
    if !command.exists() {
        let why = "there is no command beside this program: cargo build --release -p syslet-cli";
        return Err(Trouble::Refused("scan", why.to_owned()));
    }
    let tree = match &options.tree {
        Some(tree) => tree.clone(),
        None => PathBuf::from("/usr/include"),
    };
    let mut ways = vec![
        Way { name: "sync".to_owned(), mode: "sync", jobs: None },
        Way { name: "syslet".to_owned(), mode: "syslet", jobs: None },
    ];
    let pool = |&jobs: &usize| Way { name: format!("pool-{jobs}"), mode: "pool", jobs: Some(jobs) };
    ways.extend(options.pools().iter().map(pool));
    let mut rows = Vec::new();
    for &work in options.works() {
        if work == ScanWork::Cold && fs::write(DROP_CACHES, "3").is_err() {
            eprintln!("bench: only root can empty the caches: cold scans are not measured");
            continue;
        }
        rows.extend(measure(options, work, &command, &tree, &ways)?);
    }
    Ok(rows)
}

fn measure(
    options: &ScanOptions,
    work: ScanWork,
    command: &Path,
    tree: &Path,
    ways: &[Way],
) -> Result<Vec<Row>, Trouble> {
    let mut tallies: Vec<_> = ways.iter().map(|_| Tally::default()).collect();
    // Fills the caches, and says what there is.
    let first = scan(command, tree, &ways[0])?;
    for round in 0..options.rounds() {
        // Who follows whom changes from round to round.
        for turn in 0..ways.len() {
            let at = (round + turn) % ways.len();
            if work == ScanWork::Cold {
                rustix::fs::sync();
                fs::write(DROP_CACHES, "3").map_err(Trouble::io("emptying the caches"))?;
            }
            let summary = scan(command, tree, &ways[at])?;
            tallies[at].samples.push(summary.seconds * 1e9 / summary.entries.max(1) as f64);
            tallies[at].add(&first, summary);
        }
    }
    let row = |(way, tally): (&Way, &Tally)| {
        let mut row = Row::new(work.name(), way.name.clone(), &tally.samples);
        row.more.batch = Some(first.entries as usize);
        row.more.remark =
            Some(format!("{} entries, {} MB hashed", first.entries, first.bytes_read / 1_000_000));
        if way.mode == "syslet" {
            row.more.inline = Some(tally.calls.inline);
            row.more.handed_off = Some(tally.calls.handed_off);
        }
        row.fault = tally.fault.clone();
        if way.mode == "sync" { row } else { row.against(&tally.samples, &tallies[0].samples) }
    };
    Ok(ways.iter().zip(&tallies).map(row).collect())
}

impl Tally {
    /// Counts a scan, which must have found what the first one has.
    fn add(&mut self, first: &Summary, summary: Summary) {
        if (summary.entries, summary.bytes_read) != (first.entries, first.bytes_read) {
            let Summary { entries, bytes_read, .. } = summary;
            self.fault = Some(format!("it found {entries} entries and hashed {bytes_read} bytes"));
        }
        if summary.errors > 0 {
            self.fault = Some(format!("{} errors", summary.errors));
        }
        if let Some(calls) = summary.calls {
            self.calls.inline += calls.inline;
            self.calls.handed_off += calls.handed_off;
            if calls.mechanism != "attached" {
                self.fault = Some(format!("the scan was not attached: {}", calls.mechanism));
            }
        }
    }
}

fn scan(command: &Path, tree: &Path, way: &Way) -> Result<Summary, Trouble> {
    let mut scan = Command::new(command);
    scan.args(["scan", "--json", "--mode", way.mode]).arg(tree);
    if let Some(jobs) = way.jobs {
        scan.args(["--jobs", &jobs.to_string()]);
    }
    let output = scan.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(Trouble::io("starting the command"))?;
    let summary = serde_json::from_slice(&output.stdout);
    summary.map_err(|error| Trouble::Work("scan", error.into()))
}
