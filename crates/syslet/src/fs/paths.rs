//! What is done to a path.

use std::fs::{Metadata, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use super::again::{any, disk};
use crate::{IoBuf, Operation};

macro_rules! on_path {
    ($($(#[$doc:meta])* $name:ident = $function:path => $result:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(path: impl AsRef<Path>) -> Operation<io::Result<$result>> {
            let path = path.as_ref().to_owned();
            disk(move || $function(&path))
        }
    )*};
}

on_path! {
    /// What the file system knows of a file; follows symbolic links.
    metadata = std::fs::metadata => Metadata;
    /// What the file system knows of a file, or of a symbolic link.
    symlink_metadata = std::fs::symlink_metadata => Metadata;
    /// Removes a file, or another name of it.
    remove_file = std::fs::remove_file => ();
    /// Makes a directory.
    create_dir = std::fs::create_dir => ();
    /// Makes a directory, and those above it.
    create_dir_all = std::fs::create_dir_all => ();
    /// Removes an empty directory.
    remove_dir = std::fs::remove_dir => ();
    /// Removes a directory with all that is in it. Symbolic links are not followed, also if others put
    /// them there meanwhile.
    remove_dir_all = std::fs::remove_dir_all => ();
    /// Where a symbolic link points to.
    read_link = std::fs::read_link => PathBuf;
    /// The absolute path without symbolic links.
    canonicalize = std::fs::canonicalize => PathBuf;
    /// Whether there is something at the path; an error if that cannot be told.
    try_exists = std::fs::exists => bool;
}

macro_rules! on_two_paths {
    ($($(#[$doc:meta])* $name:ident($one:ident, $other:ident) = $function:path;)*) => {$(
        $(#[$doc])*
        pub fn $name(
            $one: impl AsRef<Path>,
            $other: impl AsRef<Path>,
        ) -> Operation<io::Result<()>> {
            let ($one, $other) = ($one.as_ref().to_owned(), $other.as_ref().to_owned());
            disk(move || $function(&$one, &$other))
        }
    )*};
}

on_two_paths! {
    /// Gives a file or directory another name; replaces what is there.
    rename(from, to) = std::fs::rename;
    /// Gives a file one more name.
    hard_link(original, link) = std::fs::hard_link;
    /// Makes a symbolic link that points to `original`.
    symlink(original, link) = std::os::unix::fs::symlink;
}

/// Changes the permissions of a file.
pub fn set_permissions(
    path: impl AsRef<Path>,
    permissions: Permissions,
) -> Operation<io::Result<()>> {
    let path = path.as_ref().to_owned();
    disk(move || std::fs::set_permissions(&path, permissions.clone()))
}

/// Copies contents and permissions of a file; says how many bytes there were. Within the kernel where
/// that is possible, as [`std::fs::copy`].
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Operation<io::Result<u64>> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    any(move || std::fs::copy(&from, &to))
}

/// The whole contents of a file.
pub fn read(path: impl AsRef<Path>) -> Operation<io::Result<Vec<u8>>> {
    let path = path.as_ref().to_owned();
    any(move || std::fs::read(&path))
}

/// The whole contents of a file, which is UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> Operation<io::Result<String>> {
    let path = path.as_ref().to_owned();
    any(move || std::fs::read_to_string(&path))
}

/// Makes a file with these contents, or replaces those of a file.
pub fn write(path: impl AsRef<Path>, contents: impl IoBuf) -> Operation<io::Result<()>> {
    let path = path.as_ref().to_owned();
    any(move || std::fs::write(&path, contents.bytes()))
}
