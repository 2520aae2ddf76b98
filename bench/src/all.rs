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
use crate::options::{AllOptions, Part};
use crate::report::Report;

/// What became of a measure.
#[derive(Debug, Serialize)]
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
    if options.common.json {
        let mut out = io::stdout().lock();
        let written = serde_json::to_writer_pretty(&mut out, &all).map_err(io::Error::from);
        written.and_then(|()| writeln!(out)).map_err(Trouble::io("writing the report"))?;
    }
    if let Some(folder) = &options.report {
        write(folder, &all).map_err(Trouble::io("writing the report"))?;
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
fn write(folder: &Path, all: &[Taken]) -> io::Result<()> {
    fs::write(folder.join("report.html"), page::html(all)?)?;
    fs::write(folder.join("report.md"), page::markdown(all))?;
    fs::write(folder.join("report.json"), serde_json::to_vec_pretty(all)?)
}

fn minutes(time: Duration) -> String {
    format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
}
