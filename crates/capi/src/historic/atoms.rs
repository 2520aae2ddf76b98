//! Syslets of 2007: atoms, versions 3 to 5 and 6.
//!
//! A list of atoms is interpreted inside a threadlet: inline, if none of its calls sleeps, and to its end
//! on the crew thread that was left with it, if one does. What an atom wants that a threadlet cannot do
//! (to be queued without being tried, or never to leave the caller) ends the threadlet before it; if
//! that was inline, the caller goes on with that atom in that atom's way.

#![allow(unsafe_code, reason = "functions that C programs call; makes the calls that atoms name")]

use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::Ordering;

use syslet_sys::memory::PAGE;

use super::atom_ring::{Ring, complete, wait};
use crate::abi::historic::{
    Atom5, Atom6, AtomHead, SYSLET_ASYNC, SYSLET_NO_COMPLETE, SYSLET_NR_UMEM_ADD,
    SYSLET_SKIP_TO_NEXT_ON_STOP, SYSLET_STOP_ON_NEGATIVE, SYSLET_STOP_ON_NON_POSITIVE,
    SYSLET_STOP_ON_NONZERO, SYSLET_STOP_ON_ZERO, SYSLET_SYNC,
};
use crate::known::{self, Known};
use crate::submit::launching;

/// All of `SYSLET_...` that an atom may have.
const FLAGS: u64 = 0xff;

/// Where the caller's next stack is.
const NEW_THREAD_STACK: usize = offset_of!(AtomHead, new_thread_stack);

/// An atom of either version, without its arguments.
struct Atom {
    flags: u64,
    nr: u64,
    ret_ptr: usize,
    next: usize,
    /// Where the pointers to its arguments are.
    arg_ptrs: usize,
}

/// How atoms are laid out.
trait Layout: 'static {
    /// `sizeof(struct syslet_uatom)`: where the linearly next one is.
    const SIZE: usize;

    /// # Safety
    ///
    /// The header's duties.
    unsafe fn read(known: &Known, at: usize) -> Result<Atom, c_int>;
}

/// Versions 3 to 5.
struct V5;

impl Layout for V5 {
    const SIZE: usize = size_of::<Atom5>();

    #[inline]
    unsafe fn read(known: &Known, at: usize) -> Result<Atom, c_int> {
        known.readable(at, offset_of!(Atom5, arg_ptr))?;
        let arg_ptrs = at + offset_of!(Atom5, arg_ptr);
        // SAFETY: it was looked at, and the duty of this function.
        let word = |offset| unsafe { known::fetch::<u64>(at + offset) };
        Ok(Atom {
            flags: word(offset_of!(Atom5, flags)),
            nr: word(offset_of!(Atom5, nr)),
            ret_ptr: word(offset_of!(Atom5, ret_ptr)) as usize,
            next: word(offset_of!(Atom5, next)) as usize,
            arg_ptrs,
        })
    }
}

/// Version 6.
struct V6;

impl Layout for V6 {
    const SIZE: usize = size_of::<Atom6>();

    #[inline]
    unsafe fn read(known: &Known, at: usize) -> Result<Atom, c_int> {
        known.readable(at, offset_of!(Atom6, arg_ptr))?;
        let arg_ptrs = at + offset_of!(Atom6, arg_ptr);
        // SAFETY: it was looked at, and the duty of this function.
        let half = |offset| u64::from(unsafe { known::fetch::<u32>(at + offset) });
        // SAFETY: as above.
        let word = |offset| unsafe { known::fetch::<u64>(at + offset) };
        Ok(Atom {
            flags: half(offset_of!(Atom6, flags)),
            nr: half(offset_of!(Atom6, nr)),
            ret_ptr: word(offset_of!(Atom6, ret_ptr)) as usize,
            next: word(offset_of!(Atom6, next)) as usize,
            arg_ptrs,
        })
    }
}

/// Where interpreting ended.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// With this atom, which was made.
    End { last: usize, queued: bool },
    /// Before this one, which wants to be made in another way.
    Before(usize),
    /// At this one, which cannot be made.
    Bad(usize, c_int),
}

/// What comes after an atom that was made.
enum Next {
    Atom(usize),
    None { queued: bool },
}

/// Makes one atom.
///
/// # Safety
///
/// The header's duties.
#[inline(always)]
unsafe fn make<L: Layout>(known: &Known, at: usize, atom: &Atom) -> Result<Next, c_int> {
    let mut args = [0usize; 6];
    // What stands in one page with its beginning, which was looked at, can be read.
    let in_one_page = at % PAGE + L::SIZE <= PAGE;
    for (number, arg) in args.iter_mut().enumerate() {
        let place = atom.arg_ptrs + 8 * number;
        let pointer: usize = if in_one_page {
            // SAFETY: it was looked at, and the duty of this function.
            unsafe { known::fetch(place) }
        } else {
            // An atom may end after its first null pointer.
            // SAFETY: the duty of this function.
            unsafe { known.read(place) }?
        };
        if pointer == 0 {
            break;
        }
        // SAFETY: as above.
        *arg = unsafe { known.read(pointer) }?;
    }
    if atom.ret_ptr != 0 {
        known.writable(atom.ret_ptr, 8)?;
    }
    // SAFETY: as above.
    let ret = unsafe { call(known, atom.nr, &args) };
    if atom.ret_ptr != 0 {
        // SAFETY: as above.
        unsafe { known::store(atom.ret_ptr, ret) };
    }
    let reasons = match ret {
        ..0 => SYSLET_STOP_ON_NONZERO | SYSLET_STOP_ON_NEGATIVE | SYSLET_STOP_ON_NON_POSITIVE,
        0 => SYSLET_STOP_ON_ZERO | SYSLET_STOP_ON_NON_POSITIVE,
        1.. => SYSLET_STOP_ON_NONZERO,
    };
    let stopped = atom.flags & reasons != 0;
    let next = match stopped {
        true if atom.flags & SYSLET_SKIP_TO_NEXT_ON_STOP != 0 => at + L::SIZE,
        true => 0,
        false => atom.next,
    };
    Ok(match next {
        0 => Next::None { queued: atom.flags & SYSLET_NO_COMPLETE == 0 },
        next => Next::Atom(next),
    })
}

/// Makes a system call, if it may be made on any thread.
///
/// # Safety
///
/// The header's duties.
#[inline(always)]
unsafe fn call(known: &Known, nr: u64, args: &[usize; 6]) -> isize {
    if nr == SYSLET_NR_UMEM_ADD {
        return match known.place(args[0], 8, 8) {
            // SAFETY: it was looked at, and the duty of this function.
            Ok(()) => unsafe { add(args[0], args[1] as u64) as isize },
            Err(error) => error as isize,
        };
    }
    let number = u32::try_from(nr).unwrap_or(u32::MAX);
    if !syslet_catalog::class(number).movable() {
        let Some(entry) = syslet_catalog::lookup(number) else { return -(libc::ENOSYS as isize) };
        if entry.runs.reason_with(args.map(Some)).is_some() {
            return -(libc::EPERM as isize);
        }
    }
    // SAFETY: the duty of this function; the catalogue lets it run on any thread.
    unsafe { syslet::make_here(number as usize, args) }.raw()
}

/// Reads an atom and looks at its flags.
///
/// # Safety
///
/// The header's duties.
#[inline(always)]
unsafe fn look<L: Layout>(known: &Known, at: usize) -> Result<Atom, c_int> {
    if !at.is_multiple_of(8) {
        return Err(-libc::EINVAL);
    }
    // SAFETY: the duty of this function.
    let atom = unsafe { L::read(known, at) }?;
    let both = atom.flags & (SYSLET_SYNC | SYSLET_ASYNC) == SYSLET_SYNC | SYSLET_ASYNC;
    if atom.flags & !FLAGS != 0 || both { Err(-libc::EINVAL) } else { Ok(atom) }
}

/// Makes atoms from `at` on. With `free`, it does not matter how they want to be made: the caller is not
/// waiting.
///
/// # Safety
///
/// The header's duties.
unsafe fn run<L: Layout>(known: &Known, mut at: usize, free: bool) -> Stop {
    loop {
        // SAFETY: the duty of this function.
        let atom = match unsafe { look::<L>(known, at) } {
            Ok(atom) => atom,
            Err(error) => return Stop::Bad(at, error),
        };
        if !free && atom.flags & (SYSLET_SYNC | SYSLET_ASYNC) != 0 {
            return Stop::Before(at);
        }
        // SAFETY: as above.
        match unsafe { make::<L>(known, at, &atom) } {
            Ok(Next::Atom(next)) => at = next,
            Ok(Next::None { queued }) => return Stop::End { last: at, queued },
            Err(error) => return Stop::Bad(at, error),
        }
    }
}

/// The caller has gone on: makes what is left, and tells the ring.
///
/// # Safety
///
/// The header's duties.
unsafe fn finish<L: Layout>(stop: Stop, head: usize) {
    let stop = match stop {
        // SAFETY: the duty of this function.
        Stop::Before(at) => Known::here(|known| unsafe { run::<L>(known, at, true) }),
        other => other,
    };
    match stop {
        Stop::End { last, queued: true } => complete(head, last),
        Stop::End { .. } | Stop::Before(_) => {}
        // The list has ended here; nobody else can be told.
        Stop::Bad(at, _) => complete(head, at),
    }
}

/// `async_exec`: the last atom, 0 if it went away, or why not.
///
/// # Safety
///
/// The header's duties.
unsafe fn exec<L: Layout>(known: &Known, atom: usize, head: usize) -> Result<usize, c_int> {
    Ring::of(known, head)?;
    let mut at = atom;
    loop {
        // SAFETY: the duty of this function.
        let first = unsafe { look::<L>(known, at) }?;
        if first.flags & SYSLET_SYNC != 0 {
            // SAFETY: as above.
            match unsafe { make::<L>(known, at, &first) }? {
                Next::Atom(next) => at = next,
                Next::None { .. } => return Ok(at),
            }
            continue;
        }
        // SAFETY: as above.
        match unsafe { launch::<L>(at, head, first.flags & SYSLET_ASYNC != 0) }? {
            None => {
                // The thread that goes on here has taken the stack.
                // SAFETY: the head was looked at.
                unsafe { known::word64(head + NEW_THREAD_STACK) }.store(0, Ordering::Release);
                return Ok(0);
            }
            Some(Stop::End { last, .. }) => return Ok(last),
            Some(Stop::Before(next)) => at = next,
            Some(Stop::Bad(_, error)) => return Err(error),
        }
    }
}

/// Makes atoms in a threadlet. `None`: they are away.
///
/// # Safety
///
/// The header's duties.
unsafe fn launch<L: Layout>(at: usize, head: usize, away: bool) -> Result<Option<Stop>, c_int> {
    let go = || {
        if away {
            let work = move || {
                // SAFETY: the header's duties.
                let stop = Known::here(|known| unsafe { run::<L>(known, at, true) });
                // SAFETY: as above.
                unsafe { finish::<L>(stop, head) };
            };
            syslet::Builder::new().elsewhere().launch(work).detach();
            return None;
        }
        // SAFETY: as above.
        let work = move || Known::here(|known| unsafe { run::<L>(known, at, false) });
        // SAFETY: as above.
        let late = move |stop| unsafe { finish::<L>(stop, head) };
        syslet::threadlet_or(work, late)
    };
    launching(go)
}

/// # Safety
///
/// The header's duties.
unsafe fn add(place: usize, increment: u64) -> u64 {
    // SAFETY: the duty of this function: it was looked at.
    let word = unsafe { known::word64(place) };
    word.fetch_add(increment, Ordering::AcqRel).wrapping_add(increment)
}

/// As system calls of libc answer: -1, and why in `errno`.
pub(super) fn fail(error: c_int) -> c_long {
    // SAFETY: the calling thread's own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    unsafe { errno.write(-error) };
    -1
}

fn answer(last: Result<usize, c_int>) -> *mut c_void {
    last.map_or_else(|e| ptr::without_provenance_mut(fail(e) as usize), |at| at as *mut c_void)
}

/// `async_exec(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn async_exec(atom: *mut c_void, head: *mut c_void) -> *mut c_void {
    // SAFETY: the duty of this function.
    answer(Known::here(|known| unsafe { exec::<V5>(known, atom.addr(), head.addr()) }))
}

/// `async_exec` of version 6.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn async_exec_v6(atom: *mut c_void, head: *mut c_void) -> *mut c_void {
    // SAFETY: the duty of this function.
    answer(Known::here(|known| unsafe { exec::<V6>(known, atom.addr(), head.addr()) }))
}

/// `async_wait(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn async_wait(
    min_wait_events: c_ulong,
    user_ring_idx: c_ulong,
    head: *mut c_void,
) -> c_long {
    let waited = wait(min_wait_events as usize, user_ring_idx as usize, head.addr());
    waited.map_or_else(fail, |()| 0)
}

/// `async_thread(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn async_thread(event: *mut c_void, head: *mut c_void) -> c_long {
    if event.is_null() && head.is_null() {
        return fail(-libc::ENOSYS);
    }
    if event.is_null() {
        return fail(-libc::EFAULT);
    }
    match Known::here(|known| Ring::of(known, head.addr())) {
        Ok(_) => {
            complete(head.addr(), event.addr());
            0
        }
        Err(error) => fail(error),
    }
}

/// `umem_add(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn umem_add(place: *mut c_ulong, increment: c_ulong) -> c_long {
    if let Err(error) = known::place(place.addr(), 8, 8) {
        return fail(error);
    }
    // Not by way of what the thread knows: a thread's first look at that may allocate, and handlers come here.
    // SAFETY: it was looked at, and the duty of this function.
    unsafe { add(place.addr(), increment) as c_long }
}
