//! What the file holds: numbers only, all of them added to by any process at any time.

use std::sync::atomic::AtomicU64;

/// "syslet" and the version of the layout.
pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"syslet\0\x01");
/// Buckets of a histogram, four to each power of two of nanoseconds, up to 2^40 (18 minutes).
pub(super) const BUCKETS: usize = 4 * 40;
/// Error numbers that are told apart; the last place is for all others.
pub(super) const ERRORS: usize = 134;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident: $($(#[$each:meta])* $variant:ident = $name:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$each])* $variant),*
        }

        impl $type {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),*
                }
            }
        }
    };
}

names! {
    /// A library that programs use through us.
    Library:
    /// `libaio.so.1`.
    Libaio = "libaio",
    /// The functions of aio(7).
    PosixAio = "posix-aio",
}

names! {
    /// What an operation does.
    Kind:
    /// A read into one buffer.
    Read = "read",
    /// A write from one buffer.
    Write = "write",
    /// A read into several.
    Readv = "readv",
    /// A write from several.
    Writev = "writev",
    /// As fsync(2).
    Fsync = "fsync",
    /// As fdatasync(2).
    Fdsync = "fdsync",
    /// A wait for readiness.
    Poll = "poll",
}

names! {
    /// How an operation was done.
    Way:
    /// Where the program called, before the function returned.
    Inline = "inline",
    /// It waited for readiness without a thread.
    Parked = "parked",
    /// By another thread, or by io_uring.
    Away = "away",
    /// By the kernel's own asynchronous I/O: counted when it takes them. How long they took is not known, because
    /// programs may take their answers out of the kernel's memory themselves.
    Kernel = "kernel",
}

/// How often and how long.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Latency {
    pub(super) count: AtomicU64,
    /// Nanoseconds.
    pub(super) sum: AtomicU64,
    pub(super) max: AtomicU64,
    pub(super) buckets: [AtomicU64; BUCKETS],
}

/// Of one library.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Section {
    /// Processes that loaded it.
    pub(super) processes: AtomicU64,
    pub(super) operations: [[Latency; Way::ALL.len()]; Kind::ALL.len()],
    /// Answers that were errors, by number.
    pub(super) errors: [AtomicU64; ERRORS],
}

/// The file.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Page {
    pub(super) magic: u64,
    pub(super) size: u64,
    pub(super) sections: [Section; Library::ALL.len()],
}

/// The bucket of a time in nanoseconds.
pub(super) fn bucket_of(nanos: u64) -> usize {
    let log = 63 - (nanos | 4).leading_zeros() as usize;
    let quarter = (nanos >> (log - 2)) as usize & 3;
    (4 * log + quarter).min(BUCKETS - 1)
}

/// The time that a bucket ends with, in nanoseconds: all of its are below.
pub(super) fn end_of(bucket: usize) -> u64 {
    let (log, quarter) = (bucket / 4, bucket as u64 % 4);
    if log < 2 { 4 } else { (quarter + 5) << (log - 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_is_below_their_end() {
        let times =
            (0..200).chain((3..40).flat_map(|log| [(1 << log) - 1, 1 << log, 5 << (log - 2)]));
        for nanos in times {
            let bucket = bucket_of(nanos);
            assert!(nanos < end_of(bucket), "{nanos} in {bucket}");
            assert!(bucket == 0 || nanos < 4 || end_of(bucket - 1) <= nanos, "{nanos} in {bucket}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }
}
