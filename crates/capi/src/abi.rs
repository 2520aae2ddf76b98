//! The structures of the headers, as the library reads and writes them.

pub mod historic;

use std::ffi::{c_char, c_int, c_long, c_void};

/// `syslet_function`.
pub type Function = unsafe extern "C" fn(*mut c_void) -> c_long;

/// `struct syslet_attach_options`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AttachOptions {
    /// `SYSLET_ATTACH_...`.
    pub flags: u32,
    /// For `SYSLET_ATTACH_PINNED`.
    pub cpu: u32,
    /// 0: the default.
    pub max_crew: u64,
    /// 0: the default.
    pub stack_size: u64,
}

/// `struct syslet_call`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SysCall {
    /// Number.
    pub nr: usize,
    /// Arguments.
    pub args: [usize; 6],
}

/// `struct syslet_queue_completion`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct QueueCompletion {
    /// As the operation was sent.
    pub user_data: u64,
    /// Its answer.
    pub res: i64,
}

/// `struct syslet_queue`: what C reads of a queue.
#[repr(C)]
#[derive(Debug)]
pub struct QueueHead {
    /// The ring, `struct syslet_queue_ring`; its layout is asserted where it is defined.
    pub ring: *const (),
    /// Counts forks.
    pub life: *const u32,
    /// `*life` when the queue was made.
    pub born: u32,
    /// 0.
    pub reserved0: u32,
}

/// `struct syslet_queue_stats`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct QueueStats {
    /// Completions so far.
    pub pushed: u64,
    /// Of them, those that waited for room.
    pub overflowed: u64,
    /// Away now.
    pub outstanding: u64,
}

/// `struct syslet_arg`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ChainArg {
    /// `SYSLET_ARG_...`.
    pub kind: u32,
    /// Not looked at.
    pub reserved0: u32,
    /// Value, step or address.
    pub value: usize,
}

/// `struct syslet_stats`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the header has them")]
pub struct Stats {
    pub inlined: u64,
    pub handed_off: u64,
    pub in_place: u64,
    pub queued: u64,
    pub false_handoffs: u64,
    pub rescued: u64,
    pub attached: u64,
    pub crew: u64,
    pub crew_limit: u64,
    pub outstanding: u64,
    pub parked: u64,
    pub spawn_failures: u64,
    pub lost: u64,
}

/// `struct syslet_probe`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ProbeResult {
    /// 1 if threads can be attached.
    pub attachable: u32,
    /// 1 if `membarrier` works.
    pub membarrier: u32,
    /// 1 if cold reads go to io_uring.
    pub ring_reads: u32,
    /// CPUs of the calling thread.
    pub cpus: u32,
    /// Why threads cannot be attached, ended by 0.
    pub why: [c_char; 112],
}

/// `SYSLET_DONE`.
pub const DONE: c_int = 0;
/// `SYSLET_PENDING`.
pub const PENDING: c_int = 1;
/// `SYSLET_ATTACHED`.
pub const ATTACHED: c_int = 0;
/// `SYSLET_POOL`.
pub const POOL: c_int = 1;
/// `SYSLET_ATTACH_PINNED`.
pub const ATTACH_PINNED: u32 = 1;
/// `SYSLET_ATTACH_REQUIRE`.
pub const ATTACH_REQUIRE: u32 = 2;
/// `SYSLET_QUEUE_ALWAYS`.
pub const QUEUE_ALWAYS: u32 = 1;
/// `SYSLET_CANCEL_TOO_LATE`.
pub const CANCEL_TOO_LATE: c_int = 0;
/// `SYSLET_CANCEL_NOT_BEGUN`.
pub const CANCEL_NOT_BEGUN: c_int = 1;
/// `SYSLET_CANCEL_ASKED`.
pub const CANCEL_ASKED: c_int = 2;
/// `SYSLET_CANCEL_RUNNING`.
pub const CANCEL_RUNNING: c_int = 3;
/// `SYSLET_ARG_VALUE`.
pub const ARG_VALUE: u32 = 0;
/// `SYSLET_ARG_RESULT`.
pub const ARG_RESULT: u32 = 1;
/// `SYSLET_ARG_AT`.
pub const ARG_AT: u32 = 2;
