//! An eventfd of the program's that is told of completions, or of a surface's events.
//!
//! # Safety
//!
//! The memory that the calls are given is a local variable. The descriptor is the program's: it
//! stays open as long as it is attached, unless the program closes numbers that it does not own
//! (`closefrom(3)`). Then nothing is written to what stands at the number: before each write the file is
//! compared with the one that was attached, and no write has an effect on any of the kernel's anonymous
//! files but an eventfd.

#![allow(unsafe_code, reason = "a system call on a borrowed descriptor; see the header")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use syslet_sys::descriptor;
use syslet_sys::uapi::POLLOUT;

/// Device, inode and type of a file.
type Identity = (u64, u64, u32);

/// An eventfd of the program's, told of what has come.
pub struct EventFd {
    fd: RawFd,
    identity: Identity,
    /// Keeps it open.
    _owner: Box<dyn Send + Sync>,
}

impl std::fmt::Debug for EventFd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventFd").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl EventFd {
    /// The eventfd behind `owner`, which is dropped with this.
    ///
    /// # Errors
    ///
    /// If `owner` is not one of the kernel's anonymous files, as eventfds are.
    pub fn new(owner: impl AsFd + Send + Sync + 'static) -> io::Result<Self> {
        let owner = Box::new(owner);
        let fd = owner.as_fd().as_raw_fd();
        let identity = identity(fd).ok_or_else(io::Error::last_os_error)?;
        // Anonymous files have no type.
        if identity.2 != 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an eventfd"));
        }
        Ok(Self { fd, identity, _owner: owner })
    }

    /// Adds one to the count, if it is still there. Does not wait: a full one is readable, which is all that
    /// matters, and has no room.
    pub fn add_one(&self) {
        let is_there = identity(self.fd) == Some(self.identity);
        if is_there && descriptor::poll(self.fd, POLLOUT as u16, 0) > 0 {
            descriptor::add_to_eventfd(self.fd, 1);
        }
    }
}

fn identity(fd: RawFd) -> Option<Identity> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: see the header.
    let answer = unsafe { libc::fstat(fd, stat.as_mut_ptr()) };
    if answer != 0 {
        return None;
    }
    // SAFETY: the kernel has filled it.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_dev, stat.st_ino, stat.st_mode & libc::S_IFMT))
}
