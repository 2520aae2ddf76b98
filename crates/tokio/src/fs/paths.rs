//! What is done to a path.

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::run::run;

macro_rules! on_path {
    ($($kind:ident: $(#[$doc:meta])* $name:ident = $function:path => $result:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        #[doc = concat!("As [`", stringify!($function), "`].")]
        pub async fn $name(path: impl AsRef<Path>) -> io::Result<$result> {
            on_path!($kind path, $function)
        }
    )*};
    (short $path:ident, $function:path) => { run!(short [$path], |[path]| $function(path)) };
    (long $path:ident, $function:path) => { run!([$path], |[path]| $function(path)) };
}

on_path! {
    short:
    /// What the file system knows of a file; follows symbolic links.
    metadata = std::fs::metadata => Metadata;
    short:
    /// What the file system knows of a file, or of a symbolic link.
    symlink_metadata = std::fs::symlink_metadata => Metadata;
    long:
    /// The whole contents of a file.
    read = std::fs::read => Vec<u8>;
    long:
    /// The whole contents of a file, which is UTF-8.
    read_to_string = std::fs::read_to_string => String;
    short:
    /// Removes a file, or another name of it.
    remove_file = std::fs::remove_file => ();
    short:
    /// Makes a directory.
    create_dir = std::fs::create_dir => ();
    long:
    /// Makes a directory, and those above it.
    create_dir_all = std::fs::create_dir_all => ();
    short:
    /// Removes an empty directory.
    remove_dir = std::fs::remove_dir => ();
    long:
    /// Removes a directory with all that is in it.
    remove_dir_all = std::fs::remove_dir_all => ();
    short:
    /// Where a symbolic link points to.
    read_link = std::fs::read_link => PathBuf;
    short:
    /// The absolute path without symbolic links.
    canonicalize = std::fs::canonicalize => PathBuf;
    short:
    /// Whether there is something at the path; an error if that cannot be told.
    try_exists = std::fs::exists => bool;
}

macro_rules! on_two_paths {
    ($($(#[$doc:meta])* $name:ident($one:ident, $other:ident) = $function:path => $result:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        #[doc = concat!("As [`", stringify!($function), "`].")]
        pub async fn $name(
            $one: impl AsRef<Path>,
            $other: impl AsRef<Path>,
        ) -> io::Result<$result> {
            run!([$one, $other], |[one, other]| $function(one, other))
        }
    )*};
}

on_two_paths! {
    /// Gives a file or directory another name; replaces what is there.
    rename(from, to) = std::fs::rename => ();
    /// Gives a file one more name.
    hard_link(original, link) = std::fs::hard_link => ();
    /// Makes a symbolic link that points to `original`.
    symlink(original, link) = std::os::unix::fs::symlink => ();
    /// Copies contents and permissions of a file; says how many bytes there were.
    copy(from, to) = std::fs::copy => u64;
}

/// Changes the permissions of a file.
///
/// # Errors
///
/// As [`std::fs::set_permissions`].
pub async fn set_permissions(path: impl AsRef<Path>, perm: Permissions) -> io::Result<()> {
    run!([path], move |[path]| std::fs::set_permissions(path, perm.clone()))
}

/// Makes a file with these contents, or replaces those of a file.
///
/// # Errors
///
/// As [`std::fs::write`].
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let contents = contents.as_ref().to_owned();
    run!([path], move |[path]| std::fs::write(path, &contents))
}
