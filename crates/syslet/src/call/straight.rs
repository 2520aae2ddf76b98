//! A call made as the guest that asks for it, in one piece of assembly: nearly every call goes this way.

#![allow(unsafe_code, reason = "makes system calls, on the crew's stack")]

use syslet_sys::arch::{ProtectedCall, Turns, Verdict};

use super::number::Call;
use super::retry::Clockwork;
use super::submit::finish_away;
use super::writers::Place;
use crate::crew::{Cpu, Crew, Crossing, Engine, Guest};

/// What the call needs, above the crew's stack top: the guest may go on while it is used.
#[repr(C)]
struct Frame {
    protected: ProtectedCall,
    number: u64,
    guest: *const Guest,
    crew: *const Crew,
    engine: *const Engine,
    cpu: *const Cpu,
    /// Where a write is counted.
    place: Place,
}

static TURNS: Turns = Turns { rouse, contended };

/// Makes `call`.
///
/// # Safety
///
/// 1. The duties of `submit`.
/// 2. The guest, which the running code is, is ready; `crew` carries it, and `engine` is asymmetric.
#[inline(always)]
pub(super) unsafe fn cross(
    guest: &'static Guest,
    crew: &'static Crew,
    engine: &'static Engine,
    call: &Call,
    place: Place,
) -> Crossing<isize> {
    let frame: *mut Frame = guest.room(size_of::<Frame>()).cast();
    let (number, cpu) = guest.next_call(engine);
    let protected =
        ProtectedCall { call: call.copied().0, cancel: &raw const crew.cancel, turns: &TURNS };
    // SAFETY: free memory of the crew's stack, of the frame's size and 16-aligned.
    unsafe { frame.write(Frame { protected, number, guest, crew, engine, cpu, place }) };
    // SAFETY: duty 2; the turns are as asked; the call is duty 1.
    unsafe { guest.cross_for_call(cpu, number, frame.cast()) }
}

/// On the crew's stack: nobody watches.
///
/// # Safety
///
/// `call` is the beginning of a [`Frame`] on this very stack.
#[cold]
unsafe extern "C" fn rouse(call: *mut ProtectedCall) {
    // SAFETY: the duty of this function.
    let frame = unsafe { &*call.cast::<Frame>() };
    // SAFETY: engines are never freed.
    let engine = unsafe { &*frame.engine };
    // SAFETY: of the engine.
    engine.rouse(unsafe { &*frame.cpu });
}

/// On the crew's stack: the call is over, and a standby wants the guest or has it.
///
/// # Safety
///
/// `call` is the beginning of a [`Frame`] on this very stack, of the guest that was just left, and the duties of
/// `submit`.
#[cold]
unsafe extern "C" fn contended(call: *mut ProtectedCall, answer: isize) -> Verdict {
    // SAFETY: the duty of this function; the stack outlives this use of it.
    let frame = unsafe { &*call.cast::<Frame>() };
    // SAFETY: records are never freed.
    let guest = unsafe { &*frame.guest };
    if guest.finish_contended(frame.number) {
        return Verdict::stay(answer as usize);
    }
    // SAFETY: as above.
    let crew = unsafe { &*frame.crew };
    // SAFETY: as above.
    let engine = unsafe { &*frame.engine };
    let call = Call(frame.protected.call);
    // SAFETY: the duties of `submit`.
    unsafe { finish_away(crew, engine, call, answer, &Clockwork::none(), frame.place) }
}
