//! Submitting a call: inline if it does not sleep, away if it does.

#![allow(unsafe_code, reason = "makes system calls, on the crew's stack")]

use syslet_catalog::{Class, Waits};
use syslet_sys::arch::{self, Errand, Verdict};
use syslet_sys::uapi::EINTR;

use super::kinds::Kind;
use super::number::{Call, Ret};
use super::pending::{Pending, outcome_of};
use super::queued::Queued;
use super::retry::Clockwork;
use super::route::submit_waiting;
use super::straight;
use super::transfer::is_read_at;
use super::unattached::try_unattached;
use super::writers::{Place, Write};
use crate::complete::Slot;
use crate::crew::{
    Crew, Crossing, Engine, Guest, Lost, Settings, current_crew, current_guest, engine_of_guest,
    start,
};
use crate::{Refusal, SubmitError};

/// How a submission went.
#[derive(Debug)]
#[must_use = "a call that is pending tells its answer to the handle only"]
pub enum Submitted {
    /// The call is over: this is its answer.
    Done(Ret),
    /// The call waits; the caller has gone on.
    Pending(Pending),
}

impl Submitted {
    /// True if the call finished inline.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The answer, waiting for it if need be.
    ///
    /// # Blocking
    ///
    /// Until the call ends.
    pub fn wait(self) -> Ret {
        match self {
            Self::Done(ret) => ret,
            Self::Pending(pending) => pending.wait(),
        }
    }
}

/// Makes a system call, any that is not bound to the kernel thread. On an attached thread it is run
/// where the caller stands: if it does not sleep the answer is there at once, and if it does the
/// caller goes on within microseconds, with a [`Pending`]. On other threads what can be asked for without
/// waiting is tried on the spot, and the rest goes to the crew pool; inside a threadlet, and in a signal
/// handler that has interrupted a guest's call, it is the plain call.
///
/// What waits for readiness, a time or a child is parked where that is possible, and keeps no thread.
///
/// If no crew thread is left, calls that wait for nothing or for a disk are made in place and may hold
/// the caller up; others are queued, and so is all that goes to the crew pool. The queue has no bound: what is in
/// it may wait for what its caller does next, who would wait for ever if it were made to wait for room. Whoever
/// may submit more than ends, such as a server, bounds that by [`try_submit`], which hands a call back instead of
/// queueing it.
///
/// ```
/// use syslet::{Call, Submitted, submit};
/// # #[allow(unsafe_code)]
/// // SAFETY: getpid touches no memory.
/// let submitted = unsafe { submit(Call::new(libc::SYS_getpid as usize, [])) }?;
/// assert_eq!(submitted.wait().raw() as u32, std::process::id());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`SubmitError::Refused`] if the call is unknown or must not run on another kernel thread. Nothing
/// was run. A call that fails is not an error here: see [`Ret`].
///
/// # Safety
///
/// 1. What the call does to memory or to the process is sound at any time until it ends, which may be
///    after this function has returned: all memory that its arguments point to stays valid and, where
///    the kernel writes, unused by others until then. Dropping the [`Pending`] does not end the call.
/// 2. The same for what the arguments name, such as descriptors.
///
/// # Blocking
///
/// No, but for calls made in place, and where as many calls are parked as
/// [`Limits::parked`](crate::Limits::parked) says: then until one of them is over.
#[inline]
pub unsafe fn submit(call: Call) -> Result<Submitted, SubmitError<Call>> {
    // SAFETY: the caller's duties.
    unsafe { submit_how(call, false) }
}

/// As [`submit`], but a call that can neither be protected nor run at once is handed back. Nothing of it was done then:
/// one that has written a part, or begun to connect, is parked beyond the bound.
///
/// # Errors
///
/// [`SubmitError::Busy`] if no crew thread is left, or a bound of [`Limits`](crate::Limits) is reached; and
/// those of [`submit`].
///
/// # Safety
///
/// As [`submit`].
///
/// # Blocking
///
/// No, but for calls made in place.
#[inline]
pub unsafe fn try_submit(call: Call) -> Result<Submitted, SubmitError<Call>> {
    // SAFETY: the caller's duties.
    unsafe { submit_how(call, true) }
}

#[inline(always)]
unsafe fn submit_how(call: Call, or_busy: bool) -> Result<Submitted, SubmitError<Call>> {
    let class = syslet_catalog::class(call.nr() as u32);
    if (!class.movable() || call.nr() > u32::MAX as usize)
        && let Some(why) = refusal(call.nr(), call.values())
    {
        return Err(SubmitError::Refused(call, why));
    }
    if !class.may_wait() {
        // Cannot sleep: nothing to protect the caller from.
        // SAFETY: the caller's duties; the catalogue lets it run on any thread.
        return Ok(Submitted::Done(unsafe { in_place(&call) }));
    }
    // SAFETY: null, or a record, which is never freed.
    let guest = unsafe { current_guest().as_ref() };
    // A guest runs what is on storage as it is: if it sleeps somebody takes over.
    if class.may_park()
        && (guest.is_none()
            || !class.parks_on_descriptor()
            || !Kind::guess(call.0[1]).is_warm_storage())
    {
        // SAFETY: the caller's duties.
        if let Some(routed) = unsafe { route(&call, guest, or_busy) } {
            return routed;
        }
    }
    let Some(guest) = guest else {
        // SAFETY: the caller's duties.
        return unsafe { submit_unattached(call, or_busy) };
    };
    let place =
        if class.writes() { engine_of_guest().writers.place(call.0[1]) } else { Place::NONE };
    if class.writes() && engine_of_guest().writers.full(place) {
        // SAFETY: the caller's duties.
        return unsafe { submit_to_full(guest, call, class, or_busy) };
    }
    // SAFETY: the caller's duties.
    unsafe { submit_attached(guest, &call, class, place, or_busy) }
}

/// The call stays where it was written a moment ago: a copy would be made two words at a time, and wait for the cache.
///
/// # Safety
///
/// Those of [`submit`].
#[inline(always)]
unsafe fn submit_attached(
    guest: &'static Guest,
    call: &Call,
    class: Class,
    place: Place,
    or_busy: bool,
) -> Result<Submitted, SubmitError<Call>> {
    match guest.ready() {
        // SAFETY: the caller's duties; the guest is ready.
        Ok(()) => Ok(unsafe { submit_guest(guest, call, class, place) }),
        // SAFETY: the caller's duties.
        Err(lost) => unsafe { submit_unprotected(guest, *call, lost, or_busy) },
    }
}

/// A guest's write of a file of which as many are away as may be, as far as is known.
///
/// # Safety
///
/// Those of [`submit`].
#[cold]
#[inline(never)]
unsafe fn submit_to_full(
    guest: &'static Guest,
    call: Call,
    class: Class,
    or_busy: bool,
) -> Result<Submitted, SubmitError<Call>> {
    let engine = engine_of_guest();
    match engine.place_of_guest(call.0[1], or_busy) {
        // SAFETY: the caller's duties.
        Ok(place) => unsafe { submit_attached(guest, &call, class, place, or_busy) },
        // It may have interrupted who holds the lock of those that wait.
        // SAFETY: the caller's duties.
        Err(_) if guest.in_handler() => unsafe {
            submit_unprotected(guest, call, Lost::InHandler, or_busy)
        },
        Err(_) if or_busy => Err(SubmitError::Busy(call)),
        Err(place) => {
            let _busy = guest.keep_busy(); // a handler would find locks held
            // SAFETY: the caller's duties: the call may be made until it ends, wherever that is.
            let queued = unsafe { Queued::queue(engine, call, Err(place)) };
            Ok(Submitted::Pending(Pending::new(queued)))
        }
    }
}

/// What waits for readiness, a time or a child; `None`: it is made as any other.
///
/// # Safety
///
/// Those of [`submit`].
#[inline(never)]
unsafe fn route(
    call: &Call,
    guest: Option<&'static Guest>,
    or_busy: bool,
) -> Option<Result<Submitted, SubmitError<Call>>> {
    if guest.is_none() && !current_crew().is_null() {
        return None; // inside a threadlet: in place
    }
    // SAFETY: the caller's duties.
    unsafe { submit_waiting(call, guest, or_busy) }
}

/// What a call needs, above the crew's stack top: the guest may go on while it is used.
pub(super) struct Frame {
    pub(super) call: Call,
    pub(super) guest: *const Guest,
    pub(super) crew: *const Crew,
    pub(super) engine: *const Engine,
    /// Where a write is counted.
    pub(super) place: Place,
}

/// # Safety
///
/// Those of [`submit`], and the guest, which the running code is, is ready.
#[inline(always)]
unsafe fn submit_guest(
    guest: &'static Guest,
    call: &Call,
    class: Class,
    place: Place,
) -> Submitted {
    let (crew, engine) = (guest.carrier(), engine_of_guest());
    let crossing = if class.has_relative_timeout() || !engine.is_asymmetric() {
        let room = size_of::<Frame>();
        let frame: *mut Frame = guest.room(room).cast();
        // SAFETY: free memory of the crew's stack, of the frame's size and 16-aligned.
        unsafe { frame.write(Frame { call: call.copied(), guest, crew, engine, place }) };
        // SAFETY: the guest is ready; the errand begins and finishes as asked and does not unwind.
        unsafe { guest.cross::<BySteps, _>(room, frame.cast(), |value| value as isize) }
    } else {
        // SAFETY: as above; the call is the caller's duty.
        unsafe { straight::cross(guest, crew, engine, call, place) }
    };
    match crossing {
        Crossing::Inline(answer) => Submitted::Done(Ret::new(answer)),
        Crossing::Away(slot, _) => {
            if class.parks_on_descriptor() {
                let _ = Kind::doubt(call.0[1]); // for the next one
            }
            if class.writes() {
                engine_of_guest().writers.gone_away(Write { place, descriptor: call.0[1] });
            } else if is_read_at(call) {
                note_cold(call);
            }
            Submitted::Pending(Pending::new(slot))
        }
    }
}

/// A read that went away was cold: the next ones are tried first, once io_uring is there for them.
#[cold]
fn note_cold(call: &Call) {
    let engine = engine_of_guest();
    if engine.park.disk.takes_reads() {
        Kind::was_cold(call.0[1]);
    } else {
        engine.start_disk();
    }
}

/// The frame's parts.
///
/// # Safety
///
/// `data` is a [`Frame`] on this very stack, of the guest that was just left.
#[inline(always)]
pub(super) unsafe fn parts(
    data: *mut u8,
) -> (&'static Call, &'static Guest, &'static Crew, &'static Engine) {
    // SAFETY: the duty of this function; the stack outlives this use of it.
    let frame = unsafe { &*data.cast::<Frame>() };
    // SAFETY: records are never freed.
    let guest = unsafe { &*frame.guest };
    // SAFETY: as above.
    let crew = unsafe { &*frame.crew };
    // SAFETY: as above.
    let engine = unsafe { &*frame.engine };
    (&frame.call, guest, crew, engine)
}

/// On the crew's stack: a call with a time limit that counts from its beginning, or one that is begun and finished with
/// fences. Its data is as [`parts`] has it; the duties of [`submit`] besides.
struct BySteps;

impl Errand for BySteps {
    #[inline(always)]
    unsafe fn run(data: *mut u8) -> Verdict {
        // SAFETY: the duty of this errand.
        let (call, guest, crew, engine) = unsafe { parts(data) };
        // SAFETY: the duties of `submit`: a time limit is memory of the call's.
        let clock = unsafe { Clockwork::start(call) };
        let number = guest.begin(engine, crew);
        // SAFETY: as above.
        let answer = unsafe { arch::syscall_cancellable(&crew.cancel, &call.0) };
        if guest.finish(engine, crew, number) {
            return Verdict::stay(answer as usize);
        }
        // SAFETY: as `parts` has it.
        let place = unsafe { (*data.cast::<Frame>()).place };
        // SAFETY: the duties of `submit`.
        unsafe { finish_away(crew, engine, *call, answer, &clock, place) }
    }
}

/// The guest is gone: repeats what the kernel broke off unasked, gives the turn at `place` back, stores the answer, and
/// goes on with the crew thread.
///
/// # Safety
///
/// The duties of [`submit`].
#[cold]
#[inline(never)]
pub(super) unsafe fn finish_away(
    crew: &Crew,
    engine: &Engine,
    call: Call,
    answer: isize,
    clock: &Clockwork,
    place: Place,
) -> Verdict {
    // SAFETY: the duties of `submit`.
    let answer = unsafe { clock.persist(crew, call, answer) };
    engine.writer_left(place); // who hears of the end finds its room
    // SAFETY: it has just ended.
    crew.complete(unsafe { outcome_of(&call, answer) });
    Verdict::leave(crew.context())
}

/// Makes the call here and now.
///
/// # Safety
///
/// Those of [`submit`].
#[inline(always)]
pub(super) unsafe fn in_place(call: &Call) -> Ret {
    let args = [call.0[1], call.0[2], call.0[3], call.0[4], call.0[5], call.0[6]];
    // SAFETY: the duties of `submit`.
    Ret::new(unsafe { arch::syscall(call.nr(), args) })
}

/// Makes a call in a closure, on its thread: for closures that interpret calls for a program. If the closure's
/// caller has gone on, no handler has run on its behalf, so what the kernel breaks off with `EINTR` is
/// made again with the time that is left, as it is with submitted calls. Everywhere else this is the plain
/// call.
///
/// # Safety
///
/// Those of [`submit`], and the call may be made on any thread.
///
/// # Blocking
///
/// Until the call ends.
#[doc(hidden)]
#[inline]
pub unsafe fn make_here(nr: usize, args: &[usize; 6]) -> Ret {
    if syslet_catalog::class(nr as u32).has_relative_timeout() {
        // SAFETY: the duties of this function.
        return unsafe { make_timed_here(&Call::new(nr, *args)) };
    }
    // SAFETY: as above. (Not as a `Call`: words that were just written are slow to copy.)
    let answer = unsafe { arch::syscall(nr, *args) };
    if answer == -EINTR {
        let call = Call::new(nr, *args);
        // SAFETY: as above.
        return unsafe { make_again_here(&call, Ret::new(answer), &Clockwork::none()) };
    }
    Ret::new(answer)
}

/// As [`make_here`], with a time limit that counts from the beginning.
///
/// # Safety
///
/// As [`make_here`].
#[cold]
unsafe fn make_timed_here(call: &Call) -> Ret {
    // SAFETY: the duties of `make_here`: the time limit is memory of the call's.
    let clock = unsafe { Clockwork::start(call) };
    // SAFETY: as above.
    let ret = unsafe { in_place(call) };
    // SAFETY: as above.
    unsafe { make_again_here(call, ret, &clock) }
}

/// # Safety
///
/// As [`make_here`].
#[cold]
unsafe fn make_again_here(call: &Call, ret: Ret, clock: &Clockwork) -> Ret {
    // SAFETY: null, or a record, which is never freed.
    match unsafe { current_crew().as_ref() } {
        Some(crew) if !crew.makes_guests_call() => {
            // SAFETY: the duties of `make_here`.
            Ret::new(unsafe { clock.persist(crew, *call, ret.raw()) })
        }
        _ => ret,
    }
}

/// Why a call of number `nr`, which is not movable, is refused with these arguments, if it is.
#[cold]
#[inline(never)]
pub(super) fn refusal(nr: usize, args: [Option<usize>; 6]) -> Option<Refusal> {
    let Some(entry) = u32::try_from(nr).ok().and_then(syslet_catalog::lookup) else {
        return Some(Refusal::Unknown(nr));
    };
    entry.runs.reason_with(args).map(|reason| Refusal::BoundToThread(entry.name, reason))
}

/// A guest that cannot be protected now.
///
/// # Safety
///
/// Those of [`submit`].
#[cold]
unsafe fn submit_unprotected(
    guest: &'static Guest,
    call: Call,
    lost: Lost,
    or_busy: bool,
) -> Result<Submitted, SubmitError<Call>> {
    if lost == Lost::InHandler {
        // SAFETY: the duties of `submit`. A signal handler makes plain calls.
        return Ok(Submitted::Done(unsafe { in_place(&call) }));
    }
    let disk = syslet_catalog::lookup(call.nr() as u32).is_some_and(|e| e.waits == Waits::Disk);
    if lost == Lost::NoCrew && disk {
        guest.counters.in_place.add(1);
        // SAFETY: the duties of `submit`. What waits for a disk ends by itself, so the guest is not
        // waited for by what it waits for.
        return Ok(Submitted::Done(unsafe { in_place(&call) }));
    }
    // It would wait for a thread, and have it for as long as it waits: if that is not for a disk, it needs none.
    if syslet_catalog::class(call.nr() as u32).parks_on_descriptor()
        && Kind::doubt(call.0[1])
        // SAFETY: the duties of `submit`.
        && let Some(routed) = unsafe { route(&call, Some(guest), or_busy) }
    {
        return routed;
    }
    if lost == Lost::NoCrew && or_busy {
        return Err(SubmitError::Busy(call));
    }
    guest.counters.queued.add(1);
    let _busy = guest.keep_busy(); // a handler would find locks held
    // SAFETY: the duties of `submit`.
    unsafe { enqueue(engine_of_guest(), call, or_busy) }
}

/// A thread that is not attached.
///
/// # Safety
///
/// Those of [`submit`].
#[cold]
unsafe fn submit_unattached(call: Call, or_busy: bool) -> Result<Submitted, SubmitError<Call>> {
    if !current_crew().is_null() {
        // Inside a threadlet: the caller of that has gone on already, or will.
        // SAFETY: the duties of `submit`.
        return Ok(Submitted::Done(unsafe { in_place(&call) }));
    }
    // SAFETY: the duties of `submit`.
    if let Some(submitted) = unsafe { try_unattached(&call) } {
        return Ok(submitted);
    }
    if syslet_catalog::class(call.nr() as u32).parks_on_descriptor()
        && Kind::doubt(call.0[1])
        // SAFETY: the duties of `submit`.
        && let Some(routed) = unsafe { route(&call, None, or_busy) }
    {
        return routed;
    }
    let Ok(engine) = start(Settings::default()) else {
        // No thread can be made at all.
        // SAFETY: the duties of `submit`.
        return Ok(Submitted::Done(unsafe { in_place(&call) }));
    };
    if or_busy && !engine.has_room() {
        return Err(SubmitError::Busy(call));
    }
    // SAFETY: the duties of `submit`.
    unsafe { enqueue(engine, call, or_busy) }
}

/// Queues the call for a crew thread; a write behind those of its file, if they are many.
///
/// # Safety
///
/// Those of [`submit`].
pub(super) unsafe fn enqueue(
    engine: &'static Engine,
    call: Call,
    or_busy: bool,
) -> Result<Submitted, SubmitError<Call>> {
    let turn = engine.turn(&call);
    if or_busy && turn.is_err() {
        return Err(SubmitError::Busy(call));
    }
    // SAFETY: the duties of `submit`: the call may be made until it ends, wherever that is.
    let queued = unsafe { Queued::queue(engine, call, turn) };
    Ok(Submitted::Pending(Pending::new(queued)))
}

/// A queued call, on its crew thread.
///
/// # Safety
///
/// Those of [`submit`].
pub(super) unsafe fn make_on_crew(crew: &'static Crew, slot: &Slot, call: Call) -> isize {
    if slot.cancel_asked() {
        return -syslet_sys::uapi::ECANCELED;
    }
    // SAFETY: the duties of `submit`.
    let clock = unsafe { Clockwork::start(&call) };
    // SAFETY: as above.
    let answer = unsafe { arch::syscall_cancellable(&crew.cancel, &call.0) };
    // SAFETY: as above.
    unsafe { clock.persist(crew, call, answer) }
}
