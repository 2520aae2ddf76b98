//! The parking's own threads: one for each ring and each clock that is used, made when it is.

#![allow(unsafe_code, reason = "pthread_create")]

use std::io;

use syslet_sys::call;

use crate::crew::CREW_MASK;

type Main = Box<dyn FnOnce() + Send>;

/// Starts a thread that runs `main`, with all signals of the program's blocked. Not by std: see the
/// watchdog's.
///
/// # Errors
///
/// If no thread can be made.
pub(super) fn start(
    name: &'static [u8; 16],
    main: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let main: Main = Box::new(move || {
        call::set_name(name);
        main();
    });
    let argument = Box::into_raw(Box::new(main));
    let mut thread = 0;
    let mask = call::set_signal_mask(CREW_MASK);
    // SAFETY: `run` takes the box over.
    let error =
        unsafe { libc::pthread_create(&mut thread, std::ptr::null(), run, argument.cast()) };
    call::set_signal_mask(mask);
    if error != 0 {
        // SAFETY: no thread has taken it.
        drop(unsafe { Box::from_raw(argument) });
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: the thread just made, never joined.
    unsafe { libc::pthread_detach(thread) };
    Ok(())
}

extern "C" fn run(main: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `start` gave the box up.
    let main = unsafe { Box::from_raw(main.cast::<Main>()) };
    main();
    std::ptr::null_mut()
}
