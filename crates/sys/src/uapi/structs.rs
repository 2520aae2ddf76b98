//! Structures, with their sizes asserted.

/// `struct timespec`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: i64,
}

impl Timespec {
    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { sec: (nanos / 1_000_000_000) as i64, nsec: (nanos % 1_000_000_000) as i64 }
    }

    /// In nanoseconds; a negative time is 0.
    pub const fn as_nanos(self) -> u64 {
        if self.sec < 0 {
            return 0;
        }
        (self.sec as u64).saturating_mul(1_000_000_000).saturating_add(self.nsec as u64)
    }
}

/// `struct sigaction` as the kernel has it (include/uapi: `struct kernel_sigaction`).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelSigaction {
    /// Handler, SIG_DFL (0) or SIG_IGN (1).
    pub handler: usize,
    /// SA_* flags.
    pub flags: u64,
    /// Where a handler returns to.
    pub restorer: usize,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

/// `siginfo_t`: 128 bytes, of which the ones for queued signals are named.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct Siginfo {
    /// Signal number.
    pub signo: i32,
    /// Error number; unused for signals that are sent.
    pub errno: i32,
    /// Where it comes from (SI_USER, SI_TKILL, ...).
    pub code: i32,
    _pad: i32,
    /// Sender's process.
    pub pid: i32,
    /// Sender's user.
    pub uid: u32,
    /// Value sent along.
    pub value: usize,
    _rest: [u64; 12],
}

impl Siginfo {
    /// A queued signal with a value.
    pub const fn queued(signo: i32, code: i32, pid: i32, uid: u32, value: usize) -> Self {
        Self { signo, errno: 0, code, _pad: 0, pid, uid, value, _rest: [0; 12] }
    }
}

impl core::fmt::Debug for Siginfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Siginfo")
            .field("signo", &self.signo)
            .field("code", &self.code)
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// `stack_t`: an alternate signal stack.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SignalStack {
    /// Lowest address.
    pub sp: usize,
    /// SS_* flags.
    pub flags: i32,
    /// Bytes.
    pub size: usize,
}

/// `struct sched_attr`, the first published size.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// Size of this structure.
    pub size: u32,
    /// SCHED_* policy.
    pub policy: u32,
    /// SCHED_FLAG_* flags.
    pub flags: u64,
    /// Nice value for the time-sharing policies.
    pub nice: i32,
    /// Priority for the real-time policies.
    pub priority: u32,
    /// Runtime, in nanoseconds: the time slice for time-sharing policies since Linux 6.12.
    pub runtime: u64,
    /// Deadline, in nanoseconds.
    pub deadline: u64,
    /// Period, in nanoseconds.
    pub period: u64,
}

/// `struct sock_filter`: one instruction of a seccomp program.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SockFilter {
    /// Operation.
    pub code: u16,
    /// Jump if true.
    pub jt: u8,
    /// Jump if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// `struct sock_fprog`: a seccomp program.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SockFprog {
    /// Instructions.
    pub len: u16,
    /// The first of them.
    pub filter: *const SockFilter,
}

/// `struct iocb`: a request to kernel AIO.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Iocb {
    /// Comes back in the event.
    pub data: u64,
    /// Set by the kernel.
    pub key: u32,
    /// RWF_* flags.
    pub rw_flags: u32,
    /// IOCB_CMD_*.
    pub opcode: u16,
    /// I/O priority.
    pub priority: i16,
    /// The descriptor.
    pub descriptor: u32,
    /// The buffer; for a poll, the events.
    pub buf: u64,
    /// Its length.
    pub nbytes: u64,
    /// The file offset.
    pub offset: i64,
    /// Zero.
    pub reserved: u64,
    /// IOCB_FLAG_*.
    pub flags: u32,
    /// An eventfd, if a flag says so.
    pub resfd: u32,
}

/// `struct io_event`: an answer of kernel AIO.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct IoEvent {
    /// From the request.
    pub data: u64,
    /// The request's address.
    pub obj: u64,
    /// The answer; for a poll, what is ready.
    pub res: i64,
    /// Zero.
    pub res2: i64,
}

/// `struct timeval`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeval {
    /// Seconds.
    pub sec: i64,
    /// Microseconds.
    pub usec: i64,
}

/// `struct linger`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Linger {
    /// Not 0: the last close waits until all is sent.
    pub is_on: i32,
    /// For so long; 0: what is not sent is thrown away.
    pub seconds: i32,
}

/// `struct statx`, of which some fields are named.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Statx {
    /// STATX_* of what was found.
    pub mask: u32,
    _block_size: u32,
    _attributes: u64,
    /// Links.
    pub nlink: u32,
    _owner: [u32; 2],
    /// Type and permissions.
    pub mode: u16,
    _spare: u16,
    /// Inode.
    pub ino: u64,
    _sizes_and_times: [u64; 11],
    /// The major number of what a device file stands for.
    pub rdev_major: u32,
    /// And its minor one.
    pub rdev_minor: u32,
    /// The device's major number.
    pub dev_major: u32,
    /// And its minor one.
    pub dev_minor: u32,
    /// The mount, if it was asked for.
    pub mount: u64,
    _rest: [u64; 13],
}

/// `struct io_uring_sqe`: a request, with the names of a read's fields.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RingRequest {
    /// IORING_OP_*.
    pub opcode: u8,
    /// IOSQE_*.
    pub flags: u8,
    /// I/O priority.
    pub priority: u16,
    /// The descriptor; for a futex, its flags.
    pub descriptor: i32,
    /// The file offset; for a futex, the value to wait with.
    pub offset: u64,
    /// The buffer, the vectors, the futex, or what is to be cancelled.
    pub address: u64,
    /// Its length or number.
    pub len: u32,
    /// RWF_* flags.
    pub rw_flags: u32,
    /// Comes back in the completion.
    pub data: u64,
    /// Registered buffers: none.
    pub buffer: u16,
    /// Registered credentials: none.
    pub personality: u16,
    /// Zero.
    pub splice: i32,
    /// The bits of a futex.
    pub mask: u64,
    /// Zero.
    pub pad: u64,
}

/// `struct io_uring_cqe`: a completion.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RingCompletion {
    /// The request's.
    pub data: u64,
    /// The answer: `-errno` or a number.
    pub result: i32,
    /// IORING_CQE_F_*.
    pub flags: u32,
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`: where the parts of a queue are.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RingOffsets {
    /// Where the next entry is taken.
    pub head: u32,
    /// Where the next entry is put.
    pub tail: u32,
    /// The number of entries less one.
    pub mask: u32,
    /// The number of entries.
    pub entries: u32,
    /// Requests: flags. Completions: how many were lost.
    pub flags_or_overflow: u32,
    /// Requests: how many were refused. Completions: the entries.
    pub dropped_or_completions: u32,
    /// Requests: indices, unless they stand in order. Completions: flags.
    pub array_or_flags: u32,
    /// Zero.
    pub reserved: u32,
    /// The memory, where it is the program's.
    pub user_address: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct RingParams {
    /// Room for requests.
    pub requests: u32,
    /// Room for completions.
    pub completions: u32,
    /// IORING_SETUP_*.
    pub flags: u32,
    /// Of a kernel thread that is not used.
    pub thread_cpu: u32,
    /// The same.
    pub thread_idle: u32,
    /// IORING_FEAT_*, from the kernel.
    pub features: u32,
    /// Another ring, whose workers are shared: none.
    pub workers: u32,
    /// Zero.
    pub reserved: [u32; 3],
    /// Where the parts of the requests' queue are.
    pub request_queue: RingOffsets,
    /// Where the parts of the completions' queue are.
    pub completion_queue: RingOffsets,
}

const _: () = {
    assert!(size_of::<Iocb>() == 64);
    assert!(core::mem::offset_of!(Iocb, descriptor) == 20);
    assert!(core::mem::offset_of!(Iocb, buf) == 24);
    assert!(core::mem::offset_of!(Iocb, resfd) == 60);
    assert!(size_of::<IoEvent>() == 32);
    assert!(size_of::<Timeval>() == 16);
    assert!(size_of::<Linger>() == 8);
    assert!(size_of::<Statx>() == 256);
    assert!(core::mem::offset_of!(Statx, mode) == 28);
    assert!(core::mem::offset_of!(Statx, ino) == 32);
    assert!(core::mem::offset_of!(Statx, dev_major) == 136);
    assert!(core::mem::offset_of!(Statx, mount) == 144);
    assert!(size_of::<Timespec>() == 16);
    assert!(size_of::<KernelSigaction>() == 32);
    assert!(size_of::<Siginfo>() == 128);
    assert!(core::mem::offset_of!(Siginfo, value) == 24);
    assert!(size_of::<SignalStack>() == 24);
    assert!(size_of::<SchedAttr>() == 48);
    assert!(size_of::<SockFilter>() == 8);
    assert!(size_of::<SockFprog>() == 16);
    assert!(size_of::<RingRequest>() == 64);
    assert!(size_of::<RingCompletion>() == 16);
    assert!(size_of::<RingParams>() == 120);
};
