//! Errors, as C programs are told of them: negative error numbers.

#![allow(unsafe_code, reason = "keeps `errno`")]

use std::ffi::c_int;

use syslet::{AttachError, CancelOutcome, Refusal, SubmitError};

use crate::abi;

/// Calls `f` and leaves `errno` as it is: libc's functions in `f` would change it.
pub(crate) fn kept<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: the calling thread's own, which goes with it.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { place.read() };
    let result = f();
    // SAFETY: as above.
    unsafe { place.write(before) };
    result
}

/// The error number of a refused call.
pub(crate) fn of_refusal(why: Refusal) -> c_int {
    match why {
        Refusal::Unknown(_) | Refusal::UnknownStep { .. } => -libc::ENOSYS,
        Refusal::OtherProcess => -libc::ECHILD,
        _ => -libc::EPERM,
    }
}

/// The error number of work that was not accepted.
pub(crate) fn of_submit<Op>(error: SubmitError<Op>) -> c_int {
    match error {
        SubmitError::Refused(_, why) => of_refusal(why),
        _ => -libc::EBUSY,
    }
}

/// The error number of a failed attach.
pub(crate) fn of_attach(error: &AttachError) -> c_int {
    match error {
        AttachError::Unsupported(_) => -libc::ENOTSUP,
        AttachError::OutOfRange { .. } | AttachError::SettingDiffers { .. } => -libc::EINVAL,
        AttachError::OnCrewThread | AttachError::InSignalHandler => -libc::EDEADLK,
        AttachError::ThreadEnding => -libc::ESRCH,
        AttachError::IdentityDiffers(_) => -libc::EPERM,
        _ => -libc::EAGAIN,
    }
}

/// `SYSLET_CANCEL_...`.
pub(crate) fn of_cancel(outcome: CancelOutcome) -> c_int {
    match outcome {
        CancelOutcome::NotBegun => abi::CANCEL_NOT_BEGUN,
        CancelOutcome::Asked => abi::CANCEL_ASKED,
        CancelOutcome::Running => abi::CANCEL_RUNNING,
        _ => abi::CANCEL_TOO_LATE,
    }
}
