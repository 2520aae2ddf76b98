//! The way from the home kernel thread to the crew, and back.

#![allow(unsafe_code, reason = "moves the running thread to another kernel thread and back")]

use std::time::{Duration, Instant};

use syslet_sys::arch::{self, Errand, Verdict};
use syslet_sys::call;
use syslet_sys::uapi::{self, SignalStack};

use super::attach::register_end;
use super::engine::{Engine, engine, engine_of_guest};
use super::guest::Guest;
use super::kick;
use super::{home, identity, local, rseq};
use crate::AttachError;
use crate::sync::{Ordering, lock};

/// How long a change of ids may take to reach every thread, on a busy machine: attaching to a crew with
/// other ids for good is refused after it.
const SETXID_TIME: Duration = Duration::from_millis(500);

/// How long attaching waits for crew threads to be made before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often attaching looks by itself. It is told of what comes, so this is for the limits above and below; a thousand
/// threads that attach at once look as often each.
const LOOK: Duration = Duration::from_millis(50);

/// How long attaching waits, with the limit reached, for a crew thread whose work is over: on a busy
/// machine it may be preempted on its way to rest, for some time slices.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// Names a field in which the running thread is not what kernel thread `other` is, if it stays so: a `setuid`
/// that is under way on another thread has reached one of the two before the other.
pub(super) fn lasting_difference(other: u32) -> Option<&'static str> {
    let deadline = Instant::now() + SETXID_TIME;
    loop {
        let field = identity::difference_from(other)?;
        if Instant::now() > deadline {
            return Some(field);
        }
        std::thread::yield_now();
    }
}

/// Sees to it that there is a crew thread at all.
pub(super) fn require_one(engine: &Engine) -> std::io::Result<()> {
    if engine.alive.load(Ordering::SeqCst) > 0 {
        return Ok(());
    }
    match acquire_crew(engine, 1) {
        Ok(()) => {
            engine.release();
            Ok(())
        }
        Err(AttachError::Io(_, error)) => Err(error),
        Err(error) => Err(std::io::Error::other(error)),
    }
}

/// Speaks for `count` crew threads, waiting while they are made.
pub(super) fn acquire_crew(engine: &Engine, count: usize) -> Result<(), AttachError> {
    let growth = engine.watchdog.await_growth();
    let begun = Instant::now();
    lock(&engine.spawn_error).take(); // an old one is no answer
    let mut got = 0;
    let result = loop {
        while got < count && engine.acquire() {
            got += 1;
        }
        if got == count {
            break Ok(());
        }
        if let Some(error) = lock(&engine.spawn_error).take() {
            break Err(AttachError::Io("making a crew thread", error));
        }
        // Made for all who wait, not for one after the other.
        let lacking = engine.coming() < engine.watchdog.growing();
        let full = lacking && !engine.grow(count - got) && engine.coming() == 0;
        if begun.elapsed() > if full { ON_ITS_WAY } else { PATIENCE } {
            break Err(AttachError::NoCrew);
        }
        let news = lock(&engine.news.0);
        if engine.spare() > 0 {
            continue;
        }
        let (news, _) = engine
            .credited
            .wait_timeout(news, LOOK)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(news);
    };
    drop(growth);
    if result.is_err() {
        (0..got).for_each(|_| engine.release());
    }
    result
}

/// Makes the running thread the guest. On return it is carried by a crew thread.
pub(super) fn go(engine: &'static Engine, guest: &'static Guest) {
    register_end(); // before anything depends on it
    guest.home.prepare(guest.manners().signal_mask);
    guest.credit.set(true);
    guest.remember_signal_stack(call::signal_stack());
    let tp = arch::thread_pointer();
    // SAFETY: the record is ours; nobody reads it before the home has handed it over.
    unsafe { (*guest.context.get()).tp = tp };
    guest.set_busy(true); // a handler finds no carrier yet
    local::set_guest(guest);
    let data = std::ptr::from_ref(guest).cast_mut().cast();
    // SAFETY: the home's stack is ours until it goes on; `Park` hands the context to one crew thread
    // and says stay once, after `GoHome` has saved the context again and left.
    unsafe { arch::enter::<home::Park>(guest.context.get(), guest.home.stack_top(), tp, data) };
    let cpu = (arch::current_cpu() as usize).min(engine.cpus.len() - 1);
    guest.announce_on(engine, cpu);
    guest.set_busy(false);
}

/// On the home's stack: gives the guest to a crew thread.
pub(super) fn hand_to_crew(guest: &Guest) {
    let engine = engine().expect("the engine was started to attach");
    let near = match guest.manners().affinity.iter().next() {
        Some(cpu) if guest.manners().affinity.iter().count() == 1 => cpu,
        _ => arch::current_cpu() as usize,
    };
    engine.kick_one(near, kick::carry(guest.index));
}

/// Brings the guest back to its home kernel thread.
pub(super) fn detach(engine: &'static Engine, guest: &'static Guest) {
    guest.set_busy(true); // for good: a handler finds no carrier any more
    guest.withdraw(engine);
    if guest.credit.replace(false) {
        engine.release();
    }
    guest.save_keys();
    let crew = guest.carrier();
    let data = std::ptr::from_ref(guest).cast_mut().cast();
    // SAFETY: the crew's stack is free while it carries us; `GoHome` leaves, and the home, which it
    // wakes, goes on with the context once.
    unsafe { arch::enter::<GoHome>(guest.context.get(), crew.stack_top(0), crew.tp(), data) };
    // On the home kernel thread, whose mask is the guest's again.
    rseq::enter();
    guest.restore_keys();
    guest.settle_signal_stack();
    local::set_guest(std::ptr::null());
    crate::stats::retire(engine, guest);
    engine.free_guest(guest);
    engine.attached.fetch_sub(1, Ordering::SeqCst);
}

/// On the crew's stack: wakes the home, and lets the crew thread go on. Its data is the guest whose context was just
/// saved on this kernel thread.
struct GoHome;

impl Errand for GoHome {
    unsafe fn run(data: *mut u8) -> Verdict {
        // SAFETY: the duty of this errand; records are never freed.
        let guest = unsafe { &*data.cast::<Guest>() };
        let crew = guest.carrier();
        guest.note_carrier_stack(crew.guests_signal_stack(engine_of_guest()));
        let mask = call::signal_mask();
        // A setxid that interrupts this thread from here on finds no guest whose home it must tell.
        guest.crew.store(std::ptr::null_mut(), Ordering::Release);
        guest.home.go_on(call::getpid(), mask);
        // The guest is gone: nothing of it is touched from here on.
        Verdict::leave(crew.context())
    }
}

/// In a forked child, which is on a copy of a carrier: the stack that its thread had before.
pub(super) fn put_back_signal_stack(guest: &Guest) {
    let stack = guest.remembered_signal_stack();
    // SAFETY: what the guest's thread had when it was attached; its memory is the thread's.
    unsafe { call::set_signal_stack(&stack) };
}

impl Guest {
    /// The stack that the home kernel thread has.
    fn remember_signal_stack(&self, stack: SignalStack) {
        self.signal_stacks.set((stack, None));
    }

    fn remembered_signal_stack(&self) -> SignalStack {
        self.signal_stacks.get().0
    }

    /// What the guest has put in place of its last carrier's stack, if it has.
    fn note_carrier_stack(&self, foreign: Option<SignalStack>) {
        let (own, _) = self.signal_stacks.get();
        self.signal_stacks.set((own, foreign));
    }

    /// On the home: what the guest did to its signal stack while attached takes effect here.
    fn settle_signal_stack(&self) {
        if let (_, Some(mut stack)) = self.signal_stacks.get() {
            if stack.flags & uapi::SS_DISABLE == 0 {
                stack.flags = 0;
            }
            // SAFETY: what the guest's own code has set up, or switched off, for its thread.
            unsafe { call::set_signal_stack(&stack) };
        }
    }
}
