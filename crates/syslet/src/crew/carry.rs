//! What a crew thread does when it does not rest: takes a guest over and carries it, or runs queued work.

#![allow(unsafe_code, reason = "goes on with a guest's context")]

use std::io::Write;

use syslet_sys::uapi::{
    FIRST_REAL_TIME, SIGPIPE, SIGTTIN, SIGTTOU, SIGXFSZ, SchedAttr, Siginfo, SignalStack, Timespec,
};
use syslet_sys::{arch, call};

use super::affinity::CpuSet;
use super::engine::{Engine, LOW_WATER};
use super::guest::Guest;
use super::member::Crew;
use super::signals::{CREW_MASK, MARK_CODE, OURS, bit};
use super::transfer::lasting_difference;
use crate::sync::Ordering;

impl Crew {
    /// Tries to take the guest over from the thread that sleeps in its call. True: it was carried.
    pub(super) fn take(&'static self, engine: &'static Engine, guest: &'static Guest) -> bool {
        let number = guest.wanted();
        if let Some(caller) = guest.carrier_now() {
            // For who looks on. Before it is taken: a thread that is done by then would keep the mark.
            caller.since.store(guest.noticed_at(), Ordering::Relaxed);
        }
        // Counted before: the thread we take it from may be done at any time after.
        engine.outstanding.fetch_add(1, Ordering::SeqCst);
        if !guest.take(engine, number) {
            engine.one_done();
            engine.counters.late_kicks.add(1);
            return false;
        }
        if engine.compares_identities {
            end_if_other(guest.carrier());
        }
        // The guest is ours. Its slot belongs to the thread that we take it from.
        let slot = guest.slot.get();
        guest.spend_credit();
        self.adopt(guest);
        guest.counters.handed_off.add(1);
        guest.counters.latency.record(guest.ticks_since_noticed());
        self.carry(engine, guest, slot as usize);
        true
    }

    /// Takes over how the guest wants to run.
    pub(super) fn adopt(&self, guest: &Guest) {
        let manners = guest.manners();
        guest.restore_keys();
        self.run_on(&manners.affinity);
        self.schedule_as((manners.scheduling, manners.timer_slack));
        call::set_signal_mask(manners.signal_mask & !OURS);
    }

    /// Restricts this thread to `cpus`, unless it is so already. A call of a microsecond.
    pub(super) fn run_on(&self, cpus: &CpuSet) {
        if self.moved.swap(false, Ordering::Relaxed) || self.affinity.get() != *cpus {
            // If a cpuset has changed meanwhile the kernel's choice stands.
            let _ = cpus.apply(0);
            self.affinity.set(*cpus);
        }
    }

    /// Takes over policy, nice value and timer slack, unless this thread has them already.
    fn schedule_as(&self, wanted: (SchedAttr, usize)) {
        let hurried =
            self.hurried.load(Ordering::Acquire) && self.hurried.swap(false, Ordering::AcqRel);
        if hurried || wanted.0 != self.scheduling.get().0 {
            // Refused where the guest has rights that this thread has not: it runs as it may.
            call::set_scheduling(0, &wanted.0);
        }
        if wanted.1 != self.scheduling.get().1 {
            call::set_timer_slack(wanted.1);
        }
        self.scheduling.set(wanted);
    }

    /// Reads how this kernel thread runs: a guest may have changed that while it was carried.
    pub(super) fn read_back(&self) {
        let slack = super::engine::timer_slack();
        self.scheduling.set((call::scheduling(0).unwrap_or_default(), slack));
        match CpuSet::of_this_thread() {
            Ok(cpus) => self.affinity.set(cpus),
            Err(_) => self.moved.store(true, Ordering::Relaxed),
        }
    }

    /// Carries the guest until it leaves this thread; its `enter` returns `value`.
    pub(super) fn carry(
        &'static self,
        engine: &'static Engine,
        guest: &'static Guest,
        value: usize,
    ) {
        self.guest.store(std::ptr::from_ref(guest).cast_mut(), Ordering::Relaxed);
        self.carried.store(true, Ordering::Relaxed);
        guest.slot.set(self.slot.get());
        guest.crew.store(std::ptr::from_ref(self).cast_mut(), Ordering::Relaxed);
        if engine.spare() < LOW_WATER {
            engine.keep_ready();
        }
        // SAFETY: we have the guest (owner): nobody else goes on with its context.
        unsafe { arch::resume(self.context.get(), guest.context.get(), value) };
        // The guest has left: taken by a standby, or gone home.
        self.settle(engine);
    }

    /// Becomes a plain crew thread again after a guest has left.
    fn settle(&self, engine: &Engine) {
        self.end_in_child();
        call::set_signal_mask(CREW_MASK);
        drain_signals(engine.pid);
        self.read_back();
        if self.foreign_signal_stack().is_some() {
            self.put_own_signal_stack();
        }
        if self.slot.get().is_null() {
            self.fresh_slot();
            engine.one_done();
        }
        self.since.store(0, Ordering::Relaxed);
        // After the slot was replaced: a cancel that comes too late finds another slot, or sets a
        // flag that is cleared here.
        self.cancel.store(0, Ordering::Release);
    }

    /// The alternate signal stack in force on this kernel thread, if it is not our own. From this kernel
    /// thread.
    fn foreign_signal_stack(&self) -> Option<SignalStack> {
        let now = call::signal_stack();
        (now.sp != self.signal_stack.get().0).then_some(now)
    }

    /// The alternate signal stack in force on this kernel thread, if a guest has put it, or nothing, in
    /// place of our own.
    ///
    /// If a call went away in a handler of the guest's, the handler returns here, on the new carrier, and
    /// the kernel puts back what the carrier had on which the handler began: another crew thread's own
    /// stack, which is not the guest's doing, and is undone.
    pub(super) fn guests_signal_stack(&self, engine: &Engine) -> Option<SignalStack> {
        let foreign = self.foreign_signal_stack()?;
        if engine.crew_now().any(|crew| crew.has_signal_stack(&foreign)) {
            self.put_own_signal_stack();
            return None;
        }
        Some(foreign)
    }

    fn put_own_signal_stack(&self) {
        let (start, size) = self.signal_stack.get();
        if size != 0 {
            let own = SignalStack { sp: start, flags: 0, size };
            // SAFETY: our own mapping; another stack was put in its place.
            unsafe { call::set_signal_stack(&own) };
        }
    }

    /// In a child that was forked by work on this thread there is no crew to go back to: the only
    /// thread of the process ends, and with it the process.
    fn end_in_child(&self) {
        if self.generation.get() != super::fork::generation() {
            // SAFETY: ends the process, as the return of its last thread would.
            unsafe { libc::_exit(0) };
        }
    }

    /// The guest whose call or closure runs here, if it has not been taken.
    pub(super) fn guest_in_call(&self) -> Option<&'static Guest> {
        // SAFETY: null, or a record, which is never freed.
        let guest = unsafe { self.guest.load(Ordering::Relaxed).as_ref() }?;
        let here = guest.carrier_now().is_some_and(|carrier| std::ptr::eq(carrier, self));
        (here && guest.call_in_progress() != super::word::NONE).then_some(guest)
    }

    /// True if a call or closure runs here whose guest has not been taken. From this thread.
    pub(crate) fn makes_guests_call(&self) -> bool {
        self.guest_in_call().is_some()
    }

    /// Runs queued work until none is left.
    pub(super) fn work(&'static self, engine: &'static Engine) {
        self.run_on(&engine.affinity);
        self.schedule_as(self.plain_scheduling.get());
        engine.come_for_jobs();
        while let Some(job) = engine.next_job() {
            self.since.store(arch::ticks(), Ordering::Relaxed);
            job.run(self);
            self.since.store(0, Ordering::Relaxed);
            self.end_in_child();
            drain_signals(engine.pid);
            self.cancel.store(0, Ordering::Release);
            engine.one_done();
        }
    }
}

/// Ends the program if this thread is not who `left` is, from which it has taken a guest: the guest would be
/// outside its sandbox, or have other rights, without having done anything.
#[cold]
fn end_if_other(left: &Crew) {
    if let Some(field) = lasting_difference(left.tid() as u32) {
        let what = "a handoff would change this of a guest that has changed it for its kernel thread alone";
        // Nothing more can be done if nobody hears it.
        let _ = writeln!(std::io::stderr(), "syslet: {what}: {field} (SYSLET_CHECK_IDENTITY=1)");
        std::process::abort();
    }
}

/// Signals that, when they are sent, take back others: signal(7).
const JOB_CONTROL: [i32; 4] = [libc::SIGCONT, libc::SIGTSTP, SIGTTIN, SIGTTOU];

/// Takes what is pending for this thread alone: it came for a call that is over.
///
/// What the kernel sends for the call itself (SIGPIPE and the like) has no receiver any more: the
/// result says it. Anything else was meant for the program, and is queued to the process again.
fn drain_signals(pid: i32) {
    // This tells what is pending for the process too, which is left for whoever lets it through.
    let pending = call::pending_signals() & CREW_MASK;
    for signal in (1..=64).filter(|signal| pending & bit(*signal) != 0) {
        drain_signal(pid, signal);
    }
}

/// Takes `signal` as often as it is pending for this thread alone.
///
/// The kernel gives a thread its own signals first and then, in the same call, those of the process. Taken, such a one
/// would be lost: no thread but the main one may queue a signal with the information of the kernel or another sender.
/// So a mark is queued behind the thread's own. Below the real-time signals only one can be pending: if it is there,
/// the mark is not queued, and the end of what is the thread's own is known without it.
///
/// If the queue is full (RLIMIT_SIGPENDING) such a mark comes without its information, as a signal of the thread's own
/// would that was sent then: the two cannot be told apart, and it is sent to the process, because a signal must not be
/// lost. Where the one that it was a mark for is still pending for the process, that does nothing.
fn drain_signal(pid: i32, signal: i32) {
    let mark = Siginfo::queued(signal, MARK_CODE, pid, 0, 0);
    // One of job control, sent, would take back others: it is taken without a mark, whoever's it is.
    if !JOB_CONTROL.contains(&signal) && call::queue_to_thread(pid, call::gettid(), &mark) < 0 {
        return; // The queue is full: they stay until the next time.
    }
    let mut info = Siginfo::queued(0, 0, 0, 0, 0);
    while call::wait_signal(bit(signal), &mut info, Some(&Timespec::default())) > 0 {
        if info.code == MARK_CODE && info.pid == pid {
            return;
        }
        let of_the_call = [SIGPIPE, SIGXFSZ, SIGTTOU, SIGTTIN].contains(&signal)
            && (info.pid == pid || info.pid == 0);
        // Only the main thread may queue a signal with another's sender in it.
        if !of_the_call && call::queue_to_process(pid, &info) < 0 {
            call::kill(pid, signal);
        }
        if signal < FIRST_REAL_TIME {
            return;
        }
    }
}
