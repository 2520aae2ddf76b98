//! aio_cancel(3).

use std::ffi::c_int;
use std::sync::Arc;

use syslet::CancelOutcome;
use syslet_sys::uapi::Timespec;
use syslet_sys::{call, descriptor};

use crate::block::Block;
use crate::desk;
use crate::event::Place;
use crate::held::Held;
use crate::request::{ECANCELED, Request};
use crate::wait::How;

/// bits/types.h: the three answers.
const CANCELED: c_int = 0;
const NOTCANCELED: c_int = 1;
const ALLDONE: c_int = 2;

/// How long calls that have a thread, and were told to end, are waited for, all of them together: much longer than it
/// takes threads that sleep interruptibly, and short for a program that waits.
const A_MOMENT: u64 = 10_000_000;

/// Cancels the request of a block, or all of a descriptor.
///
/// # Errors
///
/// An error number.
pub(crate) fn cancel(descriptor: c_int, block: Option<Block>) -> Result<c_int, c_int> {
    if descriptor::status_flags(descriptor) < 0 {
        return Err(libc::EBADF);
    }
    if let Some(block) = block {
        if block.descriptor() != descriptor {
            return Err(libc::EINVAL);
        }
        if !block.is_in_progress() {
            return Ok(ALLDONE);
        }
    }
    let _held = Held::new();
    let requests = desk::outstanding(descriptor, block);
    if requests.is_empty() {
        return match block {
            // It says that it is in progress, and is none of ours.
            Some(block) if block.is_in_progress() => Err(libc::EINVAL),
            _ => Ok(ALLDONE),
        };
    }
    // The youngest first: what waits for others is gone before they are.
    let asked: Vec<_> = requests.iter().rev().map(|request| (request, ask(request))).collect();
    let deadline = Timespec::from_nanos(call::monotonic_nanos() + A_MOMENT);
    let mut best = ALLDONE;
    for (request, asked) in asked {
        match asked {
            Asked::Cancelled => best = CANCELED,
            Asked::Told => match request.outcome(&deadline) {
                Some(How::Cancelled) => best = CANCELED,
                Some(How::Done) => {}
                None => return Ok(NOTCANCELED),
            },
            Asked::Over => {}
        }
    }
    Ok(best)
}

/// What became of asking.
enum Asked {
    /// It never begins.
    Cancelled,
    /// It was told, or cannot be.
    Told,
    /// It had ended.
    Over,
}

fn ask(request: &Arc<Request>) -> Asked {
    if desk::withdraw(request) {
        request.finish(ECANCELED, Place::Program);
        return Asked::Cancelled;
    }
    match request.ask_to_end() {
        Some(CancelOutcome::TooLate) if !request.is_over() => Asked::Told,
        Some(CancelOutcome::TooLate) => Asked::Over,
        _ => Asked::Told,
    }
}
