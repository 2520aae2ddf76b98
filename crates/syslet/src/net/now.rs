//! Calls that do not wait, made in place: what every operation tries first.
//!
//! # Safety
//!
//! Clause *live*: the call ends before the function returns, and reads and writes only what the function
//! has borrowed or owns.

#![allow(unsafe_code, reason = "system calls on borrowed memory; see the header")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::address::Address;
use crate::call::Ret;

/// A call that does not wait. `EINTR` is for the loop here: no time is lost by it.
///
/// # Safety
///
/// As `syslet_sys::arch::syscall`.
unsafe fn call<const N: usize>(nr: libc::c_long, args: [usize; N]) -> Ret {
    let mut six = [0; 6];
    six[..N].copy_from_slice(&args);
    loop {
        // SAFETY: the duty of this function.
        let ret = Ret::new(unsafe { syslet_sys::arch::syscall(nr as usize, six) });
        if ret.errno() != Some(libc::EINTR) {
            return ret;
        }
    }
}

fn number(descriptor: BorrowedFd<'_>) -> usize {
    descriptor.as_raw_fd() as usize
}

/// recvfrom(2) with MSG_DONTWAIT.
pub(super) fn receive(socket: BorrowedFd<'_>, buf: &mut [u8], from: Option<&mut Address>) -> Ret {
    let (address, len) = from.map_or((0, 0), Address::pointers);
    let flags = libc::MSG_DONTWAIT as usize;
    let args = [number(socket), buf.as_mut_ptr() as usize, buf.len(), flags, address, len];
    // SAFETY: *live*.
    unsafe { call(libc::SYS_recvfrom, args) }
}

/// sendto(2) with MSG_DONTWAIT, and no SIGPIPE, as in std.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], to: Option<&mut Address>) -> Ret {
    let (address, len) = to.map_or((0, 0), |to| (to.pointers().0, to.len()));
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    let args = [number(socket), bytes.as_ptr() as usize, bytes.len(), flags, address, len];
    // SAFETY: *live*.
    unsafe { call(libc::SYS_sendto, args) }
}

/// A new stream socket.
pub(super) fn socket(family: i32, flags: i32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: numbers.
    let descriptor =
        unsafe { call(libc::SYS_socket, [family as usize, kind as usize, 0]) }.result()?;
    // SAFETY: just made, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) })
}

/// connect(2) of a socket that is in non-blocking mode.
pub(super) fn connect(socket: BorrowedFd<'_>, to: &mut Address) -> Ret {
    let args = [number(socket), to.pointers().0, to.len()];
    // SAFETY: *live*.
    unsafe { call(libc::SYS_connect, args) }
}
