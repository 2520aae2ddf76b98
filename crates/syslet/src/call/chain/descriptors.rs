//! Descriptors that the steps of a chain have made, for the case that nobody takes them over.

#![allow(unsafe_code, reason = "reads the pair that a call has stored")]

use std::ops::Range;

use libc::{c_int, c_long};
use syslet_catalog::Makes;
use syslet_sys::call;
use syslet_sys::uapi::CLOSE_RANGE_CLOEXEC;

use super::steps::{Chain, NOT_RUN, Step, StepId};
use crate::call::Call;
use crate::call::pending::made_by_op;

/// What a call has done to the descriptor table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touched {
    /// Nothing that has to be known.
    Nothing,
    /// It has made this one.
    Made(c_int),
    /// It has made these two.
    MadePair([c_int; 2]),
    /// It has closed, or replaced, those from the first to the last.
    Closed(u32, u32),
}

fn makes(nr: usize) -> Makes {
    let entry = u32::try_from(nr).ok().and_then(syslet_catalog::lookup);
    entry.map_or(Makes::Nothing, |entry| entry.makes)
}

/// What `call`, which has just answered, has done.
///
/// # Safety
///
/// What the call has stored is readable.
#[inline(never)]
pub(super) unsafe fn touched(call: &Call, answer: isize) -> Touched {
    let args = call.args();
    match call.nr() as c_long {
        // Whatever else it answers, the descriptor is gone: close(2).
        libc::SYS_close if answer != -(libc::EBADF as isize) => {
            Touched::Closed(args[0] as u32, args[0] as u32)
        }
        _ if answer < 0 => Touched::Nothing,
        libc::SYS_close_range if args[2] & CLOSE_RANGE_CLOEXEC == 0 => {
            Touched::Closed(args[0] as u32, args[1] as u32)
        }
        libc::SYS_dup2 | libc::SYS_dup3 if args[0] as u32 != args[1] as u32 => {
            Touched::Closed(args[1] as u32, args[1] as u32)
        }
        _ => match makes(call.nr()) {
            Makes::Fd => Touched::Made(answer as c_int),
            // SAFETY: the duty of this function: the call has succeeded and stored two.
            Makes::FdPair { arg } => Touched::MadePair(unsafe { read(args[usize::from(arg)]) }),
            Makes::FdByOp { .. } if made_by_op(call) => Touched::Made(answer as c_int),
            Makes::FdByOp { .. } | Makes::Nothing => Touched::Nothing,
        },
    }
}

/// What stands at `address`, aligned or not.
///
/// # Safety
///
/// A `T` is readable there, and nobody writes it.
pub(super) unsafe fn read<T: Copy>(address: usize) -> T {
    // SAFETY: the duty of this function.
    unsafe { (address as *const T).read_unaligned() }
}

/// Closes the descriptors that the chain has made and not closed itself. The `cancelled` step was not made.
pub(super) fn close_made(chain: &Chain, cancelled: Option<StepId>) {
    let made = cancelled.map_or(chain.steps.len(), StepId::index);
    for (at, step) in chain.steps[..made].iter().enumerate() {
        let later = at + 1..made;
        match by_step(chain, step) {
            Touched::Made(fd) => close_unless_closed(chain, fd, later),
            Touched::MadePair(pair) => {
                pair.into_iter().for_each(|fd| close_unless_closed(chain, fd, later.clone()));
            }
            Touched::Nothing | Touched::Closed(..) => {}
        }
    }
}

/// What a step has done.
fn by_step(chain: &Chain, step: &Step) -> Touched {
    match step.answer {
        NOT_RUN => Touched::Nothing,
        _ if step.noted => step.touched,
        answer => {
            let mut call = step.call;
            // SAFETY: a step with arguments from memory is noted.
            unsafe { chain.fill(step, &mut call) };
            // SAFETY: so is one that stores descriptors.
            unsafe { touched(&call, answer) }
        }
    }
}

/// A number may be made, closed and made again: what counts is whether a step after its own, a `later` one,
/// has closed it.
fn close_unless_closed(chain: &Chain, fd: c_int, later: Range<usize>) {
    let closes = |step: &Step| match by_step(chain, step) {
        Touched::Closed(first, last) => (first..=last).contains(&(fd as u32)),
        _ => false,
    };
    if fd >= 0 && !chain.steps[later].iter().any(closes) {
        call::close(fd);
    }
}
