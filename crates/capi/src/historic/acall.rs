//! acall, second generation.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_int, c_long, c_ulong, c_void};
use std::mem::offset_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use syslet::{Call, CancelOutcome, Ret};

use super::async_submit::deadline_of;
use crate::abi::historic::{
    ACALL_SUBMIT_THREAD_POOL, AcallCompletion, AcallId, AcallRing, AcallSubmission,
};
use crate::bell::{self, Waited};
use crate::known;
use crate::late::{Outstanding, lock};
use crate::life::{self, PerLife};
use crate::lost;

/// `ACALL_SUBMIT_THREAD_POOL`: how calls are made here anyway.
/// `sizeof(struct acall_completion_ring)`, without completions, and its fields by offset.
const RING_SIZE: usize = offset_of!(AcallRing, comps);
const RING_HEAD: usize = offset_of!(AcallRing, head);
const RING_NR: usize = offset_of!(AcallRing, nr);
const COMPLETION_SIZE: usize = size_of::<AcallCompletion>();
/// The kernel's signal masks.
const MASK_SIZE: usize = 8;

#[derive(Default)]
struct Calls {
    outstanding: Outstanding,
    /// An id was given to the program.
    used_ids: AtomicBool,
}

static ALL: PerLife<Calls> = PerLife::new();
/// Held while a completion is put into a ring: so the head moves only after the completion is there.
static PRODUCERS: PerLife<Mutex<()>> = PerLife::new();

/// `struct acall_submission`, without its arguments.
#[derive(Debug, Clone, Copy)]
struct Submission {
    cookie: u64,
    ring: usize,
    completion: usize,
}

/// The first half of an id: other processes and lives have others.
fn mark() -> u64 {
    u64::from(std::process::id()) << 32 | u64::from(life::now())
}

/// The bell of all who wait for ids.
const BELL: usize = 1;

/// `acall_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn acall_submit(submissions: *const c_void, nr: c_ulong) -> c_long {
    for number in 0..nr as usize {
        let at = submissions.addr().wrapping_add(number * size_of::<AcallSubmission>());
        // SAFETY: the duty of this function.
        if let Err(error) = unsafe { submit_one(at) } {
            return if number == 0 { error.into() } else { number as c_long };
        }
    }
    nr as c_long
}

/// # Safety
///
/// The header's duties.
unsafe fn submit_one(at: usize) -> Result<(), c_int> {
    // SAFETY: the duty of this function.
    let given: AcallSubmission = unsafe { known::read(at) }?;
    let AcallSubmission { nr, flags, cookie, args, .. } = given;
    if flags & !ACALL_SUBMIT_THREAD_POOL != 0 {
        return Err(-libc::EINVAL);
    }
    let (ring, completion) =
        (given.completion_ring_pointer as usize, given.completion_pointer as usize);
    let id = given.id_pointer as usize;
    if ring != 0 {
        known::place(ring, RING_SIZE, 8)?;
    }
    if completion != 0 {
        known::place(completion, COMPLETION_SIZE, 8)?;
    }
    let all = ALL.get();
    let submission = Submission { cookie, ring, completion };
    let call = Call::new(nr as usize, args.map(|arg| arg as usize));
    if id == 0 {
        // SAFETY: the duty of this function.
        return unsafe { make(&all.outstanding, all.outstanding.new_number(), submission, call) };
    }
    known::writable(id, size_of::<AcallId>())?;
    all.used_ids.store(true, Ordering::Relaxed);
    let number = all.outstanding.begin();
    // Before the call is made: who is told of its end knows it.
    // SAFETY: it was looked at, and the duty of this function.
    unsafe { known::store(id, AcallId { opaque: [mark(), number] }) };
    // SAFETY: as above.
    let made = unsafe { make(&all.outstanding, number, submission, call) };
    all.outstanding.begun(number, || bell::ring(BELL));
    made
}

/// # Safety
///
/// The header's duties.
unsafe fn make(
    outstanding: &'static Outstanding,
    number: u64,
    submission: Submission,
    call: Call,
) -> Result<(), c_int> {
    // SAFETY: the header's duty: what was named stays until the call has ended.
    let then = move |ret| unsafe { store(submission, ret) };
    let end = move || tell(submission);
    // SAFETY: the header's duties are those of `submit`.
    if let Some(ret) = unsafe { outstanding.start(number, call, then, end) }? {
        // SAFETY: as above.
        unsafe { store(submission, ret) };
        tell(submission);
    }
    Ok(())
}

/// # Safety
///
/// The header's duties.
unsafe fn store(submission: Submission, ret: Ret) {
    let Submission { cookie, ring, completion } = submission;
    if completion != 0 {
        // SAFETY: the duty of this function.
        unsafe { store_at(completion, cookie, ret) };
    }
    if ring == 0 {
        return;
    }
    if known::place(ring, RING_SIZE, 8).is_err() {
        return lost::count();
    }
    let _one_at_a_time = lock(PRODUCERS.get());
    // SAFETY: it was looked at.
    let places = unsafe { known::word32(ring + RING_NR) }.load(Ordering::Relaxed);
    if places == 0 {
        return lost::count();
    }
    // SAFETY: as above.
    let head = unsafe { known::word32(ring + RING_HEAD) };
    let at = head.load(Ordering::Relaxed);
    let place = ring + RING_SIZE + COMPLETION_SIZE * (at % places) as usize;
    // SAFETY: the duty of this function.
    if !unsafe { store_at(place, cookie, ret) } {
        return;
    }
    // Release: who sees the head sees the completion.
    head.store(at.wrapping_add(1), Ordering::Release);
}

/// Says whether the program has left a place for it.
///
/// # Safety
///
/// The header's duties.
unsafe fn store_at(place: usize, cookie: u64, ret: Ret) -> bool {
    if known::place(place, COMPLETION_SIZE, 8).is_err() {
        lost::count();
        return false;
    }
    // SAFETY: it was looked at.
    let code = unsafe { known::word64(place + offset_of!(AcallCompletion, return_code)) };
    code.store(ret.raw() as u64, Ordering::Relaxed);
    // SAFETY: as above.
    let word = unsafe { known::word64(place + offset_of!(AcallCompletion, cookie)) };
    // Release: who sees the cookie sees the code.
    word.store(cookie, Ordering::Release);
    true
}

fn tell(submission: Submission) {
    bell::ring(BELL);
    if submission.ring != 0 {
        bell::ring(submission.ring);
    }
}

/// Waits as asked: for how long, and with which signals blocked.
///
/// # Safety
///
/// The header's duties.
unsafe fn wait(
    place: usize,
    time: *const libc::timespec,
    mask: *const c_void,
    size: usize,
    ready: impl Fn() -> bool,
) -> Result<Waited, c_int> {
    // SAFETY: the duty of this function.
    let deadline = unsafe { deadline_of(time) }?;
    if mask.is_null() {
        return Ok(bell::wait(place, deadline, ready));
    }
    if size != MASK_SIZE && size != size_of::<libc::sigset_t>() {
        return Err(-libc::EINVAL);
    }
    // SAFETY: as above.
    let mask: u64 = unsafe { known::read(mask.addr()) }?;
    Ok(bell::wait_masked(place, deadline, mask, ready))
}

/// `acall_comp_pwait(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn acall_comp_pwait(
    ids: *const c_void,
    nr: c_ulong,
    time: *const libc::timespec,
    mask: *const c_void,
    size: usize,
) -> c_long {
    if nr == 0 {
        return 0;
    }
    let all = ALL.get();
    if !all.used_ids.load(Ordering::Relaxed) {
        return (-libc::EINVAL).into();
    }
    let mut numbers = Vec::new();
    for number in 0..nr as usize {
        // SAFETY: the duty of this function.
        match unsafe { known::read(ids.addr().wrapping_add(size_of::<AcallId>() * number)) } {
            Ok(AcallId { opaque }) => numbers.push(opaque),
            Err(error) => return error.into(),
        }
    }
    let is_over = |id: &[u64; 2]| id[0] != mark() || !all.outstanding.has(id[1]);
    // SAFETY: as above.
    match unsafe { wait(BELL, time, mask, size, || numbers.iter().any(is_over)) } {
        Ok(Waited::Ready) => 1,
        Ok(Waited::TimedOut) => 0,
        Ok(Waited::Interrupted) => (-libc::EINTR).into(),
        Err(error) => error.into(),
    }
}

/// `acall_ring_pwait(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn acall_ring_pwait(
    ring: *mut c_void,
    tail: u32,
    min: u32,
    time: *const libc::timespec,
    mask: *const c_void,
    size: usize,
) -> c_long {
    if min == 0 {
        return 0;
    }
    let ring = ring.addr();
    if let Err(error) = known::place(ring, RING_SIZE, 8) {
        return error.into();
    }
    // SAFETY: it was looked at.
    let head = unsafe { known::word32(ring + RING_HEAD) };
    let ready = || head.load(Ordering::Acquire).wrapping_sub(tail) >= min;
    // SAFETY: the duty of this function.
    match unsafe { wait(ring, time, mask, size, ready) } {
        Ok(Waited::Ready) => 0,
        Ok(Waited::TimedOut) => (-libc::ETIMEDOUT).into(),
        Ok(Waited::Interrupted) => (-libc::EINTR).into(),
        Err(error) => error.into(),
    }
}

/// `acall_cancel(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn acall_cancel(id: *const c_void) -> c_long {
    // SAFETY: the duty of this function.
    let [of, number] = match unsafe { known::read(id.addr()) } {
        Ok(AcallId { opaque }) => opaque,
        Err(error) => return error.into(),
    };
    let told = if of == mark() { ALL.get().outstanding.cancel(number) } else { None };
    match told {
        None | Some(CancelOutcome::TooLate) => (-libc::EAGAIN).into(),
        Some(_) => 0,
    }
}
