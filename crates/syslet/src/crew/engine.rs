//! The one engine of the process: the tables of guests and crew threads, and who rests where.
//!
//! # Credits
//!
//! Every guest that makes a call must be sure that somebody can take it over, or two guests could
//! wait for each other for ever. So a guest holds a *credit*: one resting crew thread is spoken for.
//! `spare` counts the resting crew threads that nobody has spoken for. A credit is used up when a
//! standby takes the guest; the guest gets a new one before its next call.
//!
//! # Resting
//!
//! A crew thread that rests is pinned to one CPU, has its bit set in that CPU's `resting` map, and
//! sleeps on its `kick` word. Whoever wants it changes `kick` from 0 by compare-and-swap and wakes it;
//! the crew thread clears its own bit. So nobody ever holds a crew thread that is not yet awake, and
//! a waker that is preempted between the two steps owes nothing: anyone may repeat the wake-up.
//!
//! # Lifetime
//!
//! The engine, its guests and crew records are never freed: sentinels read them at any time. A forked
//! child forgets its parent's engine and starts its own.

#![allow(unsafe_code, reason = "records are handed out as &'static from never-freed tables")]

use std::io;
use std::sync::{Condvar, OnceLock};

use super::affinity::{CpuSet, MAX_CPUS};
use super::bitmap::BitMap;
use super::guest::Guest;
use super::jobs::Jobs;
use super::kick;
use super::mechanism::{self, Unsupported};
use super::member::{Crew, Hurry};
use super::sentinel::Orders;
use super::watchdog;
use crate::stats::Counters;
use crate::sync::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicUsize, Mutex, Ordering, lock,
};

/// Most guests at a time. A bound so that the maps need no growing; a guest is a thread.
pub(crate) const MAX_GUESTS: usize = 4096;
/// Most crew threads at a time; as many threads as the pools of other runtimes allow, times eight.
pub(crate) const MAX_CREW: usize = 4096;
/// Crew threads unless asked otherwise: as tokio's blocking pool.
pub(crate) const DEFAULT_MAX_CREW: usize = 512;
/// Fewest crew threads: one to carry a guest and one to take it over.
pub(crate) const MIN_CREW: usize = 2;
/// Stack of a crew thread unless asked otherwise: as `std::thread`.
pub(crate) const DEFAULT_STACK: usize = 2 << 20;
/// Crew threads that are kept ready beyond those spoken for.
pub(crate) const LOW_WATER: i64 = 2;

/// What is known of one CPU.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Cpu {
    /// 1: the sentinel of this CPU and the watchdog are awake. 0: whoever begins a call wakes them.
    /// The sentinel sleeps on it.
    pub(crate) alert: AtomicU32,
    /// Task id of the sentinel; 0 if there is none. The kernel sets and clears it.
    pub(crate) sentinel: AtomicU32,
    /// The same for reaping it: not cleared when it ends.
    pub(crate) sentinel_id: AtomicU32,
    /// The sentinel is to end: another one, with the process's new ids, takes its place.
    pub(crate) dismissed: AtomicU32,
    /// What the sentinels of this CPU stand on, from the first one on.
    pub(super) orders: OnceLock<Orders>,
    /// Guests last seen here.
    pub(crate) guests: BitMap,
    /// Crew threads that rest here.
    pub(crate) resting: BitMap,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    /// CPUs, as many as may be online.
    pub(crate) cpus: Box<[Cpu]>,
    guests: Box<[AtomicPtr<Guest>]>,
    crew: Box<[AtomicPtr<Crew>]>,
    /// Indices of guest records that nobody uses.
    free_guests: Mutex<Vec<usize>>,
    /// Indices of crew records that nobody uses.
    free_crew: Mutex<Vec<usize>>,
    /// Resting crew threads that nobody has spoken for.
    spare: AtomicI64,
    /// Crew threads that exist or are being made.
    pub(crate) total: AtomicUsize,
    /// Crew threads that exist.
    pub(crate) alive: AtomicUsize,
    /// Most crew threads.
    pub(crate) limit: AtomicUsize,
    /// Stack of a crew thread, in bytes.
    pub(crate) stack_size: usize,
    /// Guests now.
    pub(crate) attached: AtomicUsize,
    /// Calls and closures with a crew thread and without their guest, and jobs.
    pub(crate) outstanding: AtomicUsize,
    /// Counts changes that `attach` and `drain` wait for.
    pub(crate) news: (Mutex<()>, Condvar),
    /// With the lock of `news`: a credit has come, for who attaches.
    pub(super) credited: Condvar,
    /// The last reason why a crew thread could not be made.
    pub(crate) spawn_error: Mutex<Option<io::Error>>,
    pub(crate) jobs: Jobs,
    pub(crate) watchdog: watchdog::Desk,
    pub(crate) park: crate::park::Park,
    pub(crate) writers: crate::call::Writers,
    /// Why the mechanism cannot be used in this process, if so.
    pub(crate) unsupported: Option<Unsupported>,
    /// True as long as `membarrier` works: then `begin` and `finish` need no fence. Never set again.
    pub(super) asymmetric: AtomicBool,
    /// `SYSLET_CHECK_IDENTITY=1`: each standby compares itself with the thread that it takes a guest from.
    pub(super) compares_identities: bool,
    /// What the thread that started the engine might run on; for closures of nobody's.
    pub(crate) affinity: CpuSet,
    /// The timer slack of that thread, in nanoseconds.
    pub(crate) timer_slack: usize,
    pub(crate) pid: i32,
    pub(crate) counters: Counters,
    /// Clock readings at the start, for turning ticks into time.
    pub(crate) epoch: (std::time::Instant, u64),
}

static ENGINE: AtomicPtr<Engine> = AtomicPtr::new(std::ptr::null_mut());
/// Held while an engine is started, and by `fork`.
pub(super) static STARTING: Mutex<()> = Mutex::new(());

/// The engine, if it was started.
#[inline(always)]
pub(crate) fn engine() -> Option<&'static Engine> {
    // Acquire: pairs with the release in `start`.
    let engine = ENGINE.load(Ordering::Acquire);
    // SAFETY: null, or a leaked box.
    unsafe { engine.as_ref() }
}

/// The engine, for code that knows a guest: there is one then.
#[inline(always)]
pub(crate) fn engine_of_guest() -> &'static Engine {
    engine().expect("a guest has an engine")
}

/// Forgets the engine: in a forked child, where its threads do not exist.
pub(super) fn forget() {
    ENGINE.store(std::ptr::null_mut(), Ordering::Release);
}

/// Settings of the engine that the first user decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) limit: usize,
    pub(crate) stack_size: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limit: env_limit().unwrap_or(DEFAULT_MAX_CREW), stack_size: DEFAULT_STACK }
    }
}

/// `SYSLET_MAX_CREW`, if it is a number in range.
fn env_limit() -> Option<usize> {
    /// [`UNREAD`], 0 if there is none, or the limit. Not a `OnceLock`, which a thread that is reading it
    /// would leave half-done in a child that another forks.
    static LIMIT: AtomicUsize = AtomicUsize::new(UNREAD);
    const UNREAD: usize = usize::MAX;
    let mut limit = LIMIT.load(Ordering::Relaxed);
    if limit == UNREAD {
        let value = std::env::var("SYSLET_MAX_CREW").ok().and_then(|value| value.parse().ok());
        limit = value.filter(|n| (MIN_CREW..=MAX_CREW).contains(n)).unwrap_or(0);
        LIMIT.store(limit, Ordering::Relaxed);
    }
    (limit != 0).then_some(limit)
}

/// The engine, started if it was not, with at least one crew thread.
pub(crate) fn start(settings: Settings) -> io::Result<&'static Engine> {
    let engine = match engine() {
        Some(engine) => engine,
        None => start_engine(settings)?,
    };
    super::transfer::require_one(engine)?;
    Ok(engine)
}

#[cold]
fn start_engine(settings: Settings) -> io::Result<&'static Engine> {
    super::fork::install();
    let _starting = lock(&STARTING);
    if let Some(engine) = engine() {
        return Ok(engine);
    }
    let made = Box::into_raw(Box::new(Engine::new(settings)?));
    // SAFETY: a box that is leaked but where nobody has seen it, below.
    let engine: &'static Engine = unsafe { &*made };
    if let Err(error) = watchdog::start(engine) {
        // Each call tries again: nothing is left behind.
        // SAFETY: there is no thread that could have seen it, and `engine` is not used any more.
        drop(unsafe { Box::from_raw(made) });
        return Err(error);
    }
    super::signals::install();
    // Release: pairs with the acquire in `engine`.
    ENGINE.store(std::ptr::from_ref(engine).cast_mut(), Ordering::Release);
    super::last::engine_has_started(engine);
    crate::publish::service::as_the_environment_says();
    Ok(engine)
}

fn table<T>(len: usize) -> Box<[AtomicPtr<T>]> {
    (0..len).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect()
}

/// Timer slack of the running kernel thread, in nanoseconds.
pub(super) fn timer_slack() -> usize {
    // SAFETY: takes no pointer and changes nothing.
    let slack = unsafe { syslet_sys::call::prctl(syslet_sys::uapi::PR_GET_TIMERSLACK, 0) };
    usize::try_from(slack).unwrap_or(0)
}

impl Engine {
    pub(super) fn new(settings: Settings) -> io::Result<Self> {
        let affinity = CpuSet::of_this_thread()?;
        let cpu = || Cpu {
            alert: AtomicU32::new(0),
            sentinel: AtomicU32::new(0),
            sentinel_id: AtomicU32::new(0),
            dismissed: AtomicU32::new(0),
            orders: OnceLock::new(),
            guests: BitMap::new(),
            resting: BitMap::new(),
        };
        Ok(Self {
            cpus: (0..mechanism::possible_cpus().min(MAX_CPUS)).map(|_| cpu()).collect(),
            guests: table(MAX_GUESTS),
            crew: table(MAX_CREW),
            free_guests: Mutex::new((0..MAX_GUESTS).rev().collect()),
            free_crew: Mutex::new((0..MAX_CREW).rev().collect()),
            spare: AtomicI64::new(0),
            total: AtomicUsize::new(0),
            alive: AtomicUsize::new(0),
            limit: AtomicUsize::new(settings.limit),
            stack_size: settings.stack_size,
            attached: AtomicUsize::new(0),
            outstanding: AtomicUsize::new(0),
            news: (Mutex::new(()), Condvar::new()),
            credited: Condvar::new(),
            spawn_error: Mutex::new(None),
            jobs: Jobs::new(),
            watchdog: watchdog::Desk::new(),
            park: crate::park::Park::new(),
            writers: crate::call::Writers::new(),
            unsupported: mechanism::check(),
            asymmetric: AtomicBool::new(syslet_sys::call::membarrier_register() == 0),
            compares_identities: std::env::var_os("SYSLET_CHECK_IDENTITY")
                .is_some_and(|value| value == "1"),
            affinity,
            timer_slack: timer_slack(),
            pid: syslet_sys::call::getpid(),
            counters: Counters::default(),
            epoch: (std::time::Instant::now(), syslet_sys::arch::ticks()),
        })
    }

    /// Guest record `index`. Sentinels call it: no panic, no thread-locals.
    pub(crate) fn guest(&self, index: usize) -> Option<&'static Guest> {
        let record = self.guests.get(index)?.load(Ordering::Acquire);
        // SAFETY: null, or a leaked box.
        unsafe { record.as_ref() }
    }

    /// Crew record `index`. Sentinels call it: no panic, no thread-locals.
    pub(crate) fn crew(&self, index: usize) -> Option<&'static Crew> {
        let record = self.crew.get(index)?.load(Ordering::Acquire);
        // SAFETY: null, or a leaked box.
        unsafe { record.as_ref() }
    }

    /// The crew thread whose kernel thread is `tid`. For signal handlers: no locks.
    pub(crate) fn crew_of_tid(&self, tid: i32) -> Option<&'static Crew> {
        self.crew_now().find(|crew| crew.tid() == tid)
    }

    /// The crew records that are in use, and some that were.
    pub(crate) fn crew_now(&self) -> impl Iterator<Item = &'static Crew> + '_ {
        (0..MAX_CREW).map_while(|index| self.crew(index))
    }

    /// The guest records that are in use, and some that were.
    pub(crate) fn guests_now(&self) -> impl Iterator<Item = &'static Guest> + '_ {
        (0..MAX_GUESTS).map_while(|index| self.guest(index))
    }

    /// An unused guest record, made if there is none yet. Under the lock, so that those that exist are
    /// the first ones: the watchdog looks no further than to the first that does not.
    pub(crate) fn new_guest(&self) -> Option<&'static Guest> {
        let mut free = lock(&self.free_guests);
        let index = *free.last()?;
        let guest = match self.guest(index) {
            Some(guest) => guest,
            None => {
                let guest = Box::leak(Box::new(Guest::new(index).ok()?));
                self.guests[index].store(guest, Ordering::Release);
                guest
            }
        };
        free.pop();
        Some(guest)
    }

    /// Gives a guest record back.
    pub(crate) fn free_guest(&self, guest: &Guest) {
        lock(&self.free_guests).push(guest.index);
    }

    /// An unused crew record.
    pub(crate) fn new_crew(&self) -> Option<&'static Crew> {
        let index = lock(&self.free_crew).pop()?;
        if let Some(crew) = self.crew(index) {
            return Some(crew);
        }
        let crew = Box::leak(Box::new(Crew::new(index)));
        self.crew[index].store(crew, Ordering::Release);
        Some(crew)
    }

    /// Gives a crew record back.
    pub(crate) fn free_crew(&self, crew: &Crew) {
        lock(&self.free_crew).push(crew.index);
    }

    /// Speaks for a resting crew thread. True: one will answer to [`kick_one`](Self::kick_one).
    pub(crate) fn acquire(&self) -> bool {
        self.spare
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n > 0).then(|| n - 1))
            .is_ok()
    }

    /// One more resting crew thread that nobody has spoken for. Only for `release`, which sees to it
    /// that whoever waits for one gets it.
    pub(super) fn add_credit(&self) {
        self.spare.fetch_add(1, Ordering::SeqCst);
    }

    /// Resting crew threads that nobody has spoken for.
    pub(crate) fn spare(&self) -> i64 {
        self.spare.load(Ordering::SeqCst)
    }

    /// Asks the watchdog for `count` more crew threads, within the limit. False: the limit is reached.
    pub(crate) fn grow(&self, count: usize) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let granted = self.total.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |total| {
            (total < limit).then(|| (total + count).min(limit))
        });
        let Ok(before) = granted else { return false };
        self.watchdog.want((before + count).min(limit) - before);
        true
    }

    /// Crew threads that are being made. On a busy machine that takes longer than many calls do: who
    /// asked for one more for each call that finds none would have hundreds made for nothing.
    pub(crate) fn coming(&self) -> usize {
        // A thread that ends leaves `total` first, so what is counted here does come.
        self.total.load(Ordering::SeqCst).saturating_sub(self.alive.load(Ordering::SeqCst))
    }

    /// Asks for one more crew thread unless `enough` are being made. False: there are fewer, and the limit
    /// is reached.
    pub(crate) fn grow_unless_coming(&self, enough: usize) -> bool {
        self.coming() >= enough || self.grow(1)
    }

    /// Keeps a few crew threads ready, so that the next handoff finds one.
    pub(crate) fn keep_ready(&self) {
        let missing = LOW_WATER - self.spare() - self.coming() as i64;
        if missing > 0 {
            self.grow(missing as usize);
        }
    }

    /// Tries to give `command` to a crew thread that rests anywhere, `cpu` first. Sentinels call it: it
    /// holds nothing and owes nothing between its steps.
    fn kick_near(&self, cpu: usize, command: u32, hurry: Hurry) -> bool {
        let kick = |index| self.crew(index).is_some_and(|crew| crew.kick(command, hurry));
        let others = (0..self.cpus.len()).filter(|&other| other != cpu);
        std::iter::once(cpu)
            .chain(others)
            .filter_map(|cpu| self.cpus.get(cpu))
            .any(|cpu| cpu.resting.any(kick))
    }

    /// Gives `command` to a crew thread. Duty: the caller has a credit, which is used up.
    ///
    /// A resting crew thread may be awake for a moment by a kick that came too late; it rests again
    /// at once, so the loop ends. Or its waker, a sentinel, was preempted before it has woken it: that is
    /// done here, because for as long as this loop yields to others the sentinel does not run. Rarer from turn to
    /// turn: there may be thousands to wake, and thousands who wait here.
    pub(crate) fn kick_one(&self, cpu: usize, command: u32) {
        for turn in 1_u64.. {
            if self.kick_near(cpu, command, Hurry::No) {
                return;
            }
            if turn.is_power_of_two() {
                self.wake_again();
            }
            std::thread::yield_now();
        }
    }

    /// Wakes again whoever was given a command and has not come: its bit is still set.
    pub(super) fn wake_again(&self) {
        for cpu in &self.cpus {
            cpu.resting.any(|index| {
                self.crew(index).inspect(|crew| crew.wake_again());
                false
            });
        }
    }

    /// Sees to it that a crew thread rests on `cpu`, by moving one there if need be.
    pub(crate) fn bring_standby(&self, cpu: usize) {
        if !self.cpus[cpu].resting.is_empty() {
            return;
        }
        let move_here = |index| self.crew(index).is_some_and(|crew| crew.move_to(self, cpu));
        let mut others = self.cpus.iter().enumerate().filter(|(other, _)| *other != cpu);
        others.any(|(_, other)| other.resting.any(move_here));
    }

    /// Lets the sentinels end and others take their places: they have the ids that the process had. From
    /// signal handlers. The old ones are told here: the program may end before the watchdog runs, and
    /// could not signal a sentinel of more rights than its own.
    pub(super) fn renew_sentinels(&self) {
        for cpu in &self.cpus {
            if cpu.sentinel.load(Ordering::SeqCst) != 0 {
                cpu.dismissed.store(1, Ordering::SeqCst);
                // As if for a call: one that is about to sleep must see that something has changed.
                self.rouse(cpu);
            }
        }
        self.watchdog.renew_sentinels();
    }

    /// Wakes the sentinel of `cpu` and the watchdog, because a call has begun there.
    #[cold]
    pub(crate) fn rouse(&self, cpu: &Cpu) {
        if cpu.alert.swap(1, Ordering::SeqCst) == 0 {
            syslet_sys::futex::wake(&cpu.alert, 1);
        }
        self.watchdog.rouse();
    }

    /// Tells those who wait in `attach` and `drain` that something has changed.
    pub(crate) fn announce(&self) {
        drop(lock(&self.news.0));
        self.news.1.notify_all();
    }

    /// One piece of work less is outstanding.
    pub(crate) fn one_done(&self) {
        if self.outstanding.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.announce();
        }
    }

    /// Wakes a standby for a guest in its call, on `cpu` if one rests there. Sentinels call it.
    pub(crate) fn notice(&self, cpu: usize, guest: &Guest, number: u64, hurry: Hurry) -> bool {
        guest.noticed(number);
        let woken = self.kick_near(cpu, kick::take(guest.index), hurry);
        if !woken {
            guest.unnotice();
        }
        woken
    }
}
