//! Fibrils' calls.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::cell::RefCell;
use std::ffi::{c_int, c_ulong, c_void};

use syslet::{Call, CompletionQueue};

use crate::abi::historic::{FibrilCompletion, FibrilInput};
use crate::errno;
use crate::known;
use crate::life;

/// Room of a thread's ring; more completions wait for room.
const CAPACITY: usize = 64;

/// A thread's calls.
struct Fibrils {
    queue: CompletionQueue,
    /// Submitted, and not awaited.
    count: u64,
    life: u32,
}

thread_local! {
    static MINE: RefCell<Option<Fibrils>> = const { RefCell::new(None) };
}

/// Calls `f` with the thread's calls.
fn mine<R>(f: impl FnOnce(&mut Fibrils) -> R) -> Result<R, c_int> {
    let with = |mine: &RefCell<Option<Fibrils>>| {
        let mut mine = mine.try_borrow_mut().map_err(|_in_handler| -libc::EDEADLK)?;
        // A parent's are lost.
        if mine.as_ref().is_none_or(|mine| mine.life != life::now()) {
            let queue = CompletionQueue::new(CAPACITY).map_err(|_| -libc::ENOMEM)?;
            let queue = queue.always_queue(true);
            *mine = Some(Fibrils { queue, count: 0, life: life::now() });
        }
        mine.as_mut().map(f).ok_or(-libc::ENOMEM)
    };
    MINE.try_with(with).unwrap_or(Err(-libc::ESRCH))
}

/// `asys_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn asys_submit(requests: *const c_void, nr: c_ulong) -> c_int {
    for number in 0..nr as usize {
        let at = requests.addr().wrapping_add(number * size_of::<FibrilInput>());
        // SAFETY: the duty of this function.
        if let Err(error) = unsafe { submit_one(at) } {
            return if number == 0 { error } else { number as c_int };
        }
    }
    nr as c_int
}

/// # Safety
///
/// The header's duties.
unsafe fn submit_one(at: usize) -> Result<(), c_int> {
    // SAFETY: the duty of this function.
    let FibrilInput { syscall_nr, cookie, nr_args: count, args } = unsafe { known::read(at) }?;
    let nr = usize::try_from(syscall_nr).map_err(|_| -libc::ENOSYS)?;
    let mut words = [0usize; 6];
    if count > 0 && count <= words.len() {
        known::readable(args, 8 * count)?;
    }
    for (number, word) in words.get_mut(..count).ok_or(-libc::EINVAL)?.iter_mut().enumerate() {
        // SAFETY: as above.
        *word = unsafe { known::fetch(args + 8 * number) };
    }
    mine(|mine| {
        // SAFETY: the header's duties are those of `submit`.
        match unsafe { mine.queue.submit(cookie, Call::new(nr, words)) } {
            Ok(_queued_always) => {
                mine.count += 1;
                Ok(())
            }
            Err(error) => Err(errno::of_submit(error)),
        }
    })?
}

/// `asys_await_completion(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn asys_await_completion(completion: *mut c_void) -> c_int {
    let place = completion.addr();
    if let Err(error) = known::writable(place, size_of::<FibrilCompletion>()) {
        return error;
    }
    let awaited = mine(|mine| {
        if mine.count == 0 {
            return Err(-libc::ENOENT);
        }
        loop {
            if let Some(completion) = mine.queue.pop() {
                mine.count -= 1;
                let (return_code, cookie) = (completion.res as i64, completion.user_data);
                return Ok(FibrilCompletion { return_code, cookie });
            }
            mine.queue.wait(1);
        }
    });
    match awaited {
        Ok(Ok(completion)) => {
            // SAFETY: the duty of this function.
            unsafe { known::store(place, completion) };
            0
        }
        Ok(Err(error)) | Err(error) => error,
    }
}
