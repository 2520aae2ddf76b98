//! Threadlets of 2007.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_long, c_void};

use super::atoms::fail;
use crate::abi::Function;
use crate::submit::{Work, launching};

/// What `threadlet_complete` answers: it has finished.
const FINISHED: c_long = 1;

/// `threadlet_exec(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn threadlet_exec(
    function: Option<Function>,
    stack: *mut c_void,
    _head: *mut c_void,
) -> c_long {
    let Some(work) = Work::new(function, stack) else { return fail(-libc::EFAULT) };
    let run = move || {
        work.call();
    };
    let go = || syslet::threadlet_or(run, |()| ());
    match launching(go) {
        Ok(Some(())) => FINISHED,
        Ok(None) => 0,
        Err(error) => fail(error),
    }
}

/// `threadlet_complete(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn threadlet_complete() -> c_long {
    FINISHED
}
