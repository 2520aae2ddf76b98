//! `io_submit(2)`.

#![allow(unsafe_code, reason = "reads a program's requests, behind a look whether they are there")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use syslet_dropin::attach::attach_if_wanted;
use syslet_dropin::launch;
use syslet_dropin::memory;
use syslet_dropin::report::Kind;
use syslet_sys::uapi::Iocb;

use crate::abi::{error, eventfd, kind_of};
use crate::context::{Context, Mode, REPORT};
use crate::register;
use crate::route::{Route, route};
use crate::work;
use crate::{change, kernel};

/// `io_submit(2)`, with its error number as an answer.
pub(crate) fn io_submit(address: usize, number: isize, iocbs: usize) -> isize {
    let ours = register::with(address, |context| submit(context, number, iocbs));
    ours.unwrap_or_else(|| kernel::io_submit(address, number, iocbs))
}

fn submit(context: &Arc<Context>, number: isize, iocbs: usize) -> isize {
    let Ok(number) = usize::try_from(number) else { return error(libc::EINVAL) };
    if context.mode() == Mode::Dead {
        return error(libc::EINVAL);
    }
    attach_if_wanted();
    let mut done = 0;
    while done < number {
        let at = iocbs.wrapping_add(done * size_of::<usize>());
        match some(context, at, number - done) {
            Ok(accepted) => done += accepted,
            Err(error) if done == 0 => {
                REPORT.answered(error as i64);
                return error;
            }
            Err(_) => break,
        }
    }
    done as isize
}

/// Submits the first request at `at`, and those after it that the kernel may have with it; says how many.
fn some(context: &Arc<Context>, at: usize, most: usize) -> Result<usize, isize> {
    let (obj, iocb) = read(at)?;
    let way = route(&iocb);
    loop {
        let mode = context.mode();
        match (mode, way) {
            (Mode::Dead, _) => return Err(error(libc::EINVAL)),
            (Mode::Own, _) => {
                return work::start(context, &iocb, obj, way).map(|()| 1);
            }
            // Without a crew the kernel does it as well, and the program waits.
            (_, Route::Buffered { .. }) if launch::has_crew() => {
                change::become_own(context, &iocb)?;
            }
            (Mode::Fresh, _) => return pass_first(context, at, &iocb),
            (Mode::Kernel, _) => {
                let run = 1 + (1..most).take_while(|next| is_kernels(at + next * 8)).count();
                if let Some(passed) = pass(context, at, run, &iocb) {
                    return passed;
                }
            }
        }
    }
}

/// A request: where its block is, and what it says.
fn read(at: usize) -> Result<(u64, Iocb), isize> {
    let fault = |_| error(libc::EFAULT);
    // SAFETY: the program's duties.
    let obj = unsafe { memory::read_known::<usize>(at) }.map_err(fault)?;
    // SAFETY: as above.
    Ok((obj as u64, unsafe { memory::read_known::<Iocb>(obj) }.map_err(fault)?))
}

/// True if the request there may be passed on together with those before it.
fn is_kernels(at: usize) -> bool {
    read(at).is_ok_and(|(_, iocb)| !matches!(route(&iocb), Route::Buffered { .. } | Route::Kernel))
}

/// The first request of a context: if the kernel takes it, the context is one of its own from here on.
fn pass_first(context: &Context, at: usize, iocb: &Iocb) -> Result<usize, isize> {
    let gate = context.change();
    if context.mode() != Mode::Fresh {
        return Ok(0); // it is looked at again
    }
    let answer = counted(context, at, 1, iocb);
    if answer > 0 {
        let state = context.state();
        context.set_mode(Mode::Kernel);
        context.ring_bell();
        drop(state);
    }
    drop(gate);
    context.wake(answer > 0);
    accepted(answer)
}

/// Passes `run` requests on. `None`: the context is not the kernel's any more.
fn pass(context: &Context, at: usize, run: usize, iocb: &Iocb) -> Option<Result<usize, isize>> {
    let _gate = context.pass();
    (context.mode() == Mode::Kernel).then(|| accepted(counted(context, at, run, iocb)))
}

fn accepted(answer: isize) -> Result<usize, isize> {
    usize::try_from(answer).map_err(|_| answer)
}

/// Passes requests on. Duty: the gate is held.
pub(crate) fn counted(context: &Context, at: usize, run: usize, first: &Iocb) -> isize {
    let kinds = if REPORT.is_open() { kinds(at, run) } else { Vec::new() };
    let answer = kernel::io_submit(context.kernel, run as isize, at);
    if answer > 0 {
        context.passed.fetch_add(answer as u64, Ordering::Relaxed);
        if let Some(eventfd) = eventfd(first) {
            context.passed_eventfd.store(eventfd as u32 + 1, Ordering::Relaxed);
        }
        kinds.into_iter().take(answer as usize).for_each(|kind| REPORT.passed_on(kind));
    }
    answer
}

/// What requests are, before the kernel has them: after that their blocks are the program's again.
#[cold]
fn kinds(at: usize, run: usize) -> Vec<Kind> {
    let kind = |index| read(at + index * size_of::<usize>()).map(|(_, iocb)| kind_of(iocb.opcode));
    (0..run).map_while(|index| kind(index).ok()).collect()
}
