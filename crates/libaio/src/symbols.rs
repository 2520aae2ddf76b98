//! What shim.c calls, each for one or two of the library's symbols.

#![allow(unsafe_code, reason = "functions that C calls")]

use std::ffi::c_long;

use syslet_sys::uapi::{IoEvent, nr};

use crate::kernel::{IO_PGETEVENTS, Wish};
use crate::{cancel, destroy, events, setup, submit};

/// The interface leaves `errno` alone; what we call may not.
struct Errno(i32);

impl Errno {
    fn keep() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        set_errno(self.0);
    }
}

fn set_errno(errno: i32) {
    // SAFETY: gives an address.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the C library's variable of this thread.
    unsafe { *place = errno };
}

/// `io_setup(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_setup(events: u32, place: usize) -> c_long {
    let _errno = Errno::keep();
    setup::io_setup(events, place) as c_long
}

/// `io_destroy(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_destroy(context: usize) -> c_long {
    let _errno = Errno::keep();
    destroy::io_destroy(context) as c_long
}

/// `io_submit(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_submit(context: usize, number: isize, iocbs: usize) -> c_long {
    let _errno = Errno::keep();
    submit::io_submit(context, number, iocbs) as c_long
}

/// `io_cancel(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_cancel(context: usize, iocb: usize, event: usize) -> c_long {
    let _errno = Errno::keep();
    cancel::io_cancel(context, iocb, event) as c_long
}

/// `io_getevents(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_getevents(
    context: usize,
    least: isize,
    most: isize,
    events: usize,
    timeout: usize,
) -> c_long {
    get(context, &Wish { least, most, events, timeout, mask: None })
}

/// `io_pgetevents(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_pgetevents(
    context: usize,
    least: isize,
    most: isize,
    events: usize,
    timeout: usize,
    mask: usize,
) -> c_long {
    get(context, &Wish { least, most, events, timeout, mask: Some(mask) })
}

fn get(context: usize, wish: &Wish) -> c_long {
    let _errno = Errno::keep();
    if events::is_empty_poll(context, wish) {
        return 0;
    }
    events::io_getevents(context, wish) as c_long
}

/// What `io_queue_run(3)` calls for each event.
type Callback = extern "C" fn(context: usize, iocb: usize, res: c_long, res2: c_long);

/// `io_queue_run(3)`: calls the function that each event's `data` is.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_queue_run(context: usize) -> c_long {
    let now = [0u64; 2];
    loop {
        let mut event = IoEvent::default();
        let (events, timeout) = (&raw mut event as usize, now.as_ptr() as usize);
        let answer = get(context, &Wish { least: 0, most: 1, events, timeout, mask: None });
        if answer != 1 {
            return answer;
        }
        // SAFETY: the program's duty: `io_set_callback(3)` has put a function there.
        let callback = unsafe { std::mem::transmute::<usize, Callback>(event.data as usize) };
        callback(context, event.obj as usize, event.res as c_long, event.res2 as c_long);
    }
}

/// The calls by number, as `syscall(2)` makes them: -1, and `errno`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_io_by_number(
    number: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    let answer = {
        let _errno = Errno::keep();
        by_number(number, [a, b, c, d, e, f])
    };
    if answer < 0 {
        set_errno(-answer as i32);
        return -1;
    }
    answer as c_long
}

fn by_number(number: usize, [a, b, c, d, e, f]: [usize; 6]) -> isize {
    let wish = |mask| Wish { least: b as isize, most: c as isize, events: d, timeout: e, mask };
    match number {
        nr::IO_SETUP => setup::io_setup(a as u32, b),
        nr::IO_DESTROY => destroy::io_destroy(a),
        nr::IO_SUBMIT => submit::io_submit(a, b as isize, c),
        nr::IO_CANCEL => cancel::io_cancel(a, b, c),
        IO_PGETEVENTS => match events::mask_at(f) {
            Ok(mask) => events::io_getevents(a, &wish(mask)),
            Err(error) => error,
        },
        _ => events::io_getevents(a, &wish(None)),
    }
}
