//! What requests look like, beside the structures of `syslet_sys`.

use syslet_dropin::report::Kind;
use syslet_sys::uapi::Iocb;

/// `IOCB_CMD_*` of linux/aio_abi.h.
pub(crate) const PREAD: u16 = 0;
pub(crate) const PWRITE: u16 = 1;
pub(crate) const FSYNC: u16 = 2;
pub(crate) const FDSYNC: u16 = 3;
pub(crate) const POLL: u16 = 5;
pub(crate) const PREADV: u16 = 7;
pub(crate) const PWRITEV: u16 = 8;

/// `IOCB_FLAG_RESFD`: an eventfd is told.
pub(crate) const FLAG_RESFD: u32 = 1;
/// `IOCB_FLAG_IOPRIO`: the priority counts.
pub(crate) const FLAG_IOPRIO: u32 = 2;

/// Flags of preadv2(2) that are known: HIPRI, DSYNC, SYNC, NOWAIT, APPEND.
pub(crate) const RWF_KNOWN: u32 = 0x1f;
pub(crate) const RWF_NOWAIT: u32 = 8;

/// `struct iovec`.
pub(crate) type Vector = [usize; 2];
/// Most of them (UIO_MAXIOV).
pub(crate) const MOST_VECTORS: usize = 1024;

/// `-errno`, as the interface has it.
pub(crate) const fn error(errno: i32) -> isize {
    -(errno as isize)
}

/// What an opcode is called in reports.
pub(crate) fn kind_of(opcode: u16) -> Kind {
    match opcode {
        PWRITE => Kind::Write,
        PREADV => Kind::Readv,
        PWRITEV => Kind::Writev,
        FSYNC => Kind::Fsync,
        FDSYNC => Kind::Fdsync,
        POLL => Kind::Poll,
        _ => Kind::Read,
    }
}

/// True for a transfer that reads.
pub(crate) fn reads(iocb: &Iocb) -> bool {
    matches!(iocb.opcode, PREAD | PREADV)
}

/// The eventfd that is to be told.
pub(crate) fn eventfd(iocb: &Iocb) -> Option<i32> {
    (iocb.flags & FLAG_RESFD != 0).then_some(iocb.resfd as i32)
}
