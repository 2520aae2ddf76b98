//! Handles of what is away: `struct syslet_pending`.

#![allow(unsafe_code, reason = "functions that C programs call, and boxes that they hold")]

use std::ffi::{c_int, c_long};
use std::mem::MaybeUninit;
use std::time::Instant;

use syslet::{Pending, Threadlet};

use crate::abi;
use crate::errno;
use crate::pointer::{Pointer, deadline, held, is_handle, null};

/// What is away.
#[derive(Debug)]
pub(crate) enum Handle {
    /// A system call.
    Call(Pending),
    /// A function.
    Function(Threadlet<c_long>),
}

impl Handle {
    pub(crate) fn into_raw(self) -> *mut Self {
        Box::into_raw(Box::new(self))
    }

    fn wait(self) -> c_long {
        match self {
            Self::Call(pending) => pending.wait().raw() as c_long,
            // The only panic there is: it stayed with the parent process.
            Self::Function(threadlet) => {
                threadlet.join_catch().unwrap_or(-c_long::from(libc::ECANCELED))
            }
        }
    }

    fn wait_deadline(self, deadline: Instant) -> Result<c_long, Self> {
        match self {
            Self::Call(pending) => match pending.wait_deadline(deadline) {
                Ok(ret) => Ok(ret.raw() as c_long),
                Err(pending) => Err(Self::Call(pending)),
            },
            Self::Function(threadlet) if threadlet.is_finished() => {
                Ok(Self::Function(threadlet).wait())
            }
            Self::Function(threadlet) => threadlet.join_deadline(deadline).map_err(Self::Function),
        }
    }

    fn cancel(&self) -> c_int {
        match self {
            Self::Call(pending) => errno::of_cancel(pending.cancel()),
            Self::Function(threadlet) if threadlet.is_finished() => abi::CANCEL_TOO_LATE,
            Self::Function(_) => abi::CANCEL_RUNNING,
        }
    }
}

/// `syslet_wait(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_wait(pending: *mut Handle) -> c_long {
    if !is_handle(pending) {
        return -c_long::from(libc::EFAULT);
    }
    // SAFETY: the header's duties: it came from `Handle::into_raw` and is not used again.
    let handle = unsafe { Box::from_raw(pending) };
    handle.wait()
}

/// `syslet_wait_timeout(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_wait_timeout(
    pending: *mut *mut Handle,
    result: *mut c_long,
    timeout: i64,
) -> c_int {
    // SAFETY: the duty of this function.
    let place = unsafe { Pointer::known(pending) };
    // SAFETY: as above.
    let result = unsafe { Pointer::known(result) };
    let (Ok(place), Ok(result)) = (place, result) else { return -libc::EFAULT };
    let at = place.read();
    if !is_handle(at) {
        return -libc::EFAULT;
    }
    // The handle stays where it is: a program may have other pointers to it.
    // SAFETY: the header's duties: it came from `Handle::into_raw`; below it is put back, or its memory
    // is freed.
    let handle = unsafe { at.read() };
    let answer = match deadline(timeout) {
        Some(deadline) => handle.wait_deadline(deadline),
        None => Ok(handle.wait()),
    };
    match answer {
        Ok(answer) => {
            // SAFETY: as above: of a box, whose contents were taken out.
            drop(unsafe { Box::from_raw(at.cast::<MaybeUninit<Handle>>()) });
            result.write(answer);
            place.write(null());
            abi::DONE
        }
        Err(handle) => {
            // SAFETY: as above: nothing is there.
            unsafe { at.write(handle) };
            abi::PENDING
        }
    }
}

/// `syslet_cancel(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_cancel(pending: *const Handle) -> c_int {
    // SAFETY: the header's duties: null, or a handle.
    unsafe { held(pending) }.map_or_else(|error| error, Handle::cancel)
}

/// `syslet_pending_free(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_pending_free(pending: *mut Handle) {
    if is_handle(pending) {
        // SAFETY: the header's duties: it came from `Handle::into_raw` and is not used again.
        drop(unsafe { Box::from_raw(pending) });
    }
}
