//! aio_cancel(3).

use std::ffi::c_int;
use std::sync::Arc;

use syslet::CancelOutcome;
use syslet_sys::descriptor;

use crate::block::Block;
use crate::desk;
use crate::event::Place;
use crate::request::Request;
use crate::wait;

/// bits/types.h: the three answers, best last.
const CANCELED: c_int = 0;
const NOTCANCELED: c_int = 1;
const ALLDONE: c_int = 2;

/// How long a call that has a thread, and was told to end, is waited for: much longer than it takes a thread
/// that sleeps interruptibly, and short for a program that waits.
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
    let answers = asked.into_iter().map(|(request, asked)| match asked {
        Asked::Cancelled => CANCELED,
        Asked::Told => outcome(request),
        Asked::Over => ALLDONE,
    });
    let answers: Vec<_> = answers.collect();
    let worst = [NOTCANCELED, CANCELED].into_iter().find(|answer| answers.contains(answer));
    Ok(worst.unwrap_or(ALLDONE))
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
    const ECANCELED: isize = -(libc::ECANCELED as isize);
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

/// What has become of a request that was told to end: what is parked has ended already.
fn outcome(request: &Arc<Request>) -> c_int {
    let block = request.block;
    if !wait::wait_a_little(block, A_MOMENT) {
        return NOTCANCELED;
    }
    if block.error() == libc::ECANCELED { CANCELED } else { ALLDONE }
}
