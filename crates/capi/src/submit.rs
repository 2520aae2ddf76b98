//! Submitting calls and functions: `syslet_submit`, `syslet_threadlet`.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_char, c_int, c_long, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use syslet::{Call, SubmitError, Submitted};

use crate::abi::{self, Function, SysCall};
use crate::errno;
use crate::handle::Handle;
use crate::pointer::Pointer;

/// A word at any address.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Word(usize);

impl Pointer<SysCall> {
    /// The call there, read word by word: programs have just written it so, and reading two words at once
    /// would wait until they have reached the cache.
    #[inline(always)]
    pub(crate) fn call(self) -> Call {
        let word = |at: usize| self.part::<Word>(size_of::<Word>() * at).read_volatile().0;
        Call::new(word(0), std::array::from_fn::<_, 6, _>(|at| word(1 + at)))
    }
}

/// A function of the program's with what it is to be called with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    function: Function,
    data: *mut c_void,
}

// SAFETY: the header's duties: it may run on any thread.
unsafe impl Send for Work {}

impl Work {
    /// `None` without a function. Duty of who calls, by the header: it may run on any thread, and
    /// returns.
    pub(crate) fn new(function: Option<Function>, data: *mut c_void) -> Option<Self> {
        Some(Self { function: function?, data })
    }

    pub(crate) fn call(self) -> c_long {
        // SAFETY: the header's duties.
        unsafe { (self.function)(self.data) }
    }
}

/// Calls `go`, which launches a function.
///
/// # Errors
///
/// `-EAGAIN` if there is no thread for it.
#[inline]
pub(crate) fn launching<R>(go: impl FnOnce() -> R) -> Result<R, c_int> {
    // Else it would panic, and the panic be printed.
    if syslet::ensure_crew().is_err() {
        return Err(-libc::EAGAIN);
    }
    catch_unwind(AssertUnwindSafe(go)).map_err(|_no_thread| -libc::EAGAIN)
}

/// `syslet_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_submit(
    call: *const SysCall,
    result: *mut c_long,
    pending: *mut *mut Handle,
) -> c_int {
    // SAFETY: the header's duties are those of `submit`.
    let submit = |call| unsafe { syslet::submit(call) };
    // SAFETY: the duty of this function.
    unsafe { submit_with(call, result, pending, submit) }
}

/// `syslet_try_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_try_submit(
    call: *const SysCall,
    result: *mut c_long,
    pending: *mut *mut Handle,
) -> c_int {
    // SAFETY: the header's duties are those of `submit`.
    let submit = |call| unsafe { syslet::try_submit(call) };
    // SAFETY: the duty of this function.
    unsafe { submit_with(call, result, pending, submit) }
}

/// # Safety
///
/// The header's duties for all three, of the calls of `syslet` too.
#[inline(always)]
unsafe fn submit_with(
    call: *const SysCall,
    result: *mut c_long,
    pending: *mut *mut Handle,
    submit: impl FnOnce(Call) -> Result<Submitted, SubmitError<Call>>,
) -> c_int {
    // SAFETY: the duty of this function.
    let call = unsafe { Pointer::new(call) };
    // SAFETY: as above.
    let result = unsafe { Pointer::new(result) };
    // SAFETY: as above.
    let pending = unsafe { Pointer::new(pending) };
    let (Ok(call), Ok(result), Ok(pending)) = (call, result, pending) else {
        return -libc::EFAULT;
    };
    match submit(call.call()) {
        Ok(Submitted::Done(ret)) => {
            result.write(ret.raw() as c_long);
            abi::DONE
        }
        Ok(Submitted::Pending(handle)) => {
            pending.write(Handle::Call(handle).into_raw());
            abi::PENDING
        }
        Err(error) => errno::of_submit(error),
    }
}

/// `syslet_refusal(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_refusal(nr: usize) -> *const c_char {
    let entry = u32::try_from(nr).ok().and_then(syslet_catalog::lookup);
    let Some(entry) = entry else { return c"no such system call".as_ptr() };
    entry.runs.reason().map_or(ptr::null(), |_| reason_text(entry.nr as usize))
}

/// The reason as C has it: made once, and kept.
fn reason_text(nr: usize) -> *const c_char {
    use std::collections::HashMap;
    use std::ffi::CString;
    use std::sync::{Mutex, PoisonError};
    static TEXTS: Mutex<Option<HashMap<usize, CString>>> = Mutex::new(None);
    let reason = || {
        let entry = u32::try_from(nr).ok().and_then(syslet_catalog::lookup);
        CString::new(entry.and_then(|entry| entry.runs.reason()).unwrap_or("")).unwrap_or_default()
    };
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let texts = texts.get_or_insert_with(HashMap::new);
    // A CString's text stays where it is when the map grows, and is never removed.
    texts.entry(nr).or_insert_with(reason).as_ptr()
}

/// `syslet_threadlet(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_threadlet(
    function: Option<Function>,
    data: *mut c_void,
    result: *mut c_long,
    pending: *mut *mut Handle,
) -> c_int {
    // SAFETY: the duty of this function.
    let result = unsafe { Pointer::new(result) };
    // SAFETY: as above.
    let pending = unsafe { Pointer::new(pending) };
    let (Ok(result), Ok(pending), Some(work)) = (result, pending, Work::new(function, data)) else {
        return -libc::EFAULT;
    };
    match launching(|| syslet::threadlet(move || work.call())) {
        Err(error) => error,
        Ok(threadlet) => match threadlet.try_join() {
            Ok(value) => {
                result.write(value);
                abi::DONE
            }
            Err(threadlet) => {
                pending.write(Handle::Function(threadlet).into_raw());
                abi::PENDING
            }
        },
    }
}
