//! Syslets, version 7: on top of `indirect`.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::collections::HashMap;
use std::ffi::{c_int, c_long, c_void};
use std::mem::offset_of;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use syslet::{Call, Ret, submit};
use syslet_catalog::Makes;
use syslet_sys::memory::is_possible;

use crate::abi::historic::{
    ESYSLETPENDING, FileFlags, Frame, IndirectArgs, IndirectCompletion, IndirectRing, Registers,
};
use crate::bell::{self, Waited};
use crate::known;
use crate::late::{Outstanding, lock};
use crate::life::PerLife;
use crate::lost;
use crate::submit::launching;

/// `sizeof(struct syslet_args)`, and of the union.
const PARAMS_SIZE: usize = size_of::<IndirectArgs>();
/// `sizeof` of the union's other member.
const FILE_FLAGS_SIZE: usize = size_of::<FileFlags>();
/// `sizeof(struct syslet_ring)`, without completions.
const RING_SIZE: usize = offset_of!(IndirectRing, comp);
/// `sizeof(struct syslet_completion)`.
const COMPLETION_SIZE: usize = size_of::<IndirectCompletion>();

/// Fields of `struct syslet_ring`, by offset.
const KERNEL_HEAD: usize = offset_of!(IndirectRing, kernel_head);
const USER_TAIL: usize = offset_of!(IndirectRing, user_tail);
const ELEMENTS: usize = offset_of!(IndirectRing, elements);

/// What is submitted: `struct syslet_args`.
#[derive(Debug, Clone, Copy)]
struct Args {
    ring: usize,
    caller_data: u64,
    /// A function to be called when the call has ended, and what with.
    frame: Option<(usize, usize)>,
}

static CALLS: PerLife<Outstanding> = PerLife::new();
/// By ring, how many calls are away whose completions will go there. Its lock also makes one producer at
/// a time, as the kernel's mutex for each `wait_group` did.
static RINGS: PerLife<Mutex<HashMap<usize, u32>>> = PerLife::new();

/// `indirect(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn indirect(
    registers: *const c_void,
    params: *const c_void,
    length: usize,
    flags: c_int,
) -> c_long {
    // SAFETY: the duty of this function.
    unsafe { run(registers.addr(), params.addr(), length, flags) }.unwrap_or_else(c_long::from)
}

/// # Safety
///
/// The header's duties.
unsafe fn run(registers: usize, params: usize, len: usize, flags: c_int) -> Result<c_long, c_int> {
    if flags != 0 || len > PARAMS_SIZE {
        return Err(-libc::EINVAL);
    }
    // SAFETY: the duty of this function.
    let Registers { rax: nr, rdi, rsi, rdx, r10, r8, r9 } = unsafe { known::read(registers) }?;
    let args = [rdi, rsi, rdx, r10, r8, r9];
    let call = Call::new(nr, args);
    may_run(nr, args)?;
    known::readable(params, len.max(1)).or(if len == 0 { Ok(()) } else { Err(-libc::EFAULT) })?;
    if len == FILE_FLAGS_SIZE {
        // SAFETY: it was looked at, and the duty of this function.
        let FileFlags { flags } = unsafe { known::fetch(params) };
        // SAFETY: as above.
        return unsafe { with_file_flags(call, flags) };
    }
    let mut given = IndirectArgs::default();
    let to = (&raw mut given).cast::<u8>();
    // SAFETY: both have that many bytes: it was looked at.
    unsafe { (params as *const u8).copy_to_nonoverlapping(to, len) };
    let IndirectArgs { completion_ring_ptr: ring, caller_data, frame: Frame { ip, sp } } = given;
    if ring == 0 {
        // SAFETY: as above.
        return unsafe { in_line(call) };
    }
    let frame = match (ip as usize, sp as usize) {
        (0, 0) => None,
        (ip, sp) if is_possible(ip, 1) && is_possible(sp, 1) => Some((ip, sp)),
        _ => return Err(-libc::EINVAL),
    };
    // SAFETY: as above.
    unsafe { with_ring(call, Args { ring: ring as usize, caller_data, frame }) }
}

/// Only what may be made on any thread: all else was not on the list of 2007 either.
fn may_run(nr: usize, args: [usize; 6]) -> Result<(), c_int> {
    let entry = u32::try_from(nr).ok().and_then(syslet_catalog::lookup).ok_or(-libc::EINVAL)?;
    match entry.runs.reason_with(args.map(Some)) {
        Some(_) => Err(-libc::EINVAL),
        None => Ok(()),
    }
}

/// # Safety
///
/// The header's duties.
unsafe fn in_line(call: Call) -> Result<c_long, c_int> {
    // SAFETY: the duty of this function.
    let submitted = unsafe { submit(call) }.map_err(crate::errno::of_submit)?;
    Ok(submitted.wait().raw() as c_long)
}

/// A call that makes a descriptor, which is closed on exec.
///
/// # Safety
///
/// The header's duties.
unsafe fn with_file_flags(call: Call, flags: u32) -> Result<c_long, c_int> {
    let entry = syslet_catalog::lookup(call.nr() as u32).ok_or(-libc::EINVAL)?;
    if flags & !(libc::O_CLOEXEC as u32) != 0 || !matches!(entry.makes, Makes::Fd) {
        return Err(-libc::EINVAL);
    }
    // SAFETY: the duty of this function.
    let answer = unsafe { in_line(call) }?;
    if flags != 0 && answer >= 0 {
        // SAFETY: no memory.
        unsafe { libc::fcntl(answer as c_int, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(answer)
}

/// How many completions a ring has room for.
fn elements_of(ring: usize) -> Result<u32, c_int> {
    known::place(ring, RING_SIZE, 8)?;
    // SAFETY: it was looked at.
    let elements = unsafe { known::word32(ring + ELEMENTS) }.load(Ordering::Relaxed);
    if !elements.is_power_of_two() {
        return Err(-libc::EINVAL);
    }
    known::place(ring + RING_SIZE, COMPLETION_SIZE, 8)?;
    let last = elements as usize - 1;
    known::place(ring + RING_SIZE + COMPLETION_SIZE * last, COMPLETION_SIZE, 8)?;
    Ok(elements)
}

/// Keeps a place for a completion.
fn reserve(ring: usize, elements: u32) -> Result<(), c_int> {
    let mut rings = lock(RINGS.get());
    let away = rings.entry(ring).or_insert(0);
    // SAFETY: the ring was looked at.
    let head = unsafe { known::word32(ring + KERNEL_HEAD) }.load(Ordering::Relaxed);
    // SAFETY: as above.
    let tail = unsafe { known::word32(ring + USER_TAIL) }.load(Ordering::Acquire);
    let room = elements.saturating_sub(head.wrapping_sub(tail));
    if *away >= room {
        if *away == 0 {
            rings.remove(&ring);
        }
        return Err(-libc::ENOBUFS);
    }
    *away += 1;
    Ok(())
}

fn give_back(rings: &mut HashMap<usize, u32>, ring: usize) {
    if let Some(away) = rings.get_mut(&ring) {
        *away -= 1;
        if *away == 0 {
            rings.remove(&ring);
        }
    }
}

/// # Safety
///
/// The header's duties.
unsafe fn with_ring(call: Call, args: Args) -> Result<c_long, c_int> {
    let elements = elements_of(args.ring)?;
    reserve(args.ring, elements)?;
    let calls = CALLS.get();
    // SAFETY: the header's duty: the ring stays until the call has ended.
    let then = move |ret| unsafe { complete(args, ret) };
    // SAFETY: the duty of this function.
    let started = unsafe { calls.start(calls.new_number(), call, then, || ()) };
    match started {
        Ok(None) => Ok(-ESYSLETPENDING),
        Ok(Some(ret)) => {
            give_back(&mut lock(RINGS.get()), args.ring);
            Ok(ret.raw() as c_long)
        }
        Err(error) => {
            give_back(&mut lock(RINGS.get()), args.ring);
            Err(error)
        }
    }
}

/// Stores a completion, then has the program's function called.
///
/// # Safety
///
/// The header's duties.
unsafe fn complete(args: Args, ret: Ret) {
    let mut rings = lock(RINGS.get());
    // SAFETY: the duty of this function.
    if unsafe { store(args, ret) }.is_err() {
        lost::count(); // the program has taken the ring away
    }
    give_back(&mut rings, args.ring);
    drop(rings);
    bell::ring(args.ring);
    if let Some((ip, sp)) = args.frame {
        // SAFETY: as above.
        unsafe { enter(ip, sp) };
    }
}

/// Puts a completion into the ring.
///
/// # Safety
///
/// The header's duties.
unsafe fn store(args: Args, ret: Ret) -> Result<(), c_int> {
    let elements = elements_of(args.ring)?;
    // SAFETY: the ring was looked at.
    let head = unsafe { known::word32(args.ring + KERNEL_HEAD) };
    let at = head.load(Ordering::Relaxed);
    let place = args.ring + RING_SIZE + COMPLETION_SIZE * (at & (elements - 1)) as usize;
    known::place(place, COMPLETION_SIZE, 8)?;
    // SAFETY: it was looked at.
    let status = unsafe { known::word64(place + offset_of!(IndirectCompletion, status)) };
    status.store(ret.raw() as u64, Ordering::Relaxed);
    // SAFETY: as above.
    let data = unsafe { known::word64(place + offset_of!(IndirectCompletion, caller_data)) };
    data.store(args.caller_data, Ordering::Relaxed);
    // Release: who sees the head sees the completion.
    head.store(at.wrapping_add(1), Ordering::Release);
    Ok(())
}

/// Calls a frame's function on a crew thread of its own: it may wait for calls that the running thread has
/// to end.
///
/// # Safety
///
/// The header's duties.
unsafe fn enter(ip: usize, sp: usize) {
    type Function = unsafe extern "C" fn(*mut c_void);
    // SAFETY: the duty of this function.
    let function: Function = unsafe { std::mem::transmute::<usize, Function>(ip) };
    // SAFETY: as above.
    let work = move || unsafe { function(sp as *mut c_void) };
    let launch = || syslet::Builder::new().elsewhere().launch(work).detach();
    if launching(launch).is_err() {
        work(); // there are no threads
    }
}

/// `syslet_ring_wait(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_ring_wait(ring: *mut c_void, index: usize) -> c_long {
    let ring = ring.addr();
    if let Err(error) = known::place(ring, RING_SIZE, 8) {
        return error.into();
    }
    // SAFETY: it was looked at.
    let head = unsafe { known::word32(ring + KERNEL_HEAD) };
    // Acquire: pairs with the release in `complete`.
    match bell::wait(ring, None, || head.load(Ordering::Acquire) != index as u32) {
        Waited::Ready => 0,
        _ => (-libc::EINTR).into(),
    }
}
