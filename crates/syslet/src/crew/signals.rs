//! The one signal that the crew uses, and how it shares it with glibc.
//!
//! glibc keeps signal 33 to itself: `setuid` and its kin send it to every thread, whose handler makes
//! the same call there and reports through its thread pointer. Programs can neither block it nor
//! handle it. We put our handler before glibc's:
//!
//! - a crew thread answers with *its own* thread pointer, whatever it carries, or the sender would
//!   wait for ever; and it makes the home of its guest change its ids too, because glibc, which takes
//!   the guest for its thread, skips the caller's own;
//! - a signal with [`CANCEL_CODE`] interrupts a call that went away.

#![allow(unsafe_code, reason = "signal handlers")]

use syslet_sys::uapi::{SI_TKILL, SIGSETXID, Siginfo, UContext};
use syslet_sys::{arch, call};

use super::ending;
use super::engine::{Engine, engine};
use super::home::LETTERS;
use super::identity::Ids;
use super::member::Crew;
use crate::sync::{AtomicUsize, Ordering};

/// `si_code` of a cancel; negative, as for every signal that a process sends, and of nobody else's.
pub(crate) const CANCEL_CODE: i32 = -7_331;

/// `si_code` of a home's word to the carrier that a signal waits for its guest.
pub(super) const LETTER_CODE: i32 = -7_332;

/// `si_code` of a knock at the keeper's door: it only interrupts.
pub(crate) const KNOCK_CODE: i32 = -7_333;

/// `si_code` of what a crew thread puts behind its own pending signals, and takes again.
pub(super) const MARK_CODE: i32 = -7_335;

/// Signals that a crew thread blocks unless it carries a guest: all but ours and those of faults.
pub(crate) const CREW_MASK: u64 = !(OURS | SYNCHRONOUS);

/// Our signal, and glibc's.
pub(super) const OURS: u64 = bit(SIGSETXID);

/// Signals that report a fault of the running code: blocked, they would end the process without a
/// word.
const SYNCHRONOUS: u64 = bit(libc::SIGILL)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGSEGV)
    | bit(libc::SIGSYS);

pub(super) const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// glibc's own handler; 0 until [`install`] has found it.
static THEIRS: AtomicUsize = AtomicUsize::new(0);

type Handler = extern "C" fn(i32, *mut Siginfo, *mut UContext);

/// Puts our handler before glibc's. glibc installs its own with the first thread that it makes, so
/// this comes after that. Duty: one engine is started at a time.
pub(super) fn install() {
    let Ok(mut action) = call::signal_action(SIGSETXID) else { return };
    let ours = handle as Handler as usize;
    if action.handler == ours {
        return;
    }
    THEIRS.store(action.handler, Ordering::Release);
    action.handler = ours;
    // SA_SIGINFO and SA_RESTART are glibc's own flags; without a handler of theirs (0 or 1) they are not
    // set. Not SA_ONSTACK, which is: two kernel threads may have the same alternate stack for a while,
    // see `Crew::guests_signal_stack`, and this signal comes to both.
    action.flags |= (libc::SA_SIGINFO | libc::SA_RESTART) as u64;
    action.flags &= !(libc::SA_ONSTACK as u64);
    // No handler of the program's on top of ours.
    action.mask = !0;
    // SAFETY: `handle` is async-signal-safe and restores the one register that it changes.
    unsafe { call::set_signal_action(SIGSETXID, &action) };
}

/// Our handler. Uses no thread-locals: it may run with a thread pointer that is not the thread's.
extern "C" fn handle(signal: i32, info: *mut Siginfo, context: *mut UContext) {
    // SAFETY: the kernel's own structure, on this thread's stack.
    let Siginfo { code, pid, value, .. } = unsafe { *info };
    let engine = engine();
    let crew = engine.and_then(|engine| engine.crew_of_tid(call::gettid()));
    if code == CANCEL_CODE {
        if let Some(crew) = crew.filter(|_| pid == call::getpid()) {
            // SAFETY: as above.
            cancel_here(crew, value, unsafe { &*info }, context);
        }
        return;
    }
    if code == KNOCK_CODE {
        return;
    }
    if code == LETTER_CODE {
        if pid == call::getpid() {
            // SAFETY: the kernel's own structure, on this thread's stack.
            let blocked = unsafe { (*context).signal_mask };
            letter_here(crew, pid, value, blocked);
        }
        return;
    }
    match (engine, crew) {
        (Some(engine), Some(crew)) => answer_on_crew(engine, crew, signal, info, context),
        (Some(engine), None) if engine.watchdog.is_running() => {
            pass_on(signal, info, context);
            engine.renew_sentinels(); // those made until now have its old ids
        }
        _ => pass_on(signal, info, context),
    }
}

/// The cancel of one slot's call arrived on the thread that makes it, or has made it.
fn cancel_here(crew: &Crew, slot: usize, info: &Siginfo, context: *mut UContext) {
    if crew.slot_seen() as usize != slot {
        return;
    }
    crew.cancel.store(1, Ordering::Relaxed);
    // SAFETY: the context that the kernel passed to the running handler.
    let inside = unsafe { arch::cancel_in_handler(context) };
    // Outside the call it may be a handler of the program's that was interrupted, after which the kernel
    // takes the call up again without a look at the flag. So the signal comes again when the handler
    // returns to the mask that was before it, or the crew thread takes its own. (A thread without a
    // guest blocks the program's signals.)
    if !inside
        && !crew.guest.load(Ordering::Relaxed).is_null()
        && call::queue_to_thread(info.pid, call::gettid(), info) >= 0
    {
        // SAFETY: the kernel's own structure, on this thread's stack.
        unsafe { (*context).signal_mask |= OURS };
    }
}

/// A signal waits in a home for the guest that this thread carries, or carried a moment ago.
/// The interrupted code blocks `blocked`.
fn letter_here(crew: Option<&Crew>, pid: i32, value: usize, blocked: u64) {
    // Whoever may signal this process can send this with any value, so it is only looked up.
    let Some(guest) = engine().and_then(|engine| engine.guest(value / LETTERS)) else { return };
    let here = guest.carrier_now().zip(crew).is_some_and(|(a, b)| std::ptr::eq(a, b));
    let taken = guest.home.receive(pid, value % LETTERS, here);
    let ends = |info: &Siginfo| blocked & bit(info.signo) != 0 && ending::ends_process(info);
    if let (Some(info), Some(engine)) = (taken.filter(ends), engine()) {
        engine.watchdog.hand_on(info.signo);
    }
}

/// A setxid on a crew thread, whatever it carries.
fn answer_on_crew(
    engine: &Engine,
    crew: &Crew,
    signal: i32,
    info: *mut Siginfo,
    context: *mut UContext,
) {
    let running = arch::thread_pointer();
    let guest = crew.guest.load(Ordering::Relaxed);
    // SAFETY: null, or a record, which is never freed.
    let guest = unsafe { guest.as_ref() };
    let answered = guest.map_or(0, |guest| guest.home.answered());
    // SAFETY: glibc's handler uses thread-locals, and these are the kernel thread's own.
    unsafe { arch::set_thread_pointer(crew.tp()) };
    pass_on(signal, info, context);
    if let Some(guest) = guest {
        let still = || guest.carrier_now().is_some_and(|carrier| std::ptr::eq(carrier, crew));
        let follow = |ids| guest.home.take_ids(engine.pid, &ids, answered, still);
        let followed = !still() || Ids::of_this_thread().is_ok_and(follow);
        if !followed {
            // As glibc does when a thread cannot follow: half-changed ids are not to be lived with.
            std::process::abort();
        }
    }
    engine.renew_sentinels();
    // SAFETY: back to what the interrupted code had.
    unsafe { arch::set_thread_pointer(running) };
}

/// Runs glibc's handler.
fn pass_on(signal: i32, info: *mut Siginfo, context: *mut UContext) {
    let theirs = THEIRS.load(Ordering::Acquire);
    if theirs > 1 {
        // SAFETY: the handler that was installed for this signal, with SA_SIGINFO.
        let theirs: Handler = unsafe { std::mem::transmute(theirs) };
        theirs(signal, info, context);
    }
}

/// A setxid that a parked home has taken instead of being interrupted by it. The home runs with the
/// guest's thread pointer, which is what glibc's handler must see; it changes atomics there only.
pub(super) fn answer_setxid(signal: i32, info: &Siginfo) {
    if info.code == SI_TKILL {
        let mut copy = *info;
        pass_on(signal, &mut copy, std::ptr::null_mut());
    }
}
