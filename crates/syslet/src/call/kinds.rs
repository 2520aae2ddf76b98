//! What is remembered of descriptors, so that most calls need not ask.
//!
//! A number may name another file at any time, so everything here is a guess, and a wrong one costs
//! time only: what is run as if it were a regular file and waits after all is handed off, and what is
//! tried without waiting says itself that it cannot be.

use syslet_sys::descriptor;
use syslet_sys::uapi::{S_IFBLK, S_IFDIR, S_IFMT, S_IFREG, S_IFSOCK, Stat};

use crate::sync::{AtomicU8, Mutex, Ordering, lock};

/// Descriptors that are remembered; higher ones share their places.
const NUMBERS: usize = 1 << 14;

static KINDS: [AtomicU8; NUMBERS] = [const { AtomicU8::new(0) }; NUMBERS];

/// What a descriptor was when it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nobody has looked.
    Unknown = 0,
    /// A regular file, a directory or a block device: it never has to be waited for to be ready.
    Storage = 1,
    /// The same, on a file system that knows `RWF_NOWAIT` for reads only: ext4.
    StorageReads = 6,
    /// The same, on a file system that does not know it: tmpfs, overlayfs, FUSE.
    StorageWithoutTwin = 2,
    /// What can be tried by `RWF_NOWAIT`: pipes, eventfds.
    Stream = 3,
    /// A socket.
    Socket = 4,
    /// What cannot be tried: terminals and other devices.
    Device = 5,
}

impl Kind {
    /// The guess for `descriptor`.
    #[inline(always)]
    pub(crate) fn guess(descriptor: usize) -> Self {
        match KINDS[descriptor % NUMBERS].load(Ordering::Relaxed) {
            1 => Self::Storage,
            2 => Self::StorageWithoutTwin,
            3 => Self::Stream,
            4 => Self::Socket,
            5 => Self::Device,
            6 => Self::StorageReads,
            _ => Self::Unknown,
        }
    }

    /// Remembers it.
    #[cold]
    pub(crate) fn remember(self, descriptor: usize) {
        KINDS[descriptor % NUMBERS].store(self as u8, Ordering::Relaxed);
    }

    /// What `stat` says. Whether a twin works is found out by trying.
    pub(crate) fn of(stat: &Stat) -> Self {
        match stat.mode & S_IFMT {
            S_IFREG | S_IFDIR | S_IFBLK => Self::Storage,
            S_IFSOCK => Self::Socket,
            _ => Self::Stream,
        }
    }

    /// True for what never has to be waited for to be ready.
    pub(crate) fn is_storage(self) -> bool {
        matches!(self, Self::Storage | Self::StorageReads | Self::StorageWithoutTwin)
    }
}

/// What `RWF_NOWAIT` is worth on each file system (by device) where it was found lacking.
static FILE_SYSTEMS: Mutex<Vec<(u64, Kind)>> = Mutex::new(Vec::new());
/// File systems that are remembered; of more, some are asked again.
const MOST_FILE_SYSTEMS: usize = 64;

fn of_file_system(device: u64) -> Kind {
    let known = lock(&FILE_SYSTEMS).iter().find(|(other, _)| *other == device).map(|(_, k)| *k);
    known.unwrap_or(Kind::Storage)
}

/// A transfer on storage could not be tried: it is the same for all files of that file system.
#[cold]
pub(crate) fn has_no_twin(descriptor: usize, writes: bool) {
    let Ok(stat) = descriptor::stat(descriptor as i32) else { return };
    let kind = match (Kind::of(&stat), writes) {
        (Kind::Storage, true) if of_file_system(stat.dev) == Kind::Storage => Kind::StorageReads,
        (Kind::Storage, _) => Kind::StorageWithoutTwin,
        (kind, _) => return kind.remember(descriptor),
    };
    kind.remember(descriptor);
    let mut known = lock(&FILE_SYSTEMS);
    known.retain(|(other, _)| *other != stat.dev);
    if known.len() >= MOST_FILE_SYSTEMS {
        known.remove(0);
    }
    known.push((stat.dev, kind));
}

/// Asks the kernel, and remembers what it says. A guess that is more exact (no twin) is kept.
///
/// # Errors
///
/// `-errno` of fstat(2).
#[cold]
pub(crate) fn look(descriptor: usize) -> Result<(Kind, Stat), isize> {
    let stat = descriptor::stat(descriptor as i32)?;
    let kind = match (Kind::of(&stat), Kind::guess(descriptor)) {
        (Kind::Storage, _) => of_file_system(stat.dev),
        (Kind::Stream, Kind::Device) => Kind::Device,
        (kind, _) => kind,
    };
    kind.remember(descriptor);
    Ok((kind, stat))
}
