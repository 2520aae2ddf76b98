//! CPU time of this process and of its sentinels, which are processes of their own.
//!
//! # Safety
//!
//! One call that writes to a local variable.

#![allow(unsafe_code, reason = "clock_gettime(2) is the only exact clock of CPU time")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Trouble;

/// Kernel name of a sentinel.
const SENTINEL: &str = "syslet-sentinel";

/// The sentinels of this process. New ones come with the first guest of a CPU only.
#[derive(Debug)]
pub(crate) struct Sentinels(Vec<PathBuf>);

/// CPU time, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) process: f64,
    pub(crate) sentinels: f64,
}

impl Spent {
    pub(crate) fn total(self) -> f64 {
        self.process + self.sentinels
    }
}

impl Sentinels {
    /// Finds them among the children of our threads (proc_tid_children(5)).
    pub(crate) fn find() -> Result<Self, Trouble> {
        let children = children(std::process::id()).map_err(Trouble::io("reading /proc"))?;
        let paths = children.iter().map(|id| PathBuf::from(format!("/proc/{id}")));
        let found: Vec<_> = paths.filter(|process| name(process) == SENTINEL).collect();
        if found.is_empty() {
            let error = io::Error::new(io::ErrorKind::NotFound, "no child has its name");
            return Err(Trouble::Io("looking for the sentinels", error));
        }
        Ok(Self(found))
    }

    /// For a thread that is not attached.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// CPU time that `f` takes, wherever it is spent. What reading the files costs is left out.
    pub(crate) fn spent_in<R>(
        &self,
        f: impl FnOnce() -> Result<R, Trouble>,
    ) -> Result<(Spent, R), Trouble> {
        let sentinels = self.run_time()?;
        let process = process_time();
        let result = f()?;
        let process = process_time() - process;
        Ok((Spent { process, sentinels: self.run_time()? - sentinels }, result))
    }

    fn run_time(&self) -> Result<f64, Trouble> {
        self.0.iter().map(|process| run_time(process)).sum()
    }
}

/// True if a process, or one that it has started, has a sentinel now.
pub(crate) fn has_sentinel(process: u32) -> bool {
    let is_sentinel = |child| name(Path::new(&format!("/proc/{child}"))) == SENTINEL;
    // It may have ended.
    let children = children(process).unwrap_or_default();
    children.into_iter().any(|child| is_sentinel(child) || has_sentinel(child))
}

/// Children of a process's threads (proc_tid_children(5)).
fn children(process: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may have ended meanwhile.
        let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    Ok(found)
}

fn name(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned()
}

/// First number of /proc/PID/schedstat: time on a CPU, in nanoseconds (Linux, sched-stats.rst).
fn run_time(process: &Path) -> Result<f64, Trouble> {
    let text = fs::read_to_string(process.join("schedstat"))
        .map_err(Trouble::io("reading a sentinel's schedstat"))?;
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.ok_or_else(|| {
        Trouble::Io("reading a sentinel's schedstat", io::ErrorKind::InvalidData.into())
    })
}

/// CPU time of this process's own threads.
fn process_time() -> f64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0) as f64 // it always exists (Linux 2.6.12)
}

/// CPU time of a thread of this process, in nanoseconds; nothing if it has ended.
pub(crate) fn thread_time(thread: i32) -> Option<u64> {
    /// Of a thread, and as the scheduler counts (`linux/posix-timers.h`).
    const PER_THREAD_SCHED: i32 = 4 | 2;
    clock((!thread << 3) | PER_THREAD_SCHED)
}

fn clock(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to the local variable.
    let answer = unsafe { libc::clock_gettime(clock, &mut time) };
    (answer == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
