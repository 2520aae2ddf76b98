//! Linus Torvalds' `async_submit` (LWN 220897).

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_long, c_ulong};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use syslet::{CancelOutcome, Ret};

use super::call_of;
use crate::abi::historic::ASYNC_SUBMIT_VALUE as VALUE;
use crate::bell::{self, Waited};
use crate::known;
use crate::late::Outstanding;
use crate::life::PerLife;
use crate::lost;

static ALL: PerLife<Outstanding> = PerLife::new();

/// Stores an answer: the value first, if it is wanted.
///
/// # Safety
///
/// `result` is the program's place for it.
unsafe fn store(result: usize, wants_value: bool, ret: Ret) {
    if wants_value {
        // SAFETY: the duty of this function.
        unsafe { known::number64(result + 8) }.store(ret.raw() as i64, Ordering::Relaxed);
    }
    let state = if ret.errno().is_some() { ret.raw() as i64 } else { 0 };
    // Release: who sees the state sees the value, and what the call has written.
    // SAFETY: the duty of this function.
    unsafe { known::number64(result) }.store(state, Ordering::Release);
}

/// `async_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn async_submit(
    flags: c_ulong,
    result: *mut c_long,
    nr: c_long,
    args: *const c_ulong,
) -> c_long {
    // SAFETY: the duty of this function.
    let started = unsafe { start(flags, result.addr(), nr as usize, args.addr()) };
    started.unwrap_or_else(c_long::from)
}

/// # Safety
///
/// The header's duties.
unsafe fn start(flags: c_ulong, result: usize, nr: usize, args: usize) -> Result<c_long, i32> {
    if flags & !VALUE != 0 {
        return Err(-libc::EINVAL);
    }
    let wants_value = flags & VALUE != 0;
    let size = if wants_value { 16 } else { 8 };
    known::place(result, size, 8)?;
    // SAFETY: the duty of this function.
    let call = unsafe { call_of(nr, args) }?;
    let all = ALL.get();
    let cookie = all.begin();
    // SAFETY: it was found writable.
    let word = unsafe { known::number64(result) };
    // Release: who reads the cookie finds that it is beginning.
    let before = word.swap(cookie as i64, Ordering::Release);
    let then = move |ret| match known::place(result, size, 8) {
        // SAFETY: it was looked at; the header's duty: the place stays until the call has ended.
        Ok(()) => unsafe { store(result, wants_value, ret) },
        Err(_taken_away) => lost::count(),
    };
    // SAFETY: the header's duties are those of `submit`.
    let started = unsafe { all.start(cookie, call, then, move || bell::ring(cookie as usize)) };
    let answer = match started {
        Ok(None) => Ok(cookie as c_long),
        Ok(Some(ret)) => {
            // SAFETY: it was found writable.
            unsafe { store(result, wants_value, ret) };
            Ok(0)
        }
        Err(error) => {
            word.store(before, Ordering::Relaxed);
            Err(error)
        }
    };
    all.begun(cookie, || bell::ring(cookie as usize));
    answer
}

/// `wait_for_async(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn wait_for_async(
    cookie: c_long,
    timeout: *const libc::timespec,
) -> c_long {
    // SAFETY: the duty of this function.
    let deadline = match unsafe { deadline_of(timeout) } {
        Ok(deadline) => deadline,
        Err(error) => return error.into(),
    };
    let Ok(number) = u64::try_from(cookie) else { return (-libc::EINVAL).into() };
    if number == 0 {
        return (-libc::EINVAL).into();
    }
    let all = ALL.get();
    match bell::wait(number as usize, deadline, || !all.has(number)) {
        Waited::Ready => 0,
        Waited::TimedOut => (-libc::ETIMEDOUT).into(),
        Waited::Interrupted => (-libc::EINTR).into(),
    }
}

/// When a relative time is over; `None` for none.
///
/// # Safety
///
/// The header's duties.
pub(super) unsafe fn deadline_of(timeout: *const libc::timespec) -> Result<Option<Instant>, i32> {
    if timeout.is_null() {
        return Ok(None);
    }
    // SAFETY: the duty of this function.
    let time: libc::timespec = unsafe { known::read(timeout.addr()) }?;
    let seconds = u64::try_from(time.tv_sec).map_err(|_| -libc::EINVAL)?;
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|nanos| *nanos < 1_000_000_000);
    let time = Duration::new(seconds, nanos.ok_or(-libc::EINVAL)?);
    // What no clock can show is for ever.
    Ok(Instant::now().checked_add(time))
}

/// `cancel_async(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn cancel_async(cookie: c_long) -> c_long {
    match u64::try_from(cookie).ok().and_then(|number| ALL.get().cancel(number)) {
        None | Some(CancelOutcome::TooLate) => (-libc::ENOENT).into(),
        Some(_) => 0,
    }
}
