//! Kernel threads that the library makes for itself, other than by std.
//!
//! A thread made by std inherits what the program's thread that happens to make it has set up for
//! threads: captured output, hooks.

#![allow(unsafe_code, reason = "pthread_create")]

use std::cell::Cell;
use std::io;

use syslet_sys::call;

use super::mapping::Mapping;
use super::signals::CREW_MASK;
use crate::sync::{AtomicI32, Ordering};

/// Bytes of the alternate signal stack of a crew thread: full-size, handlers of the program run on it.
pub(super) const SIGNAL_STACK: usize = 64 << 10;

thread_local! {
    /// The thread was made by [`start`].
    static IS_OURS: Cell<bool> = const { Cell::new(false) };
}

/// True on a thread that [`start`] has made: what it does nobody else would do, so it waits for nothing that
/// may depend on it.
pub(crate) fn is_ours() -> bool {
    IS_OURS.get()
}

/// Most threads in the list: each kind of them, of some two, and those that close files (park/closing.rs). One without
/// a place counts as the program's.
const MOST: usize = 64;
/// Ids of the threads that [`start`] has made.
static LISTED: [AtomicI32; MOST] = [const { AtomicI32::new(0) }; MOST];

/// True if [`start`] has made the thread with this id.
pub(super) fn is_listed(tid: i32) -> bool {
    LISTED.iter().any(|place| place.load(Ordering::SeqCst) == tid)
}

/// In a forked child, where they are not.
pub(super) fn forget_listed() {
    LISTED.iter().for_each(|place| place.store(0, Ordering::SeqCst));
}

/// The running thread is in the list until this is dropped.
struct Listed(Option<&'static AtomicI32>);

impl Listed {
    fn new() -> Self {
        let tid = call::gettid();
        let take = |place: &&AtomicI32| {
            place.compare_exchange(0, tid, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        Self(LISTED.iter().find(take))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.inspect(|place| place.store(0, Ordering::SeqCst));
    }
}

type Main = Box<dyn FnOnce() + Send>;

/// Starts a thread that runs `main`, with all signals of the program's blocked, on a stack of
/// `stack_size` bytes, or of the C library's default size.
///
/// # Errors
///
/// If no thread can be made.
pub(crate) fn start(
    name: &'static [u8; 16],
    stack_size: Option<usize>,
    main: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let main = move || {
        let _listed = Listed::new();
        main();
    };
    start_unlisted(name, stack_size, main)
}

/// The same for a crew thread, which the engine knows.
///
/// # Errors
///
/// As [`start`].
pub(super) fn start_unlisted(
    name: &'static [u8; 16],
    stack_size: Option<usize>,
    main: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let main: Main = Box::new(move || {
        call::set_name(name);
        IS_OURS.set(true);
        main();
    });
    let argument = Box::into_raw(Box::new(main));
    let mask = call::set_signal_mask(CREW_MASK);
    // SAFETY: `run` takes the box over.
    let made = unsafe { create(stack_size, run, argument.cast()) };
    call::set_signal_mask(mask);
    if made.is_err() {
        // SAFETY: no thread has taken it.
        drop(unsafe { Box::from_raw(argument) });
    }
    made
}

extern "C" fn run(main: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: `start` gave the box up.
    let main = unsafe { Box::from_raw(main.cast::<Main>()) };
    main();
    std::ptr::null_mut()
}

/// `pthread_create` of a detached thread.
///
/// # Safety
///
/// `main` may be run with `argument` on another thread, once.
unsafe fn create(
    stack_size: Option<usize>,
    main: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void,
    argument: *mut libc::c_void,
) -> io::Result<()> {
    // SAFETY: all zeros is a value that `pthread_attr_init` replaces.
    let mut attr: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    // SAFETY: live.
    unsafe { libc::pthread_attr_init(&mut attr) };
    if let Some(size) = stack_size {
        // SAFETY: initialised above. A size that is refused leaves the default one.
        unsafe { libc::pthread_attr_setstacksize(&mut attr, size) };
    }
    // SAFETY: as above.
    unsafe { libc::pthread_attr_setdetachstate(&mut attr, libc::PTHREAD_CREATE_DETACHED) };
    let mut thread = 0;
    // SAFETY: the attributes are initialised; the duty of this function.
    let error = unsafe { libc::pthread_create(&mut thread, &attr, main, argument) };
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_destroy(&mut attr) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Whether all can be had that one more crew thread maps at its start, its stack of `stack_size` bytes, the
/// alternate signal stack that std gives it and ours, beside what `coming` of them, this one included,
/// have not mapped yet.
///
/// std ends the program where a thread that runs cannot have its signal stack. So all of it is mapped, and
/// given back before the thread is made: a want of memory shows here, where it can be dealt with. What the
/// program's own threads take in the microseconds between is not seen.
///
/// # Errors
///
/// Those of mmap(2).
pub(super) fn room_for_one(stack_size: usize, coming: usize) -> io::Result<()> {
    let of_std = Mapping::new(SIGNAL_STACK)?;
    let others = Mapping::new(SIGNAL_STACK * (2 * coming).saturating_sub(1).max(1))?;
    let stack = Mapping::new(stack_size)?;
    drop((of_std, others, stack));
    Ok(())
}
