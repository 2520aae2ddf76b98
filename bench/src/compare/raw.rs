//! The works as system calls, made plainly or by the library.
//!
//! # Safety
//!
//! As in `calls.rs`: arguments are numbers, descriptors, and addresses of memory that is never freed nor accessed
//! but by calls (clause *memory*). A descriptor that is closed was opened by the same work (clause *descriptor*).

#![allow(unsafe_code, reason = "makes system calls by number, as the library's users do")]

use std::io;
use std::net::ToSocketAddrs;

use super::files::{ATTRIBUTE, Name, Targets};
use crate::calls::Make;
use crate::options::CompareWork;

const HERE: usize = libc::AT_FDCWD as usize;

/// Does a work once.
#[inline(always)]
pub(super) fn once(
    work: CompareWork,
    targets: &Targets,
    slot: usize,
    make: &impl Make,
) -> io::Result<()> {
    // SAFETY: clauses *memory* and *descriptor*, for every call below.
    let call = |nr: libc::c_long, args: [usize; 6]| checked(unsafe { make.make(nr, args) });
    let fd = targets.fd() as usize;
    let slot = targets.slot(slot);
    let open = |name: Name, flags: i32| {
        call(libc::SYS_openat, [HERE, name.address(), flags as usize, 0o600, 0, 0])
    };
    let close = |fd: usize| call(libc::SYS_close, [fd, 0, 0, 0, 0, 0]).map(drop);
    match work {
        CompareWork::Metadata => {
            let mask = libc::STATX_BASIC_STATS as usize;
            let args = [HERE, targets.file.address(), 0, mask, slot.memory, 0];
            call(libc::SYS_statx, args)?;
        }
        CompareWork::OpenClose => close(open(targets.file, libc::O_RDONLY)?)?,
        CompareWork::Read4k | CompareWork::Read64k | CompareWork::Read1m => {
            let read = call(libc::SYS_pread64, [fd, slot.memory, work.bytes(), 0, 0, 0])?;
            whole(read, work)?;
        }
        CompareWork::Write4k | CompareWork::Fsync => {
            let args = [fd, slot.memory, work.bytes(), targets.write_at(work) as usize, 0, 0];
            whole(call(libc::SYS_pwrite64, args)?, work)?;
            if work == CompareWork::Fsync {
                call(libc::SYS_fsync, [fd, 0, 0, 0, 0, 0])?;
            }
        }
        CompareWork::Unlink => {
            close(open(slot.new, libc::O_WRONLY | libc::O_CREAT)?)?;
            call(libc::SYS_unlinkat, [HERE, slot.new.address(), 0, 0, 0, 0])?;
        }
        CompareWork::Mkdir => {
            call(libc::SYS_mkdirat, [HERE, slot.new.address(), 0o700, 0, 0, 0])?;
            let flags = libc::AT_REMOVEDIR as usize;
            call(libc::SYS_unlinkat, [HERE, slot.new.address(), flags, 0, 0, 0])?;
        }
        CompareWork::Rename => {
            let (one, two) = (slot.moving.address(), slot.other.address());
            call(libc::SYS_renameat2, [HERE, one, HERE, two, 0, 0])?;
            call(libc::SYS_renameat2, [HERE, two, HERE, one, 0, 0])?;
        }
        CompareWork::Getdents => {
            let listed = open(targets.listed, libc::O_RDONLY | libc::O_DIRECTORY)?;
            while call(libc::SYS_getdents64, [listed, slot.memory, 32 << 10, 0, 0, 0])? > 0 {}
            close(listed)?;
        }
        CompareWork::Getxattr => {
            let name = ATTRIBUTE.as_ptr().expose_provenance();
            let args = [targets.file.address(), name, slot.memory, 64, 0, 0];
            attribute(call(libc::SYS_getxattr, args).map(drop))?;
        }
        CompareWork::Getaddrinfo => look_up()?,
    }
    Ok(())
}

/// Asks the C library for an address for which no server need be asked.
fn look_up() -> io::Result<()> {
    found(("localhost", 80).to_socket_addrs()?)
}

/// An error if there is no address.
pub(super) fn found(mut addresses: impl Iterator) -> io::Result<()> {
    addresses.next().map(drop).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// No such attribute, or none at all: it was looked for.
pub(super) fn attribute(answer: io::Result<()>) -> io::Result<()> {
    match answer {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {
            Ok(())
        }
        answer => answer,
    }
}

/// The answer of a system call.
pub(super) fn checked(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::from_raw_os_error(-answer as i32))
}

/// A read or write that moved less than all did another work.
pub(super) fn whole(moved: usize, work: CompareWork) -> io::Result<()> {
    if moved == work.bytes() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
