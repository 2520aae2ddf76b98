//! What is remembered of descriptors, so that most calls need not ask.
//!
//! A number may name another file at any time, so everything here is a guess, and a wrong one must cost
//! time only: what is run as if it were a regular file and waits after all is handed off, and what is
//! tried without waiting says itself that it cannot be. Where an answer means one thing for a file and
//! another for the rest, the guess does not do: a read that is short goes on only if the kernel says, then,
//! that it is a file ([`Kind::is_storage_now`]).

use syslet_sys::descriptor;
use syslet_sys::uapi::{S_IFBLK, S_IFDIR, S_IFMT, S_IFREG, S_IFSOCK, Stat};

use crate::sync::{AtomicU8, AtomicU64, Ordering};

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
    /// What cannot be tried: terminals and other devices, and sockets with `SO_RCVLOWAT`.
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

    /// A call of `descriptor`, which is made as it is because that should be storage, needs a thread: the number may
    /// name something else by now, which should not take a thread for each call. True: so it is, and what is
    /// remembered now is right.
    #[cold]
    pub(crate) fn doubt(descriptor: usize) -> bool {
        Self::guess(descriptor).is_storage() && !Self::is_storage_now(descriptor)
    }

    /// Asks the kernel whether `descriptor` is storage. A guess that says otherwise is corrected.
    #[cold]
    pub(crate) fn is_storage_now(descriptor: usize) -> bool {
        let Ok(stat) = descriptor::stat(descriptor as i32) else { return false };
        let kind = Self::of(&stat);
        if kind.is_storage() != Self::guess(descriptor).is_storage() {
            kind.remember(descriptor);
        }
        kind.is_storage()
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

/// What `RWF_NOWAIT` is worth on each file system where it was found lacking: the device, and the kind in
/// the lowest byte. File systems that share a place are asked again. Not under a lock, which another
/// thread may hold when a child is forked.
static FILE_SYSTEMS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// The place of `device`, and what is there if it is known. (The kernel's devices have 32 bits.)
fn place_of(device: u64) -> (&'static AtomicU64, u64) {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15; // of Fibonacci hashing
    (&FILE_SYSTEMS[(device.wrapping_mul(SPREAD) >> 58) as usize], device << 8)
}

fn of_file_system(device: u64) -> Kind {
    let (place, known) = place_of(device);
    match place.load(Ordering::Relaxed) {
        word if word == known | Kind::StorageReads as u64 => Kind::StorageReads,
        word if word == known | Kind::StorageWithoutTwin as u64 => Kind::StorageWithoutTwin,
        _ => Kind::Storage,
    }
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
    let (place, known) = place_of(stat.dev);
    place.store(known | kind as u64, Ordering::Relaxed);
}

/// Asks the kernel, and remembers what it says. A guess that is more exact (no twin) is kept.
///
/// # Errors
///
/// `-errno` of statx(2).
#[cold]
pub(crate) fn look(descriptor: usize) -> Result<(Kind, Stat), isize> {
    let stat = descriptor::stat(descriptor as i32)?;
    let kind = match (Kind::of(&stat), Kind::guess(descriptor)) {
        (Kind::Storage, _) => of_file_system(stat.dev),
        (Kind::Stream, Kind::Device) => Kind::Device,
        // An attempt would take what there is, below the mark.
        (Kind::Socket, _) if descriptor::has_low_mark(descriptor as i32) => Kind::Device,
        (kind, _) => kind,
    };
    kind.remember(descriptor);
    Ok((kind, stat))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_a_file_system_lacks_is_remembered_of_all_its_files_and_of_no_other() {
        let open = |path| File::open(path).expect("it is there");
        let (disk, one, other) = (open("/proc/self/exe"), open("/proc/uptime"), open("/proc/stat"));
        let number = |file: &File| file.as_raw_fd() as usize;
        has_no_twin(number(&one), false);
        assert_eq!(Kind::guess(number(&one)), Kind::StorageWithoutTwin);
        let kind = |file: &File| look(number(file)).map(|(kind, _)| kind);
        assert_eq!(kind(&other), Ok(Kind::StorageWithoutTwin));
        assert_eq!(kind(&disk), Ok(Kind::Storage));
        // Writes only, as on ext4: reads are tried as before.
        has_no_twin(number(&disk), true);
        assert_eq!(kind(&disk), Ok(Kind::StorageReads));
        assert_eq!(kind(&other), Ok(Kind::StorageWithoutTwin));
    }
}
