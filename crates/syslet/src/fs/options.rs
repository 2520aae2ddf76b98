//! How a file is opened.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::File;
use super::tasks::Open;
use crate::Operation;

/// How a file is opened: [`std::fs::OpenOptions`], including the Unix extensions.
///
/// ```
/// use syslet::fs::OpenOptions;
///
/// let path = std::env::temp_dir().join(format!("syslet-options-{}", std::process::id()));
/// let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).wait()?;
/// file.write_all("one line\n").wait().0?;
/// assert_eq!(syslet::fs::read_to_string(&path).wait()?, "one line\n");
/// syslet::fs::remove_file(&path).wait()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    custom_flags: i32,
    mode: u32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, $name: $type) -> &mut Self {
            self.$name = $name;
            self
        }
    )*};
}

impl OpenOptions {
    /// Nothing is asked for; new files get mode 0o666, less the umask.
    pub fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            custom_flags: 0,
            mode: 0o666,
        }
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

    /// Opens the file. It can be cancelled: opening a FIFO waits for its other end.
    pub fn open(&self, path: impl AsRef<Path>) -> Operation<io::Result<File>> {
        let start = || {
            let flags = self.flags()?;
            let path = CString::new(path.as_ref().as_os_str().as_bytes())?;
            Ok(Operation::of_task(Open::new(path, flags, self.mode)))
        };
        start().unwrap_or_else(|error: io::Error| Operation::ready(Err(error)))
    }

    fn flags(&self) -> io::Result<i32> {
        let access = match (self.read, self.write, self.append) {
            (true, false, false) => libc::O_RDONLY,
            (false, true, false) => libc::O_WRONLY,
            (true, true, false) => libc::O_RDWR,
            (false, _, true) => libc::O_WRONLY | libc::O_APPEND,
            (true, _, true) => libc::O_RDWR | libc::O_APPEND,
            (false, false, false) => return Err(invalid("no access is asked for")),
        };
        let makes = self.truncate || self.create || self.create_new;
        if makes && !self.write && !self.append {
            return Err(invalid("creating or truncating a file requires write or append access"));
        }
        if self.append && self.truncate && !self.create_new {
            return Err(invalid("a file cannot be truncated and appended to"));
        }
        let creation = match (self.create, self.truncate, self.create_new) {
            (_, _, true) => libc::O_CREAT | libc::O_EXCL,
            (create, truncate, false) => {
                (if create { libc::O_CREAT } else { 0 })
                    | (if truncate { libc::O_TRUNC } else { 0 })
            }
        };
        Ok(libc::O_CLOEXEC | access | creation | (self.custom_flags & !libc::O_ACCMODE))
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
