//! The thread that answers, `syslet-stats`, and how it comes to be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use syslet_sys::{descriptor, futex};

use super::page::{Mapped, new_memory};
use super::wire::Wire;
use super::{THREAD_NAME, sample};
use crate::crew::{generation, start_thread, watch_forks};
use crate::sync::{AtomicI32, AtomicU32, Ordering};

/// The environment variable that has a program publish.
const VARIABLE: &str = "SYSLET_STATS";

/// How far the thread is, below, and above it in which life of the process: a forked child has no thread, and
/// what stands here is its parent's.
static STATE: AtomicU32 = AtomicU32::new(0);
/// Why there is no thread, if that failed: an error number.
static ERROR: AtomicI32 = AtomicI32::new(0);

/// Nobody has asked for the thread, or it could not be had.
const NONE: u32 = 0;
/// It is being made.
const STARTING: u32 = 1;
/// It answers.
const READY: u32 = 2;
const BITS: u32 = 2;

/// The phase as it stands in [`STATE`] in this life of the process.
fn now(phase: u32) -> u32 {
    generation() << BITS | phase
}

/// Publishes the counters and what guests and crew threads do, for `syslet top` and
/// [`Published`](crate::publish::Published). From then on, until the process ends.
///
/// The same is done by `SYSLET_STATS=1` in the environment, when the crew is started. A forked child publishes
/// nothing until it calls this itself, or, by the variable, starts a crew of its own.
///
/// One thread sleeps until somebody asks; nothing else is done before, and no call is slower. Who may ask: see
/// [`publish`](crate::publish).
///
/// # Errors
///
/// Where there can be no thread with a descriptor table of its own (close_range(2) with
/// `CLOSE_RANGE_UNSHARE`, Linux 5.9), no memory (memfd_create(2)), or no thread. A later call tries again.
///
/// # Blocking
///
/// Until the thread is there.
pub fn publish_stats() -> io::Result<()> {
    watch_forks();
    start();
    loop {
        let state = STATE.load(Ordering::Acquire);
        if state == now(READY) {
            return Ok(());
        }
        if state != now(STARTING) {
            return Err(io::Error::from_raw_os_error(ERROR.load(Ordering::Relaxed)));
        }
        futex::wait(&STATE, state, None);
    }
}

/// Publishes if the environment says so. Where that fails the program goes on without.
#[cold]
pub(crate) fn as_the_environment_says() {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "1") {
        let _ = publish_stats();
    }
}

/// Starts the thread, unless it is there.
fn start() {
    let begin = |state| (![now(STARTING), now(READY)].contains(&state)).then(|| now(STARTING));
    if STATE.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin).is_err() {
        return;
    }
    if let Err(error) = start_thread(THREAD_NAME, None, run) {
        fail(&error);
    }
}

fn fail(error: &io::Error) {
    ERROR.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Relaxed);
    // Release: the error.
    settle(NONE);
}

fn settle(phase: u32) {
    STATE.store(now(phase), Ordering::Release);
    futex::wake(&STATE, i32::MAX as u32);
}

/// The life of the thread.
fn run() {
    let (memory, page) = match prepare() {
        Ok(made) => made,
        Err(error) => return fail(&error),
    };
    settle(READY);
    loop {
        let asked = page.await_question();
        let mut seen = sample::look();
        let mut words = Vec::new();
        seen.put(&mut words);
        if !page.answer(asked, &words) {
            seen.shorten();
            words.clear();
            seen.put(&mut words);
            page.answer(asked, &words);
        }
        debug_assert!(memory.as_raw_fd() >= 0, "open for as long as the thread lives");
    }
}

/// Gives the running thread a descriptor table of its own, with the memory in it.
fn prepare() -> io::Result<(File, Mapped)> {
    check(descriptor::own_table())?;
    let memory = new_memory()?;
    let page = Mapped::new(&memory)?;
    page.keep_from_children()?;
    Ok((memory, page))
}

fn check(answer: isize) -> io::Result<()> {
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer as i32)) } else { Ok(()) }
}
