//! What is done to a path.

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::path::OwnedPath;
use super::run::run;

macro_rules! on_path {
    ($($(#[$doc:meta])* $name:ident = $function:path => $result:ty;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        #[doc = concat!("As [`", stringify!($function), "`].")]
        pub async fn $name(path: impl AsRef<Path>) -> io::Result<$result> {
            let path = OwnedPath::new(path.as_ref());
            run(move || $function(&path)).await
        }
    )*};
}

on_path! {
    /// What the file system knows of a file; follows symbolic links.
    metadata = std::fs::metadata => Metadata;
    /// What the file system knows of a file, or of a symbolic link.
    symlink_metadata = std::fs::symlink_metadata => Metadata;
    /// The whole contents of a file.
    read = std::fs::read => Vec<u8>;
    /// The whole contents of a file, which is UTF-8.
    read_to_string = std::fs::read_to_string => String;
    /// Removes a file, or another name of it.
    remove_file = std::fs::remove_file => ();
    /// Makes a directory.
    create_dir = std::fs::create_dir => ();
    /// Makes a directory, and those above it.
    create_dir_all = std::fs::create_dir_all => ();
    /// Removes an empty directory.
    remove_dir = std::fs::remove_dir => ();
    /// Removes a directory with all that is in it.
    remove_dir_all = std::fs::remove_dir_all => ();
    /// Where a symbolic link points to.
    read_link = std::fs::read_link => PathBuf;
    /// The absolute path without symbolic links.
    canonicalize = std::fs::canonicalize => PathBuf;
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
            let ($one, $other) = (OwnedPath::new($one.as_ref()), OwnedPath::new($other.as_ref()));
            run(move || $function(&$one, &$other)).await
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
    let path = OwnedPath::new(path.as_ref());
    run(move || std::fs::set_permissions(&path, perm.clone())).await
}

/// Makes a file with these contents, or replaces those of a file.
///
/// # Errors
///
/// As [`std::fs::write`].
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let path = OwnedPath::new(path.as_ref());
    let contents = contents.as_ref().to_owned();
    run(move || std::fs::write(&path, &contents)).await
}
