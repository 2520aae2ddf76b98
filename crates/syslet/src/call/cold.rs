//! Reads of storage that have to be fetched: a descriptor whose reads at a position were cold lately has
//! them tried without waiting, and what is cold goes to io_uring.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use syslet_sys::arch;
use syslet_sys::uapi::{RWF_NOWAIT, RingRequest, nr};

use super::kinds::{Kind, has_no_twin};
use super::number::Call;
use super::transfer::{bytes, is_read_at};
use super::twin::{Answer, read_transfer};

/// The request that makes `call`, which [`is_read_at`] a position.
pub(crate) fn ring_read(call: &Call) -> Option<RingRequest> {
    if !is_read_at(call) {
        return None;
    }
    let args = call.args();
    let position = args[3];
    let descriptor = args[0] as i32;
    Some(match call.nr() {
        nr::PREAD64 => RingRequest::read(descriptor, args[1], args[2], position),
        nr::PREADV => RingRequest::read_vectors(descriptor, args[1], args[2], position, 0),
        _ => RingRequest::read_vectors(descriptor, args[1], args[2], position, args[5]),
    })
}

/// True if the answer of `call`, a read at a position, by other means than the plain call, is the plain
/// call's: it is an error, or as long as it was asked to be, or ends where the file does.
///
/// # Safety
///
/// The call was just made: what it has read is there.
pub(crate) unsafe fn is_at_end(call: &Call, answer: isize) -> bool {
    if answer <= 0 {
        return true;
    }
    // SAFETY: the duty of this function.
    let asked = unsafe { bytes(call) };
    if answer as usize >= asked {
        return true;
    }
    let mut byte = 0u8;
    let vector = [&raw mut byte as usize, 1];
    let args = call.args();
    let at = args[3] + answer as usize;
    let args = [args[0], vector.as_ptr() as usize, 1, at, 0, RWF_NOWAIT];
    // SAFETY: one byte of this function's; the descriptor is the call's.
    unsafe { arch::syscall(nr::PREADV2, args) == 0 }
}

/// What an attempt at a cold read means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// This answer.
    Warm(isize),
    /// It has to be fetched.
    Cold,
    /// Nothing: the file system cannot be asked.
    NoTwin,
}

/// Reads the answer of an attempt, and remembers it.
///
/// # Safety
///
/// As [`is_at_end`].
pub(super) unsafe fn found(call: &Call, answer: isize) -> Found {
    let descriptor = call.args()[0];
    match read_transfer(answer) {
        // SAFETY: the duty of this function.
        Answer::Final if unsafe { is_at_end(call, answer) } => {
            Kind::was_warm(descriptor);
            Found::Warm(answer)
        }
        Answer::Final | Answer::WouldWait => {
            Kind::was_cold(descriptor);
            Found::Cold
        }
        Answer::NoTwin => {
            has_no_twin(descriptor, false);
            Found::NoTwin
        }
    }
}
