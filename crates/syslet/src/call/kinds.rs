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

/// The place of a descriptor whose next read at a position, if it is not cold, is the last one that is
/// tried; with `WARM` more it has just been cold.
const COLD: u8 = 64;
/// Reads in a row that were not cold after which reads are not tried any more. A read that turns out
/// to be cold costs some tens of microseconds untried, an attempt some tens of nanoseconds.
const WARM: u8 = 32;

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
    /// The same as [`Storage`](Self::Storage), of which reads at a position have been cold lately: they
    /// are tried without waiting first. Counts down.
    Cold = COLD,
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
            COLD.. => Self::Cold,
            _ => Self::Unknown,
        }
    }

    /// A read at a position of `descriptor` was cold.
    #[cold]
    pub(crate) fn was_cold(descriptor: usize) {
        if matches!(Self::guess(descriptor), Self::Storage | Self::Cold) {
            KINDS[descriptor % NUMBERS].store(COLD + WARM, Ordering::Relaxed);
        }
    }

    /// An attempt at a read of `descriptor` found it warm.
    pub(crate) fn was_warm(descriptor: usize) {
        let place = &KINDS[descriptor % NUMBERS];
        match place.load(Ordering::Relaxed) {
            COLD => place.store(Self::Storage as u8, Ordering::Relaxed),
            // A count that another thread changes meanwhile is as good.
            cold if cold > COLD => place.store(cold - 1, Ordering::Relaxed),
            _ => {}
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
        matches!(self, Self::Storage | Self::StorageReads | Self::StorageWithoutTwin | Self::Cold)
    }

    /// True for storage whose calls are best made as they are.
    #[inline(always)]
    pub(crate) fn is_warm_storage(self) -> bool {
        self.is_storage() && self != Self::Cold
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
