//! `io_setup(2)`.

#![allow(
    unsafe_code,
    reason = "reads and writes the program's word, behind a look whether it is there"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use syslet_dropin::memory;

use crate::abi::error;
use crate::context::{Context, REPORT};
use crate::register::{Register, register};
use crate::ring::{self, Ring};
use crate::{kernel, writes};

/// Contexts of the kernel's that we make at most: each takes a mapping of its own, of which a process may have 65,530
/// (`vm.max_map_count`). Those after that do without.
const MOST_BACKED: u32 = 512;

/// `io_setup(2)`, with its error number as an answer.
pub(crate) fn io_setup(events: u32, place: usize) -> isize {
    begin();
    let register = register();
    if register.backed.load(Ordering::Relaxed) < MOST_BACKED {
        let answer = kernel::io_setup(events, place);
        if answer == 0 {
            return adopt(register, events, place);
        }
        // No room in the kernel, or no such call in a sandbox: it can be done without.
        let without = [libc::EAGAIN, libc::ENOMEM, libc::ENOSYS, libc::EPERM].map(error);
        if !without.contains(&answer) {
            return answer;
        }
    }
    without_kernel(register, events, place).map_or_else(|error| error, |()| 0)
}

/// What is done once, in the first call.
fn begin() {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if !BEGUN.swap(true, Ordering::Relaxed) {
        writes::are_of_this_process();
        // A request that is parked has its file when io_submit is back, as by the kernel's.
        syslet::hold_files_at_once(true);
        REPORT.open();
        // SAFETY: the function takes nothing, and is there until the library is unloaded, before which it is called.
        unsafe { libc::atexit(finish) };
        // SAFETY: the function stores to atomics.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
    }
}

/// Most time that the end of a program waits for writes that are not over: the kernel would have made them before
/// io_submit returned.
const LAST_WRITES: Duration = Duration::from_secs(60);

unsafe extern "C" fn child() {
    writes::forget();
}

extern "C" fn finish() {
    writes::wait_for_all(LAST_WRITES);
}

/// The kernel has made a context.
fn adopt(register: &Register, events: u32, place: usize) -> isize {
    // SAFETY: the program's duties: the kernel has just written there.
    let Ok(address) = (unsafe { memory::read::<usize>(place) }) else { return error(libc::EFAULT) };
    if let (Some(id), Some(pages)) = (ring::id_at(address), ring::pages_for(events)) {
        register.backed.fetch_add(1, Ordering::Relaxed);
        let context = Context::backed(address, pages, id, events);
        register.insert(address, Arc::new(context));
    }
    0
}

/// A context that is all ours, checked as the kernel does (fs/aio.c: `ioctx_alloc`).
fn without_kernel(register: &Register, events: u32, place: usize) -> Result<(), isize> {
    // SAFETY: the program's duties.
    let old = unsafe { memory::read::<usize>(place) }.map_err(|_| error(libc::EFAULT))?;
    if old != 0 || events == 0 {
        return Err(error(libc::EINVAL));
    }
    let pages = ring::pages_for(events).ok_or(error(libc::EINVAL))?;
    let limit = most_requests();
    let taken = register.own.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |own| {
        own.checked_add(events).filter(|own| *own <= limit)
    });
    taken.map_err(|_| error(libc::EAGAIN))?;
    let made = make(register, pages, events).and_then(|address| {
        // SAFETY: as above.
        unsafe { memory::write(place, address) }.map_err(|_| error(libc::EFAULT))
    });
    made.inspect_err(|_| {
        register.own.fetch_sub(events, Ordering::Relaxed);
    })
}

fn make(register: &Register, pages: usize, events: u32) -> Result<usize, isize> {
    let id = register.next.fetch_add(1, Ordering::Relaxed) | 1 << 31;
    let (ring, address) = Ring::anywhere(id, pages).ok_or(error(libc::ENOMEM))?;
    register.insert(address, Arc::new(Context::unbacked(address, ring, id, events)));
    Ok(address)
}

/// What the system allows altogether.
fn most_requests() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/fs/aio-max-nr").ok();
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(65_536)
}
