//! How a directory is made.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::run::run;

/// How a directory is made: [`std::fs::DirBuilder`].
#[derive(Debug, Default)]
pub struct DirBuilder {
    recursive: bool,
    mode: Option<u32>,
}

impl DirBuilder {
    /// A directory in one that exists, with mode 0o777 less the umask.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether those above it are made too; then it is no error if it exists.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.recursive = recursive;
        self
    }

    /// The mode of new directories.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = Some(mode);
        self
    }

    /// Makes it.
    ///
    /// # Errors
    ///
    /// As [`std::fs::DirBuilder::create`].
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        run!([path], move |[path]| builder.create(path))
    }
}
