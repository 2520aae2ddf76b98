//! A place for polls: a context of kernel AIO, which is not a descriptor, and the thread that takes
//! its events.
//!
//! While a poll is armed the kernel holds the file, and the ring a reference of the call.

#![allow(unsafe_code, reason = "gives references to the kernel and takes them back")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use syslet_sys::aio::Context;
use syslet_sys::futex;
use syslet_sys::uapi::{EAGAIN, IoEvent, Iocb, Timespec};

use super::op::Parked;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};

/// Events taken at a time.
const BATCH: usize = 64;
/// How long a thread that waits for one call takes the events itself before it leaves that to the
/// ring's thread: about the time that waking a thread may take on a busy machine, so what takes
/// longer than this loses little by it.
const DRIVE: Duration = Duration::from_micros(100);
/// How often the ring's thread looks whether it is needed while others take the events.
const STAND_BACK: u64 = 200_000;
/// Looks in a row without anybody driving after which the ring's thread takes over.
const CALM: u32 = 8;

/// See the module.
///
/// # Who takes events
///
/// The ring's thread, asleep in the kernel, unless it stands back because threads that wait for their
/// own calls do it. `taker` says who: the kernel lets several threads ask it at a time, but only one
/// may take events from the ring's memory, and only while no other asks.
///
/// | `taker` | set by | who asks the kernel | who reads the memory |
/// |---|---|---|---|
/// | `THREAD` | the ring's thread, from `NOBODY` | anybody | nobody |
/// | `NOBODY` | the ring's thread when it stands back; a driver that leaves | nobody | nobody |
/// | `DRIVER` | a driver, from `NOBODY` | the driver | the driver |
#[derive(Debug)]
pub(super) struct Ring {
    context: Context,
    /// Polls armed now.
    armed: AtomicUsize,
    taker: AtomicU32,
    /// 1: some thread drives beside the ring's thread: that should stand back.
    driven: AtomicU32,
    /// Counts times that somebody drove.
    drives: AtomicU32,
    /// Changes when the ring's thread is needed; it sleeps on it while others drive.
    duty: AtomicU32,
}

const THREAD: u32 = 0;
const NOBODY: u32 = 1;
const DRIVER: u32 = 2;

/// Why a poll was not armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unarmed {
    /// The ring is full.
    Full,
    /// The descriptor cannot be polled, or is none: `-errno`.
    Refused(isize),
}

impl Ring {
    /// A ring for `capacity` polls.
    pub(super) fn new(capacity: u32) -> Result<Self, isize> {
        Ok(Self {
            context: Context::new(capacity)?,
            armed: AtomicUsize::new(0),
            taker: AtomicU32::new(THREAD),
            driven: AtomicU32::new(0),
            drives: AtomicU32::new(0),
            duty: AtomicU32::new(0),
        })
    }

    /// Polls armed now.
    pub(super) fn armed(&self) -> usize {
        self.armed.load(Ordering::Relaxed)
    }

    /// Describes the poll of `call`. Duty: the caller owns the call, and no poll of it is armed.
    pub(super) fn prepare(call: &Arc<Parked>, descriptor: i32, events: u32) {
        let iocb = Iocb::poll(descriptor, events, Arc::as_ptr(call) as u64);
        // SAFETY: the owner's; the kernel reads it only while it arms.
        unsafe { call.iocb().write(iocb) };
    }

    /// Arms the poll of `call` that [`prepare`](Self::prepare) has described. From here on its event
    /// may come.
    pub(super) fn arm(&self, call: &Arc<Parked>) -> Result<(), Unarmed> {
        let reference = Arc::into_raw(Arc::clone(call));
        self.armed.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the reference just made keeps it in place until the event is taken. Nobody writes
        // to it before that: only who claims the call by that very event describes a poll again.
        let Err(error) = (unsafe { self.context.arm(call.iocb()) }) else { return Ok(()) };
        self.armed.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: made above, and the kernel did not take it.
        drop(unsafe { Arc::from_raw(reference) });
        Err(if error == -EAGAIN { Unarmed::Full } else { Unarmed::Refused(error) })
    }

    /// Takes the poll of `call` back; its event comes in any case, and drops the reference.
    pub(super) fn disarm(&self, call: &Parked) {
        // SAFETY: armed here, or the kernel finds nothing.
        unsafe { self.context.disarm(call.iocb()) };
    }

    /// Takes events and gives them to `ready`.
    ///
    /// **Blocking**: until there is one, for at most `timeout`.
    fn take(&self, timeout: Option<&Timespec>, ready: impl Fn(&Arc<Parked>, u32)) {
        let mut events = [IoEvent::default(); BATCH];
        let taken = self.context.events(1, &mut events, timeout).max(0) as usize;
        self.armed.fetch_sub(taken, Ordering::Relaxed);
        for event in &events[..taken] {
            Self::give(event, &ready);
        }
    }

    /// Gives the event of a call to `ready`.
    fn give(event: &IoEvent, ready: impl Fn(&Arc<Parked>, u32)) {
        // SAFETY: the reference that `arm` gave to the kernel, whose one event this is.
        let call = unsafe { Arc::from_raw(event.data as *const Parked) };
        ready(&call, event.res as u32);
    }

    /// Takes events from the ring's memory and gives them to `ready`, until `done`; some at most, because more may come
    /// all the time.
    ///
    /// # Safety
    ///
    /// The caller is the `DRIVER`.
    unsafe fn take_from_memory(&self, done: impl Fn() -> bool, ready: impl Fn(&Arc<Parked>, u32)) {
        for _ in 0..BATCH {
            // SAFETY: the duty of this function.
            let Some(event) = (unsafe { self.context.pop() }) else { return };
            self.armed.fetch_sub(1, Ordering::Relaxed);
            Self::give(&event, &ready);
            if done() {
                return;
            }
        }
    }

    /// The ring's thread: takes events, unless others do.
    pub(super) fn run(&self, ready: impl Fn(&Arc<Parked>, u32)) -> ! {
        loop {
            self.take(None, &ready);
            if self.driven.load(Ordering::Relaxed) != 0 {
                self.stand_back();
            }
        }
    }

    /// Others take the events: looks now and then, or when called, whether that is still so.
    fn stand_back(&self) {
        // Release: pairs with the acquire of the next taker.
        self.taker.store(NOBODY, Ordering::Release);
        let mut calm = 0;
        loop {
            let called = self.duty.load(Ordering::SeqCst);
            let drives = self.drives.load(Ordering::Relaxed);
            let wanted = calm >= CALM || (calm > 0 && self.armed() > 0);
            if wanted && self.become_taker(THREAD) {
                return;
            }
            futex::wait(&self.duty, called, Some(&Timespec::from_nanos(STAND_BACK)));
            let alone = self.drives.load(Ordering::Relaxed) == drives;
            let called = self.duty.load(Ordering::SeqCst) != called;
            calm = if alone || called { calm + 1 } else { 0 };
        }
    }

    fn become_taker(&self, who: u32) -> bool {
        // Acquire: pairs with the release of the one before.
        self.taker.compare_exchange(NOBODY, who, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes events on a thread that has nothing better to do than to wait for its own call, which is
    /// over when `done` says so. Returns when it is, or after a short time.
    ///
    /// A wake-up less: what becomes ready is gone on with by the thread that wants it. So is what others want, but for
    /// code of the program's: that thread may hold what a waker waits for.
    pub(super) fn drive(
        &self,
        deadline: Option<Instant>,
        done: impl Fn() -> bool,
        ready: impl Fn(&Arc<Parked>, u32),
    ) {
        if self.driven.swap(1, Ordering::SeqCst) != 0 {
            return;
        }
        // Only who drives changes it.
        self.drives.store(self.drives.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        let alone = self.become_taker(DRIVER);
        if alone {
            // SAFETY: the driver, as was just found.
            unsafe { self.take_from_memory(&done, &ready) };
        }
        if !done() {
            self.drive_by_kernel(deadline, done, ready);
        }
        if alone {
            self.taker.store(NOBODY, Ordering::Release);
        }
        // Release: pairs with the swap of the next driver. And before `armed` is read: who arms one later finds that
        // nobody drives, and does.
        self.driven.store(0, Ordering::SeqCst);
        if alone && self.armed() > 0 {
            self.duty.fetch_add(1, Ordering::SeqCst);
            futex::wake(&self.duty, 1);
        }
    }

    fn drive_by_kernel(
        &self,
        deadline: Option<Instant>,
        done: impl Fn() -> bool,
        ready: impl Fn(&Arc<Parked>, u32),
    ) {
        let begun = Instant::now();
        let end = deadline.map_or(begun + DRIVE, |deadline| deadline.min(begun + DRIVE));
        let mut left = end.saturating_duration_since(begun);
        while !done() && !left.is_zero() {
            self.take(Some(&Timespec::from_nanos(left.as_nanos() as u64)), &ready);
            left = end.saturating_duration_since(Instant::now());
        }
    }
}
