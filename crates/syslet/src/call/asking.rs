//! Locks, queues, semaphores, futexes, children: asked for without waiting, where a thread has nobody to take over.
//!
//! A guest does not need it: it makes the call, and goes on if that waits.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use syslet_catalog::{Entry, Twin};
use syslet_sys::memory::is_readable;
use syslet_sys::uapi::{
    CLOCK_MONOTONIC, EAGAIN, EINVAL, ETIMEDOUT, FUTEX_BITSET_ANY, FUTEX_COMMAND, FUTEX_WAIT,
    FUTEX_WAIT_BITSET, IPC_NOWAIT, Timespec, nr,
};

use super::number::Call;
use super::submit::in_place;
use super::timeout::{time_of_sleep, timeout};
use super::twin::{Answer, Attempt, read_flagged};

/// Most operations of one semop(2) that are tried: few programs make more at a time.
const MOST_OPERATIONS: usize = 16;
/// struct sembuf: the semaphore, what is done to it, flags.
type Operation = [u16; 3];

/// The answer of `call`, if it can be had without waiting.
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn ask(call: &Call, entry: &Entry) -> Option<isize> {
    match (call.nr(), entry.twin) {
        // SAFETY: the caller's duties, here and below.
        (nr::SEMOP | nr::SEMTIMEDOP, _) => unsafe { semaphores(call) },
        // SAFETY: as above.
        (nr::FUTEX, _) => unsafe { futex(call) },
        // The clock of the limit is the argument behind it: it may be anything where there is no limit.
        (nr::FUTEX_WAITV, _) if call.args()[3] == 0 => {
            // SAFETY: as above.
            unsafe { in_the_past(&changed(call, 4, CLOCK_MONOTONIC)) }
        }
        (nr::FUTEX_WAIT, _) if call.args()[4] == 0 => {
            // SAFETY: as above.
            unsafe { in_the_past(&changed(call, 5, CLOCK_MONOTONIC)) }
        }
        // SAFETY: as above.
        (nr::MQ_TIMEDSEND | nr::MQ_TIMEDRECEIVE | nr::FUTEX_WAITV | nr::FUTEX_WAIT, _) => unsafe {
            in_the_past(call)
        },
        // Done by the routing of what waits for readiness.
        (_, None | Some(Twin::ZeroTimeout { .. } | Twin::MsgDontwait { .. })) => None,
        // SAFETY: as above.
        (_, Some(twin)) => unsafe { by_flag(call, entry, twin) },
    }
}

fn changed(call: &Call, arg: usize, value: usize) -> Call {
    let mut call = *call;
    call.0[arg + 1] = value;
    call
}

/// By a flag among the arguments.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn by_flag(call: &Call, entry: &Entry, twin: Twin) -> Option<isize> {
    let of_child = call.nr() == nr::WAITID;
    if of_child && call.args()[2] == 0 {
        return None; // without the structure its answer does not say whether there was a child
    }
    let attempt = Attempt::by_flag(call, entry)?;
    // SAFETY: the caller's duties.
    let answer = unsafe { attempt.make() };
    if attempt.is(call) {
        return Some(answer);
    }
    let read = if of_child { attempt.read(call, answer) } else { read_flagged(Some(twin), answer) };
    (read == Answer::Final).then_some(answer)
}

/// With `IPC_NOWAIT` in a copy of the operations: all of them are done, or none.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn semaphores(call: &Call) -> Option<isize> {
    let [_, from, count, ..] = *call.args() else { return None };
    let size = count.checked_mul(size_of::<Operation>())?;
    if !(1..=MOST_OPERATIONS).contains(&count) || !is_readable(from, size) {
        return None;
    }
    let mut copy = [Operation::default(); MOST_OPERATIONS];
    // SAFETY: it was looked at, and the caller's duties; there is room.
    unsafe { std::ptr::copy_nonoverlapping(from as *const u8, copy.as_mut_ptr().cast(), size) };
    let mut waits = false;
    for [_, _, flags] in &mut copy[..count] {
        waits |= usize::from(*flags) & IPC_NOWAIT == 0;
        *flags |= IPC_NOWAIT as u16;
    }
    let now = changed(call, 1, copy.as_ptr() as usize);
    // SAFETY: the caller's duties; the copy is live.
    let answer = unsafe { in_place(&now) }.raw();
    std::hint::black_box(&copy);
    (answer != -EAGAIN || !waits).then_some(answer)
}

/// The operations that wait for a word: with a point in the past as their limit, which the relative limit of
/// `FUTEX_WAIT` cannot be. Woken by somebody in between, it was woken.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn futex(call: &Call) -> Option<isize> {
    let op = call.args()[1];
    let now = match op & FUTEX_COMMAND {
        FUTEX_WAIT => {
            let op = op & !FUTEX_COMMAND | FUTEX_WAIT_BITSET;
            changed(&changed(call, 1, op), 5, FUTEX_BITSET_ANY)
        }
        FUTEX_WAIT_BITSET => *call,
        _ => return None,
    };
    // SAFETY: the caller's duties.
    unsafe { in_the_past(&now) }
}

/// With a limit that is over, in place of one that is a point in time, or of none.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn in_the_past(call: &Call) -> Option<isize> {
    let at = usize::from(timeout(call).arg()?);
    // SAFETY: the caller's duties.
    if call.args()[at] != 0 && unsafe { time_of_sleep(call) }.is_none() {
        return None; // the kernel is to find the fault in it, whether or not the call waits
    }
    let past = Timespec::default();
    let now = changed(call, at, &raw const past as usize);
    // SAFETY: the caller's duties; the time is live.
    let answer = unsafe { in_place(&now) }.raw();
    std::hint::black_box(&past);
    (answer != -ETIMEDOUT && answer != -EINVAL).then_some(answer)
}
