//! Reading directories.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::run::run;
use crate::Unblock;
use crate::unblock::launch;

/// Entries that are fetched at a time: about as many as the C library asks the kernel for.
const BATCH: usize = 512;

/// The entries of a directory, without `.` and `..`, in no order.
///
/// # Errors
///
/// As [`std::fs::read_dir`].
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    first_batch(path.as_ref()).await.map(|batch| ReadDir(State::of(batch)))
}

async fn first_batch(path: &Path) -> io::Result<Batch> {
    run!([path], |[path]| std::fs::read_dir(path).map(Batch::fetch))
}

/// See [`read_dir`]. Fetched in batches.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReadDir(State);

#[derive(Debug)]
enum State {
    Ready(VecDeque<io::Result<DirEntry>>, Option<std::fs::ReadDir>),
    Fetching(Unblock<Batch>),
}

/// Entries, and where they come from if there may be more.
struct Batch {
    entries: VecDeque<io::Result<DirEntry>>,
    source: Option<std::fs::ReadDir>,
}

impl Batch {
    fn fetch(mut source: std::fs::ReadDir) -> Self {
        let mut entries = VecDeque::with_capacity(32);
        for entry in source.by_ref().take(BATCH) {
            let failed = entry.is_err();
            entries.push_back(entry.map(DirEntry::new));
            if failed {
                return Self { entries, source: Some(source) };
            }
        }
        let more = entries.len() == BATCH;
        Self { entries, source: more.then_some(source) }
    }
}

impl State {
    fn of(batch: Batch) -> Self {
        Self::Ready(batch.entries, batch.source)
    }
}

impl ReadDir {
    /// The next entry; `None` at the end. Dropped early, the future loses nothing.
    ///
    /// # Errors
    ///
    /// As the iterator of [`std::fs::read_dir`].
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|context| self.poll_next_entry(context)).await
    }

    /// As [`next_entry`](Self::next_entry), for streams made by hand.
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            self.0 = match &mut self.0 {
                State::Ready(entries, source) => {
                    if let Some(entry) = entries.pop_front() {
                        return Poll::Ready(entry.map(Some));
                    }
                    let Some(source) = source.take() else { return Poll::Ready(Ok(None)) };
                    State::Fetching(launch(|| Batch::fetch(source)))
                }
                State::Fetching(fetching) => {
                    let batch = ready!(Pin::new(fetching).poll(cx));
                    match batch {
                        Ok(batch) => State::of(batch),
                        Err(error) => {
                            self.0 = State::Ready(VecDeque::new(), None);
                            return Poll::Ready(Err(error.into()));
                        }
                    }
                }
            };
        }
    }
}

/// An entry of a directory. It keeps the directory open, as std's does.
#[derive(Debug)]
pub struct DirEntry {
    std: Arc<std::fs::DirEntry>,
    /// Asked for where the entry was read: most file systems say it there.
    file_type: Option<FileType>,
}

impl DirEntry {
    fn new(entry: std::fs::DirEntry) -> Self {
        Self { file_type: entry.file_type().ok(), std: Arc::new(entry) }
    }

    /// The directory's path, as it was given, and the name.
    pub fn path(&self) -> PathBuf {
        self.std.path()
    }

    /// Its name.
    pub fn file_name(&self) -> OsString {
        self.std.file_name()
    }

    /// Its inode number.
    pub fn ino(&self) -> u64 {
        self.std.ino()
    }

    /// What the file system knows of it; symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirEntry::metadata`].
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let entry = Arc::clone(&self.std);
        run!(short [], move |[]| entry.metadata())
    }

    /// What it is; symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirEntry::file_type`].
    pub async fn file_type(&self) -> io::Result<FileType> {
        if let Some(file_type) = self.file_type {
            return Ok(file_type);
        }
        let entry = Arc::clone(&self.std);
        run!(short [], move |[]| entry.file_type())
    }
}
