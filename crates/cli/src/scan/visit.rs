//! The work on one entry: its metadata, its content, what stands in it.
//!
//! The same code for every way of working. Four calls for a file (open, statx, read, close), one
//! for what is not read, and four for a directory.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, fstatfs, openat, statx,
};
use rustix::io::{Errno, read, retry_on_intr};

use super::listing::{Item, Listing, Terms};
use super::manifest::Manifest;
use super::progress::Messages;
use super::report::Tally;

/// Bytes of one read: as much as the kernel reads ahead by default.
const CHUNK: usize = 128 << 10;
/// Most bytes to read of a file that the kernel makes up: `/proc/kcore`, `/proc/PID/pagemap` and the
/// like have terabytes.
const MADE_UP_LIMIT: u64 = 64 << 20;
/// `f_type` of file systems whose files are made up when read, from linux/magic.h: proc, sysfs,
/// debugfs, tracefs, cgroup2, securityfs, bpf.
const MADE_UP: [u64; 7] =
    [0x9fa0, 0x6265_6572, 0x6462_6720, 0x7472_6163, 0x6367_7270, 0x7363_6673, 0xcafe_4a11];

/// Does not follow links, and never waits for the other end of a FIFO that has taken a file's place.
const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Entries of one listing.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) listing: Arc<Listing>,
    pub(super) range: Range<usize>,
}

/// What came of a unit.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    /// Directories to go on with, at most one for a unit of one entry.
    pub(super) found: Vec<Arc<Listing>>,
    /// The scan is pointless from here on: the manifest cannot be written.
    pub(super) stop: bool,
}

/// What the work needs to know.
#[derive(Debug)]
pub(super) struct Visitor {
    read: bool,
    one_file_system: bool,
    pub(super) manifest: Option<Manifest>,
    messages: Messages,
}

/// One entry at work.
#[derive(Clone, Copy)]
struct Entry<'a> {
    listing: &'a Listing,
    item: Item,
}

/// How an entry's work ended early.
pub(super) enum Stop {
    /// It lies on another file system and is not wanted.
    Elsewhere,
    Failed(Errno),
    Endless,
}

impl From<Errno> for Stop {
    fn from(error: Errno) -> Self {
        Self::Failed(error)
    }
}

impl Visitor {
    pub(super) fn new(
        read: bool,
        one_file_system: bool,
        manifest: Option<Manifest>,
        messages: Messages,
    ) -> Self {
        Self { read, one_file_system, manifest, messages }
    }

    /// Does a unit of work.
    pub(super) fn visit(&self, unit: &Unit) -> Outcome {
        let mut outcome = Outcome::default();
        for index in unit.range.clone() {
            let entry = Entry { listing: &unit.listing, item: unit.listing.item(index) };
            match self.entry(entry, &mut outcome) {
                Ok(()) | Err(Stop::Elsewhere) => {}
                Err(stop) => {
                    outcome.tally.errors += 1;
                    self.messages.complain(&entry.path(), &stop.cause());
                }
            }
        }
        outcome
    }

    fn entry(&self, entry: Entry<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        match entry.item.kind {
            FileType::Directory => self.directory(entry, outcome),
            FileType::RegularFile if self.read => self.file(entry, outcome),
            kind => {
                let stat = entry.stat()?;
                match FileType::from_raw_mode(stat.stx_mode.into()) {
                    FileType::Directory => self.directory(entry, outcome),
                    FileType::RegularFile if self.read && kind == FileType::Unknown => {
                        self.file(entry, outcome)
                    }
                    _ => self.count(entry, &stat, outcome),
                }
            }
        }
    }

    fn file(&self, entry: Entry<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        let fd = match openat(entry.listing.fd(), entry.name(), OPEN, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) => return self.unopened(entry, error, outcome),
        };
        let stat = stat_of(&fd)?;
        self.count(entry, &stat, outcome)?;
        if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::RegularFile {
            return Ok(()); // something else has taken its place since the directory was read
        }
        let limit = match entry.listing.terms {
            Terms { device: None, .. } => read_limit(fstatfs(&fd)?.f_type as u64),
            Terms { limit, .. } => limit,
        };
        let (hash, bytes) = hash(&fd, stat.stx_size, limit)?;
        outcome.tally.hashed += 1;
        outcome.tally.bytes_read += bytes;
        if let Some(manifest) = &self.manifest {
            let written = manifest.line(&hash, |path| entry.listing.write_path(entry.item, path));
            outcome.stop |= !written;
        }
        Ok(())
    }

    fn directory(&self, entry: Entry<'_>, outcome: &mut Outcome) -> Result<(), Stop> {
        let flags = OPEN.union(OFlags::DIRECTORY);
        let fd = match openat(entry.listing.fd(), entry.name(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) => return self.unopened(entry, error, outcome),
        };
        let stat = stat_of(&fd)?;
        self.count(entry, &stat, outcome)?;
        let above = entry.listing.terms;
        let device = device_of(&stat);
        let limit = match above.device {
            Some(same) if same == device => above.limit,
            _ => read_limit(fstatfs(&fd)?.f_type as u64),
        };
        let terms = Terms { device: Some(device), root: above.root.or(Some(device)), limit };
        let (found, error) = Listing::read(fd, entry.path(), terms);
        if found.len() > 0 {
            outcome.found.push(Arc::new(found));
        }
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// What cannot be opened still has metadata.
    #[cold]
    fn unopened(&self, entry: Entry<'_>, error: Errno, outcome: &mut Outcome) -> Result<(), Stop> {
        let stat = entry.stat().map_err(|_| error)?;
        self.count(entry, &stat, outcome)?;
        Err(error.into())
    }

    fn count(&self, entry: Entry<'_>, stat: &Statx, outcome: &mut Outcome) -> Result<(), Stop> {
        if self.one_file_system && entry.is_elsewhere(stat) {
            return Err(Stop::Elsewhere);
        }
        outcome.tally.count(FileType::from_raw_mode(stat.stx_mode.into()), stat.stx_size);
        Ok(())
    }
}

impl Entry<'_> {
    fn name(&self) -> &std::ffi::CStr {
        self.listing.name(self.item)
    }

    fn path(&self) -> Vec<u8> {
        let mut path = Vec::new();
        self.listing.write_path(self.item, &mut path);
        path
    }

    fn stat(&self) -> Result<Statx, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        statx(self.listing.fd(), self.name(), flags, WANTED)
    }

    /// Of what is no directory only mount points are looked at: overlayfs gives files other devices
    /// than directories where its layers lie on several file systems.
    fn is_elsewhere(&self, stat: &Statx) -> bool {
        let is_directory = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
        let may_differ = is_directory || stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        may_differ && self.listing.terms.root.is_some_and(|root| root != device_of(stat))
    }
}

impl Stop {
    /// The cause, in words.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Elsewhere => "on another file system".to_owned(),
            Self::Failed(error) => std::io::Error::from(*error).to_string(),
            Self::Endless => {
                format!("made up by the kernel and longer than {} MiB", MADE_UP_LIMIT >> 20)
            }
        }
    }
}

const WANTED: StatxFlags = StatxFlags::TYPE.union(StatxFlags::SIZE);

fn stat_of(fd: impl std::os::fd::AsFd) -> Result<Statx, Errno> {
    statx(fd, c"", AtFlags::EMPTY_PATH, WANTED)
}

fn device_of(stat: &Statx) -> u64 {
    rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

fn read_limit(file_system: u64) -> u64 {
    if MADE_UP.contains(&file_system) { MADE_UP_LIMIT } else { u64::MAX }
}

thread_local! {
    /// Each crew thread that has read a file keeps its buffer.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Hash and length of what is in the file.
///
/// Reads to the end, whatever the metadata say; only a short read that ends at the stated `size`
/// is taken for the end without asking again.
fn hash(fd: impl std::os::fd::AsFd, size: u64, limit: u64) -> Result<(blake3::Hash, u64), Stop> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(CHUNK, 0);
        let mut hasher = blake3::Hasher::new();
        let mut total = 0;
        loop {
            let length = retry_on_intr(|| read(&fd, &mut buffer[..]))?;
            hasher.update(&buffer[..length]);
            total += length as u64;
            if length == 0 || (total == size && length < CHUNK) {
                return Ok((hasher.finalize(), total));
            }
            if total >= limit {
                return Err(Stop::Endless);
            }
        }
    })
}
