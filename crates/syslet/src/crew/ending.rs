//! Signals that end the program while the guest that they came to blocks them.
//!
//! The kernel gives a signal for the process to any thread that lets it through. A home waits for its guest's,
//! so it takes them too while the guest blocks them for a time: in a handler, say, that blocks all and never returns.
//! They wait for the guest then. But if another thread of the program lets such a signal through, the kernel would have
//! given it to that one, and it would have ended the program: so it is handed on. The kernel would keep it for one that
//! lets it through later, too: so it is looked for one again while the guest has it, more and more rarely.

#![allow(unsafe_code, reason = "looks at whom a crew thread carries")]

use std::fs;
use std::time::{Duration, Instant};

use syslet_sys::call;
use syslet_sys::uapi::{SI_KERNEL, SI_USER, Siginfo, Timespec};

use super::engine::Engine;
use crate::sync::Ordering;

/// Signals whose default action is none, or is to stop (signal(7)).
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// True if a signal was sent to the process, and ends it where it is not blocked. From signal handlers.
pub(super) fn ends_process(info: &Siginfo) -> bool {
    (info.code == SI_USER || info.code == SI_KERNEL)
        && !HARMLESS.contains(&info.signo)
        && has_default_action(info.signo)
}

fn has_default_action(signal: i32) -> bool {
    call::signal_action(signal).is_ok_and(|action| action.handler == libc::SIG_DFL)
}

/// When it is looked again for another thread for a signal: first, and, after twice as long each time, at the latest.
const FIRST: Duration = Duration::from_millis(20);
const LATEST: Duration = Duration::from_secs(30);

/// Signals for which no other thread was found, one bit each: it is looked again while they are pending, for one that
/// lets them through later.
pub(super) struct Stuck {
    signals: u64,
    looked: Instant,
    pause: Duration,
}

impl Stuck {
    pub(super) fn none() -> Self {
        Self { signals: 0, looked: Instant::now(), pause: FIRST }
    }

    /// How soon it is to be looked again, if at all.
    pub(super) fn pause(&self) -> Option<Timespec> {
        (self.signals != 0).then(|| Timespec::from_nanos(self.pause.as_nanos() as u64))
    }

    /// Looks for other threads for the signals of `new`, and when it is time for those for which there was none.
    pub(super) fn hand_on(&mut self, engine: &Engine, new: u64) {
        if new == 0 && (self.signals == 0 || self.looked.elapsed() < self.pause) {
            return;
        }
        self.pause = if new != 0 { FIRST } else { LATEST.min(self.pause * 2) };
        self.signals |= new;
        for signal in 1..=64 {
            let bit = super::signals::bit(signal);
            if self.signals & bit != 0 && hand_on(engine, signal) {
                self.signals &= !bit;
            }
        }
        self.looked = Instant::now();
    }
}

/// Gives a signal to another thread of the program that lets it through, if there is one. False: there is none yet. The
/// signal is its guest's affair once that has taken it, or an action is set for it; and where `/proc` cannot be read.
///
/// **Blocking**: reads `/proc`; does not wait.
fn hand_on(engine: &Engine, signal: i32) -> bool {
    let mut carriers = engine.guests_now().filter_map(|guest| guest.carrier_now());
    let is_waiting = carriers.any(|carrier| has(carrier.tid(), "SigPnd:", signal) == Some(true));
    if !is_waiting || !has_default_action(signal) {
        return true;
    }
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return true };
    let tids = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
    let mut takers = tids.filter(|&tid| is_programs(engine, tid) && lets_through(tid, signal));
    // One that has ended meanwhile is none.
    takers.any(|tid| call::tgkill(engine.pid, tid, signal) == 0)
}

/// True if a thread runs the program's code. A home does not, and a crew thread only while it carries a guest: asleep
/// in a call it has the signal mask that its guest had then.
fn is_programs(engine: &Engine, tid: i32) -> bool {
    let is_home = engine.guests_now().any(|guest| guest.is_away_from(tid));
    let carries = |crew: &super::member::Crew| {
        // SAFETY: null, or a record, which is never freed.
        let guest = unsafe { crew.guest.load(Ordering::Acquire).as_ref() };
        guest.and_then(|guest| guest.carrier_now()).is_some_and(|carrier| carrier.tid() == tid)
    };
    !is_home && engine.crew_of_tid(tid).is_none_or(carries)
}

fn lets_through(tid: i32, signal: i32) -> bool {
    has(tid, "SigBlk:", signal) == Some(false)
}

/// Whether a set of a thread's has the signal; `None`: the thread has ended.
fn has(tid: i32, set: &str, signal: i32) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
    let set = status.lines().find_map(|line| line.strip_prefix(set))?;
    let set = u64::from_str_radix(set.trim(), 16).ok()?;
    Some(set & super::signals::bit(signal) != 0)
}
