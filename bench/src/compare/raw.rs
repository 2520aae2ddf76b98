//! The works as system calls, made plainly or by the library.
//!
//! # Safety
//!
//! As in `calls.rs`: arguments are numbers, descriptors, and addresses of memory that is never freed nor accessed
//! but by calls (clause *memory*). A descriptor that is closed was opened by the same work (clause *descriptor*).

#![allow(unsafe_code, reason = "makes system calls by number, as the library's users do")]

use std::io;
use std::net::ToSocketAddrs;

use syslet::Call;

use super::files::{ATTRIBUTE, Name, Slot, Targets};
use crate::calls::{Make, Plain};
use crate::options::CompareWork;

const HERE: usize = libc::AT_FDCWD as usize;

/// A system call: its number and arguments.
type SystemCall = (libc::c_long, [usize; 6]);

/// A work that is being done, one system call after the other.
#[derive(Debug)]
struct Course<'a> {
    work: CompareWork,
    targets: &'a Targets,
    slot: &'a Slot,
    /// Calls that were made.
    step: u32,
    /// The descriptor that it has opened.
    opened: usize,
    /// Bytes read so far, where that takes several calls.
    moved: usize,
}

impl<'a> Course<'a> {
    #[inline(always)]
    fn new(work: CompareWork, targets: &'a Targets, slot: usize) -> Self {
        Self { work, targets, slot: targets.slot(slot), step: 0, opened: 0, moved: 0 }
    }

    /// The call that is next; nothing if the work is done.
    #[inline(always)]
    fn next(&mut self) -> Option<SystemCall> {
        let (work, targets, slot) = (self.work, self.targets, self.slot);
        let open = |name: Name, flags: i32| {
            (libc::SYS_openat, [HERE, name.address(), flags as usize, 0o600, 0, 0])
        };
        let unlink =
            |flags: i32| (libc::SYS_unlinkat, [HERE, slot.new.address(), flags as usize, 0, 0, 0]);
        let rename = |from: Name, to: Name| {
            (libc::SYS_renameat2, [HERE, from.address(), HERE, to.address(), 0, 0])
        };
        let step = self.step;
        self.step += 1;
        Some(match (work, step) {
            (CompareWork::Metadata | CompareWork::ColdMetadata, 0) => {
                let mask = libc::STATX_BASIC_STATS as usize;
                (libc::SYS_statx, [HERE, targets.named(work).address(), 0, mask, slot.memory, 0])
            }
            (CompareWork::OpenClose, 0) => open(targets.file, libc::O_RDONLY),
            (CompareWork::OpenClose, 1) => self.close(),
            (
                CompareWork::Read4k
                | CompareWork::Read64k
                | CompareWork::Read1m
                | CompareWork::ColdRead4k
                | CompareWork::ColdRead64k,
                0,
            ) => {
                let (fd, at) = (targets.fd_of(work) as usize, targets.read_at(work) as usize);
                (libc::SYS_pread64, [fd, slot.memory, work.bytes(), at, 0, 0])
            }
            (CompareWork::ReadFile, 0) => open(targets.whole, libc::O_RDONLY),
            (CompareWork::ReadFile, 1) => {
                (libc::SYS_read, [self.opened, slot.memory, work.bytes(), 0, 0, 0])
            }
            (CompareWork::ReadFile, 2) => self.close(),
            (CompareWork::WriteFile, 0) => {
                open(slot.written, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)
            }
            (CompareWork::WriteFile, 1) => {
                (libc::SYS_write, [self.opened, slot.memory, work.bytes(), 0, 0, 0])
            }
            (CompareWork::WriteFile, 2) => self.close(),
            (CompareWork::Write4k | CompareWork::Fsync, 0) => {
                let (fd, at) = (targets.fd() as usize, targets.write_at(work) as usize);
                (libc::SYS_pwrite64, [fd, slot.memory, work.bytes(), at, 0, 0])
            }
            (CompareWork::Fsync, 1) => (libc::SYS_fsync, [targets.fd() as usize, 0, 0, 0, 0, 0]),
            (CompareWork::Unlink, 0) => open(slot.new, libc::O_WRONLY | libc::O_CREAT),
            (CompareWork::Unlink, 1) => self.close(),
            (CompareWork::Unlink, 2) => unlink(0),
            (CompareWork::Mkdir, 0) => {
                (libc::SYS_mkdirat, [HERE, slot.new.address(), 0o700, 0, 0, 0])
            }
            (CompareWork::Mkdir, 1) => unlink(libc::AT_REMOVEDIR),
            (CompareWork::Rename, 0) => rename(slot.moving, slot.other),
            (CompareWork::Rename, 1) => rename(slot.other, slot.moving),
            (CompareWork::Getdents, 0) => open(targets.listed, libc::O_RDONLY | libc::O_DIRECTORY),
            (CompareWork::Getdents, 1) => {
                (libc::SYS_getdents64, [self.opened, slot.memory, 32 << 10, 0, 0, 0])
            }
            (CompareWork::Getdents, 2) => self.close(),
            (CompareWork::Getxattr, 0) => {
                let name = ATTRIBUTE.as_ptr().expose_provenance();
                let args = [targets.file.address(), name, slot.memory, 64, 0, 0];
                (libc::SYS_getxattr, args)
            }
            _ => return None,
        })
    }

    /// Closes what it has opened.
    #[inline(always)]
    fn close(&mut self) -> SystemCall {
        (libc::SYS_close, [std::mem::take(&mut self.opened), 0, 0, 0, 0, 0])
    }

    /// The call that was last has ended.
    #[inline(always)]
    fn answered(&mut self, answer: isize) -> io::Result<()> {
        if self.work == CompareWork::Getxattr {
            return attribute(checked(answer).map(drop));
        }
        let answer = checked(answer)?;
        match (self.work, self.step) {
            (
                CompareWork::OpenClose
                | CompareWork::ReadFile
                | CompareWork::WriteFile
                | CompareWork::Unlink
                | CompareWork::Getdents,
                1,
            ) => self.opened = answer,
            (
                CompareWork::Read4k
                | CompareWork::Read64k
                | CompareWork::Read1m
                | CompareWork::ColdRead4k
                | CompareWork::ColdRead64k
                | CompareWork::Write4k
                | CompareWork::Fsync,
                1,
            )
            | (CompareWork::WriteFile, 2) => whole(answer, self.work)?,
            // Until there is nothing more.
            (CompareWork::ReadFile | CompareWork::Getdents, 2) if answer > 0 => {
                self.step = 1;
                self.moved += answer;
            }
            (CompareWork::ReadFile, 2) => whole(self.moved, self.work)?,
            _ => {}
        }
        Ok(())
    }
}

/// Does a work once.
#[inline(always)]
pub(super) fn once(
    work: CompareWork,
    targets: &Targets,
    slot: usize,
    make: &impl Make,
) -> io::Result<()> {
    if work == CompareWork::Getaddrinfo {
        return look_up();
    }
    let mut course = Course::new(work, targets, slot);
    while let Some((nr, args)) = course.next() {
        // SAFETY: clauses *memory* and *descriptor*.
        course.answered(unsafe { make.make(nr, args) })?;
    }
    Ok(())
}

/// Does a work once in each of the first slots: what is next in each is submitted, and then waited for.
pub(super) fn submitted(work: CompareWork, targets: &Targets, depth: usize) -> io::Result<()> {
    let mut courses: Vec<_> = (0..depth).map(|slot| Course::new(work, targets, slot)).collect();
    let mut begun = Vec::with_capacity(depth);
    loop {
        for (at, course) in courses.iter_mut().enumerate() {
            if let Some((nr, args)) = course.next() {
                // SAFETY: clauses *memory* and *descriptor*.
                let submitted = unsafe { syslet::submit(Call::new(nr as usize, args)) };
                begun.push((at, submitted));
            }
        }
        if begun.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        // All that was begun is waited for, whatever became of the others.
        for (at, submitted) in begun.drain(..) {
            let refused = -(libc::ENOSYS as isize);
            let answer = submitted.map_or(refused, |submitted| submitted.wait().raw());
            result = result.and(courses[at].answered(answer));
        }
        if result.is_err() {
            // What the others have opened is not left open.
            for course in courses.iter_mut().filter(|course| course.opened > 0) {
                let (nr, args) = course.close();
                // SAFETY: clause *descriptor*.
                unsafe { Plain.make(nr, args) };
            }
            return result;
        }
    }
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
