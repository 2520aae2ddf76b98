//! Two bytes per call number: what the library asks before every call, without touching the table.

use crate::entry::{Entry, Makes, Runs, Twin, Waits};
use crate::kind::{Arg, Kind};
use crate::lookup::ENTRIES;

const KNOWN: u16 = 1;
const MOVABLE: u16 = 1 << 1;
const MAY_WAIT: u16 = 1 << 2;
const RELATIVE: u16 = 1 << 3;
const MAY_PARK: u16 = 1 << 4;
const WRITES: u16 = 1 << 5;
const DISK: u16 = 1 << 6;
const STORES: u16 = 1 << 7;
const ON_DESCRIPTOR: u16 = 1 << 8;
const ONCE: u16 = 1 << 9;
const ON_STORAGE: u16 = 1 << 10;

/// `write`, `pwrite64`, `writev`, `pwritev`, `pwritev2`.
const WRITERS: [u32; 5] = [1, 18, 20, 296, 328];

/// `close`: broken off, it has given its number up all the same, and that may name another file by now.
const MADE_ONCE: [u32; 1] = [3];

/// `poll`, `ppoll`, `select` and `pselect6` name their descriptors in memory, and `connect` waits for
/// readiness only in a way, so that the table cannot say more than [`Waits::Other`].
const PARKED: [u32; 5] = [7, 271, 23, 270, 42];

/// Numbers from 512 on belong to the x32 calls, which are not in the table.
const NUMBERS: usize = 512;

static CLASSES: [u16; NUMBERS] = {
    let mut classes = [0; NUMBERS];
    let mut i = 0;
    while i < ENTRIES.len() {
        classes[ENTRIES[i].nr as usize] = bits(&ENTRIES[i]);
        i += 1;
    }
    classes
};

/// The facts about a call that decide how it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(u16);

impl Class {
    /// Whether the table has a row for the number.
    #[inline(always)]
    pub const fn known(self) -> bool {
        self.0 & KNOWN != 0
    }

    /// Whether the call may be made on another kernel thread, whatever its arguments:
    /// [`Runs::Anywhere`].
    #[inline(always)]
    pub const fn movable(self) -> bool {
        self.0 & MOVABLE != 0
    }

    /// Whether the call may sleep: anything but [`Waits::Never`].
    #[inline(always)]
    pub const fn may_wait(self) -> bool {
        self.0 & MAY_WAIT != 0
    }

    /// Whether the call waits for what can be waited for without a thread: readiness, a time, a child, a
    /// transfer at a position.
    #[inline(always)]
    pub const fn may_park(self) -> bool {
        self.0 & MAY_PARK != 0
    }

    /// Whether the call [may be parked](Self::may_park), and its first argument is a descriptor: what that is tells
    /// whether it will be. Of the others it is a clock, a process, or an address.
    #[inline(always)]
    pub const fn parks_on_descriptor(self) -> bool {
        self.0 & ON_DESCRIPTOR != 0
    }

    /// Whether the call writes to the file of its first argument.
    #[inline(always)]
    pub const fn writes(self) -> bool {
        self.0 & WRITES != 0
    }

    /// Whether the call is not to be made again when the kernel has broken it off with `EINTR`: it has done what it
    /// does.
    #[inline(always)]
    pub const fn made_once(self) -> bool {
        self.0 & ONCE != 0
    }

    /// Whether the call is put to a file system whatever its arguments: it [sleeps for one](Self::waits_for_disk), or
    /// opens what a path names.
    #[inline(always)]
    pub const fn asks_storage(self) -> bool {
        self.0 & ON_STORAGE != 0
    }

    /// Whether the call sleeps for what ends by itself: [`Waits::Disk`].
    #[inline(always)]
    pub const fn waits_for_disk(self) -> bool {
        self.0 & DISK != 0
    }

    /// Whether the call stores new descriptors in memory: [`Makes::FdPair`].
    #[inline(always)]
    pub const fn stores_descriptors(self) -> bool {
        self.0 & STORES != 0
    }

    /// Whether the call has a time limit that counts, or may count, from the moment it is made, so
    /// that making it again needs the rest: `Timeout::may_be_relative`.
    #[inline(always)]
    pub const fn has_relative_timeout(self) -> bool {
        self.0 & RELATIVE != 0
    }
}

/// The class of call number `nr`. Of an unknown number nothing is true.
#[inline(always)]
pub const fn class(nr: u32) -> Class {
    if (nr as usize) < NUMBERS { Class(CLASSES[nr as usize]) } else { Class(0) }
}

const fn contains(numbers: &[u32], nr: u32) -> bool {
    let mut i = 0;
    while i < numbers.len() {
        if numbers[i] == nr {
            return true;
        }
        i += 1;
    }
    false
}

const fn has_path(args: &[Arg]) -> bool {
    let mut i = 0;
    while i < args.len() {
        if matches!(args[i].kind, Kind::Path) {
            return true;
        }
        i += 1;
    }
    false
}

const fn bits(entry: &Entry) -> u16 {
    let mut bits = KNOWN;
    if matches!(entry.runs, Runs::Anywhere) {
        bits |= MOVABLE;
    }
    if !matches!(entry.waits, Waits::Never) {
        bits |= MAY_WAIT;
    }
    let waits = matches!(entry.waits, Waits::Readiness { .. } | Waits::Timer | Waits::Child);
    let reads_storage = matches!((entry.waits, entry.twin), (Waits::Disk, Some(Twin::RwfNowait)));
    if waits || reads_storage || contains(&PARKED, entry.nr) {
        bits |= MAY_PARK;
        if matches!(entry.args, [Arg { kind: Kind::Fd, .. }, ..]) {
            bits |= ON_DESCRIPTOR;
        }
    }
    if contains(&WRITERS, entry.nr) {
        bits |= WRITES;
    }
    if contains(&MADE_ONCE, entry.nr) {
        bits |= ONCE;
    }
    if matches!(entry.waits, Waits::Disk) {
        bits |= DISK | ON_STORAGE;
    }
    if has_path(entry.args) {
        bits |= ON_STORAGE;
    }
    if matches!(entry.makes, Makes::FdPair { .. }) {
        bits |= STORES;
    }
    if entry.timeout.may_be_relative() {
        bits |= RELATIVE;
    }
    bits
}
