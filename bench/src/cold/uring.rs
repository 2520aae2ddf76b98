//! An inline attempt that does not wait, and io_uring for what it found cold.
//!
//! The ring is an ordinary one: those that are bound to one kernel thread are not for a guest.
//!
//! # Safety
//!
//! A read goes to memory that is leaked (clause *memory*).

#![allow(unsafe_code, reason = "preadv2(2), and entries of the submission queue")]

use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use io_uring::{IoUring, opcode, types};

use super::file::{Buffers, ColdFile, check};
use super::{BLOCK, Reader};
use crate::error::Trouble;

/// When reads are handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handing {
    /// Those that have gathered, when the caller waits: one system call for many.
    Together,
    /// Each at once, as a function must that returns with the read under way.
    OneByOne,
}

impl Handing {
    pub(super) const BOTH: [Self; 2] = [Self::Together, Self::OneByOne];
}

/// A ring for reads of one file.
pub(super) struct Ring {
    ring: IoUring,
    fd: RawFd,
    buffers: Buffers,
    handing: Handing,
}

impl Ring {
    pub(super) fn new(
        file: &ColdFile,
        buffers: Buffers,
        depth: usize,
        handing: Handing,
    ) -> io::Result<Self> {
        let ring = IoUring::new(depth.next_power_of_two() as u32)?;
        Ok(Self { ring, fd: file.fd(), buffers, handing })
    }

    /// Reads what is in the cache. False: it is not, or the file system cannot say.
    fn attempt(&self, slot: usize, offset: u64) -> Result<bool, Trouble> {
        let iov = libc::iovec {
            iov_base: self.buffers.address(slot) as *mut libc::c_void,
            iov_len: BLOCK,
        };
        // SAFETY: clause *memory*; the vector is read during the call.
        let n = unsafe { libc::preadv2(self.fd, &iov, 1, offset as i64, libc::RWF_NOWAIT) };
        if n >= 0 {
            return Ok(n == BLOCK as isize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EOPNOTSUPP) => Ok(false),
            _ => Err(Trouble::Work("cold", error)),
        }
    }
}

impl Reader for Ring {
    fn hand_over(&mut self, slot: usize, offset: u64) -> Result<bool, Trouble> {
        if self.attempt(slot, offset)? {
            return Ok(true);
        }
        let buffer = self.buffers.address(slot) as *mut u8;
        let read = opcode::Read::new(types::Fd(self.fd), buffer, BLOCK as u32).offset(offset);
        let entry = read.build().user_data(slot as u64);
        // SAFETY: clause *memory*; the file outlives the ring.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the queue has an entry for each slot");
        if self.handing == Handing::OneByOne {
            self.ring.submit().map_err(Trouble::io("io_uring_enter"))?;
        }
        Ok(false)
    }

    fn collect(&mut self, ended: &mut Vec<(usize, Instant)>) -> Result<(), Trouble> {
        self.ring.submit_and_wait(1).map_err(Trouble::io("io_uring_enter"))?;
        let now = Instant::now();
        for completion in self.ring.completion() {
            check(completion.result() as isize)?;
            ended.push((completion.user_data() as usize, now));
        }
        Ok(())
    }
}
