//! POSIX timers of a queue: `kevent_timer_create` and its like.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_int, c_void};

use syslet_kevent::{Clock, Happened, Key, Kind, Source};

use super::{answer, errno, queue};
use crate::abi::historic::{SIGEV_KEVENT, SigEvent};
use crate::known;

/// `kevent_timer_create(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_timer_create(
    clock: libc::clockid_t,
    event: *const c_void,
    timer: *mut u64,
) -> c_int {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let create = || {
        // SAFETY: the duty of this function.
        let event: SigEvent = unsafe { known::read(event.addr()) }?;
        let of_day = match clock {
            libc::CLOCK_MONOTONIC => false,
            libc::CLOCK_REALTIME => true,
            _ => return Err(-libc::EINVAL),
        };
        if event.sigev_notify != SIGEV_KEVENT {
            return Err(-libc::EINVAL);
        }
        let queue = queue(event.sigev_kevent_fd)?;
        let number = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let id = number << 1 | u64::from(of_day);
        // SAFETY: as above.
        unsafe { known::write(timer.addr(), id) }?;
        // Disarmed: a source that only the program could make ready.
        let disarmed =
            Source::user(id).named(posix(id), Happened::FIRED).user_data(event.sigev_value);
        queue.add(disarmed).map_err(|error| errno(&error))?;
        Ok(0)
    };
    answer(create())
}

fn posix(id: u64) -> Key {
    Key { kind: Kind::PosixTimer, id }
}

/// `kevent_timer_settime(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_timer_settime(
    handle: c_int,
    id: u64,
    flags: c_int,
    new: *const c_void,
) -> c_int {
    let set = || {
        let queue = queue(handle)?;
        // SAFETY: the duty of this function.
        let [period, first]: [[i64; 2]; 2] = unsafe { known::read(new.addr()) }?;
        let nanos = |[seconds, nanos]: [i64; 2]| {
            let right = seconds >= 0 && (0..1_000_000_000).contains(&nanos);
            right.then(|| {
                (seconds as u64).saturating_mul(1_000_000_000).saturating_add(nanos as u64)
            })
        };
        let (Some(period), Some(first), true) =
            (nanos(period), nanos(first), flags & !libc::TIMER_ABSTIME == 0)
        else {
            return Err(-libc::EINVAL);
        };
        let user = queue.user_data_of(posix(id)).ok_or(-libc::EINVAL)?;
        let clock = if id & 1 == 0 { Clock::Monotonic } else { Clock::Realtime };
        let source = if first == 0 {
            Source::user(id) // disarmed
        } else {
            let base = if flags & libc::TIMER_ABSTIME == 0 { clock.now() } else { 0 };
            Source::timer_that_stays(id, clock, base.saturating_add(first), period)
        };
        let source = source.named(posix(id), Happened::FIRED).user_data(user);
        queue.modify(source).map_err(|error| errno(&error))?;
        Ok(0)
    };
    answer(set())
}

/// `kevent_timer_delete(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kevent_timer_delete(handle: c_int, id: u64) -> c_int {
    let delete = || queue(handle)?.remove(posix(id)).map(|()| 0).map_err(|_| -libc::EINVAL);
    answer(delete())
}
