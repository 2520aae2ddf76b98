//! Making an attempt as the guest that asks: even a call that does not wait may touch memory that has to be
//! fetched, so it is protected like any other, and the call itself goes on from there if the guest is taken.

#![allow(unsafe_code, reason = "makes system calls, on the crew's stack")]

use syslet_sys::arch::{self, Errand, Verdict};

use super::decide::{Decision, decide};
use super::number::Call;
use super::pending::{Pending, outcome_of};
use super::queued::{Queued, Rest};
use super::retry::Clockwork;
use super::submit::{Frame, finish_away, parts};
use super::twin::Attempt;
use super::writers::Place;
use crate::crew::{Crew, Crossing, Engine, Guest, engine_of_guest};
use crate::park::Way;

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Tried {
    /// Its answer.
    Here(isize),
    /// Even the attempt slept: the call itself is away.
    Away(Pending),
}

/// What an attempt needs, above the crew's stack top.
struct AttemptFrame {
    attempt: Attempt,
    way: Way,
    frame: Frame,
}

/// Makes an attempt at `call` as the guest that the running code is.
///
/// # Safety
///
/// Those of `submit`, and the guest is ready.
pub(super) unsafe fn try_as_guest(
    guest: &'static Guest,
    attempt: &Attempt,
    call: &Call,
    way: Way,
) -> Tried {
    let room = size_of::<AttemptFrame>();
    let data: *mut AttemptFrame = guest.room(room).cast();
    let (crew, engine) = (guest.carrier(), engine_of_guest());
    let frame = Frame { call: *call, guest, crew, engine, place: Place::NONE };
    // SAFETY: free memory of the crew's stack, of the frame's size and 16-aligned.
    unsafe { data.write(AttemptFrame { attempt: *attempt, way, frame }) };
    // SAFETY: the guest is ready; the function begins and finishes as asked and does not unwind.
    match unsafe { guest.cross::<Try, _>(room, data.cast(), |value| value as isize) } {
        Crossing::Inline(answer) => Tried::Here(answer),
        Crossing::Away(slot, _) => Tried::Away(Pending::new(slot)),
    }
}

/// On the crew's stack. Its data is an [`AttemptFrame`] on this very stack, of the guest that was just left; the duties
/// of `submit` besides.
struct Try;

impl Errand for Try {
    #[inline(always)]
    unsafe fn run(data: *mut u8) -> Verdict {
        // SAFETY: the duty of this errand; the stack outlives this use of it.
        let AttemptFrame { attempt, way, frame } = unsafe { &*data.cast::<AttemptFrame>() };
        // SAFETY: as above: the frame is a part of it.
        let (call, guest, crew, engine) =
            unsafe { parts(std::ptr::from_ref(frame).cast_mut().cast()) };
        let words = attempt.words();
        let number = guest.begin(engine, crew);
        // SAFETY: the duties of `submit`; the attempt stands where its words say.
        let answer = unsafe { arch::syscall_cancellable(&crew.cancel, &words) };
        if guest.finish(engine, crew, number) {
            return Verdict::stay(answer as usize);
        }
        // SAFETY: as above.
        unsafe { finish_attempt(engine, crew, call, *way, answer) }
    }
}

/// The guest is gone, though the attempt did not wait: it was preempted, or something had to be
/// fetched. Goes on as if it were not.
///
/// # Safety
///
/// The duties of `submit`.
#[cold]
#[inline(never)]
unsafe fn finish_attempt(
    engine: &'static Engine,
    crew: &Crew,
    call: &Call,
    way: Way,
    answer: isize,
) -> Verdict {
    let none = Clockwork::none();
    if answer == arch::CANCELLED {
        // SAFETY: the duties of `submit`.
        return unsafe { finish_away(crew, engine, *call, answer, &none, Place::NONE) };
    }
    // SAFETY: as above.
    let answer = match unsafe { decide(call, way, answer) } {
        Decision::Over(answer) => answer,
        Decision::Park(order) => {
            engine.park_away(order, crew.give_up_slot());
            return Verdict::leave(crew.context());
        }
        Decision::Rest(order) => {
            // SAFETY: as above.
            return unsafe { finish_rest(engine, crew, order.call, order.done) };
        }
        // SAFETY: as above.
        Decision::Run => return unsafe { finish_rest(engine, crew, *call, 0) },
    };
    // SAFETY: it has just ended.
    crew.complete(unsafe { outcome_of(call, answer) });
    Verdict::leave(crew.context())
}

/// What is left of `call` waits in the kernel, here, or for its turn, without a thread.
///
/// # Safety
///
/// The duties of `submit`.
unsafe fn finish_rest(engine: &'static Engine, crew: &Crew, call: Call, done: usize) -> Verdict {
    let rest = Rest { call, done };
    match engine.turn(&call) {
        Ok(turn) => {
            // SAFETY: the duty of this function.
            let outcome = unsafe { rest.make(crew) };
            drop(turn); // who hears of the end finds its room
            crew.complete(outcome);
        }
        // SAFETY: as above.
        Err(place) => unsafe { Queued::queue_away(engine, rest, place, crew.give_up_slot()) },
    }
    Verdict::leave(crew.context())
}
