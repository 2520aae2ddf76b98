//! DragonFly BSD's `sendsys2` and `waitsys2`.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use syslet::{Call, Ret};

use crate::abi::historic::{EASYNC, MSGF_ASYNC, MSGF_DONE, MSGF_REPLY1, Message};
use crate::bell::{self, Waited};
use crate::known;
use crate::late::{Outstanding, lock};
use crate::life::PerLife;
use crate::lost;

/// What a program may have left from the last use of a message.
const IGNORED_FLAGS: c_int = MSGF_DONE | MSGF_REPLY1;

/// `sizeof(struct lwkt_msg)`, and its fields by offset.
const MESSAGE_SIZE: usize = size_of::<Message>();
const MS_CMD: usize = offset_of!(Message, ms_cmd);
const MS_FLAGS: usize = offset_of!(Message, ms_flags);
const MS_ERROR: usize = offset_of!(Message, ms_error);
const MS_RESULT: usize = offset_of!(Message, u);
/// Most words after the message: arguments of a call.
const MOST_ARGS: usize = 6;

/// The first cookie: above every error number, so that none is taken for one.
const FIRST_COOKIE: u64 = 0x1000;
/// Where cookies begin again, after two thousand million.
const COOKIES: u64 = i32::MAX as u64 - FIRST_COOKIE;

/// Cookies that are out: each in one of the two maps.
#[derive(Debug, Default)]
struct Cookies {
    /// Calls that are away, with their numbers.
    away: BTreeMap<c_int, u64>,
    /// Calls that have ended and were not fetched, with their messages.
    ended: BTreeMap<c_int, (usize, Ret)>,
    /// The same, in the order in which they have ended.
    order: VecDeque<c_int>,
}

#[derive(Default)]
struct Messages {
    calls: Outstanding,
    cookies: Mutex<Cookies>,
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
        unsafe { known::fetch::<i32>(message + offset) }
    };
    let (nr, flags) = (reads(MS_CMD), reads(MS_FLAGS));
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
        *arg = unsafe { known::fetch(message + MESSAGE_SIZE + 8 * at) };
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
    let (number, cookie) = new_cookie(all)?;
    let then = move |ret| {
        let mut cookies = lock(&all.cookies);
        cookies.away.remove(&cookie);
        cookies.ended.insert(cookie, (message, ret));
        cookies.order.push_back(cookie);
    };
    // Before the call can end: that writes there too.
    // SAFETY: the duty of this function.
    let before: i32 = unsafe { known::fetch(message + MS_ERROR) };
    // SAFETY: as above.
    unsafe { known::store(message + MS_ERROR, EASYNC) };
    // SAFETY: as above.
    let started = unsafe { all.calls.start(number, call, then, || bell::ring(BELL)) };
    if !matches!(started, Ok(None)) {
        lock(&all.cookies).away.remove(&cookie);
        bell::ring(BELL); // who waits for any may have none left to wait for
    }
    match started {
        Ok(None) => Ok(cookie),
        // SAFETY: as above.
        Ok(Some(ret)) => unsafe { answer(message, ret) },
        Err(error) => {
            // SAFETY: as above.
            unsafe { known::store(message + MS_ERROR, before) };
            Err(-error)
        }
    }
}

/// A number whose cookie nobody holds, with that cookie, which is out from here on.
fn new_cookie(all: &Messages) -> Result<(u64, c_int), c_int> {
    let mut cookies = lock(&all.cookies);
    let most = MOST.load(Ordering::Relaxed);
    if most > 0 && cookies.away.len() + cookies.ended.len() >= most as usize {
        return Err(libc::E2BIG);
    }
    loop {
        let number = all.calls.new_number();
        let cookie = cookie_of(number);
        if !cookies.away.contains_key(&cookie) && !cookies.ended.contains_key(&cookie) {
            cookies.away.insert(cookie, number);
            return Ok((number, cookie));
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
    known::writable(message, MESSAGE_SIZE).map_err(|_| libc::EFAULT)?;
    // SAFETY: the duty of this function.
    unsafe { known::store(message + MS_RESULT, value) };
    // SAFETY: as above.
    unsafe { known::store(message + MS_ERROR, error) };
    Ok(error)
}

/// Stores the answer of a call whose cookie was fetched. A message that is not there any more is the
/// program's doing; the cookie is used up all the same.
///
/// # Safety
///
/// The header's duties.
unsafe fn deliver(message: usize, ret: Ret) {
    // SAFETY: the duty of this function.
    if let Err(_taken_away) = unsafe { answer(message, ret) } {
        lost::count();
    }
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
    let none_is_out = || {
        let cookies = lock(&all.cookies);
        cookies.away.is_empty() && cookies.ended.is_empty()
    };
    loop {
        if let Some(cookie) = take_any(all) {
            return Ok(cookie);
        }
        if none_is_out() {
            return Ok(0);
        }
        let ready = || !lock(&all.cookies).order.is_empty() || none_is_out();
        if bell::wait(BELL, None, ready) != Waited::Ready {
            return Err(libc::EINTR);
        }
    }
}

/// Fetches what has ended first.
fn take_any(all: &Messages) -> Option<c_int> {
    let (cookie, (message, ret)) = {
        let mut cookies = lock(&all.cookies);
        let cookie = cookies.order.pop_front()?;
        (cookie, cookies.ended.remove(&cookie)?)
    };
    bell::ring(BELL); // others may be waiting for it
    // SAFETY: the header's duty: the message stays until its cookie was fetched.
    unsafe { deliver(message, ret) };
    Some(cookie)
}

/// Fetches one, if it has ended: its cookie; 0 if it has not.
fn look(all: &Messages, wanted: usize) -> Result<c_int, c_int> {
    let cookie = c_int::try_from(wanted).map_err(|_| libc::ENOENT)?;
    let (message, ret) = {
        let mut cookies = lock(&all.cookies);
        let Some(found) = cookies.ended.remove(&cookie) else {
            return if cookies.away.contains_key(&cookie) { Ok(0) } else { Err(libc::ENOENT) };
        };
        cookies.order.retain(|listed| *listed != cookie);
        found
    };
    bell::ring(BELL);
    // SAFETY: as in `take_any`.
    unsafe { deliver(message, ret) };
    Ok(cookie)
}

/// `abortsys2(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn abortsys2(cookie: c_int) -> c_int {
    let all = ALL.get();
    // The lock is not held while the call is told: it may end on the spot.
    let number = lock(&all.cookies).away.get(&cookie).copied();
    if number.and_then(|number| all.calls.cancel(number)).is_some() { 0 } else { libc::ENOENT }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of a process that has used so many numbers.
    fn after(numbers: u64) -> Messages {
        Messages { calls: Outstanding::after(numbers), ..Messages::default() }
    }

    fn an_answer() -> Ret {
        // SAFETY: no memory.
        let submitted = unsafe { syslet::submit(Call::new(libc::SYS_getpid as usize, [])) };
        submitted.expect("it is not refused").wait()
    }

    #[test]
    fn cookies_begin_again_and_pass_over_those_that_are_out() {
        let all = after(0);
        let (number, held) = new_cookie(&all).expect("there is no limit");
        assert_eq!((number, held), (1, 0x1001));
        let all = Messages { calls: Outstanding::after(COOKIES - 2), ..all };
        let next = || new_cookie(&all).expect("there is no limit").1;
        assert_eq!(next(), i32::MAX - 1);
        assert_eq!(next(), 0x1000, "the lowest: above every error number");
        assert_eq!(next(), 0x1002, "the one that is out is passed over");
        lock(&all.cookies).away.remove(&held);
        lock(&all.cookies).ended.insert(0x1003, (0, an_answer()));
        assert_eq!(next(), 0x1004, "also what was not fetched");
    }

    #[test]
    fn a_cookie_that_was_fetched_does_not_come_again_at_once() {
        let all = after(0);
        let mut before = 0;
        for _ in 0..1000 {
            let (_, cookie) = new_cookie(&all).expect("there is no limit");
            lock(&all.cookies).away.remove(&cookie);
            assert!(cookie > before);
            before = cookie;
        }
    }
}
