//! The completion queue: `struct syslet_queue`.

#![allow(unsafe_code, reason = "functions that C programs call, and boxes that they hold")]

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use syslet::{CompletionQueue, OpId, Queued};

use crate::abi::{self, Function, QueueCompletion, QueueHead, QueueStats, SysCall};
use crate::errno;
use crate::life;
use crate::pointer::{Pointer, deadline, held, is_handle};
use crate::submit::{Work, launching};

/// What `struct syslet_queue` is: the part that C reads, then ours.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Queue {
    head: QueueHead,
    inner: CompletionQueue,
}

impl Queue {
    fn is_parents(&self) -> bool {
        self.head.born != life::now()
    }
}

/// `syslet_queue_new(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_new(
    place: *mut *mut Queue,
    capacity: usize,
    flags: c_uint,
) -> c_int {
    // SAFETY: the duty of this function.
    let place = match unsafe { Pointer::looked_at(place) } {
        Ok(place) => place,
        Err(error) => return error,
    };
    if flags & !abi::QUEUE_ALWAYS != 0 {
        return -libc::EINVAL;
    }
    let Ok(inner) = CompletionQueue::new(capacity) else { return -libc::EINVAL };
    let inner = inner.always_queue(flags & abi::QUEUE_ALWAYS != 0);
    let head = QueueHead {
        ring: inner.ring_address(),
        life: life::counter(),
        born: life::now(),
        reserved0: 0,
    };
    place.write(Box::into_raw(Box::new(Queue { head, inner })));
    0
}

/// `syslet_queue_free(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_free(queue: *mut Queue) {
    if is_handle(queue) {
        // SAFETY: the header's duties: it came from `syslet_queue_new` and is not used again.
        drop(unsafe { Box::from_raw(queue) });
    }
}

/// Says in C's terms how sending went.
fn tell(queued: Queued, result: Pointer<c_long>, id: Option<Pointer<u64>>) -> c_int {
    match queued {
        Queued::Done(ret) => {
            result.write(ret.raw() as c_long);
            abi::DONE
        }
        Queued::Queued(op) => {
            if let Some(id) = id {
                id.write(op.raw());
            }
            abi::PENDING
        }
    }
}

/// `syslet_queue_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_submit(
    to: *mut Queue,
    user_data: u64,
    call: *const SysCall,
    result: *mut c_long,
    id: *mut u64,
) -> c_int {
    // SAFETY: the duty of this function.
    let to = unsafe { held(to) };
    // SAFETY: as above.
    let call = unsafe { Pointer::new(call) };
    // SAFETY: as above.
    let result = unsafe { Pointer::new(result) };
    // SAFETY: as above.
    let id = unsafe { Pointer::optional(id) };
    let (Ok(to), Ok(call), Ok(result), Ok(id)) = (to, call, result, id) else {
        return -libc::EFAULT;
    };
    // SAFETY: the header's duties are those of `submit`.
    match unsafe { to.inner.submit(user_data, call.call()) } {
        Ok(queued) => tell(queued, result, id),
        Err(error) => errno::of_submit(error),
    }
}

/// `syslet_queue_threadlet(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_threadlet(
    to: *mut Queue,
    user_data: u64,
    function: Option<Function>,
    data: *mut c_void,
    result: *mut c_long,
    id: *mut u64,
) -> c_int {
    // SAFETY: the duty of this function.
    let to = unsafe { held(to) };
    // SAFETY: as above.
    let result = unsafe { Pointer::new(result) };
    // SAFETY: as above.
    let id = unsafe { Pointer::optional(id) };
    let (Ok(to), Ok(result), Ok(id), Some(work)) = (to, result, id, Work::new(function, data))
    else {
        return -libc::EFAULT;
    };
    if to.is_parents() {
        return -libc::ECHILD;
    }
    let send = || to.inner.threadlet(user_data, move || work.call() as isize);
    launching(send).map_or_else(|error| error, |queued| tell(queued, result, id))
}

/// `syslet_queue_post(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_post(
    to: *mut Queue,
    user_data: u64,
    res: i64,
) -> c_int {
    // SAFETY: the duty of this function.
    match unsafe { held(to) } {
        Ok(to) if to.is_parents() => -libc::ECHILD,
        Ok(to) => {
            to.inner.post(user_data, res as isize);
            0
        }
        Err(error) => error,
    }
}

/// `syslet_queue_wait(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_wait(
    of: *mut Queue,
    min: usize,
    timeout: i64,
) -> c_long {
    // SAFETY: the duty of this function.
    match (unsafe { held(of) }, deadline(timeout)) {
        (Ok(of), Some(deadline)) => of.inner.wait_deadline(min, deadline) as c_long,
        (Ok(of), None) => of.inner.wait(min) as c_long,
        (Err(error), _) => c_long::from(error),
    }
}

/// `syslet_queue_cancel(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_cancel(of: *mut Queue, id: u64) -> c_int {
    // SAFETY: the duty of this function.
    match unsafe { held(of) } {
        Ok(of) => errno::of_cancel(of.inner.cancel(OpId::from_raw(id))),
        Err(error) => error,
    }
}

/// `syslet_queue_cancel_all(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_cancel_all(of: *mut Queue, user_data: u64) -> c_long {
    // SAFETY: the duty of this function.
    unsafe { held(of) }.map_or_else(c_long::from, |of| of.inner.cancel_all(user_data) as c_long)
}

/// `syslet_queue_cancel_fd(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_cancel_fd(of: *mut Queue, fd: c_int) -> c_long {
    // SAFETY: the duty of this function.
    unsafe { held(of) }.map_or_else(c_long::from, |of| of.inner.cancel_descriptor(fd) as c_long)
}

/// A descriptor that stays the program's.
pub(crate) struct Programs(pub(crate) RawFd);

impl AsFd for Programs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the header's duty: it is open until it is taken off the queue.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// `syslet_queue_eventfd(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_eventfd(of: *mut Queue, fd: c_int) -> c_int {
    // SAFETY: the duty of this function.
    match unsafe { held(of) } {
        Ok(of) if of.is_parents() => -libc::ECHILD,
        Ok(of) if fd == -1 => {
            of.inner.detach_eventfd();
            0
        }
        Ok(_) if fd < 0 => -libc::EINVAL,
        Ok(of) => of.inner.attach_eventfd(Programs(fd)).map_or(-libc::EINVAL, |()| 0),
        Err(error) => error,
    }
}

/// The part of `syslet_queue_pop(3)` that is not inline.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_pop_slow(
    of: *mut Queue,
    completion: *mut QueueCompletion,
) -> c_int {
    // SAFETY: the duty of this function.
    let of = unsafe { held(of) };
    // Before anything is taken.
    // SAFETY: as above.
    let completion = unsafe { Pointer::known(completion) };
    let (Ok(of), Ok(completion)) = (of, completion) else { return -libc::EFAULT };
    match of.inner.pop() {
        Some(popped) => {
            let (user_data, res) = (popped.user_data, popped.res as i64);
            completion.write(QueueCompletion { user_data, res });
            1
        }
        None => 0,
    }
}

/// `syslet_queue_refill(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_refill(of: *mut Queue) {
    // SAFETY: the duty of this function.
    if let Ok(of) = unsafe { held(of) } {
        of.inner.refill();
    }
}

/// `syslet_queue_get_stats(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_queue_get_stats(
    of: *const Queue,
    stats: *mut QueueStats,
    size: usize,
) -> c_int {
    // SAFETY: the duty of this function.
    let of = match unsafe { held(of) } {
        Ok(of) => of.inner.stats(),
        Err(error) => return error,
    };
    let all = QueueStats {
        pushed: of.pushed,
        overflowed: of.overflowed,
        outstanding: of.outstanding as u64,
    };
    // SAFETY: the header's duty: there is room for `size` bytes.
    unsafe { crate::info::store(&all, stats, size) }
}
