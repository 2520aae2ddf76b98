//! The end of a program whose main thread has ended by pthread_exit(3).
//!
//! The C library ends such a process, with status 0, when its last thread ends. Threads of ours live on, so it
//! would never end. So what the C library would do is done here: where no thread is left that is not ours, and
//! nothing of what threads of the program would have done otherwise is under way, the process ends.
//!
//! # How it is noticed
//!
//! By the destructor of a pthread key, which the main thread has from the start (`.init_array`; nothing else happens
//! then). glibc runs those where the main thread calls pthread_exit, and not where it returns or calls exit(3): a
//! program that ends as usual pays nothing. Thread-locals of C++ and Rust are the other way round: destroyed by
//! exit, but not by the main thread's pthread_exit. So the key also brings a main thread home that is a guest.
//!
//! # Who looks, and who ends the process
//!
//! The watchdog makes `syslet-last`, and that makes `syslet-look`, which has a descriptor table of its own: what it
//! opens is not seen by the program. It must not be the one to end the process: functions of atexit(3) find the
//! program's descriptors. `syslet-last` does nothing else, so what they wait for does not wait for it.
//!
//! # No thread is overlooked
//!
//! A thread counts as the program's unless it is in our lists, or the kernel says that it is a worker of io_uring; the
//! main thread too, until it is a zombie. Threads enter our lists themselves and leave them before they
//! end, so at worst one of ours is taken for the program's for a moment. A list of threads that was read while some
//! came and went may lack one: it counts only if it is as long as the kernel's own count before and after, and
//! two in a row must say the same.

#![allow(unsafe_code, reason = "a pthread key, functions that the loader calls, exit")]

use std::ffi::{OsStr, c_void};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, OnceLock};

use syslet_sys::uapi::Timespec;
use syslet_sys::{call, descriptor, futex};

use super::engine::{Engine, engine};
use super::{attach, thread};
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

/// Between two looks. The process outlives its last thread by two of them.
const INTERVAL: Timespec = Timespec { sec: 0, nsec: 100_000_000 };
/// Looks in a row that must find nobody.
const LOOKS: u32 = 2;
/// One entry for each thread; its link count is their number and two. proc_pid_task(5).
const TASKS: &str = "/proc/self/task";
/// A worker of io_uring: linux/sched.h. Those are threads of the process since Linux 5.12; before, the bit meant
/// something else, so the name is looked at too.
const PF_IO_WORKER: u32 = 0x10;

/// No key could be made, or not yet.
const NO_KEY: u32 = u32::MAX;
/// The key whose destructor runs when the main thread ends.
static KEY: AtomicU32 = AtomicU32::new(NO_KEY);
/// The process whose main thread has ended.
static ENDED: AtomicI32 = AtomicI32::new(0);
/// Signals that the main thread blocked when it ended.
static MASK: AtomicU64 = AtomicU64::new(0);
/// What else must be over, see [`last_waits_for`].
static OTHERS: OnceLock<fn() -> bool> = OnceLock::new();

/// For a drop-in: while `busy` says so, the end of the last thread does not end the process, because the C library
/// would have a thread for that. One function for the process.
pub fn last_waits_for(busy: fn() -> bool) {
    let _ = OTHERS.set(busy);
}

#[used]
#[unsafe(link_section = ".init_array")]
static LOADED: extern "C" fn() = {
    extern "C" fn loaded() {
        let mut key = 0;
        // SAFETY: the destructor takes nothing, and is there until `unloaded` has deleted the key.
        if unsafe { libc::pthread_key_create(&raw mut key, Some(main_ends)) } == 0 {
            KEY.store(key, Ordering::SeqCst);
            // SAFETY: a handler that may run in any thread that forks; the C library forgets it where the library is
            // unloaded.
            unsafe { libc::pthread_atfork(None, None, Some(child)) };
            register();
        }
    }
    loaded
};

/// Any thread that forks is its child's main thread.
unsafe extern "C" fn child() {
    register();
}

/// A library that is unloaded leaves no destructor behind.
#[used]
#[unsafe(link_section = ".fini_array")]
static UNLOADED: extern "C" fn() = {
    extern "C" fn unloaded() {
        let key = KEY.swap(NO_KEY, Ordering::SeqCst);
        if key != NO_KEY {
            // SAFETY: made by `loaded`, and nobody else's.
            unsafe { libc::pthread_key_delete(key) };
        }
    }
    unloaded
};

/// Has the end of this thread noticed, if it is the main thread.
pub(super) fn register() {
    let key = KEY.load(Ordering::SeqCst);
    if key != NO_KEY && call::gettid() == call::getpid() {
        // SAFETY: the key is ours; the value is not used, only not null.
        unsafe { libc::pthread_setspecific(key, (&raw const KEY).cast()) };
    }
}

unsafe extern "C" fn main_ends(_: *mut c_void) {
    attach::detach_now();
    MASK.store(call::signal_mask(), Ordering::SeqCst);
    ENDED.store(call::getpid(), Ordering::SeqCst);
    // SeqCst: pairs with that in `engine_has_started`. One of the two sees the other.
    fence(Ordering::SeqCst);
    engine().inspect(|engine| engine.watchdog.main_has_ended());
}

/// An engine was started: perhaps in a process that has no main thread any more.
pub(super) fn engine_has_started(engine: &Engine) {
    // SeqCst: pairs with that in `main_ends`.
    fence(Ordering::SeqCst);
    if ENDED.load(Ordering::SeqCst) == engine.pid {
        engine.watchdog.main_has_ended();
    }
}

/// There is a thread of the program's.
const SOMEBODY: u32 = 0;
/// There is none, but work.
const WORK: u32 = 1;
/// There is neither.
const NOBODY: u32 = 2;

/// Sees to it that the process ends with the last thread that is not ours.
pub(super) fn start(engine: &'static Engine) -> std::io::Result<()> {
    thread::start(b"syslet-last\0\0\0\0\0", None, move || end_with_the_last(engine))
}

fn end_with_the_last(engine: &'static Engine) {
    let found = Arc::new(AtomicU32::new(SOMEBODY));
    let shared = Arc::clone(&found);
    let look = move || look(engine, &shared);
    // Where no thread can be made now, one can be later.
    while thread::start(b"syslet-look\0\0\0\0\0", None, look.clone()).is_err() {
        nap();
    }
    loop {
        let seen = found.load(Ordering::Acquire);
        match seen {
            NOBODY => break,
            // Nobody else would take the program's signals.
            WORK => _ = call::set_signal_mask(MASK.load(Ordering::SeqCst)),
            _ => {}
        }
        // As long as it is what was seen: there is no second call for what comes in between.
        futex::wait(&found, seen, None);
    }
    // SAFETY: what the C library does at the end of the last thread, on a thread that holds nothing.
    unsafe { libc::exit(0) }
}

/// Looks until nobody is left, and tells of what it sees.
fn look(engine: &'static Engine, found: &AtomicU32) {
    if descriptor::own_table() < 0 {
        return; // before Linux 5.9: the process does not end, see PLATFORM.md
    }
    let (mut last, mut times) = (SOMEBODY, 0);
    while (last, times) != (NOBODY, LOOKS) {
        nap();
        let now = who_is_left(engine);
        times = if now == last { times.saturating_add(1) } else { 1 };
        last = now;
        // Nobody is told of at the second time, work at the first.
        if now != NOBODY || times == LOOKS {
            // Release: pairs with the acquire of `end_with_the_last`.
            found.store(now, Ordering::Release);
            futex::wake(found, 1);
        }
    }
}

fn nap() {
    futex::wait(&AtomicU32::new(0), 0, Some(&INTERVAL));
}

/// What is left of the program.
fn who_is_left(engine: &Engine) -> u32 {
    let works = || {
        engine.outstanding.load(Ordering::SeqCst) > 0
            || engine.park.writes.load(Ordering::SeqCst) > 0
            || OTHERS.get().is_some_and(|busy| busy())
    };
    // Before and after: work may begin a thread and end, or a thread begin work and end.
    let worked = works();
    match () {
        () if !only_ours(engine).unwrap_or(false) => SOMEBODY,
        () if worked || works() => WORK,
        () => NOBODY,
    }
}

/// True if every thread of the process is ours or has ended; see "No thread is overlooked" above.
fn only_ours(engine: &Engine) -> std::io::Result<bool> {
    let count = || fs::metadata(TASKS).map(|tasks| tasks.nlink().saturating_sub(2));
    let before = count()?;
    let mut listed = 0;
    for task in fs::read_dir(TASKS)? {
        if !is_ours(engine, &task?.file_name()) {
            return Ok(false);
        }
        listed += 1;
    }
    Ok(before == listed && listed == count()?)
}

/// True if the thread with this id is one of ours or the kernel's, or the main thread that has ended.
fn is_ours(engine: &Engine, id: &OsStr) -> bool {
    let Some(tid) = id.to_str().and_then(|id| id.parse::<i32>().ok()) else { return false };
    if thread::is_listed(tid) || engine.crew_of_tid(tid).is_some() {
        return true;
    }
    let path = [TASKS.as_bytes(), b"/", id.as_bytes(), b"/stat"].concat();
    let Ok(stat) = fs::read(OsStr::from_bytes(&path)) else { return false };
    if tid == engine.pid { has_ended(&stat) } else { works_for_ring(&stat) }
}

/// What stat says of a thread, proc_pid_stat(5): `1234 (name) state`, and six numbers further the flags. Name, and the
/// fields from the state on.
fn parts(stat: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    let start = stat.iter().position(|&byte| byte == b'(')?;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = stat[end + 1..].split(|&byte| byte == b' ').filter(|field| !field.is_empty());
    Some((stat.get(start + 1..end)?, fields))
}

/// The thread is a zombie. Other threads than the main one are none, or not for long: so they are not asked.
fn has_ended(stat: &[u8]) -> bool {
    parts(stat).is_some_and(|(_, mut fields)| fields.next() == Some(b"Z"))
}

/// The thread is a worker of io_uring.
fn works_for_ring(stat: &[u8]) -> bool {
    let Some((name, mut fields)) = parts(stat) else { return false };
    let flags = fields.nth(6).and_then(|flags| std::str::from_utf8(flags).ok()?.parse().ok());
    name.starts_with(b"iou-") && flags.is_some_and(|flags: u32| flags & PF_IO_WORKER != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_programs_and_others_are_told_apart_by_what_stat_says() {
        let cases: [(&str, bool, bool); 7] = [
            ("7 (program) S 1 7 7 0 -1 4194304 0 0", false, false),
            ("7 (program) Z 1 7 7 0 -1 4194316 0 0", true, false),
            ("7 (a) Z (b) R 1 7 7 0 -1 4194304 0 0", false, false),
            ("7 (iou-wrk-3) S 1 7 7 0 -1 4211024 0 0", false, true),
            ("7 (iou-wrk-3) S 1 7 7 0 -1 4194304 0 0", false, false),
            ("7 (vcpu) R 1 7 7 0 -1 4194320 0 0", false, false),
            (")nothing(", false, false),
        ];
        for (stat, ended, ring) in cases {
            assert_eq!(has_ended(stat.as_bytes()), ended, "{stat}");
            assert_eq!(works_for_ring(stat.as_bytes()), ring, "{stat}");
        }
    }
}
