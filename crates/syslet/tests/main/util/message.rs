//! Messages that carry a descriptor.
//!
//! # Safety
//!
//! Clause *leaked*: the kernel reads and writes memory that is leaked, and that is looked at once it is done.

#![allow(unsafe_code, reason = "system calls; see the header")]

use std::os::fd::RawFd;

use syslet::Call;

use super::calls::number_call;
use super::pipe::Pipe;

/// A message of one byte, with room for one descriptor.
pub(crate) struct Message {
    header: libc::msghdr,
    vector: libc::iovec,
    byte: u8,
    /// `struct cmsghdr`, and the descriptor in half of the last word.
    control: [u64; 3],
}

/// The beginning of the control data: CMSG_LEN of one descriptor, SOL_SOCKET and SCM_RIGHTS.
const RIGHTS: [u64; 2] = [20, (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64];

impl Message {
    /// One that has room for a descriptor.
    pub(crate) fn leak() -> &'static mut Self {
        // SAFETY: all zeros is a value.
        let message: &'static mut Self = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        message.vector = libc::iovec { iov_base: (&raw mut message.byte).cast(), iov_len: 1 };
        message.header.msg_iov = &raw mut message.vector;
        message.header.msg_iovlen = 1;
        message.header.msg_control = (&raw mut message.control).cast();
        message.header.msg_controllen = size_of_val(&message.control);
        message
    }

    /// One that carries `descriptor`.
    pub(crate) fn with(descriptor: RawFd) -> &'static mut Self {
        let message = Self::leak();
        message.control = [RIGHTS[0], RIGHTS[1], descriptor as u64];
        message
    }

    /// One without room for anything but its byte.
    pub(crate) fn plain() -> &'static mut Self {
        let message = Self::leak();
        message.header.msg_controllen = 0;
        message
    }

    /// The call that receives it.
    pub(crate) fn receiving(&mut self, socket: RawFd) -> Call {
        number_call(libc::SYS_recvmsg, [socket as usize, &raw mut self.header as usize, 0])
    }

    /// The call that sends it.
    pub(crate) fn sending(&mut self, socket: RawFd) -> Call {
        number_call(libc::SYS_sendmsg, [socket as usize, &raw mut self.header as usize, 0])
    }

    /// Sends it here and now.
    pub(crate) fn send(&mut self, socket: RawFd) -> isize {
        // SAFETY: clause *leaked*.
        unsafe { libc::sendmsg(socket, &raw const self.header, 0) }
    }

    /// Receives it here and now.
    pub(crate) fn receive(&mut self, socket: RawFd) -> isize {
        // SAFETY: clause *leaked*.
        unsafe { libc::recvmsg(socket, &raw mut self.header, 0) }
    }

    /// Fails unless it has brought the writing end of `pipe`.
    pub(crate) fn expect_end_of(&self, pipe: &Pipe) {
        // SAFETY: clause *leaked*.
        let control = unsafe { std::ptr::read_volatile(&raw const self.control) };
        assert_eq!(control[..2], RIGHTS);
        // SAFETY: a number, and one byte that is live.
        let put = unsafe { libc::write(control[2] as i32, [9u8].as_ptr().cast(), 1) };
        assert_eq!((put, pipe.get()), (1, 9), "the descriptor is the pipe's");
    }
}
