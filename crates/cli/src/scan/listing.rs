//! One directory: its descriptor, its path, and the names in it.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, RawDir};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Bytes of names that one `getdents64` returns at most: as glibc asks for.
const DIRENTS: usize = 32 << 10;

/// What a name stands for, as far as the directory tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Where the name begins in the listing's names.
    start: u32,
    /// Its length without the NUL.
    len: u32,
    inode: u64,
    pub(super) kind: FileType,
}

/// A directory that was read. It stays open while somebody works on what stands in it, so that
/// neither long paths nor renamed parents matter.
#[derive(Debug)]
pub(super) struct Listing {
    /// `None` for the arguments, which are relative to the working directory.
    fd: Option<OwnedFd>,
    /// As the user would write it, without a slash at the end; empty for the arguments.
    path: Vec<u8>,
    /// NUL-terminated, one after the other.
    names: Vec<u8>,
    items: Vec<Item>,
    /// What holds for the files in it.
    pub(super) terms: Terms,
}

/// What a directory passes on to those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// The device of the directory.
    pub(super) device: Option<u64>,
    /// The device of the argument that it was found under.
    pub(super) root: Option<u64>,
    /// Most bytes to read of a file.
    pub(super) limit: u64,
}

impl Listing {
    /// The arguments, as if they stood in a directory.
    pub(super) fn of_arguments(paths: &[CString]) -> Self {
        let mut listing = Self {
            fd: None,
            path: Vec::new(),
            names: Vec::new(),
            items: Vec::with_capacity(paths.len()),
            terms: Terms { device: None, root: None, limit: u64::MAX },
        };
        for path in paths {
            listing.push(path, 0, FileType::Unknown);
        }
        listing
    }

    /// Reads the directory `fd`. What was read before an error is kept.
    pub(super) fn read(fd: OwnedFd, path: Vec<u8>, terms: Terms) -> (Self, Option<Errno>) {
        let mut listing = Self { fd: None, path, names: Vec::new(), items: Vec::new(), terms };
        let mut buffer = [MaybeUninit::uninit(); DIRENTS];
        let mut entries = RawDir::new(&fd, &mut buffer);
        let error = loop {
            match entries.next() {
                None => break None,
                Some(Err(Errno::INTR)) => {}
                Some(Err(error)) => break Some(error),
                Some(Ok(entry)) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Some(Ok(entry)) => listing.push(entry.file_name(), entry.ino(), entry.file_type()),
            }
        };
        listing.fd = Some(fd);
        listing.arrange();
        (listing, error)
    }

    fn push(&mut self, name: &CStr, inode: u64, kind: FileType) {
        let start = self.names.len() as u32;
        self.names.extend_from_slice(name.to_bytes_with_nul());
        self.items.push(Item { start, len: name.count_bytes() as u32, inode, kind });
    }

    /// Directories last, so that a directory's files are done before others are opened; in the order
    /// of their inodes, because that is about how file systems lay out inodes and data.
    fn arrange(&mut self) {
        let may_be_directory =
            |item: &Item| matches!(item.kind, FileType::Directory | FileType::Unknown);
        self.items.sort_unstable_by_key(|item| (may_be_directory(item), item.inode));
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().map_or(CWD, AsFd::as_fd)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn kinds(&self, range: Range<usize>) -> impl Iterator<Item = FileType> + '_ {
        self.items[range].iter().map(|item| item.kind)
    }

    pub(super) fn item(&self, index: usize) -> Item {
        self.items[index]
    }

    pub(super) fn name(&self, item: Item) -> &CStr {
        let range = item.start as usize..=(item.start + item.len) as usize;
        // Pushed with its NUL and without another.
        CStr::from_bytes_with_nul(&self.names[range]).unwrap_or_default()
    }

    /// Appends the item's path as the user would write it.
    pub(super) fn write_path(&self, item: Item, to: &mut Vec<u8>) {
        if !self.path.is_empty() {
            to.extend_from_slice(&self.path);
            if self.path.last() != Some(&b'/') {
                to.push(b'/');
            }
        }
        to.extend_from_slice(self.name(item).to_bytes());
    }
}

/// Raises the soft limit on descriptors to the hard one: each directory on the way down is open.
pub(super) fn allow_many_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What was allowed before will do for all but very deep trees.
    let _ = setrlimit(Resource::Nofile, limit);
}
