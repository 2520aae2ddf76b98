//! Parking: calls that wait for readiness, for a time or for a child, without a thread for each.
//! The protocol is in this folder's README.md.

#![allow(unsafe_code, reason = "reads and writes what calls name in memory")]

mod again;
mod bell;
pub(crate) mod closing;
mod disk;
mod gathering;
mod keeper;
pub(crate) mod mail;
mod nap;
mod op;
mod phase;
mod rest;
mod ring;
mod set;
pub mod source;
mod timers;
mod watch;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use syslet_sys::futex;

pub(crate) use self::again::without_sigpipe;
use self::again::{look, needs_program_table};
use self::disk::Disk;
pub(crate) use self::disk::MOST_READS;
use self::keeper::{Delivery, Keeper, PollIn};
use self::op::NOWHERE;
pub(crate) use self::op::{CHILD_LOOKS, NEVER, Order, Parked, Way, hold_off_handlers};
use self::ring::{Ring, Unarmed};
use self::set::can_be_watched;
pub(crate) use self::timers::Clock;
use self::timers::Timers;
use crate::call::{PendingCall, child_of, interest, interests, store_nothing};
use crate::complete::{Holder, Interrupt, Slot, drop_caught};
use crate::crew::{Engine, Job, on_own_thread, start_thread};
use crate::stats::Count;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Mutex, Ordering, lock};

/// Polls that the rings hold, first to last. Contexts are counted system-wide (`fs.aio-max-nr`,
/// 65,536 by default): a program that parks little takes little.
const RINGS: [u32; 2] = [1024, 32_768];
/// Most polls of one ring: its memory is 64 bytes for each.
const MOST_POLLS: u32 = 1 << 20;
/// How long after a failure nothing is made that might fail again: what cannot be parked meanwhile has a thread.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// Most calls parked at a time, unless asked otherwise: a gigabyte.
pub(crate) const DEFAULT_LIMIT: usize = 1 << 22;

/// The files of calls are held as soon as they are parked: in a forked child too.
pub(crate) static HOLDS_AT_ONCE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The thread drives a ring, and may hold locks of the program's; or it is the keeper's, and has another table than
    /// the program: no code of the program's runs on it meanwhile.
    static DRIVES: Cell<bool> = const { Cell::new(false) };
}

/// True if the running thread takes the events of other calls because it waits for its own, or is the keeper's.
fn drives() -> bool {
    DRIVES.get()
}

/// Everything that waits without a thread.
#[derive(Debug)]
pub(crate) struct Park {
    rings: [OnceLock<Ring>; RINGS.len()],
    clocks: [OnceLock<Timers>; 2],
    /// Held while one of these is made; inside, for each, until when it is not, because that has just failed.
    making: Mutex<[Option<Instant>; RINGS.len() + 2]>,
    keeper: Keeper,
    pub(crate) disk: Disk,
    /// What the keeper leaves to the thread of the first clock.
    deliveries: Mutex<VecDeque<Delivery>>,
    /// Called when the first clock's thread is: for signal handlers of a surface's.
    hook: Mutex<Option<fn()>>,
    /// Calls parked now.
    count: AtomicUsize,
    /// Most of them.
    limit: AtomicUsize,
    /// Changes when a call is over and somebody waits for room.
    room: AtomicU32,
    /// Threads that wait for room.
    waiting: AtomicU32,
    /// Of the parked calls, those that write: what they were given is lost if the program ends.
    pub(crate) writes: AtomicUsize,
    /// Calls parked so far.
    pub(crate) total: Count,
}

/// Polls of the last ring: half of what the system allows, where it allows more than usual.
fn last_ring() -> u32 {
    let limit = std::fs::read_to_string("/proc/sys/fs/aio-max-nr").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0);
    (limit / 2).clamp(RINGS[RINGS.len() - 1], MOST_POLLS)
}

impl Park {
    pub(crate) fn new() -> Self {
        Self {
            rings: [const { OnceLock::new() }; RINGS.len()],
            clocks: [const { OnceLock::new() }; 2],
            making: Mutex::new([None; _]),
            keeper: Keeper::new(),
            disk: Disk::new(),
            deliveries: Mutex::new(VecDeque::new()),
            hook: Mutex::new(None),
            count: AtomicUsize::new(0),
            limit: AtomicUsize::new(DEFAULT_LIMIT),
            room: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            writes: AtomicUsize::new(0),
            total: Count::default(),
        }
    }

    /// What is in `place`, the one of this index, made if it was not. A failure is no answer for good: memory, threads
    /// and what the system allows of kernel AIO may be there later.
    fn have<T>(
        &self,
        at: usize,
        place: &'static OnceLock<T>,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<&'static T> {
        if let Some(there) = place.get() {
            return Some(there);
        }
        let failed = &mut lock(&self.making)[at];
        if place.get().is_none() && failed.is_none_or(|until| until <= Instant::now()) {
            *failed = None;
            match make() {
                Some(made) => drop(place.set(made)),
                None => *failed = Some(Instant::now() + TRY_AGAIN),
            }
        }
        place.get()
    }

    /// Calls parked now.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Calls whose file the keeper holds.
    pub(crate) fn held(&self) -> usize {
        self.keeper.held()
    }

    /// Most calls parked at a time, from now on.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::SeqCst);
        self.let_in(i32::MAX as u32);
    }

    /// Makes room for a call, if there is any.
    fn reserve(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        // Not counted and taken back: meanwhile others would find no room that there is.
        let one_more = |count| (count < limit).then_some(count + 1);
        self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
    }

    fn release(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
        self.let_in(1);
    }

    /// There may be room for so many: tells those who wait for it.
    fn let_in(&self, most: u32) {
        // SeqCst, here and below: either who waits sees the room, or it is seen.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.room.fetch_add(1, Ordering::SeqCst);
            futex::wake(&self.room, most);
        }
    }

    /// Waits until there is room.
    fn wait_for_room(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        loop {
            let room = self.room.load(Ordering::SeqCst);
            if self.count.load(Ordering::SeqCst) < self.limit.load(Ordering::SeqCst) {
                break;
            }
            futex::wait(&self.room, room, None);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// The ring where a poll of `call` may be armed.
    fn ring_of(&self, call: &Parked) -> Option<&Ring> {
        let index = call.place.load(Ordering::Relaxed) as usize;
        self.rings.get(index)?.get()
    }

    /// Takes back what would still tell of `call`.
    fn disarm(&self, call: &Parked) {
        if let Some(ring) = self.ring_of(call) {
            ring.disarm(call);
        }
        if call.is_timed()
            && let Some(timers) = self.clocks[call.clock as usize].get()
        {
            timers.remove(call);
        }
    }

    /// A call is over: nothing more is to come of it, and its room is free.
    fn forget(&self, call: &Parked) {
        self.disarm(call);
        match call.end_keeping() {
            Some(kept) => self.keeper.release(kept),
            None if matches!(call.way, Way::Sleep | Way::Several | Way::Disk) => {}
            None => self.keeper.unnotice(call),
        }
        self.release();
    }
}

impl Engine {
    /// Parks a call. Gives it back if there is no room and `or_busy`.
    ///
    /// Who calls has the duties of `submit` for the call, and has found that it would wait.
    ///
    /// **Blocking**: until there is room, unless `or_busy`.
    pub(crate) fn park(
        &'static self,
        order: Order,
        or_busy: bool,
    ) -> Result<Arc<dyn PendingCall>, Order> {
        while !self.park.reserve() {
            if or_busy {
                return Err(order);
            }
            if on_own_thread() || drives() {
                // A waker of the program's submits, or a signal handler: room is made by this very thread.
                self.park.count.fetch_add(1, Ordering::SeqCst);
                break;
            }
            self.park.wait_for_room();
        }
        let call = Parked::new(&self.park, order, None);
        if call.way == Way::Disk {
            self.give_to_disk(Arc::clone(&call));
        } else {
            self.park.total.add(1);
            self.let_go(&call, true);
        }
        Ok(call)
    }

    /// Parks a call whose caller has gone on, and waits for the answer in `outer`. It has a crew thread
    /// already, so the bound on parked calls does not count.
    pub(crate) fn park_away(&'static self, order: Order, outer: Arc<Slot>) {
        self.park.count.fetch_add(1, Ordering::SeqCst);
        self.park.total.add(1);
        let call = Parked::new(&self.park, order, Some(Arc::clone(&outer)));
        outer.move_to(Arc::clone(&call) as Arc<dyn Interrupt>);
        self.let_go(&call, true);
    }

    /// The owner lets the call wait: for its event, its time, a cancel.
    fn let_go(&'static self, call: &Arc<Parked>, first: bool) {
        if call.way == Way::Several {
            return self.let_go_of_several(call, first);
        }
        let interest = interest(&call.call());
        // What a poll says is its answer, whatever the number means by then; and the ring has the file meanwhile.
        let is_to_hold = (first || call.kept_at().is_some())
            && call.way != Way::Poll
            && HOLDS_AT_ONCE.load(Ordering::Relaxed);
        // The kernel has an epoll be watched by some hundreds of others at most (`path_limits`, fs/eventpoll.c).
        let is_watched_apart = !needs_program_table(call) && call.way != Way::Zero;
        let by_number = call.way == Way::Child && interest.is_none();
        let child = by_number.then(|| child_of(&call.call()));
        if let Some((descriptor, events)) = interest {
            Ring::prepare(call, descriptor, events);
            if is_to_hold && first && !is_watched_apart {
                self.hold(call, descriptor);
            }
        }
        call.wait();
        if call.is_timed() {
            self.start_clock(call, first);
        }
        if let Some((descriptor, events)) = interest {
            // Where its file is held it is gone on with there, too: so it is watched there.
            let is_watched = is_to_hold && is_watched_apart && self.watch(call, descriptor, events);
            if !is_watched {
                self.arm(call, descriptor, events);
            }
        }
        if let Some(child) = child
            && !self.watch_child(call, child)
            && call.claim()
        {
            self.go_away(call);
        }
        call.end_if_cancelled(&self.park);
        if call.is_over_after() {
            // Finished while its poll was being armed, by somebody who could not know where.
            self.park.disarm(call);
        }
    }

    /// As [`let_go`](Self::let_go), of a call that waits for several descriptors.
    fn let_go_of_several(&'static self, call: &Arc<Parked>, first: bool) {
        // SAFETY: the duties of `submit`: the call may be made until it ends.
        let interests = unsafe { interests(&call.call()) };
        let timers = if call.is_timed() { self.clock(call.clock) } else { None };
        let watched =
            self.watching_keeper().is_some_and(|keeper| can_be_watched(keeper, &interests));
        if !watched || (call.is_timed() && timers.is_none()) {
            return self.go_away(call);
        }
        if first && let Some(timers) = timers {
            // Before others can come to let it go. If its time comes at once, that is found below.
            timers.add(Arc::clone(call));
        }
        // A thread that the keeper made would share its table: so the rings are made here.
        let in_ring =
            |index| self.ring(index).is_some() && self.watch_set(call, &interests, PollIn::Ring);
        let waits =
            (0..RINGS.len()).any(in_ring) || self.watch_set(call, &interests, PollIn::Epoll);
        if !waits {
            return self.go_away(call);
        }
        if call.is_timed() && !call.is_among_timers() {
            self.expire(call);
        }
        call.end_if_cancelled(&self.park);
        if call.is_over_after() {
            // Finished while its poll was being armed, by somebody who could not know where.
            self.park.disarm(call);
        }
    }

    /// Lets the owned call wait, with the poll of `number` in the first ring that has room. False: none has, and the
    /// caller is the owner still; or it makes no difference any more. By the keeper, in whose table `number` is.
    fn arm_apart(&self, call: &Arc<Parked>, number: i32, events: u32) -> bool {
        Ring::prepare(call, number, events);
        call.wait();
        for (index, ring) in self.park.rings.iter().enumerate() {
            let Some(ring) = ring.get() else { continue };
            call.place.store(index as u32, Ordering::Relaxed);
            if ring.arm(call).is_ok() {
                return true;
            }
        }
        call.place.store(NOWHERE, Ordering::Relaxed);
        // If not: somebody has finished it.
        !call.claim()
    }

    fn start_clock(&'static self, call: &Arc<Parked>, first: bool) {
        let Some(timers) = self.clock(call.clock) else {
            if call.claim() {
                self.go_away(call);
            }
            return;
        };
        if first {
            timers.add(Arc::clone(call));
        } else if !call.is_among_timers() && call.way != Way::Child {
            // Its time came while it was being tried.
            self.expire(call);
        }
    }

    /// Its time is over.
    fn expire(&'static self, call: &Arc<Parked>) {
        if call.way == Way::Child {
            return self.look_at_child(call);
        }
        let queued = call.claim_queued();
        if queued {
            self.job_withdrawn();
        }
        if queued || call.claim_by_time() {
            if call.way == Way::Several {
                // SAFETY: the duties of `submit`: the call may be made until it ends.
                unsafe { store_nothing(&call.call()) };
            }
            // The answer of a sleep, and of a wait for events that none has ended.
            call.finish(&self.park, 0);
        }
    }

    /// Nothing tells of a child that stops because we trace it: it is asked for, after ever longer times. Who calls has
    /// just taken `call` from the timers, and is the only one to put it back.
    fn look_at_child(&'static self, call: &Arc<Parked>) {
        let mut looks = 0;
        if call.claim_by_time() {
            looks = call.in_vain(true);
            match look(&call.call()) {
                None => self.let_go(call, false),
                Some(answer) => return call.finish(&self.park, answer),
            }
        }
        if let Some(timers) = self.clock(call.clock)
            && !call.is_over()
        {
            let wait = CHILD_LOOKS[usize::from(looks).min(CHILD_LOOKS.len() - 1)];
            timers.add_at(call.clock.now().saturating_add(wait), Arc::clone(call));
            if call.is_over_after() {
                timers.remove(call);
            }
        }
    }

    /// Arms the poll in the first ring that has room.
    fn arm(&'static self, call: &Arc<Parked>, descriptor: i32, events: u32) {
        for index in 0..RINGS.len() {
            let Some(ring) = self.ring(index) else { continue };
            call.place.store(index as u32, Ordering::Relaxed);
            match ring.arm(call) {
                Ok(()) => {
                    if let Some(keeper) = self.keeper(true)
                        && call.kept_at().is_none()
                    {
                        keeper.notice(call, descriptor);
                    }
                    return;
                }
                Err(Unarmed::Full) => {}
                Err(Unarmed::Refused(_)) => break,
            }
        }
        call.place.store(NOWHERE, Ordering::Relaxed);
        if self.watch(call, descriptor, events) {
            return;
        }
        // Nobody would tell us: a thread waits for it.
        if call.claim() {
            self.go_away(call);
        }
    }

    /// Ring `index`, made with its thread when it is first wanted; none if that fails, or has just failed.
    fn ring(&'static self, index: usize) -> Option<&'static Ring> {
        let ring = &self.park.rings[index];
        let made = || {
            // Others may have taken most of what the system allows.
            let wanted = if index + 1 < RINGS.len() { RINGS[index] } else { last_ring() };
            let sizes = [wanted, wanted / 8];
            let made = sizes.into_iter().find_map(|size| Ring::new(size).ok())?;
            let run = move || {
                ring.wait().run(|call, events| self.ready(call, events));
            };
            start_thread(b"syslet-park\0\0\0\0\0", None, run).ok()?;
            Some(made)
        };
        self.park.have(index, ring, made)
    }

    /// The timers of `clock`, with their thread; none if there can be none.
    fn clock(&'static self, clock: Clock) -> Option<&'static Timers> {
        let timers = &self.park.clocks[clock as usize];
        let made = || {
            let run = move || {
                timers.wait().run(|call| self.expire(call), || self.take_deliveries());
            };
            start_thread(b"syslet-timers\0\0\0", None, run).ok()?;
            Some(Timers::new(clock))
        };
        self.park.have(RINGS.len() + clock as usize, timers, made)
    }

    /// Leaves something to the first clock's thread, which is in the program's descriptor table.
    fn deliver(&'static self, delivery: Delivery) {
        lock(&self.park.deliveries).push_back(delivery);
        match self.clock(Clock::Monotonic) {
            Some(timers) => timers.ring(),
            // No thread can be made. A crew thread does it.
            None => self.enqueue(Job::new(|_| self.take_deliveries())),
        }
    }

    fn take_deliveries(&'static self) {
        let hook = *lock(&self.park.hook);
        if let Some(hook) = hook {
            hook();
        }
        loop {
            let delivery = lock(&self.park.deliveries).pop_front();
            match delivery {
                None => break,
                Some(Delivery::Finish(call, answer)) => call.finish(&self.park, answer),
                Some(Delivery::Ready(call, events)) => self.go_on(&call, events),
                Some(Delivery::Thread(call)) => self.give_thread(&call),
                Some(Delivery::Tell(who, untold)) => who.slot().tell(untold),
                Some(Delivery::Nudge(who)) => drop_caught(|| who.nudged()),
            }
        }
    }

    /// Helps a call on by the thread that waits for it, for a short time.
    fn drive(&'static self, call: &Parked, deadline: Option<Instant>) {
        if call.way == Way::Disk {
            // With a deadline it must be able to leave.
            return if deadline.is_none() {
                self.read_here(call)
            };
        }
        if let Some(ring) = self.park.ring_of(call) {
            let done = || call.slot().is_done();
            DRIVES.set(true);
            ring.drive(deadline, done, |call, events| self.ready(call, events));
            DRIVES.set(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_takes_none_from_others() {
        let park = Park::new();
        park.set_limit(1);
        assert!(park.reserve());
        let over = AtomicBool::new(false);
        let most = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert!(!park.reserve(), "there is no room");
                }
            });
            let most = (0..2_000_000).map(|_| park.count()).max();
            over.store(true, Ordering::Relaxed);
            most
        });
        assert_eq!(most, Some(1));
    }
}
