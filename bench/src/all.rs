//! Every measure, one after the other, each in a process of its own: counters and crews begin anew. What
//! they say becomes one report.

mod page;
mod plot;

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::Trouble;
use crate::machine::Machine;
use crate::options::{AllOptions, Part};
use crate::report::{Report, Row};

/// What became of a measure.
#[derive(Debug)]
struct Taken {
    part: &'static str,
    /// How it is taken alone.
    command: String,
    seconds: u64,
    /// Nothing if it could not be taken.
    report: Option<Report>,
    /// What it said beside its figures: which calls did not go the way that they should, or why there are none.
    said: String,
}

/// What every command says with `--json`, of all of them.
#[derive(Serialize)]
struct Whole<'a> {
    command: &'static str,
    quick: bool,
    /// As the first that was taken found it.
    machine: Option<&'a Machine>,
    rows: Vec<PartRow<'a>>,
    faults: Vec<&'a str>,
    parts: Vec<PartTaken<'a>>,
}

#[derive(Serialize)]
struct PartRow<'a> {
    part: &'static str,
    #[serde(flatten)]
    row: &'a Row,
}

#[derive(Serialize)]
struct PartTaken<'a> {
    part: &'static str,
    /// How it is taken alone.
    command: &'a str,
    seconds: u64,
    /// As it found it; nothing if it could not be taken.
    machine: Option<&'a Machine>,
    note: Option<&'a str>,
    /// What it said beside its figures: which calls did not go the way that they should, or why there are none.
    said: &'a str,
}

impl<'a> Whole<'a> {
    fn of(all: &'a [Taken], quick: bool) -> Self {
        let reports = || all.iter().filter_map(|taken| taken.report.as_ref());
        let rows = |taken: &'a Taken| {
            let rows = taken.report.iter().flat_map(|report| &report.rows);
            rows.map(|row| PartRow { part: taken.part, row })
        };
        let part = |taken: &'a Taken| PartTaken {
            part: taken.part,
            command: &taken.command,
            seconds: taken.seconds,
            machine: taken.report.as_ref().map(|report| &report.machine),
            note: taken.report.as_ref().map(|report| &*report.note),
            said: &taken.said,
        };
        Self {
            command: "all",
            quick,
            machine: reports().next().map(|report| &report.machine),
            rows: all.iter().flat_map(rows).collect(),
            faults: reports().flat_map(|report| &report.faults).map(String::as_str).collect(),
            parts: all.iter().map(part).collect(),
        }
    }
}

/// Takes the measures and reports. True if each took the paths that it claims; an error if one could not be taken,
/// after all others were.
pub(crate) fn run(options: &AllOptions) -> Result<bool, Trouble> {
    // A folder that cannot be made is found now, not in half an hour.
    if let Some(folder) = &options.report {
        fs::create_dir_all(folder).map_err(Trouble::io("making the folder of the report"))?;
    }
    let mut all = Vec::new();
    let parts = options.parts();
    let begun = Instant::now();
    for (at, &part) in parts.iter().enumerate() {
        eprintln!("bench: {} ({} of {})", part.name(), at + 1, parts.len());
        let taken = take(options, part)?;
        if !options.common.json {
            print(&taken).map_err(Trouble::io("writing the report"))?;
        }
        all.push(taken);
    }
    eprintln!("bench: {} measures in {}", all.len(), minutes(begun.elapsed()));
    let whole = Whole::of(&all, options.common.quick);
    if options.common.json {
        let mut out = io::stdout().lock();
        let written = serde_json::to_writer_pretty(&mut out, &whole).map_err(io::Error::from);
        written.and_then(|()| writeln!(out)).map_err(Trouble::io("writing the report"))?;
    }
    if let Some(folder) = &options.report {
        write(folder, &all, &whole).map_err(Trouble::io("writing the report"))?;
        eprintln!("bench: {}", folder.join("report.html").display());
    }
    let missing = all.iter().filter(|taken| taken.report.is_none()).map(|taken| taken.part);
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        return Err(Trouble::NotTaken(missing));
    }
    Ok(all.iter().all(|taken| taken.said.is_empty()))
}

/// Takes one, in a process of its own.
fn take(options: &AllOptions, part: Part) -> Result<Taken, Trouble> {
    let mut args = vec![OsString::from(part.name())];
    args.extend(options.passed_on());
    let command: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    let command = command.join(" ");
    let begun = Instant::now();
    let this = std::env::current_exe().map_err(Trouble::io("finding this program"))?;
    let output = Process::new(this)
        .args(&args)
        .arg("--json")
        .stdin(Stdio::null())
        .output()
        .map_err(Trouble::io("starting a measure"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let report = serde_json::from_slice(&output.stdout).ok();
    let said = match (&report, said.is_empty()) {
        (None, true) => format!("nothing was said, and the end was: {}", output.status),
        _ => said,
    };
    if !said.is_empty() {
        eprintln!("{said}");
    }
    let seconds = begun.elapsed().as_secs();
    Ok(Taken { part: part.name(), command, seconds, report, said })
}

fn print(taken: &Taken) -> io::Result<()> {
    match &taken.report {
        Some(report) => report.print_table()?,
        None => println!("{}: not taken: {}", taken.part, taken.said),
    }
    println!();
    Ok(())
}

/// Writes the report: for people, as text for a document, and for programs.
fn write(folder: &Path, all: &[Taken], whole: &Whole<'_>) -> io::Result<()> {
    fs::write(folder.join("report.html"), page::html(all)?)?;
    fs::write(folder.join("report.md"), page::markdown(all))?;
    fs::write(folder.join("report.json"), serde_json::to_vec_pretty(whole)?)
}

fn minutes(time: Duration) -> String {
    format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
}
