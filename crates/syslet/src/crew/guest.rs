//! The guest: the attached thread's own context, and the one screen of code of an inline call.

#![allow(unsafe_code, reason = "the guest's context changes kernel threads here")]

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::sync::Arc;

use syslet_sys::arch::{self, Context, Errand, ProtectedCall, Published, Verdict};
use syslet_sys::uapi::{SchedAttr, SignalStack};

use super::affinity::CpuSet;
use super::engine::{Cpu, Engine, engine_of_guest};
use super::home::Home;
use super::member::Crew;
use super::word::{Dispute, NONE, Numbers};
use crate::call::Write;
use crate::complete::Slot;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence};

/// `cpu` of a guest that must be made ready before its next call.
const NOT_READY: u32 = u32::MAX;

/// What belongs to the guest.
///
/// # Safety
///
/// The cells are touched only by whoever *has* the guest: the kernel thread that runs its context,
/// the one in its call until it has published the call number, and after that the one whose
/// `finish` or `take` of the call word succeeded (clause *owner*). The atomics may be read by anyone.
/// Records are never freed.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Guest {
    pub(super) context: UnsafeCell<Context>,
    /// The crew thread that carries the guest.
    pub(super) crew: AtomicPtr<Crew>,
    /// The CPU where the guest is announced, or [`NOT_READY`].
    pub(super) cpu: AtomicU32,
    /// A call is being prepared, made or concluded, or the guest comes or goes: a signal handler must
    /// not begin a call, which would use the same stack or a carrier that is not there.
    busy: Cell<bool>,
    /// A crew thread is spoken for.
    pub(super) credit: Cell<bool>,
    /// Number of the last call. Written by the owner, read by anyone for the statistics.
    pub(super) number: AtomicU64,
    /// Where the result goes if the call in progress is handed off: a reference of the carrier's.
    pub(super) slot: Cell<*const Slot>,
    /// The call in progress, if it is a write of a chain's. The other writes know it themselves.
    pub(crate) writes: Cell<Option<Write>>,
    /// Protection keys at the last call, where the processor has them.
    keys: Cell<u32>,
    dispute: Dispute,
    /// The last call that a standby was woken for, and when (ticks).
    noticed: AtomicU64,
    noticed_at: AtomicU64,
    pub(crate) index: usize,
    /// CPU where the guest's bit is set, for moving it; [`NOT_READY`] if nowhere.
    announced: Cell<u32>,
    manners: UnsafeCell<Manners>,
    /// The home's alternate signal stack at attach, and the guest's at detach if it is another.
    pub(super) signal_stacks: Cell<(SignalStack, Option<SignalStack>)>,
    pub(super) home: Home,
    pub(crate) counters: crate::stats::GuestCounters,
}

/// How the guest wants to run: what a standby takes over before it carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    pub(super) signal_mask: u64,
    pub(super) affinity: CpuSet,
    pub(super) scheduling: SchedAttr,
    /// Nanoseconds.
    pub(super) timer_slack: usize,
    /// What the kernel calls the home's thread.
    pub(super) name: [u8; 16],
}

// SAFETY: see the type.
unsafe impl Sync for Guest {}
// SAFETY: as above; the slot pointer is an owned reference.
unsafe impl Send for Guest {}

/// Why a guest cannot be protected now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Inside a signal handler that interrupted a call, or on an alternate signal stack.
    InHandler,
    /// No crew thread is left, and the limit is reached.
    NoCrew,
    /// No crew thread is left, but one is being made.
    CrewComing,
}

/// How a crossing ended.
#[derive(Debug)]
pub(crate) enum Crossing<R> {
    /// The function finished first; what was fetched of it.
    Inline(R),
    /// A standby took the guest; the result will be in the slot. If it was during a write of a chain's: which.
    Away(Arc<Slot>, Option<Write>),
}

/// See [`Guest::keep_busy`].
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Guest, bool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        self.0.busy.set(self.1);
    }
}

impl Guest {
    pub(super) fn new(index: usize) -> io::Result<Self> {
        Ok(Self {
            context: UnsafeCell::new(Context::new()),
            crew: AtomicPtr::new(std::ptr::null_mut()),
            cpu: AtomicU32::new(NOT_READY),
            busy: Cell::new(false),
            credit: Cell::new(false),
            number: AtomicU64::new(Numbers::first(index)),
            slot: Cell::new(std::ptr::null()),
            writes: Cell::new(None),
            keys: Cell::new(0),
            dispute: Dispute::new(),
            noticed: AtomicU64::new(0),
            noticed_at: AtomicU64::new(0),
            index,
            announced: Cell::new(NOT_READY),
            manners: UnsafeCell::new(Manners {
                signal_mask: 0,
                affinity: CpuSet::new(),
                scheduling: SchedAttr::default(),
                timer_slack: 0,
                name: [0; 16],
            }),
            signal_stacks: Cell::new((SignalStack { sp: 0, flags: 0, size: 0 }, None)),
            home: Home::new()?,
            counters: crate::stats::GuestCounters::default(),
        })
    }

    /// The crew thread that carries the guest.
    #[inline(always)]
    pub(crate) fn carrier(&self) -> &'static Crew {
        // SAFETY: set before the guest runs; records are never freed.
        unsafe { &*self.crew.load(Ordering::Relaxed) }
    }

    /// The guest's thread pointer.
    pub(super) fn thread_pointer(&self) -> usize {
        // SAFETY: written once, before the guest was handed over.
        unsafe { (*self.context.get()).tp }
    }

    /// The crew thread that carries the guest at this instant, if one does. For other threads.
    pub(super) fn carrier_now(&self) -> Option<&'static Crew> {
        // SAFETY: null, or a record, which is never freed.
        unsafe { self.crew.load(Ordering::Acquire).as_ref() }
    }

    /// True if `tid` is the home, and the guest is not there.
    pub(super) fn is_away_from(&self, tid: i32) -> bool {
        self.carrier_now().is_some() && self.home.tid() == tid
    }

    /// Until this is dropped a signal handler must not begin a call: the running code, which is the
    /// guest's, holds what the call would need.
    pub(crate) fn keep_busy(&self) -> Busy<'_> {
        let before = self.busy.replace(true);
        compiler_fence(Ordering::SeqCst);
        Busy(self, before)
    }

    /// Makes sure that a call may begin: announced on this CPU, a crew thread spoken for. If it may,
    /// the guest is busy from here on, and [`cross`](Self::cross) must follow: a signal handler that
    /// made a call in between could leave the guest on another carrier.
    #[inline(always)]
    pub(crate) fn ready(&self) -> Result<(), Lost> {
        if self.busy.get() {
            return Err(Lost::InHandler);
        }
        self.set_busy(true);
        let here = &raw const self as usize; // an address on the running stack
        if self.carrier().signal_stack_has(here) {
            self.set_busy(false);
            return Err(Lost::InHandler);
        }
        if self.cpu.load(Ordering::Relaxed) != arch::current_cpu() {
            return self.make_ready();
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn make_ready(&self) -> Result<(), Lost> {
        let ready = self.make_ready_inner(engine_of_guest());
        if ready.is_err() {
            self.set_busy(false);
        }
        ready
    }

    /// Whether a signal handler may begin a call. Nothing that this guards is moved past it.
    #[inline(always)]
    pub(super) fn set_busy(&self, busy: bool) {
        compiler_fence(Ordering::SeqCst);
        self.busy.set(busy);
        compiler_fence(Ordering::SeqCst);
    }

    /// True if the running code is a signal handler that must not begin a call.
    pub(crate) fn in_handler(&self) -> bool {
        let here = &raw const self as usize; // an address on the running stack
        self.busy.get() || self.carrier().signal_stack_has(here)
    }

    fn make_ready_inner(&self, engine: &'static Engine) -> Result<(), Lost> {
        if !self.credit.get() {
            if !engine.acquire() {
                // The next ones to come are for the work that is queued already.
                let coming = engine.grow_unless_coming(engine.unserved_jobs() + 1);
                return Err(if coming { Lost::CrewComing } else { Lost::NoCrew });
            }
            self.credit.set(true);
        }
        let _ = self.carrier().guests_signal_stack(engine); // puts right what a handler's return has put
        let cpu = (arch::current_cpu() as usize).min(engine.cpus.len() - 1);
        self.announce_on(engine, cpu);
        Ok(())
    }

    /// Tells the sentinel of `cpu` that the guest is there.
    pub(super) fn announce_on(&self, engine: &Engine, cpu: usize) {
        let old = self.announced.replace(cpu as u32) as usize;
        if old != cpu {
            if let Some(old) = engine.cpus.get(old) {
                old.guests.clear(self.index);
            }
            engine.cpus[cpu].guests.set(self.index);
            if engine.cpus[cpu].sentinel.load(Ordering::Relaxed) == 0 {
                engine.watchdog.want_sentinel(cpu);
            }
        }
        engine.bring_standby(cpu);
        self.cpu.store(cpu as u32, Ordering::Relaxed);
    }

    /// Takes the guest out of the sentinels' sight.
    pub(super) fn withdraw(&self, engine: &Engine) {
        let old = self.announced.replace(NOT_READY) as usize;
        if let Some(old) = engine.cpus.get(old) {
            old.guests.clear(self.index);
        }
        self.cpu.store(NOT_READY, Ordering::Relaxed);
    }

    /// The guest was taken: its credit is used up.
    pub(super) fn spend_credit(&self) {
        self.credit.set(false);
        self.cpu.store(NOT_READY, Ordering::Relaxed);
    }

    /// Free memory of `room` bytes on the carrier's stack, above where [`cross`](Self::cross) with the
    /// same `room` begins.
    #[inline(always)]
    pub(crate) fn room(&self, room: usize) -> *mut u8 {
        self.carrier().room(room)
    }

    /// Runs the errand on `data` on the crew thread's own stack and thread pointer. `room` bytes at the top
    /// of that stack are left alone: `data` may stand there, see [`Crew::room`], and `fetch` takes what
    /// an inline call left there, given its value, before a signal handler may use the stack.
    ///
    /// # Safety
    ///
    /// 1. The running code is this guest, and [`ready`](Self::ready) has just said so.
    /// 2. The errand calls [`begin`](Self::begin) once before it does anything that may wait, and ends by
    ///    [`finish`](Self::finish): *stay* if that is true, and *leave* for the crew's context if not,
    ///    after completing the slot. (Where `finish` was true it may begin again instead.)
    /// 3. The errand may be run on `data`.
    #[inline(always)]
    pub(crate) unsafe fn cross<E: Errand, R>(
        &self,
        room: usize,
        data: *mut u8,
        fetch: impl FnOnce(usize) -> R,
    ) -> Crossing<R> {
        let crew = self.carrier();
        self.save_keys();
        // SAFETY: the crew's stack below its saved context is free while it carries us, and the
        // thread pointer is that stack's; the context is ours (owner); duties 2 and 3.
        let verdict =
            unsafe { arch::enter::<E>(self.context.get(), crew.stack_top(room), crew.tp(), data) };
        // SAFETY: of the crossing that has just ended.
        unsafe { self.arrive(verdict, fetch) }
    }

    /// As [`cross`](Self::cross) for one system call and nothing else, which does without functions and returns on its
    /// way. For an engine that [is asymmetric](Engine::is_asymmetric) only: there is no fence on the way either.
    ///
    /// # Safety
    ///
    /// 1. The running code is this guest, and [`ready`](Self::ready) has just said so.
    /// 2. `call` is [`room`](Self::room) at the top of the carrier's stack; its turns are as
    ///    [`protected_call`](arch::protected_call) has them, and its call may be made.
    #[inline(always)]
    pub(crate) unsafe fn cross_for_call(
        &self,
        cpu: &Cpu,
        number: u64,
        call: *mut ProtectedCall,
    ) -> Crossing<isize> {
        let crew = self.carrier();
        self.save_keys();
        let published = Published {
            number,
            word: crew.word.address(),
            claim: self.dispute.claim_address(),
            alert: &raw const cpu.alert,
        };
        // SAFETY: as in `cross`; records are never freed, nor are CPUs'; of finish and take one succeeds (`word.rs`).
        let verdict =
            unsafe { arch::protected_call(self.context.get(), crew.tp(), call, published) };
        // SAFETY: of the crossing that has just ended.
        unsafe { self.arrive(verdict, |value| value as isize) }
    }

    /// # Safety
    ///
    /// `verdict` is how a crossing of this guest has just ended.
    #[inline(always)]
    unsafe fn arrive<R>(&self, verdict: Verdict, fetch: impl FnOnce(usize) -> R) -> Crossing<R> {
        if verdict.stayed() {
            let fetched = fetch(verdict.value());
            self.set_busy(false);
            return Crossing::Inline(fetched);
        }
        let write = self.writes.take(); // a handler's chain would leave its own there
        self.set_busy(false);
        // SAFETY: the standby handed over the reference to the slot that the call's finisher
        // completes; see `Crew::take`.
        Crossing::Away(unsafe { Arc::from_raw(verdict.value() as *const Slot) }, write)
    }

    /// Number and CPU of the call that is about to begin.
    #[inline(always)]
    pub(crate) fn next_call<'a>(&self, engine: &'a Engine) -> (u64, &'a Cpu) {
        let number = self.number.load(Ordering::Relaxed) + 1;
        self.number.store(number, Ordering::Relaxed);
        (number, &engine.cpus[self.cpu.load(Ordering::Relaxed) as usize])
    }

    /// On the crew's stack: publishes the call. From here on a standby may take the guest, so the
    /// guest's memory must not be touched again unless [`finish`](Self::finish) says so.
    #[inline(always)]
    pub(crate) fn begin(&self, engine: &Engine, crew: &Crew) -> u64 {
        let (number, cpu) = self.next_call(engine);
        // The word must be visible before `alert` is read: a watchdog that goes to sleep clears
        // `alert`, makes a heavy fence and reads the words. Its fence orders us too.
        if engine.is_asymmetric() {
            crew.word.begin(number);
            compiler_fence(Ordering::SeqCst);
        } else {
            crew.word.begin_fenced(number);
        }
        if cpu.alert.load(Ordering::Relaxed) == 0 {
            engine.rouse(cpu);
        }
        number
    }

    /// On the crew's stack: the work is done. True: the guest is still ours.
    #[inline(always)]
    pub(crate) fn finish(&self, engine: &Engine, crew: &Crew, number: u64) -> bool {
        self.dispute.finish(&crew.word, number, || engine.light_fence())
    }

    /// As [`finish`](Self::finish) for a call by [`cross_for_call`](Self::cross_for_call) that somebody has claimed.
    pub(crate) fn finish_contended(&self, number: u64) -> bool {
        self.dispute.contended(number)
    }

    /// By a standby: takes the guest out of call `number`.
    pub(super) fn take(&self, engine: &Engine, number: u64) -> bool {
        self.carrier_now().is_some_and(|crew| {
            self.dispute.take(&crew.word, number, || engine.fence_for_call(crew, number))
        })
    }

    /// The call in progress, or [`NONE`]. A hint: it may be over by now. Sentinels call it.
    pub(super) fn call_in_progress(&self) -> u64 {
        let Some(crew) = self.carrier_now() else { return NONE };
        let number = crew.word.current();
        // The thread may carry another guest by now.
        if Numbers::is_of(number, self.index) { number } else { NONE }
    }

    /// The call in progress if a watcher has not dealt with it yet.
    pub(super) fn unnoticed(&self) -> Option<u64> {
        let number = self.call_in_progress();
        (number != NONE && number != self.noticed.load(Ordering::Relaxed)).then_some(number)
    }

    /// A watcher wakes a standby for call `number`.
    pub(super) fn noticed(&self, number: u64) {
        self.noticed_at.store(arch::ticks(), Ordering::Relaxed);
        self.noticed.store(number, Ordering::Relaxed);
    }

    /// Nobody could be woken for the call: the next look tries again.
    pub(super) fn unnotice(&self) {
        self.noticed.store(0, Ordering::Relaxed);
    }

    /// When (ticks) a watcher noticed the last call that it woke a standby for.
    pub(super) fn noticed_at(&self) -> u64 {
        self.noticed_at.load(Ordering::Relaxed)
    }

    /// Ticks since a watcher noticed the call that was just taken.
    pub(super) fn ticks_since_noticed(&self) -> u64 {
        arch::ticks().saturating_sub(self.noticed_at())
    }

    /// The call that the last kick was for.
    pub(super) fn wanted(&self) -> u64 {
        self.noticed.load(Ordering::Relaxed)
    }

    /// Notes the protection keys in force.
    #[inline(always)]
    pub(super) fn save_keys(&self) {
        if crate::probe::PROTECTION_KEYS.get() {
            self.keys.set(arch::protection_keys());
        }
    }

    /// Protection keys of the guest, to be put in force by a standby that takes it.
    pub(super) fn restore_keys(&self) {
        if crate::probe::PROTECTION_KEYS.get() && arch::protection_keys() != self.keys.get() {
            // SAFETY: the value that was in force for this very context when it left.
            unsafe { arch::set_protection_keys(self.keys.get()) };
        }
    }

    /// How the guest wants to run. Duty: the caller has the guest.
    pub(super) fn manners(&self) -> &Manners {
        // SAFETY: owner.
        unsafe { &*self.manners.get() }
    }

    /// Changes how the guest wants to run. Duty: the caller has the guest.
    pub(super) fn change_manners(&self, change: impl FnOnce(&mut Manners)) {
        let busy = self.busy.get();
        self.set_busy(true); // or a handler's call could go away, and a standby read half a change
        // SAFETY: owner; the closure cannot reach the guest again.
        change(unsafe { &mut *self.manners.get() });
        self.set_busy(busy);
    }

    /// True if the running code may not begin a call now. For detach.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// Calls made so far, over all uses of the record.
    pub(crate) fn calls(&self) -> u64 {
        self.number.load(Ordering::Relaxed) - Numbers::first(self.index)
    }

    /// A fresh guest: nothing is known yet.
    pub(super) fn reset(&self) {
        self.crew.store(std::ptr::null_mut(), Ordering::Relaxed);
        self.busy.set(false);
        self.credit.set(false);
        self.announced.set(NOT_READY);
        self.cpu.store(NOT_READY, Ordering::Relaxed);
        self.counters.reset(self.calls());
    }
}
