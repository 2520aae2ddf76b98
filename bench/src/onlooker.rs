//! A process that serves, seen from outside: what the library counts there, and which epoll watches its files.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use syslet::Stats;
use syslet::publish::{Published, PublishedError};

use crate::error::Trouble;

/// How long a process may take to answer: only one that is stopped takes long.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the link of an epoll's descriptor says.
const EPOLL: &str = "anon_inode:[eventpoll]";
/// The thread that watches files for the library; its descriptors are its own.
const KEEPER: &str = "syslet-keeper";

/// What there is to be seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// The library's counters; nothing where it is not used.
    pub(crate) stats: Option<Stats>,
    /// Files in the program's own epolls: in the largest.
    pub(crate) in_epoll: usize,
    /// Files that the library watches until it is told to end.
    pub(crate) watched: usize,
}

impl Sight {
    /// Has a program show its counters, from when it uses the library first. Nothing is counted for it.
    pub(crate) fn allow(command: &mut Command) {
        command.env("SYSLET_STATS", "1");
    }

    /// Of a process that was started so.
    pub(crate) fn of(process: u32) -> Result<Self, Trouble> {
        let trouble =
            |error: PublishedError| Trouble::Io("looking at a server", io::Error::other(error));
        let stats = match Published::of(process) {
            Ok(published) => {
                let snapshot = published.snapshot(Instant::now() + PATIENCE).map_err(trouble)?;
                Some(snapshot.stats)
            }
            Err(PublishedError::NotPublished(_)) => None,
            Err(error) => return Err(trouble(error)),
        };
        let of_process = Path::new("/proc").join(process.to_string());
        let in_epoll = largest_epoll(&of_process).map_err(Trouble::io("looking at a server"))?;
        Ok(Self { stats, in_epoll, watched: watched(&of_process) })
    }

    /// Calls and functions that guests have begun: those count that had to wait for a crew thread, too.
    pub(crate) fn calls(&self) -> u64 {
        let total = self.stats.as_ref().map(|stats| &stats.total);
        total.map_or(0, |total| total.inline + total.handed_off + total.queued)
    }
}

/// Files in an epoll of this process.
pub(crate) fn in_epoll_here(epoll: BorrowedFd<'_>) -> usize {
    files_in(&Path::new("/proc/self/fdinfo").join(epoll.as_raw_fd().to_string()))
}

/// Files in an epoll, of which the kernel says this (proc_pid_fdinfo(5)).
fn files_in(fdinfo: &Path) -> usize {
    let text = fs::read_to_string(fdinfo).unwrap_or_default(); // closed meanwhile
    text.lines().filter(|line| line.starts_with("tfd:")).count()
}

/// Files that the library watches in this process.
pub(crate) fn watched_here() -> usize {
    watched(Path::new("/proc/self"))
}

/// Files that the library watches.
fn watched(process: &Path) -> usize {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let keepers = tasks.map(|task| task.path()).filter(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == KEEPER)
    });
    // It may have ended.
    keepers.map(|task| largest_epoll(&task).unwrap_or(0)).sum()
}

/// How many files are in the epoll that has most, of those in a descriptor table.
fn largest_epoll(task: &Path) -> io::Result<usize> {
    let mut most = 0;
    for entry in fs::read_dir(task.join("fd"))?.flatten() {
        if fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == EPOLL) {
            most = most.max(files_in(&task.join("fdinfo").join(entry.file_name())));
        }
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoll_of_the_program_and_the_librarys_are_told_apart() {
        let sockets: Vec<_> = (0..5)
            .map(|_| std::os::unix::net::UnixStream::pair().expect("two descriptors"))
            .collect();
        let queue = syslet_kevent::Queue::new().expect("threads can be made");
        for (mine, _) in &sockets {
            let source = syslet_kevent::Source::recv(mine).with(syslet_kevent::Flags::ET);
            queue.add(source).expect("it has readiness");
        }
        assert!(watched_here() >= 5, "{}", watched_here());
        let sight = Sight::of(std::process::id()).expect("it is our own process");
        assert!(sight.watched >= 5 && sight.in_epoll == 0, "{sight:?}");
    }
}
