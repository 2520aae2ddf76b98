//! The watchdog: the one ordinary thread that keeps the crew going.
//!
//! It is awake only while calls are in progress or something is asked of it. It
//!
//! - notices calls that are older than one or two of its rounds, where the sentinel could not: the CPU
//!   is kept busy by others, or by the call itself. Liveness of the whole rests on this;
//! - makes crew threads and sentinels, so that guests never have to;
//! - wakes again whoever was given a command by a waker that was preempted half-way.

#![allow(unsafe_code, reason = "asks for CPU clocks by number, reaps sentinels")]

use std::io;
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

use syslet_sys::uapi::{self, SCHED_OTHER, SchedAttr, Timespec, nr};
use syslet_sys::{arch, call, futex};

use super::engine::{Engine, MAX_CREW};
use super::mechanism::Unsupported;
use super::member::Hurry;
use super::signals::bit;
use super::{ending, last, sentinel, thread};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, lock};

/// A round while some CPU may be busy. A call is taken over when it is seen twice, so after one to
/// two rounds; short against the 0.5 ms that a guest may at most be held up on busy CPUs.
const ROUND: u64 = 180_000;
/// A round, in nanoseconds, while every sentinel is asleep: the CPUs are idle, a call that sleeps
/// now is dealt with by the sentinel that it wakes.
const CALM_ROUND: u64 = 400_000;
/// The longest round, in nanoseconds: while calls are few and short. A closure that computes holds the
/// guest up for one to two rounds.
const LONG_ROUND: u64 = 800_000;
/// Rounds without any call before the watchdog sleeps for good.
const PATIENCE: u32 = 40;
/// After a thread could not be made, and while one is wanted: when that is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// Time slice that the watchdog asks for, in nanoseconds: the shortest that the kernel grants
/// (Linux 6.12; ignored before). A short slice lets it run soon after it wakes on a busy CPU.
const SLICE: u64 = 100_000;

/// The process has its main thread.
const MAIN_LIVES: u32 = 0;
/// It has ended, but not the process; the thread that waits for the last one is to be made.
const MAIN_HAS_ENDED: u32 = 1;
/// That thread was made.
const LAST_IS_AWAITED: u32 = 2;

/// Where others leave what they want of the watchdog.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Counts requests; the watchdog sleeps on it.
    bell: AtomicU32,
    /// The watchdog sleeps until the bell rings.
    asleep: AtomicBool,
    /// Crew threads to make.
    wanted: AtomicUsize,
    /// CPUs that need a sentinel.
    sentinels: super::bitmap::BitMap,
    /// Somebody waits for the crew to grow.
    waiting: AtomicUsize,
    /// Its kernel thread.
    pub(crate) tid: AtomicU32,
    /// 0 starting, 1 ready.
    ready: AtomicU32,
    /// The ids of the process have changed: the sentinels have the old ones.
    renew: AtomicBool,
    /// Signals for other threads than those that have them, one bit each.
    stuck: AtomicU64,
    /// Whether the first sentinel was made, and if not, why.
    first: OnceLock<Option<Unsupported>>,
    /// The CPU to make it for, plus one, while somebody waits for that.
    first_wanted: AtomicUsize,
    /// Whether the main thread has ended, see [`MAIN_HAS_ENDED`].
    main: AtomicU32,
    /// Crew threads that could not be made.
    pub(crate) failures: AtomicU64,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            bell: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
            wanted: AtomicUsize::new(0),
            sentinels: super::bitmap::BitMap::new(),
            waiting: AtomicUsize::new(0),
            tid: AtomicU32::new(0),
            ready: AtomicU32::new(0),
            renew: AtomicBool::new(false),
            stuck: AtomicU64::new(0),
            first: OnceLock::new(),
            first_wanted: AtomicUsize::new(0),
            main: AtomicU32::new(MAIN_LIVES),
            failures: AtomicU64::new(0),
        }
    }

    fn ring(&self) {
        self.bell.fetch_add(1, Ordering::SeqCst);
        futex::wake(&self.bell, 1);
    }

    /// A call has begun: wakes the watchdog if it sleeps.
    pub(super) fn rouse(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Asks for crew threads.
    pub(super) fn want(&self, count: usize) {
        self.wanted.fetch_add(count, Ordering::SeqCst);
        self.ring();
    }

    /// The main thread has ended, but not the process.
    pub(super) fn main_has_ended(&self) {
        let (old, new) = (MAIN_LIVES, MAIN_HAS_ENDED);
        if self.main.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.ring();
        }
    }

    /// True on the watchdog's own thread.
    pub(super) fn is_running(&self) -> bool {
        self.tid.load(Ordering::Relaxed) == call::gettid() as u32
    }

    /// Asks for other sentinels, after a change of ids. From signal handlers.
    pub(super) fn renew_sentinels(&self) {
        self.renew.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Asks for another thread for a signal: see [`ending`]. From signal handlers.
    pub(super) fn hand_on(&self, signal: i32) {
        self.stuck.fetch_or(bit(signal), Ordering::SeqCst);
        self.ring();
    }

    /// Asks for a sentinel.
    pub(super) fn want_sentinel(&self, cpu: usize) {
        self.sentinels.set(cpu);
        self.ring();
    }

    /// Whether a sentinel can be made at all: makes the first one, for `cpu`.
    ///
    /// **Blocking**: the first time, until it is ready.
    pub(super) fn first_sentinel(&self, engine: &Engine, cpu: usize) -> Option<Unsupported> {
        let known = self.first.get();
        if let Some(known) = known {
            return known.clone();
        }
        let growth = self.await_growth();
        let cpu = cpu.min(engine.cpus.len() - 1);
        self.first_wanted.store(cpu + 1, Ordering::SeqCst);
        self.ring();
        let mut news = lock(&engine.news.0);
        loop {
            if let Some(known) = self.first.get() {
                drop(growth);
                return known.clone();
            }
            news = engine.news.1.wait(news).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Threads that wait in [`Growth`].
    pub(super) fn growing(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Declares that the caller waits for the crew to grow, until dropped.
    pub(super) fn await_growth(&self) -> Growth<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Growth(self)
    }
}

/// See [`Desk::await_growth`].
#[derive(Debug)]
pub(super) struct Growth<'a>(&'a Desk);

impl Drop for Growth<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts the watchdog.
///
/// **Blocking**: until it runs.
pub(super) fn start(engine: &'static Engine) -> io::Result<()> {
    thread::start(b"syslet-watchdog\0", None, move || watch(engine))?;
    let desk = &engine.watchdog;
    while desk.ready.load(Ordering::Acquire) == 0 {
        futex::wait(&desk.ready, 0, None);
    }
    Ok(())
}

fn watch(engine: &'static Engine) {
    let desk = &engine.watchdog;
    call::set_timer_slack(1);
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: SCHED_OTHER,
        runtime: SLICE,
        ..SchedAttr::default()
    };
    call::set_scheduling(0, &attr);
    desk.tid.store(call::gettid() as u32, Ordering::Relaxed);
    desk.ready.store(1, Ordering::Release);
    futex::wake(&desk.ready, 1);
    Watch::new(engine).run()
}

/// What the watchdog remembers from round to round.
struct Watch {
    engine: &'static Engine,
    /// Call number of each guest in the round before, and whether it was in progress.
    seen: Vec<(u64, bool)>,
    /// CPU time of the carrier when its call was first seen.
    burnt: Vec<u64>,
    quiet: u32,
    /// A call was in progress at the last look.
    in_call: bool,
    /// When a thread could not be made, until none is wanted.
    short: Option<Instant>,
    stuck: ending::Stuck,
}

impl Watch {
    fn new(engine: &'static Engine) -> Self {
        let (seen, burnt, stuck) = (Vec::new(), Vec::new(), ending::Stuck::none());
        Self { engine, seen, burnt, quiet: 0, in_call: false, short: None, stuck }
    }

    fn run(mut self) -> ! {
        loop {
            let bell = self.engine.watchdog.bell.load(Ordering::SeqCst);
            self.serve();
            if self.round() | self.is_short() {
                self.quiet = 0;
            } else {
                self.quiet += 1;
            }
            if self.quiet > PATIENCE {
                self.sleep(bell);
            } else {
                let calm = self.engine.cpus.iter().all(|c| c.alert.load(Ordering::Relaxed) == 0);
                let nap = match (calm, self.in_call) {
                    (false, _) => ROUND,
                    (true, true) => CALM_ROUND,
                    (true, false) => LONG_ROUND,
                };
                let nap = Timespec::from_nanos(nap);
                futex::wait(&self.engine.watchdog.bell, bell, Some(&nap));
            }
        }
    }

    /// True if work waits for a crew thread that could not be made: nobody else would ask for one again,
    /// if those that there are wait for that work.
    fn is_short(&mut self) -> bool {
        let Some(since) = self.short else { return false };
        let awaited = self.engine.watchdog.main.load(Ordering::SeqCst) != MAIN_HAS_ENDED;
        if self.engine.unserved_jobs() == 0 && awaited {
            self.short = None;
        } else if since.elapsed() >= RETRY {
            self.short = Some(Instant::now());
            self.engine.dispatch();
        }
        self.short.is_some()
    }

    /// Sleeps until the bell rings. Who begins a call on a CPU whose `alert` is clear rings it.
    fn sleep(&mut self, bell: u32) {
        let desk = &self.engine.watchdog;
        desk.asleep.store(true, Ordering::SeqCst);
        for cpu in &self.engine.cpus {
            cpu.alert.store(0, Ordering::SeqCst);
        }
        // A call that began before it could see the cleared flags is seen here.
        // Where the fence is refused it need not be: not this time. By the next one it is.
        let ordered = self.engine.heavy_fence();
        let idle = ordered && self.guests().all(|guest| guest.call_in_progress() == 0);
        let mut rang = true;
        if idle {
            let pause = self.stuck.pause();
            while desk.asleep.load(Ordering::SeqCst) && desk.bell.load(Ordering::SeqCst) == bell {
                futex::wait(&desk.bell, bell, pause.as_ref());
                if pause.is_some() {
                    rang = desk.bell.load(Ordering::SeqCst) != bell;
                    break;
                }
            }
        }
        desk.asleep.store(false, Ordering::SeqCst);
        // If not, it is looked for takers of signals, and slept again.
        self.quiet = if rang { 0 } else { PATIENCE };
    }

    fn guests(&self) -> impl Iterator<Item = &'static super::guest::Guest> + use<> {
        self.engine.guests_now()
    }

    /// Looks at every guest once. True if any has made a call since the last round.
    fn round(&mut self) -> bool {
        let mut active = false;
        self.in_call = false;
        // Standbys that were given a command and not woken, if a waker was preempted half-way.
        self.engine.wake_again();
        for guest in self.guests() {
            if self.seen.len() <= guest.index {
                self.seen.resize(guest.index + 1, (0, false));
                self.burnt.resize(guest.index + 1, 0);
            }
            let number = guest.number.load(Ordering::Relaxed);
            let current = guest.call_in_progress();
            let in_call = current != 0;
            let before = std::mem::replace(&mut self.seen[guest.index], (number, in_call));
            active |= in_call || before.0 != number;
            if !in_call {
                continue;
            }
            self.in_call = true;
            if before == (number, true) && current == number {
                self.rescue(guest, number);
            } else {
                self.burnt[guest.index] = carrier_time(guest);
            }
        }
        active
    }

    /// A call has been in progress for a round or more.
    fn rescue(&mut self, guest: &super::guest::Guest, number: u64) {
        let engine = self.engine;
        if guest.unnoticed().is_some() {
            let used = carrier_time(guest).saturating_sub(self.burnt[guest.index]);
            guest.counters.computing.add(u64::from(used > ROUND / 2));
            engine.counters.rescued.add(1);
        }
        let cpu = self.calmest_cpu(guest);
        if !engine.notice(cpu, guest, number, Hurry::Yes) {
            engine.grow_unless_coming(1);
        }
    }

    /// A CPU for the standby: not the guest's own if another one is idle.
    fn calmest_cpu(&self, guest: &super::guest::Guest) -> usize {
        let own = guest.cpu.load(Ordering::Relaxed) as usize;
        let cpus = &self.engine.cpus;
        let idle = (0..cpus.len()).find(|&cpu| {
            cpu != own
                && cpus[cpu].alert.load(Ordering::Relaxed) == 0
                && self.engine.affinity.contains(cpu)
        });
        idle.unwrap_or(own).min(cpus.len() - 1)
    }

    /// Does what was asked for.
    fn serve(&mut self) {
        let desk = &self.engine.watchdog;
        let engine = self.engine;
        let first = desk.first_wanted.swap(0, Ordering::SeqCst);
        if first != 0 && desk.first.get().is_none() {
            let _ = desk.first.set(sentinel::start_first(engine, first - 1).err());
            engine.announce();
        }
        self.stuck.hand_on(engine, desk.stuck.swap(0, Ordering::SeqCst));
        if desk.renew.swap(false, Ordering::SeqCst) {
            for (number, cpu) in engine.cpus.iter().enumerate() {
                if cpu.dismissed.load(Ordering::SeqCst) != 0 {
                    desk.sentinels.set(number);
                }
            }
        }
        desk.sentinels.any(|cpu| {
            let slot = &engine.cpus[cpu];
            let there = slot.sentinel.load(Ordering::SeqCst) != 0;
            if there && slot.dismissed.load(Ordering::SeqCst) != 0 {
                // It goes when it gets to run; a later round finds it gone.
                self.quiet = 0;
                return false;
            }
            if !there && !reap(slot.sentinel_id.load(Ordering::SeqCst), false) {
                // It has left our memory, and is on its way through the kernel.
                self.quiet = 0;
                return false;
            }
            desk.sentinels.clear(cpu);
            if !there {
                // Only now: whoever dismisses one has seen it.
                slot.dismissed.store(0, Ordering::SeqCst);
                slot.sentinel_id.store(0, Ordering::SeqCst);
                sentinel::start_another(engine, cpu);
            }
            false
        });
        if desk.main.load(Ordering::SeqCst) == MAIN_HAS_ENDED
            && self.short.is_none_or(|since| since.elapsed() >= RETRY)
        {
            match last::start(engine) {
                Ok(()) => desk.main.store(LAST_IS_AWAITED, Ordering::SeqCst),
                Err(_) => self.short = Some(Instant::now()),
            }
        }
        let wanted = desk.wanted.swap(0, Ordering::SeqCst);
        for _ in 0..wanted {
            if let Err(error) = spawn(engine) {
                engine.total.fetch_sub(1, Ordering::SeqCst);
                // Release: who sees the failure counted may ask for another one.
                desk.failures.fetch_add(1, Ordering::Release);
                *lock(&engine.spawn_error) = Some(error);
                self.short = Some(Instant::now());
                engine.announce();
                engine.credited.notify_all();
            }
        }
    }
}

/// Makes a crew thread. By std, from this thread: with its guard page, its report of an overflow,
/// and nothing inherited from the program's threads.
///
/// In a forked child not by std: at the fork another thread may have held a lock of std's own that every
/// thread takes at its start (seen: the one of the overflow report), and would hold it in the child for
/// ever. The guard page is there; the report of an overflow is not.
fn spawn(engine: &'static Engine) -> io::Result<()> {
    let crew = engine
        .new_crew()
        .ok_or_else(|| io::Error::other(format!("{MAX_CREW} crew threads exist")))?;
    let size = engine.stack_size;
    let made = if super::fork::generation() > 0 {
        thread::start_unlisted(b"syslet-crew\0\0\0\0\0", Some(size), move || crew.run(engine))
    } else {
        thread::room_for_one(size, engine.coming()).and_then(|()| {
            let builder = std::thread::Builder::new().name(format!("syslet-crew-{}", crew.index));
            builder.stack_size(size).spawn(move || crew.run(engine)).map(drop)
        })
    };
    if made.is_err() {
        engine.free_crew(crew);
    }
    made
}

/// CPU time of the thread that makes the guest's call, or 0 if the guest has just gone.
fn carrier_time(guest: &super::guest::Guest) -> u64 {
    guest.carrier_now().map_or(0, |crew| cpu_time(crew.tid()))
}

/// CPU time that kernel thread `tid` has used, in nanoseconds; 0 if it cannot be asked.
pub(super) fn cpu_time(tid: i32) -> u64 {
    // The clock of one thread by its id: (~tid << 3) | CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED, see
    // clock_getcpuclockid(3) and include/linux/posix-timers.h.
    let clock = ((!tid as u32) << 3 | 6) as i32;
    let mut time = Timespec::default();
    let args = [clock as usize, &raw mut time as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes the structure, which is live.
    let answer = unsafe { arch::syscall(nr::CLOCK_GETTIME, args) };
    if answer < 0 { 0 } else { time.as_nanos() }
}

/// Reaps a sentinel; says whether it has ended. It sends no signal, so only `__WCLONE` sees it.
///
/// **Blocking**: if `wait`, until it has ended.
pub(super) fn reap(id: u32, wait: bool) -> bool {
    if id == 0 {
        return true;
    }
    let how = if wait { uapi::WCLONE } else { uapi::WCLONE | uapi::WNOHANG };
    let args = [id as usize, 0, how, 0, 0, 0];
    // SAFETY: writes nothing: the status is not asked for.
    unsafe { arch::syscall(nr::WAIT4, args) != 0 }
}
