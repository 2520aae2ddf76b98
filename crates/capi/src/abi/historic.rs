//! The structures and numbers of the headers below `syslet/`, by the names that they have there.

#![expect(missing_docs, reason = "the headers have them")]

use std::ffi::{c_int, c_long, c_uint, c_ulong};

/// `struct syslet_uatom` of versions 3 to 5.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Atom5 {
    pub flags: u64,
    pub nr: u64,
    pub ret_ptr: usize,
    pub next: usize,
    pub arg_ptr: [usize; 6],
    pub private: usize,
}

/// `struct syslet_uatom` of version 6.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Atom6 {
    pub flags: u32,
    pub nr: u32,
    pub ret_ptr: u64,
    pub next: u64,
    pub arg_ptr: [u64; 6],
    pub private: u64,
}

/// `struct async_head_user` of all versions, by the names of versions 3 to 5.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AtomHead {
    pub kernel_ring_idx: u64,
    pub user_ring_idx: u64,
    pub completion_ring: u64,
    pub ring_size_bytes: u64,
    pub head_stack: u64,
    pub head_eip: u64,
    pub new_thread_stack: u64,
    pub new_thread_eip: u64,
}

pub const SYSLET_ASYNC: u64 = 0x01;
pub const SYSLET_SYNC: u64 = 0x02;
pub const SYSLET_NO_COMPLETE: u64 = 0x04;
pub const SYSLET_STOP_ON_NONZERO: u64 = 0x08;
pub const SYSLET_STOP_ON_ZERO: u64 = 0x10;
pub const SYSLET_STOP_ON_NEGATIVE: u64 = 0x20;
pub const SYSLET_STOP_ON_NON_POSITIVE: u64 = 0x40;
pub const SYSLET_SKIP_TO_NEXT_ON_STOP: u64 = 0x80;
/// `umem_add` as an atom. Its number of 2007 is another call's today.
pub const SYSLET_NR_UMEM_ADD: u64 = 0x7379_0001;

/// `struct syslet_frame`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame {
    pub ip: u64,
    pub sp: u64,
}

/// `struct syslet_args`: the largest of `union indirect_params`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct IndirectArgs {
    pub completion_ring_ptr: u64,
    pub caller_data: u64,
    pub frame: Frame,
}

/// `file_flags` of `union indirect_params`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FileFlags {
    pub flags: u32,
}

/// `struct indirect_registers`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Registers {
    pub rax: usize,
    pub rdi: usize,
    pub rsi: usize,
    pub rdx: usize,
    pub r10: usize,
    pub r8: usize,
    pub r9: usize,
}

/// `struct syslet_completion`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct IndirectCompletion {
    pub status: u64,
    pub caller_data: u64,
}

/// `struct syslet_ring`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct IndirectRing {
    pub kernel_head: u32,
    pub user_tail: u32,
    pub elements: u32,
    pub wait_group: u32,
    pub comp: [IndirectCompletion; 0],
}

pub const ESYSLETPENDING: c_long = 132;

/// `struct acall_submission`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AcallSubmission {
    pub nr: u32,
    pub flags: u32,
    pub cookie: u64,
    pub completion_ring_pointer: u64,
    pub completion_pointer: u64,
    pub id_pointer: u64,
    pub args: [u64; 6],
}

/// `struct acall_completion`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AcallCompletion {
    pub return_code: u64,
    pub cookie: u64,
}

/// `struct acall_completion_ring`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct AcallRing {
    pub head: u32,
    pub nr: u32,
    pub comps: [AcallCompletion; 0],
}

/// `struct acall_id`, which is words here: at any address.
#[repr(C, packed)]
#[derive(Debug, Clone, Copy)]
pub struct AcallId {
    pub opaque: [u64; 2],
}

pub const ACALL_SUBMIT_THREAD_POOL: u32 = 1;

/// `struct lwkt_msg`; of its unions what is as large as they are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Message {
    pub ms_node: [usize; 2],
    pub opaque: usize,
    pub ms_target_port: usize,
    pub ms_reply_port: usize,
    pub ms_abort_port: usize,
    pub ms_cmd: usize,
    pub ms_abort: usize,
    pub ms_flags: c_int,
    pub ms_msgsize: c_int,
    pub ms_error: c_int,
    pub u: i64,
    pub ms_pad: [c_int; 2],
}

pub const EASYNC: c_int = 99;
pub const MSGF_DONE: c_int = 0x1;
pub const MSGF_REPLY1: c_int = 0x2;
pub const MSGF_ASYNC: c_int = 0x8;

/// `struct asys_input`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FibrilInput {
    pub syscall_nr: c_int,
    pub cookie: u64,
    pub nr_args: usize,
    pub args: usize,
}

/// `struct asys_completion`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FibrilCompletion {
    pub return_code: i64,
    pub cookie: u64,
}

pub const ASYNC_SUBMIT_VALUE: c_ulong = 1;
pub const NONSEQFD_CLOSE: c_int = 1;

pub const KEVENT_CTL_ADD: c_uint = 0;
pub const KEVENT_CTL_REMOVE: c_uint = 1;
pub const KEVENT_CTL_MODIFY: c_uint = 2;
pub const KEVENT_CTL_READY: c_uint = 3;
pub const KEVENT_FLAGS_ABSTIME: c_uint = 1;
pub const KEVENT_RET_BROKEN: u32 = 1;
pub const KEVENT_RET_DONE: u32 = 2;
pub const KEVENT_SIGNAL_NOMASK: u64 = 1 << 63;
pub const KEVENT_TIMER_ABSTIME: u32 = 0x2;
pub const KEVENT_TIMER_REALTIME: u32 = 0x4;
pub const SIGEV_KEVENT: c_int = 8;

/// What `struct sigevent` says of a timer, as the system's headers lay it out.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SigEvent {
    pub sigev_value: u64,
    pub sigev_signo: c_int,
    pub sigev_notify: c_int,
    pub sigev_kevent_fd: c_int,
}
