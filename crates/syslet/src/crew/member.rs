//! A crew thread: its record, its life, and how it rests. `carry.rs` has what it does when it is woken.

#![allow(unsafe_code, reason = "owns stacks and slots by raw pointers")]

use std::cell::{Cell, UnsafeCell};
use std::sync::Arc;

use syslet_sys::arch::{self, Context};
use syslet_sys::uapi::{PTHREAD_CANCEL_DISABLE, SS_DISABLE, SchedAttr, SignalStack, Timespec};
use syslet_sys::{call, futex};

use super::affinity::CpuSet;
use super::engine::{Engine, MIN_CREW};
use super::guest::Guest;
use super::signals::CREW_MASK;
use super::thread::SIGNAL_STACK;
use super::word::CallWord;
use super::{kick, local};
use crate::complete::{Outcome, Slot};
use crate::sync::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Whether a crew thread is woken for a CPU that others keep busy. By the watchdog only: it takes calls
/// that a sentinel may not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    No,
    Yes,
}

/// Idle time after which a crew thread ends, if more than needed are resting.
const IDLE_TIME: Timespec = Timespec { sec: 10, nsec: 0 };
/// Crew threads that are kept even when nobody has needed them for a while.
const KEEP: i64 = 4;
/// Time slice of a standby that is woken on a busy CPU, in nanoseconds: the shortest there is.
const HURRIED_SLICE: u64 = 100_000;
/// Room that `stack_top` leaves at the top of the crew's free stack, in bytes.
pub(crate) const MAX_ROOM: usize = 64 << 10;

/// See the module.
///
/// # Safety
///
/// The cells are touched by the crew thread itself only, which includes a guest that it carries
/// before it has published a call (clause *self*). The atomics may be read by anyone. Records are
/// never freed.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Crew {
    /// Where the crew thread goes on when its guest leaves it.
    pub(super) context: UnsafeCell<Context>,
    tp: Cell<usize>,
    pub(super) signal_stack: Cell<(usize, usize)>,
    /// Its lowest address, for other threads.
    signal_stack_seen: AtomicUsize,
    /// The slot for what may go away from here: one reference for the finisher, one for the guest.
    pub(super) slot: Cell<*const Slot>,
    /// The same for signal handlers on other threads' behalf.
    slot_seen: AtomicPtr<Slot>,
    /// The call that it makes for a guest, if any.
    pub(super) word: CallWord,
    /// Set by the cancel signal: do not begin the call.
    pub(crate) cancel: AtomicU32,
    pub(super) kick: AtomicU32,
    tid: AtomicI32,
    /// When (ticks) its call was taken from, or its job began; 0: neither. Only for who looks on.
    pub(super) since: AtomicU64,
    /// CPU on which it rests, or rested last.
    resting_on: AtomicU32,
    /// Guest that it carries, or whose call it makes; for signal handlers.
    pub(super) guest: AtomicPtr<Guest>,
    /// It has carried a guest: children and io_uring requests of the guest may depend on it
    /// ([`dependents`](super::dependents)).
    pub(super) carried: AtomicBool,
    /// How this kernel thread is scheduled now, and its timer slack.
    pub(super) scheduling: Cell<(SchedAttr, usize)>,
    /// The same when it was made: for work of nobody's.
    pub(super) plain_scheduling: Cell<(SchedAttr, usize)>,
    /// What it may run on, as it knows; wrong if `moved`.
    pub(super) affinity: Cell<CpuSet>,
    /// The life of the process that it was made in.
    pub(super) generation: Cell<u32>,
    /// Its time slice was shortened for a kick: to be undone before it carries.
    pub(super) hurried: AtomicBool,
    /// Somebody has pinned it to another CPU while it rested.
    pub(super) moved: AtomicBool,
    pub(crate) index: usize,
}

// SAFETY: see the type.
unsafe impl Sync for Crew {}
// SAFETY: as above; the slot pointer is an owned reference.
unsafe impl Send for Crew {}

impl Crew {
    pub(super) fn new(index: usize) -> Self {
        Self {
            context: UnsafeCell::new(Context::new()),
            tp: Cell::new(0),
            signal_stack: Cell::new((0, 0)),
            signal_stack_seen: AtomicUsize::new(0),
            slot: Cell::new(std::ptr::null()),
            slot_seen: AtomicPtr::new(std::ptr::null_mut()),
            word: CallWord::new(),
            cancel: AtomicU32::new(0),
            kick: AtomicU32::new(kick::EXIT), // there is no thread to take a command
            tid: AtomicI32::new(0),
            since: AtomicU64::new(0),
            resting_on: AtomicU32::new(0),
            guest: AtomicPtr::new(std::ptr::null_mut()),
            carried: AtomicBool::new(false),
            scheduling: Cell::new((SchedAttr::default(), 0)),
            plain_scheduling: Cell::new((SchedAttr::default(), 0)),
            affinity: Cell::new(CpuSet::new()),
            generation: Cell::new(0),
            hurried: AtomicBool::new(false),
            moved: AtomicBool::new(true),
            index,
        }
    }

    /// Its kernel thread.
    pub(crate) fn tid(&self) -> i32 {
        self.tid.load(Ordering::Acquire)
    }

    /// Its own thread pointer.
    #[inline(always)]
    pub(crate) fn tp(&self) -> usize {
        self.tp.get()
    }

    /// Top of the free part of its stack while it carries a guest, less `room` bytes, 16-aligned.
    #[inline(always)]
    pub(crate) fn stack_top(&self, room: usize) -> usize {
        // SAFETY: self: the carried guest reads what `resume` saved on this kernel thread.
        (unsafe { (*self.context.get()).sp } - room) & !15
    }

    /// The room of `room` bytes above [`stack_top`](Self::stack_top).
    #[inline(always)]
    pub(crate) fn room(&self, room: usize) -> *mut u8 {
        self.stack_top(room) as *mut u8
    }

    /// Where to go when the guest has left.
    #[inline(always)]
    pub(crate) fn context(&self) -> *const Context {
        self.context.get()
    }

    /// True if this is the alternate signal stack of the crew thread.
    pub(super) fn has_signal_stack(&self, stack: &SignalStack) -> bool {
        stack.sp != 0 && self.signal_stack_seen.load(Ordering::Acquire) == stack.sp
    }

    /// True if `address` is on the alternate signal stack.
    #[inline(always)]
    pub(super) fn signal_stack_has(&self, address: usize) -> bool {
        let (start, size) = self.signal_stack.get();
        address.wrapping_sub(start) < size
    }

    /// The slot that signal handlers compare with.
    pub(super) fn slot_seen(&self) -> *const Slot {
        self.slot_seen.load(Ordering::Acquire)
    }

    /// Tries to give a command to this thread while it rests; wakes it.
    pub(super) fn kick(&self, command: u32, hurry: Hurry) -> bool {
        let claimed = match hurry {
            Hurry::No => self.claim(command),
            Hurry::Yes => self.claim(kick::HELD) && self.hurry_to(command),
        };
        if claimed {
            futex::wake(&self.kick, 1);
        }
        claimed
    }

    /// Changes how this thread is scheduled while nobody else can wake it: it would take on its guest's ways, and
    /// these would be written over with what was read before. True.
    fn hurry_to(&self, command: u32) -> bool {
        self.shorten_slice();
        // Release: what the command is about.
        self.kick.store(command, Ordering::Release);
        true
    }

    /// With a short time slice the thread runs soon after it wakes (Linux 6.12; before, it changes
    /// nothing).
    fn shorten_slice(&self) {
        if let Ok(mut scheduling) = call::scheduling(self.tid()) {
            scheduling.runtime = HURRIED_SLICE;
            call::set_scheduling(self.tid(), &scheduling);
            self.hurried.store(true, Ordering::Release);
        }
    }

    fn claim(&self, command: u32) -> bool {
        // Release: what the command is about. Acquire: pairs with the store in `rest`.
        self.kick.compare_exchange(kick::NONE, command, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Wakes the thread, whose bit in a resting map is set, again if it was given a command: for a waker
    /// that may have been preempted between the two steps of [`kick`](Self::kick).
    pub(super) fn wake_again(&self) {
        if self.kick.load(Ordering::Acquire) != kick::NONE {
            futex::wake(&self.kick, 1);
        }
    }

    /// Moves this thread, if it rests, to CPU `to`.
    pub(super) fn move_to(&self, engine: &Engine, to: usize) -> bool {
        if !self.claim(kick::HELD) {
            return false;
        }
        // Not where the caller has seen its bit: it may have been busy and rest elsewhere since.
        let from = self.resting_on.load(Ordering::Relaxed) as usize;
        let moved = CpuSet::single(to).apply(self.tid()).is_ok();
        if moved {
            self.moved.store(true, Ordering::Relaxed);
            engine.cpus[from].resting.clear(self.index);
            self.resting_on.store(to as u32, Ordering::Relaxed);
            engine.cpus[to].resting.set(self.index);
        }
        // Release: pairs with the acquire of the next kick, and of the thread if it woke up.
        self.kick.store(kick::NONE, Ordering::Release);
        moved
    }

    /// The life of a crew thread, from its own kernel thread. Returns when it is to end.
    pub(super) fn run(&'static self, engine: &'static Engine) {
        let memory = self.prepare(engine);
        engine.alive.fetch_add(1, Ordering::SeqCst);
        let mut rested = true; // adds a credit
        loop {
            match self.rest(engine, rested) {
                kick::Command::Take(index) => {
                    rested = engine.guest(index).is_some_and(|guest| self.take(engine, guest));
                }
                kick::Command::Carry(index) => {
                    let guest = engine.guest(index).expect("a guest that is carried exists");
                    self.adopt(guest);
                    self.carry(engine, guest, 0);
                    rested = true;
                }
                kick::Command::Job => {
                    self.work(engine);
                    rested = true;
                }
                kick::Command::Exit => break,
            }
        }
        self.leave(engine, memory);
    }

    /// Makes the kernel thread fit for its part; returns its alternate signal stack.
    fn prepare(&'static self, engine: &Engine) -> Option<super::mapping::Mapping> {
        super::rseq::leave();
        self.tp.set(arch::thread_pointer());
        self.generation.set(super::fork::generation());
        // The watchdog's short time slice is not for us.
        let mut scheduling = call::scheduling(0).unwrap_or_default();
        scheduling.runtime = 0;
        call::set_scheduling(0, &scheduling);
        call::set_timer_slack(engine.timer_slack);
        self.read_back();
        self.plain_scheduling.set(self.scheduling.get());
        self.carried.store(false, Ordering::Relaxed);
        self.cancel.store(0, Ordering::Relaxed);
        call::set_signal_mask(CREW_MASK);
        // Cancelling a guest must not end the crew thread that makes its call.
        // SAFETY: sets a flag of this thread; the old state is not wanted.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, std::ptr::null_mut()) };
        let memory = super::mapping::Mapping::new(SIGNAL_STACK).ok();
        if let Some(memory) = &memory {
            let stack = SignalStack { sp: memory.start(), flags: 0, size: memory.len() };
            // SAFETY: the mapping lives until `leave` has switched it off.
            unsafe { call::set_signal_stack(&stack) };
            self.signal_stack.set((memory.start(), memory.len()));
            self.signal_stack_seen.store(memory.start(), Ordering::Release);
        }
        local::set_crew(self);
        // Release: pairs with `tid()`.
        self.tid.store(call::gettid(), Ordering::Release);
        self.fresh_slot();
        memory
    }

    /// Undoes [`prepare`](Self::prepare).
    fn leave(&self, engine: &Engine, memory: Option<super::mapping::Mapping>) {
        self.drop_slot();
        local::set_crew(std::ptr::null());
        self.tid.store(0, Ordering::Release);
        let off = SignalStack { sp: 0, flags: SS_DISABLE, size: 0 };
        // SAFETY: switching it off needs no memory.
        unsafe { call::set_signal_stack(&off) };
        self.signal_stack.set((0, 0));
        self.signal_stack_seen.store(0, Ordering::Release);
        drop(memory);
        engine.total.fetch_sub(1, Ordering::SeqCst);
        engine.alive.fetch_sub(1, Ordering::SeqCst);
        // `kick` stays as it is, at EXIT: who read the resting map a while ago must not give a command
        // to a record without a thread. The next thread opens it when it rests.
        engine.free_crew(self);
    }

    /// Puts a new slot in place, with a reference for each side.
    pub(super) fn fresh_slot(&self) {
        let slot = Arc::new(Slot::new(self.tid() as u32, super::fork::generation()));
        let finisher = Arc::into_raw(Arc::clone(&slot));
        let guest = Arc::into_raw(slot);
        debug_assert_eq!(finisher, guest);
        self.slot.set(finisher);
        // A cancel of a slot that stood at the same address, sent before that was freed, is
        // delivered at the end of this call at the latest, and finds no slot.
        let _ = call::getpid();
        // Release: pairs with the handler's acquire.
        self.slot_seen.store(finisher.cast_mut(), Ordering::Release);
    }

    /// Drops both references of a slot that was never handed out.
    fn drop_slot(&self) {
        let slot = self.slot.replace(std::ptr::null());
        self.slot_seen.store(std::ptr::null_mut(), Ordering::Release);
        if !slot.is_null() {
            // SAFETY: the two references made by `fresh_slot`.
            let first = unsafe { Arc::from_raw(slot) };
            // SAFETY: as above.
            let second = unsafe { Arc::from_raw(slot) };
            drop((first, second));
        }
    }

    /// Stores the outcome of what went away from this thread, with its guest gone.
    pub(crate) fn complete(&self, outcome: Outcome) {
        self.give_up_slot().complete(outcome);
    }

    /// The slot of what went away from this thread, with its guest gone: who takes it finishes it.
    pub(crate) fn give_up_slot(&self) -> Arc<Slot> {
        let slot = self.slot.replace(std::ptr::null());
        // A cancel from here on is too late.
        self.slot_seen.store(std::ptr::null_mut(), Ordering::Release);
        // SAFETY: the finisher's reference of `fresh_slot`; the guest took the other one.
        unsafe { Arc::from_raw(slot) }
    }

    /// Rests until there is something to do. `add`: its coming adds a credit.
    fn rest(&self, engine: &'static Engine, add: bool) -> kick::Command {
        let cpu = self.choose_cpu(engine);
        if cpu != arch::current_cpu() as usize {
            // The kernel wakes a thread where it ran last if nothing but a sentinel runs there; so
            // only who rests elsewhere must be pinned. A standby that could not be is slower to
            // wake, not wrong.
            self.run_on(&CpuSet::single(cpu));
        }
        self.resting_on.store(cpu as u32, Ordering::Relaxed);
        // First the bit: who claims the thread finds it where `resting_on` says, and may move it.
        engine.cpus[cpu].resting.set(self.index);
        // Release: pairs with the acquire of the kick.
        self.kick.store(kick::NONE, Ordering::Release);
        if add {
            engine.release();
        }
        let command = loop {
            let word = self.kick.load(Ordering::Acquire);
            if word > kick::HELD {
                break word;
            }
            let answer = futex::wait(&self.kick, word, Some(&IDLE_TIME));
            if answer == -syslet_sys::uapi::ETIMEDOUT && self.may_end(engine) {
                break self.kick.load(Ordering::Acquire);
            }
        };
        let cpu = self.resting_on.load(Ordering::Relaxed) as usize;
        engine.cpus[cpu].resting.clear(self.index);
        kick::decode(command)
    }

    /// Where to rest: where the last guest is, or else here.
    fn choose_cpu(&self, engine: &Engine) -> usize {
        let guest = self.guest.swap(std::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: null, or a record, which is never freed.
        if let Some(guest) = unsafe { guest.as_ref() } {
            let cpu = guest.cpu.load(Ordering::Relaxed) as usize;
            if cpu < engine.cpus.len() {
                return cpu;
            }
        }
        (arch::current_cpu() as usize).min(engine.cpus.len() - 1)
    }

    /// After a long idle time: claims itself for the end, if others are left to do the work.
    fn may_end(&self, engine: &Engine) -> bool {
        if engine.spare() <= KEEP || engine.alive.load(Ordering::SeqCst) <= MIN_CREW {
            return false;
        }
        let carried =
            self.carried.load(Ordering::Relaxed) && engine.attached.load(Ordering::SeqCst) > 0;
        if carried && super::dependents::exist() {
            return false;
        }
        if !engine.acquire() {
            return false;
        }
        let ended = self
            .kick
            .compare_exchange(kick::NONE, kick::EXIT, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if !ended {
            engine.release();
        }
        ended
    }

    /// A job makes a cancellable call for `slot` on this thread.
    pub(crate) fn lend_slot<R>(&self, slot: &Slot, f: impl FnOnce() -> R) -> R {
        let own = self.slot_seen.swap(std::ptr::null_mut(), Ordering::SeqCst);
        // As in `fresh_slot`: late cancels are delivered before the slot can be seen.
        let _ = call::getpid();
        self.slot_seen.store(std::ptr::from_ref(slot).cast_mut(), Ordering::SeqCst);
        slot.set_tid(self.tid() as u32);
        let result = f();
        self.slot_seen.store(own, Ordering::SeqCst);
        result
    }
}

unsafe extern "C" {
    fn pthread_setcancelstate(state: i32, old: *mut i32) -> i32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::Settings;

    #[test]
    fn a_record_without_a_thread_takes_no_command() {
        // On a thread of its own: ending switches the signal stack off.
        let takes = std::thread::spawn(|| {
            let engine = Engine::new(Settings::default()).expect("an engine can be made");
            let crew = Crew::new(0);
            let before = crew.kick(kick::JOB, Hurry::No);
            crew.kick.store(kick::EXIT, Ordering::Release);
            crew.leave(&engine, None);
            (before, crew.kick(kick::JOB, Hurry::No))
        });
        assert_eq!(takes.join().unwrap(), (false, false), "before its first thread, and after");
    }

    /// As soon as it may be woken a thread may take on the ways of its guest.
    #[test]
    fn a_hurried_thread_is_not_woken_before_its_slice_is_shortened() {
        let crew = Crew::new(0);
        crew.tid.store(call::gettid(), Ordering::Release);
        for _ in 0..200 {
            crew.hurried.store(false, Ordering::Release);
            crew.kick.store(kick::NONE, Ordering::Release);
            let looks = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    looks.wait();
                    while crew.kick.load(Ordering::Acquire) <= kick::HELD {}
                    assert!(crew.hurried.load(Ordering::Acquire), "there is a command already");
                });
                looks.wait();
                assert!(crew.kick(kick::JOB, Hurry::Yes), "it rests");
            });
        }
    }

    /// As the kernel says it; proc_pid_stat(5).
    fn is_asleep(tid: i32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).unwrap();
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"))
    }

    #[test]
    fn who_needs_a_thread_wakes_one_whose_waker_has_not() {
        let engine: &'static Engine =
            Box::leak(Box::new(Engine::new(Settings::default()).unwrap()));
        let crew = engine.new_crew().expect("a record is free");
        let thread = std::thread::spawn(move || crew.run(engine));
        while !engine.acquire() {
            std::thread::yield_now();
        }
        while !is_asleep(crew.tid()) {
            std::thread::yield_now();
        }
        // What a sentinel does that is preempted between its two steps; there is no such guest.
        assert!(crew.claim(kick::take(0)), "the thread rests");
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            engine.kick_one(0, kick::EXIT);
            done.send(()).unwrap();
        });
        // A rest is interrupted by itself after ten seconds.
        is_done
            .recv_timeout(std::time::Duration::from_secs(5))
            .expect("the thread has rested again");
        thread.join().unwrap();
    }
}
