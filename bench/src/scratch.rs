//! A directory for the files of a measure.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Trouble;

/// A directory that goes, with what is in it, when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn make(dir: &Path, name: &str) -> Result<Self, Trouble> {
        let dir = dir.join(format!("syslet-bench-{name}-{}", std::process::id()));
        fs::create_dir(&dir).map_err(Trouble::io("making a directory for the files"))?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // a file left behind is not worth an error
    }
}
