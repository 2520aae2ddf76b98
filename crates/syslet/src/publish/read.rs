//! Asking another process.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use syslet_sys::uapi::Timespec;

use super::page::Mapped;
use super::snapshot::Snapshot;
use super::wire::{Reader, Wire};
use super::{LAYOUT, MEMORY_NAME, THREAD_NAME};

/// How long a sleep lasts at most: after it a process that has ended is seen.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What a process publishes, mapped. It holds no descriptor.
#[derive(Debug)]
pub struct Published {
    page: Mapped,
    pid: u32,
    /// The thread that answers, in `/proc`.
    thread: PathBuf,
}

/// Why nothing can be known of a process.
#[derive(Debug)]
#[non_exhaustive]
pub enum PublishedError {
    /// There is no such process (or `/proc` hides it).
    NoSuchProcess(u32),
    /// The process publishes nothing.
    NotPublished(u32),
    /// The process is somebody else's, or not dumpable (prctl(2)): `/proc` does not let one look.
    Denied(u32),
    /// It publishes in another layout: by another version of the library.
    OtherLayout {
        /// The process.
        pid: u32,
        /// Its layout.
        found: String,
        /// The one that this version of the library reads.
        expected: u32,
    },
    /// It has not answered in time: it is stopped, or the machine is very busy.
    NoAnswer(u32),
    /// It has ended, or runs another program.
    Ended(u32),
    /// What it has answered cannot be understood.
    Garbled(u32),
    /// A call failed: which, and why.
    Io(&'static str, io::Error),
}

impl fmt::Display for PublishedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchProcess(pid) => write!(f, "there is no process {pid}"),
            Self::NotPublished(pid) => write!(
                f,
                "process {pid} publishes nothing: start it with SYSLET_STATS=1, or have it call \
                 syslet::publish_stats()"
            ),
            Self::Denied(pid) => {
                write!(
                    f,
                    "process {pid} may not be looked at: it is another user's, or not dumpable"
                )
            }
            Self::OtherLayout { pid, found, expected } => {
                write!(
                    f,
                    "process {pid} publishes in layout {found}, and this version reads {expected}"
                )
            }
            Self::NoAnswer(pid) => {
                write!(f, "process {pid} does not answer: it may be stopped")
            }
            Self::Ended(pid) => write!(f, "process {pid} has ended"),
            Self::Garbled(pid) => write!(f, "what process {pid} answers is not understood"),
            Self::Io(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

// The message holds the cause: it is said once.
impl std::error::Error for PublishedError {}

impl Published {
    /// Finds what process `pid` publishes.
    ///
    /// # Errors
    ///
    /// If it publishes nothing, or nothing that the caller may see or this version can read. With
    /// `SYSLET_STATS=1` a program publishes from when it first uses the library.
    ///
    /// # Blocking
    ///
    /// Reads `/proc`, some microseconds for each thread of the process, and does not wait.
    pub fn of(pid: u32) -> Result<Self, PublishedError> {
        let tasks =
            fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => PublishedError::NoSuchProcess(pid),
                io::ErrorKind::PermissionDenied => PublishedError::Denied(pid),
                _ => PublishedError::Io("the process's threads", error),
            })?;
        let mut why_not = PublishedError::NotPublished(pid);
        // Other threads may be called so too: what is said of them is kept for the case that there is no better one.
        for thread in tasks.flatten().map(|task| task.path()).filter(|thread| answers(thread)) {
            match Self::by_thread(pid, &thread) {
                Ok(Some(page)) => return Ok(Self { page, pid, thread }),
                Ok(None) => {}
                Err(error) => why_not = error,
            }
        }
        Err(why_not)
    }

    fn by_thread(pid: u32, thread: &Path) -> Result<Option<Mapped>, PublishedError> {
        let unseen = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => PublishedError::Denied(pid),
            io::ErrorKind::NotFound => PublishedError::Ended(pid),
            _ => PublishedError::Io("the descriptors of the thread that answers", error),
        };
        for fd in fs::read_dir(thread.join("fd")).map_err(unseen)?.flatten() {
            let Ok(name) = fs::read_link(fd.path()) else { continue };
            let Some(found) = layout_of(&name) else { continue };
            if found != LAYOUT.to_string() {
                return Err(PublishedError::OtherLayout { pid, found, expected: LAYOUT });
            }
            let memory = open(&fd.path()).map_err(unseen)?;
            return Mapped::new(&memory).map(Some).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => PublishedError::Garbled(pid),
                _ => PublishedError::Io("mapping what is published", error),
            });
        }
        Ok(None)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`PublishedError::NoAnswer`] if none has come by `deadline`, [`PublishedError::Ended`] if none will come.
    ///
    /// # Blocking
    ///
    /// Until the answer is there: it takes the process some ten microseconds for each crew thread.
    pub fn snapshot(&self, deadline: Instant) -> Result<Snapshot, PublishedError> {
        let question = self.page.ask();
        loop {
            if self.page.is_answered(question)
                && let Some(words) = self.page.copy()
            {
                let seen = Snapshot::get(&mut Reader::new(&words));
                return seen.ok_or(PublishedError::Garbled(self.pid));
            }
            if !answers(&self.thread) {
                return Err(PublishedError::Ended(self.pid));
            }
            let left = deadline.saturating_duration_since(Instant::now()).min(LOOK_AGAIN);
            if left.is_zero() {
                return Err(PublishedError::NoAnswer(self.pid));
            }
            // Answered, and overwritten while it was copied: this returns at once.
            let left = Timespec { sec: left.as_secs() as i64, nsec: left.subsec_nanos().into() };
            self.page.await_answer(question, &left);
        }
    }
}

/// Whether a thread, in `/proc`, has the name of the one that answers.
fn answers(thread: &Path) -> bool {
    let name = fs::read(thread.join("comm")).unwrap_or_default();
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    name == THREAD_NAME.split(|byte| *byte == 0).next().unwrap_or(&[])
}

/// The layout of a memory, by its name in `/proc`.
fn layout_of(name: &Path) -> Option<String> {
    let name = name.as_os_str().as_bytes().strip_prefix(b"/memfd:")?;
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let layout = name.strip_prefix(MEMORY_NAME.as_bytes())?;
    Some(String::from_utf8_lossy(layout).into_owned())
}

/// Opens the memory that `link` leads to. First its place only: by now it may be a device, which would do
/// something when it is opened.
fn open(link: &Path) -> io::Result<File> {
    let place = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(link)?;
    if !place.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let same = format!("/proc/self/fd/{}", place.as_raw_fd());
    OpenOptions::new().read(true).write(true).open(same)
}
