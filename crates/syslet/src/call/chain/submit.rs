//! Submitting a chain: inline as long as no step sleeps, away from the first that does.

#![allow(unsafe_code, reason = "makes system calls, on the crew's stack")]

use syslet_sys::arch::{Errand, Verdict};

use super::handle::{PendingChain, SubmittedChain};
use super::result::{ChainResult, Unclaimed};
use super::run::{ByWaiter, End, InPlace, OnCrew, OnGuest};
use super::steps::{Chain, Need};
use crate::SubmitError;
use crate::call::queued::{Queued, Work};
use crate::complete::{Outcome, Slot};
use crate::crew::{
    Crew, Crossing, Engine, Guest, Lost, Settings, current_crew, current_guest, engine_of_guest,
    start,
};

/// Makes the system calls of a chain, one after the other, as [`submit`](crate::submit) makes one. On
/// an attached thread they are run where the caller stands, all in one go: if none of them sleeps
/// their answers are there at once, and if one does the caller goes on within microseconds, with a
/// [`PendingChain`], while the chain goes on elsewhere to its end. On other threads the chain goes to the
/// crew pool as one piece, unless none of its calls can wait.
///
/// If no crew thread is left, chains that wait for nothing but a disk are made in place and may hold
/// the caller up; others are queued. [`try_submit_chain`] hands them back instead.
///
/// ```
/// use syslet::{Arg, Chain, When, submit_chain};
///
/// let (path, mut buffer) = (c"Cargo.toml", [0u8; 9]);
/// let mut chain = Chain::new();
/// let here = libc::AT_FDCWD as usize;
/// let open = chain.push(
///     libc::SYS_openat as usize,
///     [here.into(), (path.as_ptr() as usize).into(), Arg::Value(libc::O_CLOEXEC as usize)],
/// );
/// chain.stop_on(open, When::Negative);
/// let read = chain.push(
///     libc::SYS_read as usize,
///     [open.into(), (buffer.as_mut_ptr() as usize).into(), buffer.len().into()],
/// );
/// let close = chain.push(libc::SYS_close as usize, [open.into()]);
///
/// # #[allow(unsafe_code)]
/// // SAFETY: path and buffer outlive the wait; the descriptor is the chain's own.
/// let result = unsafe { submit_chain(chain) }?.wait();
/// assert_eq!(result.ret(read).map(|ret| ret.raw()), Some(9));
/// assert_eq!(&buffer, b"[package]");
/// assert_eq!(result.last().map(|(step, _)| step), Some(close));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`SubmitError::Refused`] if the call of a step is unknown or must not run on another kernel thread;
/// it says which step. Nothing was run. A step that fails is not an error here.
///
/// # Safety
///
/// The duties of [`submit`](crate::submit) for every step, until the chain has ended:
///
/// 1. What its calls do to memory or to the process is sound at any time, for whatever results the
///    arguments may be taken from: of steps that failed or were left out, too, unless a rule of the chain
///    keeps the step from being made then.
/// 2. Memory that arguments point to stays valid, and that of [`Arg::At`](crate::Arg::At) can be read.
///    Dropping the [`PendingChain`] does not end the chain.
///
/// # Blocking
///
/// No, but for chains made in place.
#[inline]
pub unsafe fn submit_chain(chain: Chain) -> Result<SubmittedChain, SubmitError<Chain>> {
    // SAFETY: the caller's duties.
    unsafe { submit_how(chain, false) }
}

/// As [`submit_chain`], but a chain that can neither be protected nor run at once is handed back.
///
/// # Errors
///
/// [`SubmitError::Busy`] if no crew thread is left, and those of [`submit_chain`].
///
/// # Safety
///
/// As [`submit_chain`].
///
/// # Blocking
///
/// As [`submit_chain`].
#[inline]
pub unsafe fn try_submit_chain(chain: Chain) -> Result<SubmittedChain, SubmitError<Chain>> {
    // SAFETY: the caller's duties.
    unsafe { submit_how(chain, true) }
}

#[inline]
unsafe fn submit_how(chain: Chain, or_busy: bool) -> Result<SubmittedChain, SubmitError<Chain>> {
    if chain.is_refused()
        && let Some(why) = chain.refusal()
    {
        return Err(SubmitError::Refused(chain, why));
    }
    if chain.need() == Need::Nothing {
        // Cannot sleep: nothing to protect the caller from.
        // SAFETY: the caller's duties; the catalogue lets the calls run on any thread.
        return Ok(unsafe { in_place(chain) });
    }
    // SAFETY: null, or a record, which is never freed.
    let Some(guest) = (unsafe { current_guest().as_ref() }) else {
        // SAFETY: the caller's duties.
        return unsafe { submit_unattached(chain, or_busy) };
    };
    match guest.ready() {
        // SAFETY: the caller's duties; the guest is ready.
        Ok(()) => Ok(unsafe { submit_guest(guest, chain) }),
        // SAFETY: the caller's duties.
        Err(lost) => unsafe { submit_unprotected(guest, chain, lost, or_busy) },
    }
}

/// Chain and result, above the crew's stack top: the guest may go on while they are used.
struct Frame {
    chain: Chain,
    end: Option<End>,
    guest: *const Guest,
    crew: *const Crew,
    engine: *const Engine,
}

/// # Safety
///
/// Those of [`submit_chain`], and the guest, which the running code is, is ready.
#[inline]
unsafe fn submit_guest(guest: &'static Guest, chain: Chain) -> SubmittedChain {
    let room = size_of::<Frame>();
    let frame: *mut Frame = guest.room(room).cast();
    let (crew, engine) = (guest.carrier(), engine_of_guest());
    // SAFETY: free memory of the crew's stack, of the frame's size and 16-aligned.
    unsafe { frame.write(Frame { chain, end: None, guest, crew, engine }) };
    // SAFETY: we still have the guest and so the crew's stack: the frame is as `Run` left it, and is not
    // used again.
    let fetch = |_| unsafe { frame.read() };
    // SAFETY: the guest is ready; `Run` begins and finishes as asked and does not unwind.
    match unsafe { guest.cross::<Run, _>(room, frame.cast(), fetch) } {
        Crossing::Inline(Frame { chain, end, .. }) => {
            let end = end.expect("a chain that finished inline left its end");
            SubmittedChain::Done(ChainResult::new(chain, end))
        }
        Crossing::Away(slot) => SubmittedChain::Pending(PendingChain::new(slot)),
    }
}

/// On the crew's stack. Its data is a [`Frame`] on this very stack, of the guest that was just left; the duties of
/// [`submit_chain`] besides.
struct Run;

impl Errand for Run {
    #[inline(always)]
    unsafe fn run(data: *mut u8) -> Verdict {
        // SAFETY: the duty of this errand: the frame is on this stack, nobody else uses it.
        let frame = unsafe { &mut *data.cast::<Frame>() };
        // SAFETY: records are never freed.
        let guest = unsafe { &*frame.guest };
        // SAFETY: as above.
        let crew = unsafe { &*frame.crew };
        // SAFETY: as above.
        let engine = unsafe { &*frame.engine };
        let mut make = OnGuest::begin(guest, crew, engine);
        // SAFETY: the duties of `submit_chain`.
        let end = unsafe { frame.chain.run(&mut make) };
        if make.finish() {
            frame.end = Some(end);
            return Verdict::stay(0);
        }
        finish_away(crew, std::mem::take(&mut frame.chain), end)
    }
}

/// The guest is gone: stores the result, and goes on with the crew thread.
#[cold]
#[inline(never)]
fn finish_away(crew: &Crew, chain: Chain, end: End) -> Verdict {
    crew.complete(outcome(chain, end));
    Verdict::leave(crew.context())
}

fn outcome(chain: Chain, end: End) -> Outcome {
    Outcome::owned(Unclaimed::new(ChainResult::new(chain, end)))
}

/// Makes the chain here and now.
///
/// # Safety
///
/// Those of [`submit_chain`].
unsafe fn in_place(mut chain: Chain) -> SubmittedChain {
    // SAFETY: the duty of this function.
    let end = unsafe { chain.run(&mut InPlace) };
    SubmittedChain::Done(ChainResult::new(chain, end))
}

/// A guest that cannot be protected now.
///
/// # Safety
///
/// Those of [`submit_chain`].
#[cold]
unsafe fn submit_unprotected(
    guest: &Guest,
    chain: Chain,
    lost: Lost,
    or_busy: bool,
) -> Result<SubmittedChain, SubmitError<Chain>> {
    if lost == Lost::InHandler {
        // SAFETY: the duties of `submit_chain`. A signal handler makes plain calls.
        return Ok(unsafe { in_place(chain) });
    }
    if lost == Lost::NoCrew && chain.need() <= Need::Disk {
        guest.counters.in_place.add(1);
        // SAFETY: the duties of `submit_chain`. What waits for a disk ends by itself, so the guest is
        // not waited for by what it waits for.
        return Ok(unsafe { in_place(chain) });
    }
    if lost == Lost::NoCrew && or_busy {
        return Err(SubmitError::Busy(chain));
    }
    guest.counters.queued.add(1);
    let _busy = guest.keep_busy(); // a handler would find locks held
    // SAFETY: the duties of `submit_chain`.
    Ok(unsafe { enqueue(engine_of_guest(), chain) })
}

/// A thread that is not attached.
///
/// # Safety
///
/// Those of [`submit_chain`].
#[cold]
unsafe fn submit_unattached(
    chain: Chain,
    or_busy: bool,
) -> Result<SubmittedChain, SubmitError<Chain>> {
    if !current_crew().is_null() {
        // Inside a threadlet: the caller of that has gone on already, or will.
        // SAFETY: the duties of `submit_chain`.
        return Ok(unsafe { in_place(chain) });
    }
    let Ok(engine) = start(Settings::default()) else {
        // No thread can be made at all.
        // SAFETY: the duties of `submit_chain`.
        return Ok(unsafe { in_place(chain) });
    };
    if or_busy && !engine.has_room() {
        return Err(SubmitError::Busy(chain));
    }
    // SAFETY: the duties of `submit_chain`.
    Ok(unsafe { enqueue(engine, chain) })
}

/// Queues the chain for a crew thread.
///
/// # Safety
///
/// Those of [`submit_chain`].
unsafe fn enqueue(engine: &'static Engine, chain: Chain) -> SubmittedChain {
    // SAFETY: the duties of `submit_chain`: the calls may be made until the chain ends, wherever that is.
    SubmittedChain::Pending(PendingChain::new(unsafe { Queued::queue(engine, chain, None) }))
}

impl Work for Chain {
    unsafe fn on_crew(mut self, crew: &'static Crew, slot: &Slot) -> Outcome {
        if slot.cancel_asked() {
            return self.cancelled();
        }
        // SAFETY: the duty of this function.
        let end = unsafe { self.run(&mut OnCrew(crew)) };
        outcome(self, end)
    }

    unsafe fn here(mut self) -> Outcome {
        // SAFETY: the duty of this function.
        let end = unsafe { self.run(&mut ByWaiter) };
        outcome(self, end)
    }

    fn cancelled(mut self) -> Outcome {
        let end = self.cancel_first();
        outcome(self, end)
    }
}
