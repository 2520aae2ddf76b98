//! How a file is opened.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use super::run::run;

/// How a file is opened: [`std::fs::OpenOptions`].
#[derive(Debug, Clone)]
pub struct OpenOptions(std::fs::OpenOptions);

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $name: $type) -> &mut Self {
            self.0.$name($name);
            self
        }
    )*};
}

impl OpenOptions {
    /// Nothing is asked for; new files get mode 0o666, less the umask.
    #[must_use]
    pub fn new() -> Self {
        Self(std::fs::OpenOptions::new())
    }

    setters! {
        /// For reading.
        read: bool,
        /// For writing.
        write: bool,
        /// For writing at the end, whatever the position is.
        append: bool,
        /// Makes it empty.
        truncate: bool,
        /// Makes it if it does not exist.
        create: bool,
        /// Makes it, and fails if it exists.
        create_new: bool,
        /// Further flags of open(2), less the access mode.
        custom_flags: i32,
        /// The mode of a new file.
        mode: u32,
    }

    /// Opens the file. Dropped early, what was opened in vain is closed.
    ///
    /// # Errors
    ///
    /// As [`std::fs::OpenOptions::open`].
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_std(path.as_ref()).await.map(File::from_std)
    }

    async fn open_std(&self, path: &Path) -> io::Result<std::fs::File> {
        let options = self.0.clone();
        run!(short[path], move |[path]| options.open(path))
    }
}

impl From<std::fs::OpenOptions> for OpenOptions {
    fn from(options: std::fs::OpenOptions) -> Self {
        Self(options)
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}
