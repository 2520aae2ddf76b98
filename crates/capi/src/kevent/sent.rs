//! Calls and functions whose answers come to a queue: `kevent_submit`, `kevent_threadlet`.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_int, c_void};

use super::{answer, errno, queue};
use crate::abi::{self, Function};
use crate::known;
use crate::submit::{Work, launching};

/// `kevent_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_submit(
    handle: c_int,
    call: *const abi::SysCall,
    id: u64,
    user: *mut c_void,
) -> c_int {
    let submit = || {
        let queue = queue(handle)?;
        // SAFETY: the duty of this function.
        let call: abi::SysCall = unsafe { known::read(call.addr()) }?;
        let call = syslet::Call::new(call.nr, call.args);
        // SAFETY: as above: the header's duties are those of `submit`.
        match unsafe { queue.submit(id, user.addr() as u64, call) } {
            Ok(()) => Ok(0),
            Err(error) => Err(error.raw_os_error().map_or(-libc::EPERM, |error| -error)),
        }
    };
    answer(submit())
}

/// `kevent_threadlet(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_threadlet(
    handle: c_int,
    function: Option<Function>,
    data: *mut c_void,
    id: u64,
    user: *mut c_void,
) -> c_int {
    let send = || {
        let queue = queue(handle)?;
        let work = Work::new(function, data).ok_or(-libc::EFAULT)?;
        let user = user.addr() as u64;
        launching(|| queue.threadlet(id, user, move || work.call() as isize))?
            .map_err(|error| errno(&error))?;
        Ok(0)
    };
    answer(send())
}
