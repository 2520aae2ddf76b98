//! The kernel's own calls, with whatever arguments a program gave.

#![allow(unsafe_code, reason = "system calls with a program's arguments; see lib.rs")]

use syslet_sys::arch;
use syslet_sys::uapi::nr;

/// `io_pgetevents(2)`.
pub(crate) const IO_PGETEVENTS: usize = 333;

fn call(nr: usize, args: [usize; 6]) -> isize {
    // SAFETY: the program's duties 1 and 2: the kernel looks at each address that it uses.
    unsafe { arch::syscall(nr, args) }
}

pub(crate) fn io_setup(events: u32, context: usize) -> isize {
    call(nr::IO_SETUP, [events as usize, context, 0, 0, 0, 0])
}

pub(crate) fn io_destroy(context: usize) -> isize {
    call(nr::IO_DESTROY, [context, 0, 0, 0, 0, 0])
}

pub(crate) fn io_submit(context: usize, number: isize, iocbs: usize) -> isize {
    call(nr::IO_SUBMIT, [context, number as usize, iocbs, 0, 0, 0])
}

pub(crate) fn io_cancel(context: usize, iocb: usize, event: usize) -> isize {
    call(nr::IO_CANCEL, [context, iocb, event, 0, 0, 0])
}

/// With a mask's address, `io_pgetevents(2)`.
pub(crate) fn io_getevents(context: usize, wish: &Wish) -> isize {
    let Wish { least, most, events, timeout, mask } = *wish;
    let mut args = [context, least as usize, most as usize, events, timeout, 0];
    let Some(mask) = mask else { return call(nr::IO_GETEVENTS, args) };
    let with_size = [mask, 8]; // struct __aio_sigset
    args[5] = with_size.as_ptr() as usize;
    let answer = call(IO_PGETEVENTS, args);
    std::hint::black_box(&with_size);
    answer
}

/// What a program asks of `io_getevents(2)`: addresses are as it gave them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) least: isize,
    pub(crate) most: isize,
    pub(crate) events: usize,
    pub(crate) timeout: usize,
    /// The signal mask of `io_pgetevents(2)`; it may be null.
    pub(crate) mask: Option<usize>,
}
