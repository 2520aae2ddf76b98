//! Reads of storage that have to be fetched: a descriptor whose reads at a position were cold lately has
//! them tried without waiting, and what is cold goes to io_uring.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use syslet_sys::arch;
use syslet_sys::uapi::{RWF_NOWAIT, RingRequest};

use super::kinds::{Kind, has_no_twin};
use super::number::Call;
use super::progress::Progress;
use super::twin::{Answer, nr, read_transfer};

/// The position of a read at a position; none if `call` is none or its position is not sound.
fn position(call: &Call) -> Option<usize> {
    let args = call.args();
    let at = match call.nr() {
        nr::PREAD64 | nr::PREADV | nr::PREADV2 => args[3],
        _ => return None,
    };
    // -1 is the file's own position; less is an error that the call itself must find.
    let nowait = call.nr() == nr::PREADV2 && args[5] & RWF_NOWAIT != 0;
    (!nowait && (at as isize) >= 0).then_some(at)
}

/// True if io_uring can make `call`.
#[inline(always)]
pub(super) fn suits_ring(call: &Call) -> bool {
    matches!(call.nr(), nr::PREAD64 | nr::PREADV | nr::PREADV2) && position(call).is_some()
}

/// The request that makes `call`, which [`suits_ring`].
pub(crate) fn ring_read(call: &Call) -> Option<RingRequest> {
    let position = position(call)?;
    let args = call.args();
    let descriptor = args[0] as i32;
    Some(match call.nr() {
        nr::PREAD64 => RingRequest::read(descriptor, args[1], args[2], position),
        nr::PREADV => RingRequest::read_vectors(descriptor, args[1], args[2], position, 0),
        _ => RingRequest::read_vectors(descriptor, args[1], args[2], position, args[5]),
    })
}

/// True if the answer of a read at a position, by other means than the plain call, is the plain call's: it
/// is an error, or as long as it was asked to be, or ends where the file does.
///
/// # Safety
///
/// The call was just made: its memory is there.
pub(crate) unsafe fn is_at_end(call: &Call, answer: isize) -> bool {
    // SAFETY: the duty of this function.
    let asked = unsafe { Progress::bytes(call) };
    if answer <= 0 || answer as usize >= asked {
        return true;
    }
    let Some(position) = position(call) else { return true };
    let mut byte = 0u8;
    let vector = [&raw mut byte as usize, 1];
    let args = call.args();
    let at = position + answer as usize;
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
