//! Running fio and reading what it says.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use syslet_dropin::report::VARIABLE;

use super::witness::{Notes, Seen, watched};
use super::{Library, Way};
use crate::cold::bytes_read_by;
use crate::error::Trouble;

/// What fio is to do, but for the library.
#[derive(Debug, Clone)]
pub(super) struct Job {
    library: Library,
    /// Where its file is, and what notes are made in.
    folder: PathBuf,
    file: PathBuf,
    bytes: u64,
    segment: Duration,
    pub(super) depth: usize,
    more: &'static [&'static str],
}

/// What came of one turn.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    /// Operations in a second.
    pub(super) rate: f64,
    /// Of a hundred submissions one took longer, in nanoseconds.
    pub(super) submit_p99: f64,
    pub(super) errors: u64,
    /// Reads and writes, and syncs.
    pub(super) transfers: u64,
    pub(super) syncs: u64,
    pub(super) seen: Seen,
}

impl Job {
    pub(super) fn new(library: Library, folder: &Path, bytes: u64, segment: Duration) -> Self {
        let (file, folder) = (folder.join("file"), folder.to_owned());
        Self { library, folder, file, bytes, segment, depth: super::DEPTH, more: &[] }
    }

    pub(super) fn with(self, more: &'static [&'static str]) -> Self {
        Self { more, ..self }
    }

    pub(super) fn on(self, file: PathBuf, bytes: u64) -> Self {
        Self { file, bytes, ..self }
    }

    pub(super) fn depth(self, depth: usize) -> Self {
        Self { depth, ..self }
    }

    fn is_read_only(&self) -> bool {
        self.more.contains(&"--readonly")
    }

    /// Makes the file, with something in it, and writes it back.
    pub(super) fn lay_out(&self) -> Result<(), Trouble> {
        if self.is_read_only() {
            return Ok(());
        }
        let mut fio = self.fio();
        fio.args(["--ioengine=psync", "--rw=write", "--bs=1m", "--end_fsync=1"]);
        said(&mut fio).map(|_| ())
    }

    /// Empties the page cache of the file.
    pub(super) fn drop_cached(&self) -> Result<(), Trouble> {
        let file = File::open(&self.file).map_err(Trouble::io("opening the file"))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .map_err(|error| Trouble::Io("emptying the page cache", error.into()))?;
        Ok(())
    }

    /// Does it, with a library in front or not.
    pub(super) fn run(&self, way: Way<'_>) -> Result<Turn, Trouble> {
        let mut fio = self.command(way);
        // Nobody but a library of ours would count anything, and it should not be there.
        let notes = Notes::ask(&self.folder, &mut fio, way.library.is_none())?;
        let from_disk = bytes_read()?;
        let text = said(&mut fio)?;
        let from_disk = bytes_read()?.saturating_sub(from_disk);
        let mut seen = notes.read(self.library)?;
        seen.from_disk = from_disk;
        turn(&text, seen)
    }

    /// The same; the library counts what it does, which takes time.
    pub(super) fn run_counted(&self, way: Way<'_>) -> Result<Turn, Trouble> {
        let mut fio = self.command(way);
        let notes = Notes::ask(&self.folder, &mut fio, true)?;
        let (output, guests) = watched(&mut fio).map_err(Trouble::io("starting fio"))?;
        let mut seen = notes.read(self.library)?;
        seen.guests = guests;
        turn(&succeeded(output)?, seen)
    }

    fn command(&self, way: Way<'_>) -> Command {
        let mut fio = self.fio();
        fio.arg(format!("--ioengine={}", self.library.engine())).arg("--bs=4k");
        fio.arg(format!("--iodepth={}", self.depth)).args(self.more);
        fio.arg("--slat_percentiles=1");
        fio.arg(format!("--runtime={}ms", self.segment.as_millis()));
        if let Some(library) = way.library {
            fio.env("LD_PRELOAD", library);
        }
        if way.attached {
            fio.env("SYSLET_ATTACH", "1");
        }
        fio
    }

    fn fio(&self) -> Command {
        let mut fio = Command::new("fio");
        fio.args(["--name=bench", "--output-format=json", "--group_reporting", "--randseed=7"]);
        fio.arg(format!("--size={}", self.bytes))
            .env_remove("LD_PRELOAD")
            .env_remove("SYSLET_ATTACH")
            .env_remove(VARIABLE)
            // `cargo run` names the folder in which ours is, and the loader would take it for the system's.
            .env_remove("LD_LIBRARY_PATH");
        let mut file = std::ffi::OsString::from("--filename=");
        file.push(&self.file);
        fio.arg(file);
        fio
    }
}

/// What fio says of a turn.
fn turn(text: &[u8], seen: Seen) -> Result<Turn, Trouble> {
    let object: Value = serde_json::from_slice(text)
        .map_err(|error| Trouble::Io("reading what fio said", error.into()))?;
    let job = &object["jobs"][0];
    let half = if job["read"]["total_ios"] == 0 { &job["write"] } else { &job["read"] };
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    Ok(Turn {
        rate: number(&half["iops"]),
        submit_p99: number(&half["slat_ns"]["percentile"]["99.000000"]),
        errors: count(&job["error"]) + count(&job["total_err"]),
        transfers: count(&job["read"]["total_ios"]) + count(&job["write"]["total_ios"]),
        syncs: count(&job["sync"]["total_ios"]),
        seen,
    })
}

/// What a command said; it must succeed.
fn said(command: &mut Command) -> Result<Vec<u8>, Trouble> {
    succeeded(command.output().map_err(Trouble::io("starting fio"))?)
}

fn succeeded(output: Output) -> Result<Vec<u8>, Trouble> {
    if output.status.success() {
        return Ok(output.stdout);
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Trouble::Io("fio", io::Error::other(format!("{}: {told}", output.status))))
}

/// Bytes that have come from disks for this process and the children that have ended: proc_pid_io(5).
fn bytes_read() -> Result<u64, Trouble> {
    bytes_read_by(std::process::id())
}
