//! Counters: what ran inline, what was handed off, and how fast.

#![allow(unsafe_code, reason = "reads guest records, which are never freed")]

use std::time::Duration;

use crate::crew::{Engine, current_guest, engine};
use crate::sync::{AtomicU64, Ordering};

/// A counter that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

/// Buckets of a histogram: powers of two of nanoseconds, from 256 ns to 0.5 s, and above.
pub(crate) const BUCKETS: usize = 22;
/// Logarithm of the upper bound of the first bucket, in nanoseconds.
const FIRST: u32 = 8;

/// Counts by ticks, in powers of two; turned into time when read.
#[derive(Debug)]
pub(crate) struct TickHistogram([Count; 48]);

impl Default for TickHistogram {
    fn default() -> Self {
        Self([const { Count(AtomicU64::new(0)) }; 48])
    }
}

impl TickHistogram {
    pub(crate) fn record(&self, ticks: u64) {
        let log = (64 - ticks.leading_zeros()) as usize;
        self.0[log.min(self.0.len() - 1)].add(1);
    }

    fn clear(&self) {
        self.0.iter().for_each(|count| count.set(0));
    }
}

/// Counters of one guest. The number of its calls is counted by the call number itself.
#[derive(Debug, Default)]
pub(crate) struct GuestCounters {
    pub(crate) handed_off: Count,
    pub(crate) in_place: Count,
    pub(crate) queued: Count,
    /// Of those handed off, calls that were computing and not asleep.
    pub(crate) computing: Count,
    pub(crate) latency: TickHistogram,
    /// The call number when the guest was attached.
    base: Count,
}

impl GuestCounters {
    pub(crate) fn reset(&self, number: u64) {
        self.handed_off.set(0);
        self.in_place.set(0);
        self.queued.set(0);
        self.computing.set(0);
        self.latency.clear();
        self.base.set(number);
    }
}

/// Counters of the engine.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Standbys that were woken for a call that was over by then.
    pub(crate) late_kicks: Count,
    /// Calls that the watchdog had to notice.
    pub(crate) rescued: Count,
    /// Calls and handoffs of guests that have gone.
    pub(crate) past: PastCounters,
}

/// Sums over guests that have detached.
#[derive(Debug, Default)]
pub(crate) struct PastCounters {
    calls: Count,
    handed_off: Count,
    in_place: Count,
    queued: Count,
    computing: Count,
    latency: TickHistogram,
}

/// How long handoffs took from when a sentinel or the watchdog found the call in progress, and woke a crew thread for
/// it, until that thread had the guest.
///
/// It does not begin when the call went to sleep. That instant is not known: the inline path reads no clock, which
/// would cost it some 20 ns, as much as all else that it does. What is left out before the beginning is the switch to
/// the sentinel, about a microsecond where that is awake or has been woken before the call went to sleep; where every
/// CPU is kept busy, so that the watchdog has to find the call, one to two rounds of its looks, 0.2 ms to 1.6 ms
/// ([`Stats::rescued`] counts these); and all of the time that a call was computing before it slept. What is left out
/// at the end is the switch back to the guest, some 50 ns. `syslet probe` and `bench handoff` time the whole from
/// outside, from before the call to when the caller goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    pub(crate) counts: [u64; BUCKETS],
}

impl Histogram {
    /// Number of handoffs recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The buckets that are not empty: upper bound and count, in ascending order.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let bound = |at: usize| Duration::from_nanos(1 << (FIRST + at as u32));
        self.counts.iter().enumerate().filter(|(_, n)| **n > 0).map(move |(at, n)| (bound(at), *n))
    }

    /// An upper bound of the time that a part `quantile` (0 to 1) of the handoffs took; zero if
    /// there were none.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let wanted = (self.count() as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bound, count) in self.buckets() {
            seen += count;
            if seen >= wanted {
                return bound;
            }
        }
        Duration::ZERO
    }

    fn add(&mut self, ticks: &TickHistogram, nanos_per_tick: f64) {
        for (log, count) in ticks.0.iter().enumerate().filter(|(_, count)| count.get() > 0) {
            // The bucket holds ticks below 2^log: their bound, in nanoseconds.
            let bound = (2f64.powi(log as i32) * nanos_per_tick) as u64;
            let at = (64 - bound.leading_zeros()).saturating_sub(FIRST) as usize;
            self.counts[at.min(BUCKETS - 1)] += count.get();
        }
    }
}

/// Counters of one guest, or of all guests together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestStats {
    /// Calls and closures that finished before anybody took the guest over. An attempt at a call that
    /// gave no answer, after which the call was made or parked, counts as one more.
    pub inline: u64,
    /// Calls and closures that were left to a crew thread while the guest went on.
    pub handed_off: u64,
    /// Calls made in place, without protection, because no crew thread was left.
    pub in_place: u64,
    /// Calls and closures that were queued for a crew thread, because none was left at once.
    pub queued: u64,
    /// Of the handoffs those of calls that were computing rather than asleep: counted where the watchdog starts them.
    /// (A sentinel starts one where its CPU has nothing to do; a call that waits for a CPU looks as if it slept.)
    /// Such a handoff is harmless: the guest goes on in parallel.
    pub false_handoffs: u64,
    /// From when a call was found to be in progress until the guest was taken over; see [`Histogram`] for what that
    /// leaves out.
    pub latency: Histogram,
}

/// A snapshot of the counters. The parts are read one after the other, not at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The calling thread's, if it is attached.
    pub guest: Option<GuestStats>,
    /// All guests, those that have detached included.
    pub total: GuestStats,
    /// Handoffs that the watchdog had to start, because the CPU was busy.
    pub rescued: u64,
    /// Standbys that were woken for a call that was over when they came.
    pub late_wakeups: u64,
    /// Guests now.
    pub attached: usize,
    /// Crew threads now.
    pub crew: usize,
    /// Most crew threads.
    pub crew_limit: usize,
    /// Calls and closures that are away or queued now, without writes that wait for their turn.
    pub outstanding: usize,
    /// Calls that wait without a thread now.
    pub parked: usize,
    /// Calls parked so far.
    pub parked_in_all: u64,
    /// Reads that were given to io_uring so far.
    pub ring_reads: u64,
    /// Of the calls that wait without a thread, those that go on even if their descriptor is closed.
    pub held: usize,
    /// Crew threads that could not be made.
    pub spawn_failures: u64,
}

/// Reads the counters. All zero before the engine has started.
///
/// # Blocking
///
/// Never.
pub fn stats() -> Stats {
    let Some(engine) = engine() else { return Stats::default() };
    let scale = nanos_per_tick(engine);
    let past = &engine.counters.past;
    let mut total = GuestStats {
        inline: past.calls.get().saturating_sub(past.handed_off.get()),
        handed_off: past.handed_off.get(),
        in_place: past.in_place.get(),
        queued: past.queued.get(),
        false_handoffs: past.computing.get(),
        latency: Histogram::default(),
    };
    total.latency.add(&past.latency, scale);
    for guest in engine.guests_now() {
        let one = of_guest(guest, scale);
        total.inline += one.inline;
        total.handed_off += one.handed_off;
        total.in_place += one.in_place;
        total.queued += one.queued;
        total.false_handoffs += one.false_handoffs;
        total.latency.add(&guest.counters.latency, scale);
    }
    // SAFETY: null, or a record, which is never freed.
    let own = unsafe { current_guest().as_ref() };
    Stats {
        guest: own.map(|guest| of_guest(guest, scale)),
        total,
        rescued: engine.counters.rescued.get(),
        late_wakeups: engine.counters.late_kicks.get(),
        attached: engine.attached.load(Ordering::SeqCst),
        crew: engine.alive.load(Ordering::SeqCst),
        crew_limit: engine.limit.load(Ordering::Relaxed),
        outstanding: engine.outstanding.load(Ordering::SeqCst),
        parked: engine.park.count(),
        parked_in_all: engine.park.total.get(),
        ring_reads: engine.park.disk.total.get(),
        held: engine.park.held(),
        spawn_failures: engine.watchdog.failures.load(Ordering::Acquire),
    }
}

pub(crate) fn of_guest(guest: &crate::crew::Guest, scale: f64) -> GuestStats {
    let counters = &guest.counters;
    let calls = guest.calls().saturating_sub(counters.base.get());
    let handed_off = counters.handed_off.get();
    let mut latency = Histogram::default();
    latency.add(&counters.latency, scale);
    GuestStats {
        inline: calls.saturating_sub(handed_off),
        handed_off,
        in_place: counters.in_place.get(),
        queued: counters.queued.get(),
        false_handoffs: counters.computing.get(),
        latency,
    }
}

/// Adds a guest's counters to those of the past, when it detaches.
pub(crate) fn retire(engine: &Engine, guest: &crate::crew::Guest) {
    let past = &engine.counters.past;
    let counters = &guest.counters;
    past.calls.add(guest.calls().saturating_sub(counters.base.get()));
    past.handed_off.add(counters.handed_off.get());
    past.in_place.add(counters.in_place.get());
    past.queued.add(counters.queued.get());
    past.computing.add(counters.computing.get());
    for (sum, count) in past.latency.0.iter().zip(&counters.latency.0) {
        sum.add(count.get());
    }
    counters.reset(guest.calls());
}

/// The length of a tick of the time-stamp counter, measured since the engine started.
pub(crate) fn nanos_per_tick(engine: &Engine) -> f64 {
    let (instant, ticks) = engine.epoch;
    let ticks = syslet_sys::arch::ticks().saturating_sub(ticks).max(1);
    instant.elapsed().as_nanos() as f64 / ticks as f64
}
