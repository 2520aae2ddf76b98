//! Attached threads, and the check that calls went the way they were meant to.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use syslet::{Attach, AttachGuard, Placement};
use syslet_sys::call;

use crate::error::Trouble;
use crate::options::Place;

/// Runs `f` on an attached thread of its own.
pub(crate) fn on_guest<R: Send>(
    placement: Placement,
    f: impl FnOnce() -> Result<R, Trouble> + Send,
) -> Result<R, Trouble> {
    on_guest_as(&Attach::new().placement(placement), f)
}

/// The same with other settings too.
pub(crate) fn on_guest_as<R: Send>(
    settings: &Attach,
    f: impl FnOnce() -> Result<R, Trouble> + Send,
) -> Result<R, Trouble> {
    let body = || {
        let guard = settings.clone().require().attach()?;
        let result = f();
        drop(guard);
        result
    };
    on_thread("bench-guest", body)
}

/// Runs `f` on a thread of its own.
pub(crate) fn on_thread<R: Send>(
    name: &str,
    f: impl FnOnce() -> Result<R, Trouble> + Send,
) -> Result<R, Trouble> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, f);
        let thread = thread.map_err(Trouble::io("starting a thread"))?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// Attaches the calling thread for real: a pool would measure something else.
pub(crate) fn attach(placement: Placement) -> Result<AttachGuard, Trouble> {
    Ok(Attach::new().placement(placement).require().attach()?)
}

/// The library's placement: pinned guests stand on `cpu`, or on the last CPU that may be used.
pub(crate) fn placement(place: Place, cpu: Option<usize>) -> Result<Placement, Trouble> {
    if place == Place::Follow {
        return Ok(Placement::Follow);
    }
    let last = || Ok(usable_cpus()?.pop().unwrap_or(0));
    cpu.map_or_else(last, Ok).map(Placement::Pinned)
}

/// Words of a CPU mask: 1024 CPUs, as in glibc's `cpu_set_t`.
const MASK: usize = 16;

/// The CPUs that the calling thread may use.
pub(crate) fn usable_cpus() -> Result<Vec<usize>, Trouble> {
    let mut mask = [0u64; MASK];
    let answer = call::affinity(0, &mut mask);
    checked("sched_getaffinity", answer)?;
    Ok((0..64 * MASK).filter(|cpu| mask[cpu / 64] & (1 << (cpu % 64)) != 0).collect())
}

/// Lets the calling thread run on `cpu` only.
pub(crate) fn pin(cpu: usize) -> Result<(), Trouble> {
    let mut mask = [0u64; MASK];
    if let Some(word) = mask.get_mut(cpu / 64) {
        *word |= 1 << (cpu % 64);
    }
    checked("sched_setaffinity", call::set_affinity(0, &mask))
}

fn checked(step: &'static str, answer: isize) -> Result<(), Trouble> {
    match answer {
        answer if answer < 0 => {
            Err(Trouble::Io(step, io::Error::from_raw_os_error(-answer as i32)))
        }
        _ => Ok(()),
    }
}

/// What the library has counted for the calling guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) inline: u64,
    pub(crate) handed_off: u64,
    /// Made in place, or queued: neither is what a measure wants.
    pub(crate) unprotected: u64,
    pub(crate) rescued: u64,
    /// Given to io_uring.
    pub(crate) by_ring: u64,
}

impl Path {
    pub(crate) fn now() -> Self {
        let stats = syslet::stats();
        let guest = stats.guest.unwrap_or_default();
        Self {
            inline: guest.inline,
            handed_off: guest.handed_off,
            unprotected: guest.in_place + guest.queued,
            rescued: stats.rescued,
            by_ring: stats.ring_reads,
        }
    }

    /// Adds what has been counted since `before`.
    pub(crate) fn add_since(&mut self, before: Self) {
        let now = Self::now();
        self.inline += now.inline - before.inline;
        self.handed_off += now.handed_off - before.handed_off;
        self.by_ring += now.by_ring - before.by_ring;
        self.unprotected += now.unprotected - before.unprotected;
        self.rescued += now.rescued - before.rescued;
    }

    /// Adds what another has counted.
    pub(crate) fn add(&mut self, other: Self) {
        self.inline += other.inline;
        self.handed_off += other.handed_off;
        self.by_ring += other.by_ring;
        self.unprotected += other.unprotected;
        self.rescued += other.rescued;
    }

    /// What is wrong if `calls` protected calls should have finished inline. A few may be handed off,
    /// because they really slept or because the guest was preempted in them.
    pub(crate) fn not_inline(self, calls: u64) -> Option<String> {
        self.not_inline_but(few(calls), calls)
    }

    /// As [`not_inline`](Self::not_inline), for calls that take tens of microseconds and more: on a busy
    /// machine one in five may be preempted.
    pub(crate) fn not_mostly_inline(self, calls: u64) -> Option<String> {
        self.not_inline_but(calls / 5 + 5, calls)
    }

    fn not_inline_but(self, few: u64, calls: u64) -> Option<String> {
        let stray = self.handed_off + self.unprotected;
        let wrong = stray > few || self.inline + stray != calls;
        wrong.then(|| self.complaint(calls, "finish inline"))
    }

    /// What is wrong if `calls` calls should have been handed off. A few may be queued because the
    /// crew grows: as many as may stray above.
    pub(crate) fn not_handed_off(self, calls: u64) -> Option<String> {
        let wrong = self.unprotected > few(calls) || self.handed_off + self.unprotected != calls;
        wrong.then(|| self.complaint(calls, "be handed off"))
    }

    fn complaint(self, calls: u64, should: &str) -> String {
        let Self { inline, handed_off, unprotected, .. } = self;
        format!(
            "{calls} calls should {should}, but {inline} were inline, {handed_off} handed off, \
             {unprotected} unprotected"
        )
    }
}

/// Calls of `calls` that may go another way than meant: one in a hundred, and some for short runs.
const fn few(calls: u64) -> u64 {
    if calls == 0 { 0 } else { calls / 100 + 5 }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn a_call_that_took_another_path_is_a_fault() {
        let path = Path { inline: 990, handed_off: 10, ..Path::default() };
        assert_eq!(path.not_inline(1000), None);
        assert!(path.not_inline(2000).is_some());
        assert!(path.not_mostly_inline(2000).is_some());
        let preempted = Path { inline: 850, handed_off: 150, ..Path::default() };
        assert_eq!(preempted.not_mostly_inline(1000), None);
        assert!(preempted.not_inline(1000).is_some());
        assert!(path.not_inline(0).is_some());
        assert!(path.not_handed_off(1000).is_some());
        let queued = Path { inline: 900, unprotected: 100, ..Path::default() };
        assert!(queued.not_inline(1000).is_some());
        let grown = Path { handed_off: 990, unprotected: 10, ..Path::default() };
        assert_eq!(grown.not_handed_off(1000), None);
        assert!(grown.not_handed_off(100).is_some());
    }
}
