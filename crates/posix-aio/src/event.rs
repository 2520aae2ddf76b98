//! Telling the program that a request is over: `struct sigevent`.

#![allow(
    unsafe_code,
    reason = "queues signals and makes threads for the program's functions; see lib.rs"
)]

use std::ffi::{c_int, c_void};

use syslet_dropin::launch;
use syslet_sys::call;
use syslet_sys::uapi::Siginfo;

use crate::block::{Event, Value};

/// `si_code` of asynchronous I/O (sigaction(2)).
const SI_ASYNCIO: i32 = -4;
/// Largest signal number: the kernel's _NSIG.
const SIGNALS: c_int = 64;

/// Where the code that runs stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the program's thread, in one of our functions.
    Program,
    /// On a thread of the library's, which has others to serve, and may be one that nothing may wait on.
    Elsewhere,
}

/// Has a thread of the crew do it; here, if there is none.
pub(crate) fn later(deed: impl FnOnce() + Send + 'static) {
    if launch::has_crew() {
        drop(syslet::threadlet(deed));
    } else {
        deed();
    }
}

/// What the program is shown instead of `answer` if it asked for a signal that there is not. As the C library.
pub(crate) fn with_bad_signal(event: &Event, answer: isize) -> isize {
    let bad = event.how == libc::SIGEV_SIGNAL && !(0..=SIGNALS).contains(&event.signal);
    if bad { -(libc::EINVAL as isize) } else { answer }
}

/// Tells it, on the program's thread.
#[inline]
pub(crate) fn tell_here(event: &Event) {
    if event.how != libc::SIGEV_NONE {
        tell(event, Place::Program);
    }
}

/// Tells it.
pub(crate) fn tell(event: &Event, place: Place) {
    match event.how {
        libc::SIGEV_SIGNAL => queue(event, |info| call::queue_to_process(call::getpid(), info)),
        libc::SIGEV_THREAD_ID => {
            queue(event, |info| call::queue_to_thread(call::getpid(), event.thread(), info));
        }
        libc::SIGEV_THREAD => {
            let event = *event;
            if place == Place::Elsewhere || !run_on_thread(&event) {
                later(move || {
                    if !run_on_thread(&event) {
                        // No thread can be made: this one must do.
                        call_function(&event);
                    }
                });
            }
        }
        // As the C library: whoever asks for what there is not is told nothing.
        _ => {}
    }
}

/// Queues the signal. With as many pending as the user may have, it is made pending without its value, which is
/// more than nothing.
fn queue(event: &Event, send: impl FnOnce(&Siginfo) -> isize) {
    let (pid, uid) = (call::getpid(), call::user_ids()[0]);
    let info = Siginfo::queued(event.signal, SI_ASYNCIO, pid, uid, event.value);
    if send(&info) == -(libc::EAGAIN as isize) {
        match event.how {
            libc::SIGEV_SIGNAL => call::kill(pid, event.signal),
            _ => call::tgkill(pid, event.thread(), event.signal),
        };
    }
}

type Function = unsafe extern "C-unwind" fn(Value);

/// The program's function.
fn function(event: &Event) -> Option<Function> {
    // SAFETY: null, or a function of this type, as the manual page of sigevent(3type) asks.
    unsafe { std::mem::transmute::<usize, Option<Function>>(event.function) }
}

fn call_function(event: &Event) {
    if let Some(function) = function(event) {
        // SAFETY: what the program asked for.
        unsafe { function(event.value) };
    }
}

unsafe extern "C" {
    /// With a start function that may be unwound by `pthread_exit`.
    fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start: unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
}

/// Makes a thread for the program's function. False: it cannot be made.
fn run_on_thread(event: &Event) -> bool {
    let Some(function) = function(event) else { return true };
    let argument = Box::into_raw(Box::new((function, event.value)));
    // The new thread inherits the mask: nothing is to come to it before it has its own.
    let mask = call::set_signal_mask(u64::MAX);
    let made = create(event, argument.cast());
    call::set_signal_mask(mask);
    if !made {
        // SAFETY: nobody has taken it.
        drop(unsafe { Box::from_raw(argument) });
    }
    made
}

fn create(event: &Event, argument: *mut c_void) -> bool {
    let mut thread = 0;
    if event.attributes != 0 {
        let attributes = event.attributes as *const libc::pthread_attr_t;
        // SAFETY: the program's attributes, which live until it was told; `run` takes the box over.
        return unsafe { pthread_create(&mut thread, attributes, run, argument) == 0 };
    }
    // SAFETY: all zeros is a value that is replaced.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: live.
    unsafe { libc::pthread_attr_init(&mut attributes) };
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED) };
    // SAFETY: initialised above; `run` takes the box over.
    let error = unsafe { pthread_create(&mut thread, &attributes, run, argument) };
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_destroy(&mut attributes) };
    error == 0
}

/// The thread of a function: it blocks no signal, as in the C library.
///
/// # Safety
///
/// The argument is the box that `run_on_thread` gave up.
unsafe extern "C-unwind" fn run(argument: *mut c_void) -> *mut c_void {
    // SAFETY: the duty of this function. Freed before the call, which may not return.
    let (function, value) = *unsafe { Box::from_raw(argument.cast::<(Function, Value)>()) };
    call::set_signal_mask(0);
    // SAFETY: what the program asked for.
    unsafe { function(value) };
    std::ptr::null_mut()
}
