//! The functions, under their names: each checks, converts, calls one function and converts the answer.
//!
//! The names that end in 64 are the same functions: on x86-64 the blocks are the same.

#![allow(unsafe_code, reason = "functions that programs call; see lib.rs")]

use std::ffi::{c_int, c_void};

use libc::timespec;
use syslet_dropin::attach;

use crate::begin::{self, Refused};
use crate::block::{Aiocb, Block, Event};
use crate::sync::Sync;
use crate::{cancel, list, wait};

/// -1 with this error number.
fn fail(errno: c_int) -> c_int {
    // SAFETY: touches nothing.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the thread's own.
    unsafe { *place = errno };
    -1
}

fn answer(result: Result<(), Refused>) -> c_int {
    result.map_or_else(|Refused(errno)| fail(errno), |()| 0)
}

/// Both names of a function.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident $name64:ident ($($arg:ident: $type:ty),*) -> $out:ty $body:block) => {
        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// Clause *block*, and for pointers in general what the manual page asks.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name($($arg: $type),*) -> $out $body

        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// As without the 64.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name64($($arg: $type),*) -> $out {
            // SAFETY: the same duties.
            unsafe { $name($($arg),*) }
        }
    };
}

named! {
    /// aio_read(3).
    aio_read aio_read64 (block: *mut Aiocb) -> c_int {
        attach::attach_if_wanted();
        // SAFETY: the caller's duty.
        let block = unsafe { Block::new(block) };
        answer(begin::read(block, None))
    }
}

named! {
    /// aio_write(3).
    aio_write aio_write64 (block: *mut Aiocb) -> c_int {
        attach::attach_if_wanted();
        // SAFETY: the caller's duty.
        let block = unsafe { Block::new(block) };
        answer(begin::write(block, None))
    }
}

named! {
    /// aio_fsync(3).
    aio_fsync aio_fsync64 (operation: c_int, block: *mut Aiocb) -> c_int {
        attach::attach_if_wanted();
        let sync = match operation {
            libc::O_SYNC => Sync::All,
            libc::O_DSYNC => Sync::Data,
            _ => return fail(libc::EINVAL),
        };
        // SAFETY: the caller's duty.
        let block = unsafe { Block::new(block) };
        answer(begin::sync(block, sync))
    }
}

named! {
    /// aio_error(3): a load. Safe in a signal handler.
    aio_error aio_error64 (block: *const Aiocb) -> c_int {
        // SAFETY: the caller's duty.
        let block = unsafe { Block::new(block) };
        block.error()
    }
}

named! {
    /// aio_return(3): a load. Safe in a signal handler. Asked twice it says the same twice.
    aio_return aio_return64 (block: *mut Aiocb) -> isize {
        // SAFETY: the caller's duty.
        let block = unsafe { Block::new(block) };
        block.answer()
    }
}

named! {
    /// aio_suspend(3). Safe in a signal handler: it takes no lock and no memory.
    aio_suspend aio_suspend64 (blocks: *const *const Aiocb, count: c_int, timeout: *const timespec) -> c_int {
        let Ok(count) = usize::try_from(count) else { return fail(libc::EINVAL) };
        // SAFETY: the caller's duty.
        let blocks = unsafe { slice(blocks, count) };
        // SAFETY: as above.
        let timeout = unsafe { timeout.as_ref() };
        wait::suspend(blocks, timeout).map_or_else(fail, |()| 0)
    }
}

named! {
    /// aio_cancel(3).
    aio_cancel aio_cancel64 (descriptor: c_int, block: *mut Aiocb) -> c_int {
        // SAFETY: the caller's duty.
        let block = unsafe { Block::new(block) };
        let block = (!block.is_null()).then_some(block);
        cancel::cancel(descriptor, block).unwrap_or_else(fail)
    }
}

named! {
    /// lio_listio(3).
    lio_listio lio_listio64 (mode: c_int, blocks: *const *mut Aiocb, count: c_int, event: *const Event) -> c_int {
        attach::attach_if_wanted();
        let waits = match mode {
            libc::LIO_WAIT => true,
            libc::LIO_NOWAIT => false,
            _ => return fail(libc::EINVAL),
        };
        let count = usize::try_from(count).unwrap_or(0);
        // SAFETY: the caller's duty.
        let blocks = unsafe { slice(blocks.cast(), count) };
        // SAFETY: as above.
        let event = unsafe { event.as_ref() }.copied();
        list::begin(waits, blocks, event).map_or_else(fail, |()| 0)
    }
}

/// aio_init(3): hints for a pool of threads that there is not. Ignored.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aio_init(_hints: *const c_void) {}

/// # Safety
///
/// As many pointers as `count` are at `at`, for as long as the slice is used.
unsafe fn slice<'a>(at: *const *const Aiocb, count: usize) -> &'a [*const Aiocb] {
    if count == 0 {
        return &[];
    }
    // SAFETY: the duty of this function.
    unsafe { std::slice::from_raw_parts(at, count) }
}

/// What the loader calls before the program's own code, or when a function is first used if that is earlier.
#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = {
    extern "C" fn loaded() {
        crate::REPORT.open();
        begin::take_setting();
        // The C library has a thread for each, which keeps the process alive.
        syslet::last_waits_for(crate::desk::any_outstanding);
    }
    loaded
};
