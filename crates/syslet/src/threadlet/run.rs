//! Running a closure on the crew's stack.

#![allow(unsafe_code, reason = "moves a closure to another stack and its result back")]

use std::marker::PhantomData;
use std::mem::{align_of, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::slice_from_raw_parts;
use std::sync::Arc;
use std::thread;

use syslet_sys::arch::{Errand, Verdict};
use syslet_sys::uapi::ECANCELED;

use crate::complete::{Outcome, Slot, drop_caught};
use crate::crew::{
    Crew, Crossing, Engine, Guest, Job, Lost, MAX_ROOM, Settings, current_guest, engine_of_guest,
    generation, on_crew_thread, start,
};

/// Where the result of a launched closure is.
#[derive(Debug)]
pub(crate) enum Launched<T> {
    /// Here.
    Inline(thread::Result<T>),
    /// It will be in the slot.
    Away(Arc<Slot>),
}

/// Closure and result, above the crew's stack top: neither the guest's memory, which may go on
/// without them, nor on the heap.
struct Frame<F, T, A, S> {
    work: Option<(F, A, S)>,
    result: Option<thread::Result<T>>,
    guest: *const Guest,
    crew: *const Crew,
    engine: &'static Engine,
}

/// Runs `f`, and `after` once its result is stored or handed over; tells it whether `f` panicked.
///
/// Gives `f` back if `or_busy` and no crew thread is left.
///
/// The types need not be `'static`: who passes others sees to it that what they borrow outlives
/// `after`.
/// `store` makes the outcome of a result that is not inline, where `f` ran: for a handle,
/// [`Outcome::owned`].
#[inline(always)]
pub(crate) fn launch<F, T, A, S>(f: F, after: A, or_busy: bool, store: S) -> Result<Launched<T>, F>
where
    F: FnOnce() -> T + Send,
    T: Send,
    A: FnOnce(bool) + Send,
    S: FnOnce(thread::Result<T>) -> Outcome + Send,
{
    let mut result = None;
    Ok(match launch_into(f, after, or_busy, store, &mut result)? {
        None => Launched::Inline(result.expect("a closure that finished inline left its result")),
        Some(slot) => Launched::Away(slot),
    })
}

/// As [`launch`]; the result of a closure that finishes inline goes to `result`, which is empty.
#[inline(always)]
fn launch_into<F, T, A, S>(
    f: F,
    after: A,
    or_busy: bool,
    store: S,
    result: &mut Option<thread::Result<T>>,
) -> Result<Option<Arc<Slot>>, F>
where
    F: FnOnce() -> T + Send,
    T: Send,
    A: FnOnce(bool) + Send,
    S: FnOnce(thread::Result<T>) -> Outcome + Send,
{
    if let Some(guest) = guest_with_room::<Frame<F, T, A, S>>(0) {
        match guest.ready() {
            // SAFETY: the guest is ready, and the frame fits.
            Ok(()) => return Ok(unsafe { launch_guest(guest, [], |[]| f, after, store, result) }),
            Err(Lost::NoCrew) if or_busy => return Err(f),
            Err(_) => guest.counters.queued.add(1),
        }
    }
    launch_elsewhere(f, after, or_busy, store).map(Some)
}

/// As [`launch_into`], with copies of `parts` for `f`. They are made where `f` runs, once: as part of the
/// closure they would be moved with it from place to place.
#[inline(always)]
pub(super) fn launch_with<const N: usize, F, T>(
    parts: [&[u8]; N],
    f: F,
    result: &mut Option<thread::Result<T>>,
) -> Option<Arc<Slot>>
where
    F: FnOnce([&[u8]; N]) -> T + Send + 'static,
    T: Send + 'static,
{
    let length = parts.iter().map(|part| part.len()).sum();
    // The closure in the frame is `f` and the copies; the two other functions have no size.
    if let Some(guest) = guest_with_room::<Frame<(F, [Copied; N]), T, (), ()>>(length) {
        if guest.ready().is_ok() {
            let make = |copies: [Copied; N]| {
                // SAFETY: the closure runs beside the copies, and what `f` answers does not borrow.
                move || f(copies.map(|copy| unsafe { copy.bytes() }))
            };
            // SAFETY: the guest is ready, and the frame fits.
            return unsafe { launch_guest(guest, parts, make, |_| (), Outcome::owned, result) };
        }
        guest.counters.queued.add(1);
    }
    let parts = parts.map(Box::<[u8]>::from);
    let f = move || f(parts.each_ref().map(|part| &**part));
    match launch_elsewhere(f, |_| (), false, Outcome::owned) {
        Ok(slot) => Some(slot),
        Err(_) => unreachable!("nobody asked for an answer that says busy"),
    }
}

/// The running guest, if frames of this type and `more` bytes have room on its crew's stack.
#[inline(always)]
fn guest_with_room<Frame>(more: usize) -> Option<&'static Guest> {
    // SAFETY: null, or a record, which is never freed.
    let guest = unsafe { current_guest().as_ref() }?;
    let fits = size_of::<Frame>() + more <= MAX_ROOM.min(engine_of_guest().stack_size / 16);
    (fits && align_of::<Frame>() <= 16).then_some(guest)
}

/// Bytes on the stack of a crew thread, beside the frame of the closure that was made for them.
#[derive(Debug, Clone, Copy)]
struct Copied(*const [u8]);

// SAFETY: nobody writes them, and only the closure that runs beside them has them.
unsafe impl Send for Copied {}

impl Copied {
    /// # Safety
    ///
    /// The closure that they were made for is running, and does so for `'a`.
    #[inline(always)]
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: written by `launch_guest`, and free again only after the closure.
        unsafe { &*self.0 }
    }
}

/// Runs `f`, which waits for a disk at most, as [`launch`] does; here and now on a crew thread, and where
/// there is no crew thread to go on with the caller: what ends by itself must not wait for one.
#[inline]
pub(crate) fn launch_or_stay<F, T>(f: F) -> Launched<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let stay = |f: F| Launched::Inline(catch_unwind(AssertUnwindSafe(f)));
    // SAFETY: null, or a record, which is never freed.
    let guest = unsafe { current_guest().as_ref() };
    if guest.is_none() && (on_crew_thread() || start(Settings::default()).is_err()) {
        return stay(f);
    }
    launch(f, |_| (), true, Outcome::owned).unwrap_or_else(|f| {
        if let Some(guest) = guest {
            guest.counters.in_place.add(1);
        }
        stay(f)
    })
}

/// Runs the closure that `make` makes, which is told where the copies of `parts` are.
///
/// # Safety
///
/// The running code is `guest`, which is ready, and the frame fits into the room with `parts`.
#[inline(always)]
unsafe fn launch_guest<const N: usize, F, T, A, S>(
    guest: &'static Guest,
    parts: [&[u8]; N],
    make: impl FnOnce([Copied; N]) -> F,
    after: A,
    store: S,
    result: &mut Option<thread::Result<T>>,
) -> Option<Arc<Slot>>
where
    F: FnOnce() -> T + Send,
    T: Send,
    A: FnOnce(bool) + Send,
    S: FnOnce(thread::Result<T>) -> Outcome + Send,
{
    let engine = engine_of_guest();
    let crew = guest.carrier();
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let room = size_of::<Frame<F, T, A, S>>() + length;
    let frame: *mut Frame<F, T, A, S> = guest.room(room).cast();
    // SAFETY: the room begins with the frame.
    let mut end: *mut u8 = unsafe { frame.add(1) }.cast();
    let copies = parts.map(|part| {
        let copy = end;
        // SAFETY: free memory of the crew's stack, of this length in all, which no one else's slice is in.
        unsafe { copy.copy_from_nonoverlapping(part.as_ptr(), part.len()) };
        // SAFETY: as above: not beyond the room.
        end = unsafe { end.add(part.len()) };
        Copied(slice_from_raw_parts(copy, part.len()))
    });
    let work = Some((make(copies), after, store));
    // SAFETY: free memory of the crew's stack, of the frame's size and 16-aligned.
    unsafe { frame.write(Frame { work, result: None, guest, crew, engine }) };
    // Nothing of the user's is dropped while a signal handler must not use the stack.
    debug_assert!(result.is_none());
    let place: *mut Option<thread::Result<T>> = result;
    let fetch = |_| {
        // SAFETY: we still have the guest and so the crew's stack: the frame is as `Run` left it.
        let result = unsafe { &raw const (*frame).result };
        // Not returned through `cross`, and not taken out first: each step would copy it.
        // SAFETY: moved: nobody looks at the frame again. The place is the caller's, which is empty.
        unsafe { place.copy_from_nonoverlapping(result, 1) };
    };
    // SAFETY: the guest is ready; `Run` begins and finishes as asked and does not unwind.
    match unsafe { guest.cross::<Run<F, T, A, S>, _>(room, frame.cast(), fetch) } {
        Crossing::Inline(()) => None,
        Crossing::Away(slot, _) => Some(slot),
    }
}

/// On the crew's stack. Its data is a [`Frame`] on this very stack, of the guest that was just left.
struct Run<F, T, A, S>(PhantomData<(F, T, A, S)>);

impl<F, T, A, S> Errand for Run<F, T, A, S>
where
    F: FnOnce() -> T + Send,
    T: Send,
    A: FnOnce(bool) + Send,
    S: FnOnce(thread::Result<T>) -> Outcome + Send,
{
    #[inline(always)]
    unsafe fn run(data: *mut u8) -> Verdict {
        let frame: *mut Frame<F, T, A, S> = data.cast();
        // SAFETY: the duty of this errand: the frame is on this stack, nobody else uses it.
        let frame = unsafe { &mut *frame };
        // SAFETY: records are never freed.
        let guest = unsafe { &*frame.guest };
        let (f, after, store) =
            frame.work.take().expect("the closure was put there by `launch_guest`");
        // SAFETY: records are never freed.
        let crew = unsafe { &*frame.crew };
        let number = guest.begin(frame.engine, crew);
        // Straight to where it is fetched: results may be large.
        let result = &mut frame.result;
        let caught = catch_unwind(AssertUnwindSafe(|| *result = Some(Ok(f()))));
        let panicked = caught.is_err();
        if let Err(payload) = caught {
            *result = Some(Err(payload));
        }
        if guest.finish(frame.engine, crew, number) {
            after(panicked);
            return Verdict::stay(0);
        }
        let result = result.take().expect("stored above");
        finish_away(crew, result, after, store)
    }
}

/// The guest is gone: stores the result, and goes on with the crew thread.
#[cold]
#[inline(never)]
fn finish_away<T, A, S>(crew: &Crew, result: thread::Result<T>, after: A, store: S) -> Verdict
where
    A: FnOnce(bool),
    S: FnOnce(thread::Result<T>) -> Outcome,
{
    let panicked = result.is_err();
    crew.complete(store(result));
    after(panicked);
    Verdict::leave(crew.context())
}

/// Makes sure that there is a crew thread to launch a closure on: for surfaces that promise an error where
/// launching panics.
///
/// # Errors
///
/// If not even one can be made.
#[doc(hidden)]
#[inline]
pub fn ensure_crew() -> std::io::Result<()> {
    if current_guest().is_null() { start(Settings::default()).map(drop) } else { Ok(()) }
}

/// Queues the closure for a crew thread.
pub(super) fn launch_elsewhere<F, T, A, S>(
    f: F,
    after: A,
    or_busy: bool,
    store: S,
) -> Result<Arc<Slot>, F>
where
    F: FnOnce() -> T + Send,
    T: Send,
    A: FnOnce(bool) + Send,
    S: FnOnce(thread::Result<T>) -> Outcome + Send,
{
    let engine = start(Settings::default())
        .unwrap_or_else(|error| panic!("syslet: the crew cannot be started: {error}"));
    if or_busy && !engine.has_room() {
        return Err(f);
    }
    let slot = Arc::new(Slot::new(0, generation()));
    let finisher = Arc::clone(&slot);
    let work = move |_: &_| {
        if !finisher.begin() {
            drop_caught(|| drop(f));
            // Only queues cancel closures, and what they are sent are numbers.
            finisher.complete(Outcome::Number(-ECANCELED));
            after(false);
            return;
        }
        let result = catch_unwind(AssertUnwindSafe(f));
        let panicked = result.is_err();
        finisher.complete(store(result));
        after(panicked);
    };
    let work: Box<dyn FnOnce(&'static Crew) + Send + '_> = Box::new(work);
    // SAFETY: only the lifetime is changed. Who launches something that borrows waits for `after`,
    // after which nothing borrowed is touched (see `scope`).
    let work: Box<dyn FnOnce(&'static Crew) + Send + 'static> =
        unsafe { std::mem::transmute(work) };
    // SAFETY: null, or a record, which is never freed.
    let guest = unsafe { current_guest().as_ref() };
    let _busy = guest.map(Guest::keep_busy); // a handler that submits would find locks held
    engine.enqueue(Job::new(work));
    Ok(slot)
}
