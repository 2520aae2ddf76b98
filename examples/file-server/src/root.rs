//! What may be served.

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// The directory that is served.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// # Errors
    ///
    /// If it does not exist or is no directory.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if !path.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Checks that the file that was opened is one that may be served. Asks the kernel for the name it
    /// has now: links and renames have had their effect by then. Does not sleep.
    ///
    /// # Errors
    ///
    /// `IsADirectory`, `PermissionDenied`, and what goes wrong in asking.
    pub(crate) fn check(&self, file: impl AsFd, metadata: &Metadata) -> io::Result<()> {
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            return Err(refused("it is no regular file".to_owned()));
        }
        let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))?;
        if !name.starts_with(&self.0) {
            return Err(refused(format!("it leads out of the root, to {}", name.display())));
        }
        Ok(())
    }
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
