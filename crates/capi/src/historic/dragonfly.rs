//! DragonFly BSD's `sendsys2` and `waitsys2`.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use syslet::{Call, Ret};

use crate::bell::{self, Waited};
use crate::known;
use crate::late::{Outstanding, lock};
use crate::life::PerLife;

/// `EASYNC`.
const EASYNC: c_int = 99;
/// `MSGF_ASYNC`.
const MSGF_ASYNC: c_int = 0x8;
/// `MSGF_DONE` and `MSGF_REPLY1`, which a program may have left from the last use of a message.
const IGNORED_FLAGS: c_int = 0x1 | 0x2;

/// `sizeof(struct lwkt_msg)`, and its fields by offset.
const MESSAGE_SIZE: usize = 96;
const MS_CMD: usize = 48;
const MS_FLAGS: usize = 64;
const MS_ERROR: usize = 72;
const MS_RESULT: usize = 80;
/// Most words after the message: arguments of a call.
const MOST_ARGS: usize = 6;

/// The first cookie: above every error number, so that none is taken for one.
const FIRST_COOKIE: u64 = 0x1000;
/// Where cookies begin again, after two thousand million.
const COOKIES: u64 = i32::MAX as u64 - FIRST_COOKIE;

/// What has ended and was not fetched, by cookie.
#[derive(Debug, Default)]
struct Ended {
    answers: BTreeMap<c_int, (usize, Ret)>,
    order: VecDeque<c_int>,
}

#[derive(Default)]
struct Messages {
    calls: Outstanding,
    ended: Mutex<Ended>,
}

static ALL: PerLife<Messages> = PerLife::new();
/// `kern.max_sysmsg`.
static MOST: AtomicI32 = AtomicI32::new(0);

const fn cookie_of(number: u64) -> c_int {
    (FIRST_COOKIE + number % COOKIES) as c_int
}

/// All cookies that wait have one bell.
const BELL: usize = 0;

/// `sysmsg_limit(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sysmsg_limit(most: c_int) -> c_int {
    if most < 0 { MOST.load(Ordering::Relaxed) } else { MOST.swap(most, Ordering::Relaxed) }
}

/// `sendsys2(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendsys2(
    port: *mut c_void,
    message: *mut c_void,
    size: c_int,
) -> c_int {
    if !port.is_null() {
        return libc::ENOTSUP;
    }
    // SAFETY: the duty of this function.
    unsafe { send(message.addr(), size) }.unwrap_or_else(|error| error)
}

/// Errors are positive here, as in the original.
///
/// # Safety
///
/// The header's duties.
unsafe fn send(message: usize, size: c_int) -> Result<c_int, c_int> {
    let size = usize::try_from(size).unwrap_or(0);
    if !(MESSAGE_SIZE..=MESSAGE_SIZE + 8 * MOST_ARGS).contains(&size) {
        return Err(libc::ENOSYS);
    }
    if !message.is_multiple_of(8) {
        return Err(libc::EINVAL);
    }
    known::writable(message, size).map_err(|_| libc::EFAULT)?;
    let reads = |offset: usize| {
        // SAFETY: the duty of this function.
        unsafe { known::read::<i32>(message + offset) }.map_err(|_| libc::EFAULT)
    };
    let (nr, flags) = (reads(MS_CMD)?, reads(MS_FLAGS)?);
    if flags & !(MSGF_ASYNC | IGNORED_FLAGS) != 0 {
        return Err(libc::EINVAL);
    }
    if nr == 0 && size == MESSAGE_SIZE {
        // As the original said of command 0: there, no system call.
        return Err(libc::ENOTSUP);
    }
    let mut args = [0usize; MOST_ARGS];
    for (at, arg) in args.iter_mut().enumerate().take((size - MESSAGE_SIZE) / 8) {
        // SAFETY: as above.
        *arg = unsafe { known::read(message + MESSAGE_SIZE + 8 * at) }.map_err(|_| libc::EFAULT)?;
    }
    let call = Call::new(usize::try_from(nr).map_err(|_| libc::ENOSYS)?, args);
    // SAFETY: as above.
    unsafe { start(message, call, flags & MSGF_ASYNC != 0) }
}

/// # Safety
///
/// The header's duties.
unsafe fn start(message: usize, call: Call, asynchronous: bool) -> Result<c_int, c_int> {
    if !asynchronous {
        // SAFETY: the duty of this function.
        let submitted = unsafe { syslet::submit(call) };
        let ret = submitted.map_err(|error| -crate::errno::of_submit(error))?.wait();
        // SAFETY: as above.
        return unsafe { answer(message, ret) };
    }
    let all = ALL.get();
    let most = MOST.load(Ordering::Relaxed);
    let held = all.calls.count() + lock(&all.ended).answers.len();
    if most > 0 && held >= most as usize {
        return Err(libc::E2BIG);
    }
    let number = new_number(all);
    let cookie = cookie_of(number);
    let then = move |ret| {
        let mut ended = lock(&all.ended);
        ended.answers.insert(cookie, (message, ret));
        ended.order.push_back(cookie);
    };
    // SAFETY: the duty of this function.
    match unsafe { all.calls.start(number, call, then, || bell::ring(BELL)) } {
        // SAFETY: as above.
        Ok(Some(ret)) => unsafe { answer(message, ret) },
        Ok(None) => {
            // SAFETY: as above.
            unsafe { known::write(message + MS_ERROR, EASYNC) }.map_err(|_| libc::EFAULT)?;
            Ok(cookie)
        }
        Err(error) => Err(-error),
    }
}

/// A number whose cookie nobody holds.
fn new_number(all: &Messages) -> u64 {
    loop {
        let number = all.calls.new_number();
        let earlier = number.checked_sub(COOKIES).is_some_and(|earlier| all.calls.has(earlier));
        if !earlier && !lock(&all.ended).answers.contains_key(&cookie_of(number)) {
            return number;
        }
    }
}

/// Stores an answer in its message; 0, or the error, which is stored too.
///
/// # Safety
///
/// The header's duties.
unsafe fn answer(message: usize, ret: Ret) -> Result<c_int, c_int> {
    let error = ret.errno().unwrap_or(0);
    let value = if error == 0 { ret.raw() as i64 } else { -1 };
    // SAFETY: the duty of this function.
    unsafe { known::write(message + MS_RESULT, value) }.map_err(|_| libc::EFAULT)?;
    // SAFETY: as above.
    unsafe { known::write(message + MS_ERROR, error) }.map_err(|_| libc::EFAULT)?;
    Ok(error)
}

/// `waitsys2(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn waitsys2(
    port: *mut c_void,
    cookie: *mut c_void,
    how: c_int,
) -> c_int {
    if !port.is_null() {
        return libc::ENOTSUP;
    }
    let all = ALL.get();
    let found = match (cookie.addr(), how) {
        (0, 0) => wait_for_any(all),
        (0, -1) => take_any(all).map_or(Ok(0), Ok),
        (0, _) => Err(libc::ENOSYS),
        (cookie, _) => look(all, cookie),
    };
    found.unwrap_or_else(|error| error)
}

/// Blocks until a call has ended; 0 if none is outstanding.
fn wait_for_any(all: &Messages) -> Result<c_int, c_int> {
    loop {
        if let Some(cookie) = take_any(all) {
            return Ok(cookie);
        }
        let ready = || all.calls.count() == 0 || !lock(&all.ended).order.is_empty();
        match bell::wait(BELL, None, ready) {
            Waited::Ready if all.calls.count() == 0 && lock(&all.ended).order.is_empty() => {
                return Ok(0);
            }
            Waited::Ready => {}
            _ => return Err(libc::EINTR),
        }
    }
}

/// Fetches what has ended first.
fn take_any(all: &Messages) -> Option<c_int> {
    let (cookie, (message, ret)) = {
        let mut ended = lock(&all.ended);
        let cookie = ended.order.pop_front()?;
        (cookie, ended.answers.remove(&cookie)?)
    };
    // A message that is not there any more is the program's doing; the cookie is used up all the same.
    // SAFETY: the header's duty: the message stays until its cookie was fetched.
    let _ = unsafe { answer(message, ret) };
    Some(cookie)
}

/// Fetches one, if it has ended: its cookie; 0 if it has not.
fn look(all: &Messages, wanted: usize) -> Result<c_int, c_int> {
    let cookie = c_int::try_from(wanted).map_err(|_| libc::ENOENT)?;
    let is_away = || {
        let number = u64::try_from(cookie).ok()?.checked_sub(FIRST_COOKIE)?;
        // Of the laps so far, one at most has it outstanding.
        (0..4).map(|lap| number + lap * COOKIES).find(|number| all.calls.has(*number))
    };
    let away = is_away().is_some();
    let mut ended = lock(&all.ended);
    let Some((message, ret)) = ended.answers.remove(&cookie) else {
        return if away { Ok(0) } else { Err(libc::ENOENT) };
    };
    ended.order.retain(|listed| *listed != cookie);
    drop(ended);
    // SAFETY: as in `take_any`.
    let _ = unsafe { answer(message, ret) };
    Ok(cookie)
}

/// `abortsys2(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn abortsys2(cookie: c_int) -> c_int {
    let number = u64::try_from(cookie).ok().and_then(|cookie| cookie.checked_sub(FIRST_COOKIE));
    let all = ALL.get();
    let told =
        number.and_then(|number| (0..4).find_map(|lap| all.calls.cancel(number + lap * COOKIES)));
    if told.is_some() { 0 } else { libc::ENOENT }
}
