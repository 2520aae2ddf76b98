//! Submitting a chain: inline as long as no step sleeps, away from the first that does.

#![allow(unsafe_code, reason = "makes system calls, on the crew's stack")]

use syslet_sys::arch::{Errand, Verdict};

use super::handle::{PendingChain, SubmittedChain};
use super::result::{ChainResult, Unclaimed};
use super::run::{ByWaiter, End, InPlace, OnCrew, OnGuest, Stop};
use super::steps::{Chain, Need};
use crate::SubmitError;
use crate::call::Call;
use crate::call::queued::{Made, Queued, Work};
use crate::call::writers::{Place, Turn};
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
/// the caller up; others are queued, in a queue without a bound, as are those of other threads. [`try_submit_chain`]
/// hands them back instead.
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
/// [`SubmitError::Busy`] if no crew thread is left, or the first step writes to a file of which as many writes are
/// away as [`Limits`](crate::Limits) say; and those of [`submit_chain`]. A chain that comes to such a step later waits
/// there.
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
    // SAFETY: the caller's duties.
    if let Some(stop) = unsafe { first_stop(engine_of_guest(), &chain, or_busy) }
        && !guest.in_handler()
    {
        // SAFETY: as above.
        return unsafe { wait_for_turn(guest, chain, stop, or_busy) };
    }
    match guest.ready() {
        // SAFETY: the caller's duties; the guest is ready.
        Ok(()) => unsafe { submit_guest(guest, chain, or_busy) },
        // SAFETY: the caller's duties.
        Err(lost) => unsafe { submit_unprotected(guest, chain, lost, or_busy) },
    }
}

/// Chain and result, above the crew's stack top: the guest may go on while they are used.
struct Frame {
    chain: Chain,
    end: Option<Result<End, Stop>>,
    guest: *const Guest,
    crew: *const Crew,
    engine: *const Engine,
}

/// # Safety
///
/// Those of [`submit_chain`], and the guest, which the running code is, is ready.
#[inline]
unsafe fn submit_guest(
    guest: &'static Guest,
    chain: Chain,
    or_busy: bool,
) -> Result<SubmittedChain, SubmitError<Chain>> {
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
            match end.expect("a chain that finished inline left its end") {
                Ok(end) => Ok(SubmittedChain::Done(ChainResult::new(chain, end))),
                // SAFETY: the caller's duties.
                Err(stop) => unsafe { wait_for_turn(guest, chain, stop, or_busy) },
            }
        }
        Crossing::Away(slot, write) => {
            if let Some(write) = write {
                engine_of_guest().writers.gone_away(write);
            }
            Ok(SubmittedChain::Pending(PendingChain::new(slot)))
        }
    }
}

/// Many writes of a file are away: the chain waits for its turn, at the step that writes.
///
/// # Safety
///
/// Those of [`submit_chain`].
#[cold]
unsafe fn wait_for_turn(
    guest: &'static Guest,
    chain: Chain,
    stop: Stop,
    or_busy: bool,
) -> Result<SubmittedChain, SubmitError<Chain>> {
    if or_busy && stop.at == 0 {
        return Err(SubmitError::Busy(chain));
    }
    let _busy = guest.keep_busy(); // a handler would find locks held
    let left = Left { chain, from: stop.at };
    // SAFETY: the caller's duties.
    Ok(unsafe { queue(engine_of_guest(), left, Err(stop.place)) })
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
        let end = unsafe { frame.chain.run(0, &mut make) };
        if make.finish() {
            frame.end = Some(end);
            return Verdict::stay(0);
        }
        // SAFETY: as above.
        unsafe { finish_away(engine, crew, std::mem::take(&mut frame.chain), end) }
    }
}

/// The guest is gone: stores the result, or has the chain wait for its turn, and goes on with the crew thread.
///
/// # Safety
///
/// The duties of [`submit_chain`].
#[cold]
#[inline(never)]
unsafe fn finish_away(
    engine: &'static Engine,
    crew: &Crew,
    chain: Chain,
    end: Result<End, Stop>,
) -> Verdict {
    match end {
        Ok(end) => crew.complete(outcome(chain, end)),
        Err(stop) => {
            let left = Left { chain, from: stop.at };
            // SAFETY: the duty of this function.
            unsafe { Queued::queue_away(engine, left, stop.place, crew.give_up_slot()) };
        }
    }
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
    let end = ended(unsafe { chain.run(0, &mut InPlace) });
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
    let engine = engine_of_guest();
    // SAFETY: the duties of `submit_chain`.
    let turn = unsafe { first_turn(engine, &chain) };
    if or_busy && turn.is_err() {
        return Err(SubmitError::Busy(chain));
    }
    // SAFETY: as above.
    Ok(unsafe { queue(engine, Left { chain, from: 0 }, turn) })
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
    // SAFETY: the duties of `submit_chain`.
    let turn = unsafe { first_turn(engine, &chain) };
    if or_busy && (turn.is_err() || !engine.has_room()) {
        return Err(SubmitError::Busy(chain));
    }
    // SAFETY: as above.
    Ok(unsafe { queue(engine, Left { chain, from: 0 }, turn) })
}

/// The call of the first step, if it writes.
///
/// # Safety
///
/// Those of [`submit_chain`].
#[inline]
unsafe fn first_write(chain: &Chain) -> Option<Call> {
    let first = chain.steps.first().filter(|step| step.class.writes())?;
    let mut call = first.call;
    // SAFETY: the duty of this function.
    unsafe { chain.fill(first, &mut call) };
    Some(call)
}

/// Whether a guest's chain has to wait for its turn before its first step. It is not left to whoever makes that: a
/// guest that is taken over meanwhile would not be told.
///
/// # Safety
///
/// Those of [`submit_chain`].
#[inline]
unsafe fn first_stop(engine: &Engine, chain: &Chain, or_busy: bool) -> Option<Stop> {
    // SAFETY: the duty of this function.
    let descriptor = unsafe { first_write(chain) }?.args()[0];
    engine.place_of_guest(descriptor, or_busy).err().map(|place| Stop { at: 0, place })
}

/// The turn that the first step of a chain needs, which a crew thread is to make; if there is none, where it has to
/// wait for one. Taken here: of many chains each would have a thread made, only to find this out.
///
/// # Safety
///
/// Those of [`submit_chain`].
unsafe fn first_turn(engine: &'static Engine, chain: &Chain) -> Result<Turn, Place> {
    // SAFETY: the duty of this function.
    match unsafe { first_write(chain) } {
        Some(write) => engine.turn(&write),
        None => Ok(Turn::of_none(engine)),
    }
}

/// Queues what is left of a chain: for a crew thread if it has its turn, and for that if not.
///
/// # Safety
///
/// Those of [`submit_chain`].
unsafe fn queue(engine: &'static Engine, left: Left, turn: Result<Turn, Place>) -> SubmittedChain {
    // SAFETY: the duties of `submit_chain`: the calls may be made until the chain ends, wherever that is.
    SubmittedChain::Pending(PendingChain::new(unsafe { Queued::queue(engine, left, turn) }))
}

/// What is left of a chain: the steps from this one on.
#[derive(Debug)]
struct Left {
    chain: Chain,
    from: usize,
}

impl Work for Left {
    unsafe fn on_crew(mut self, crew: &'static Crew, slot: &Slot, turn: Turn) -> Made<Self> {
        if slot.cancel_asked() {
            return Made::Over(self.cancelled());
        }
        let engine = turn.engine();
        let mut make = OnCrew { crew, engine, turn: turn.if_counted() };
        // SAFETY: the duty of this function.
        match unsafe { self.chain.run(self.from, &mut make) } {
            Ok(end) => Made::Over(outcome(self.chain, end)),
            Err(stop) => Made::Waits(stop.place, Self { from: stop.at, ..self }),
        }
    }

    unsafe fn here(mut self) -> Outcome {
        // SAFETY: the duty of this function.
        let end = ended(unsafe { self.chain.run(self.from, &mut ByWaiter) });
        outcome(self.chain, end)
    }

    fn cancelled(mut self) -> Outcome {
        let end = self.chain.cancel_at(self.from);
        outcome(self.chain, end)
    }

    fn has_begun(&self) -> bool {
        self.from > 0
    }
}

/// The end of a chain that was not made by a crew thread: its writes wait for no turn.
fn ended(end: Result<End, Stop>) -> End {
    end.expect("only what takes a crew thread is counted")
}
