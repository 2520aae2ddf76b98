//! Reading directories.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{FileType, Metadata};
use std::future::Future;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::again::{again, disk};
use crate::Operation;

/// Entries that are fetched at a time: about as many as the C library asks the kernel for.
const BATCH: usize = 512;

/// Opens a directory and reads the first of its entries.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let mut names = Vec::new();
/// futures_executor::block_on(async {
///     let mut entries = syslet::fs::read_dir("src").await?;
///     while let Some(entry) = entries.next_entry().await? {
///         names.push(entry.file_name());
///     }
///     std::io::Result::Ok(())
/// })?;
/// assert!(names.iter().any(|name| name == "lib.rs"));
/// # Ok(())
/// # }
/// ```
pub fn read_dir(path: impl AsRef<Path>) -> Operation<io::Result<ReadDir>> {
    let path = path.as_ref().to_owned();
    disk(move || {
        let batch = Batch::fetch(std::fs::read_dir(&path)?);
        Ok(ReadDir { ready: batch.entries, rest: Rest::of(batch.source) })
    })
}

/// The entries of a directory, without `.` and `..`, in no order. Fetched in batches, each of which is
/// one [`Operation`]; nothing is fetched before it is asked for.
///
/// To be read by [`next_entry`](Self::next_entry), or as an iterator, which waits for the batches.
pub struct ReadDir {
    ready: VecDeque<io::Result<DirEntry>>,
    rest: Rest,
}

/// Where the entries come from that were not fetched yet.
enum Rest {
    Idle(std::fs::ReadDir),
    Fetching(Operation<Batch>),
    End,
}

impl Rest {
    fn of(source: Option<std::fs::ReadDir>) -> Self {
        source.map_or(Self::End, Self::Idle)
    }
}

/// Entries, and the source if there may be more.
struct Batch {
    entries: VecDeque<io::Result<DirEntry>>,
    source: Option<std::fs::ReadDir>,
}

impl Batch {
    fn fetch(mut source: std::fs::ReadDir) -> Self {
        let entries: VecDeque<_> =
            source.by_ref().take(BATCH).map(|entry| entry.map(DirEntry::new)).collect();
        let more = entries.len() == BATCH;
        Self { entries, source: more.then_some(source) }
    }
}

impl ReadDir {
    /// The next entry; `None` at the end. Dropped early, the future loses nothing.
    pub fn next_entry(&mut self) -> NextEntry<'_> {
        NextEntry(self)
    }

    /// As [`next_entry`](Self::next_entry), for streams made by hand.
    pub fn poll_next_entry(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<DirEntry>>> {
        while self.ready.is_empty() {
            let Some(fetching) = self.fetching() else { return Poll::Ready(Ok(None)) };
            let batch = std::task::ready!(Pin::new(fetching).poll(context));
            self.take(batch);
        }
        Poll::Ready(self.ready.pop_front().transpose())
    }

    /// The operation that fetches the next batch; `None` at the end.
    fn fetching(&mut self) -> Option<&mut Operation<Batch>> {
        if let Rest::Idle(_) = self.rest
            && let Rest::Idle(source) = std::mem::replace(&mut self.rest, Rest::End)
        {
            self.rest = Rest::Fetching(Operation::of_disk_closure(|| Batch::fetch(source)));
        }
        match &mut self.rest {
            Rest::Fetching(fetching) => Some(fetching),
            Rest::Idle(_) | Rest::End => None,
        }
    }

    fn take(&mut self, batch: Batch) {
        self.ready = batch.entries;
        self.rest = Rest::of(batch.source);
    }
}

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    /// # Blocking
    ///
    /// For the batch that the next entry is in.
    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            self.fetching()?;
            if let Rest::Fetching(fetching) = std::mem::replace(&mut self.rest, Rest::End) {
                self.take(fetching.wait());
            }
        }
        self.ready.pop_front()
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

/// See [`ReadDir::next_entry`].
#[derive(Debug)]
#[must_use = "does nothing unless it is awaited"]
pub struct NextEntry<'a>(&'a mut ReadDir);

impl Future for NextEntry<'_> {
    type Output = io::Result<Option<DirEntry>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_next_entry(context)
    }
}

/// An entry of a directory. It keeps the directory open, as std's does.
#[derive(Debug, Clone)]
pub struct DirEntry {
    entry: Arc<std::fs::DirEntry>,
    /// Asked for where the entry was read: a file system that does not say it needs one more call.
    file_type: Result<FileType, i32>,
}

impl DirEntry {
    fn new(entry: std::fs::DirEntry) -> Self {
        let file_type =
            again(|| entry.file_type()).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO));
        Self { entry: Arc::new(entry), file_type }
    }

    /// Its name.
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }

    /// The directory's path, as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// What it is; symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// If the directory does not say it and the entry could not be asked, when it was read.
    pub fn file_type(&self) -> io::Result<FileType> {
        self.file_type.map_err(io::Error::from_raw_os_error)
    }

    /// Its inode number.
    pub fn ino(&self) -> u64 {
        self.entry.ino()
    }

    /// What the file system knows of it; symbolic links are not followed.
    pub fn metadata(&self) -> Operation<io::Result<Metadata>> {
        let entry = Arc::clone(&self.entry);
        disk(move || entry.metadata())
    }
}
