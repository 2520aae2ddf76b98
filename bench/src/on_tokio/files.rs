//! The files of the works, in a directory of their own, which goes when the last owner of this does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Trouble;

/// Bytes that a positioned read or write moves.
pub(super) const BLOCK: usize = 4096;

/// Entries of the directory.
const ENTRIES: usize = 100;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct TokioFiles(Arc<Dir>);

#[derive(Debug)]
struct Dir(PathBuf);

impl TokioFiles {
    /// Makes them under `dir`.
    pub(super) fn make(dir: &Path) -> Result<Self, Trouble> {
        let dir = dir.join(format!("syslet-bench-tokio-{}", std::process::id()));
        fs::create_dir(&dir).map_err(Trouble::io("making a directory for the files"))?;
        let files = Self(Arc::new(Dir(dir)));
        files.fill().map_err(Trouble::io("making the files"))?;
        Ok(files)
    }

    fn fill(&self) -> io::Result<()> {
        for size in [BLOCK, 64 << 10, 1 << 20] {
            fs::write(self.of_size(size), vec![1; size])?;
            // Nothing is left to be written back, which would hold up a write now and then.
            File::open(self.of_size(size))?.sync_all()?;
        }
        fs::create_dir(self.listed())?;
        (0..ENTRIES).try_for_each(|at| fs::write(self.listed().join(format!("entry-{at}")), ""))
    }

    /// A file of so many bytes.
    pub(super) fn of_size(&self, size: usize) -> PathBuf {
        self.0.0.join(format!("{size}"))
    }

    /// The directory with the entries.
    pub(super) fn listed(&self) -> PathBuf {
        self.0.0.join("listed")
    }

    /// The block, open for reading and writing.
    pub(super) fn open(&self) -> Result<File, Trouble> {
        let file = File::options().read(true).write(true).open(self.of_size(BLOCK));
        file.map_err(Trouble::io("opening a file"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a file left behind is not worth an error
    }
}

/// Counts the entries that are there, and fails if some are missing.
pub(super) fn check_entries(count: usize) -> io::Result<()> {
    if count == ENTRIES { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
