//! The works as requests of io_uring: each step of all that are under way is one system call.
//!
//! # Safety
//!
//! As in `raw.rs`: clauses *memory* and *descriptor*. A ring ends with its thread, and what it is asked for with it.

#![allow(unsafe_code, reason = "entries of the submission queue")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};

use super::files::{ATTRIBUTE, Slot, Targets};
use super::raw::{attribute, checked, whole};
use crate::options::CompareWork;

const HERE: types::Fd = types::Fd(libc::AT_FDCWD);

/// A ring, and how many works are under way at once.
pub(super) struct Ring {
    ring: IoUring,
    targets: &'static Targets,
    depth: usize,
}

impl Ring {
    pub(super) fn new(targets: &'static Targets, depth: usize) -> io::Result<Self> {
        let ring = IoUring::builder().setup_single_issuer().build(depth as u32);
        // Older kernels know no such flag.
        let ring = ring.or_else(|_| IoUring::new(depth as u32))?;
        Ok(Self { ring, targets, depth })
    }

    /// Does the work once in each slot.
    pub(super) fn together(&mut self, work: CompareWork) -> io::Result<()> {
        let targets = self.targets;
        let file = targets.file.text.as_ptr();
        let fd = types::Fd(targets.fd());
        match work {
            CompareWork::Metadata | CompareWork::ColdMetadata => {
                let statx = |slot: &Slot| {
                    let file = targets.named(work).text.as_ptr();
                    opcode::Statx::new(HERE, file, slot.memory as *mut types::statx)
                        .mask(libc::STATX_BASIC_STATS)
                        .build()
                };
                self.step(|_, slot| statx(slot))?.into_iter().try_for_each(done)
            }
            CompareWork::OpenClose => {
                let open = opcode::OpenAt::new(HERE, file).flags(libc::O_RDONLY).build();
                let opened = self.opened(|_| open.clone())?;
                self.close(&opened)
            }
            CompareWork::Read4k
            | CompareWork::Read64k
            | CompareWork::Read1m
            | CompareWork::ColdRead4k
            | CompareWork::ColdRead64k => {
                let (fd, length) = (types::Fd(targets.fd_of(work)), work.bytes() as u32);
                let read = |slot: &Slot| {
                    opcode::Read::new(fd, slot.memory as *mut u8, length)
                        .offset(targets.read_at(work))
                        .build()
                };
                self.moved(work, |_, slot| read(slot))
            }
            CompareWork::ReadFile => {
                let whole = targets.whole.text.as_ptr();
                let open = opcode::OpenAt::new(HERE, whole).flags(libc::O_RDONLY).build();
                let opened = self.opened(|_| open.clone())?;
                let length = work.bytes() as u32;
                let read = |at: usize, slot: &Slot, offset: u64| {
                    let memory = slot.memory as *mut u8;
                    opcode::Read::new(types::Fd(opened[at]), memory, length).offset(offset).build()
                };
                let moved = self.moved(work, |at, slot| read(at, slot, 0));
                // That there is nothing more is known when nothing more is read.
                let end = self.step(|at, slot| read(at, slot, length.into()));
                self.close(&opened)?;
                moved.and(end?.into_iter().try_for_each(done))
            }
            CompareWork::WriteFile => {
                let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
                let open = |slot: &Slot| {
                    opcode::OpenAt::new(HERE, slot.written.text.as_ptr()).flags(flags).mode(0o600)
                };
                let opened = self.opened(|slot| open(slot).build())?;
                let length = work.bytes() as u32;
                let write = |at: usize, slot: &Slot| {
                    let memory = slot.memory as *const u8;
                    opcode::Write::new(types::Fd(opened[at]), memory, length).build()
                };
                let moved = self.moved(work, write);
                self.close(&opened)?;
                moved
            }
            CompareWork::Write4k | CompareWork::Fsync => {
                let length = work.bytes() as u32;
                let write = |slot: &Slot| {
                    opcode::Write::new(fd, slot.memory as *const u8, length)
                        .offset(targets.write_at(work))
                        .build()
                };
                self.moved(work, |_, slot| write(slot))?;
                if work == CompareWork::Fsync {
                    let synced = self.step(|_, _| opcode::Fsync::new(fd).build())?;
                    synced.into_iter().try_for_each(done)?;
                }
                Ok(())
            }
            CompareWork::Unlink => {
                let flags = libc::O_WRONLY | libc::O_CREAT;
                let create = |slot: &Slot| {
                    opcode::OpenAt::new(HERE, slot.new.text.as_ptr()).flags(flags).mode(0o600)
                };
                let made = self.opened(|slot| create(slot).build())?;
                self.close(&made)?;
                self.remove(0)
            }
            CompareWork::Mkdir => {
                let make = |slot: &Slot| {
                    opcode::MkDirAt::new(HERE, slot.new.text.as_ptr()).mode(0o700).build()
                };
                self.step(|_, slot| make(slot))?.into_iter().try_for_each(done)?;
                self.remove(libc::AT_REMOVEDIR)
            }
            CompareWork::Rename => {
                for back in [false, true] {
                    let rename = |slot: &Slot| {
                        let (from, to) = (slot.moving.text.as_ptr(), slot.other.text.as_ptr());
                        let (from, to) = if back { (to, from) } else { (from, to) };
                        opcode::RenameAt::new(HERE, from, HERE, to).build()
                    };
                    self.step(|_, slot| rename(slot))?.into_iter().try_for_each(done)?;
                }
                Ok(())
            }
            CompareWork::Getxattr => {
                let get = |slot: &Slot| {
                    let value = slot.memory as *mut libc::c_void;
                    opcode::GetXattr::new(ATTRIBUTE.as_ptr(), value, file, 64).build()
                };
                let answers = self.step(|_, slot| get(slot))?;
                answers.into_iter().try_for_each(|answer| attribute(done(answer)))
            }
            CompareWork::Getdents | CompareWork::Getaddrinfo => {
                Err(io::ErrorKind::Unsupported.into())
            }
        }
    }

    fn moved(&mut self, work: CompareWork, make: impl Fn(usize, &Slot) -> Entry) -> io::Result<()> {
        let answers = self.step(make)?;
        answers.into_iter().try_for_each(|answer| whole(checked(answer)?, work))
    }

    /// The descriptors that were opened in each slot.
    fn opened(&mut self, make: impl Fn(&Slot) -> Entry) -> io::Result<Vec<RawFd>> {
        let answers = self.step(|_, slot| make(slot))?;
        let opened: io::Result<_> =
            answers.iter().map(|&answer| checked(answer).map(|number| number as RawFd)).collect();
        if opened.is_err() {
            // What the others have opened is not left open.
            for &number in answers.iter().filter(|&&answer| answer >= 0) {
                // SAFETY: it was opened here, and nobody else knows it.
                drop(unsafe { OwnedFd::from_raw_fd(number as RawFd) });
            }
        }
        opened
    }

    fn close(&mut self, opened: &[RawFd]) -> io::Result<()> {
        let close = |at: usize| opcode::Close::new(types::Fd(opened[at])).build();
        self.step(|at, _| close(at))?.into_iter().try_for_each(done)
    }

    fn remove(&mut self, flags: i32) -> io::Result<()> {
        let remove =
            |slot: &Slot| opcode::UnlinkAt::new(HERE, slot.new.text.as_ptr()).flags(flags).build();
        self.step(|_, slot| remove(slot))?.into_iter().try_for_each(done)
    }

    /// Asks for one thing in each slot, and waits for all answers.
    fn step(&mut self, make: impl Fn(usize, &Slot) -> Entry) -> io::Result<Vec<isize>> {
        for at in 0..self.depth {
            let entry = make(at, self.targets.slot(at)).user_data(at as u64);
            // SAFETY: clauses *memory* and *descriptor*.
            unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        }
        self.ring.submit_and_wait(self.depth)?;
        let mut answers = vec![isize::MIN; self.depth];
        for completion in self.ring.completion() {
            answers[completion.user_data() as usize] = completion.result() as isize;
        }
        match answers.contains(&isize::MIN) {
            true => {
                Err(io::Error::other("the ring has fewer answers than it was asked to wait for"))
            }
            false => Ok(answers),
        }
    }
}

fn done(answer: isize) -> io::Result<()> {
    checked(answer).map(drop)
}
