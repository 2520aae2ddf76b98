//! Waiting for requests: aio_suspend(3). By atomics and futexes alone, so that signal handlers may.
//!
//! Who waits for one request sleeps on the error number in its control block; who waits for several, on a count of
//! what has ended. Both count themselves before they look, and a thread that ends a request looks at the
//! counts after it has stored the answer, all of it SeqCst: one of the two sees the other. A handler that leaves
//! `aio_suspend` by a jump leaves a count raised, which costs wake-ups that find nobody.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use libc::timespec;
use syslet_sys::uapi::{EINTR, ETIMEDOUT, Timespec};
use syslet_sys::{call, futex};

use crate::block::{Aiocb, Block};

/// Places for those who wait for one request, by its address.
const PLACES: usize = 64;
const NANOS: i64 = 1_000_000_000;

static SINGLE: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];
static SEVERAL: AtomicU32 = AtomicU32::new(0);
/// Changes with every request that ends while somebody waits for several.
static ENDED: AtomicU32 = AtomicU32::new(0);

fn place(word: *const AtomicI32) -> &'static AtomicU32 {
    // Blocks are 168 bytes: above the lowest bits their addresses differ.
    &SINGLE[(word as usize >> 3) % PLACES]
}

/// A request is over whose error number was at `word`, which is an address only: the block is the program's.
pub(crate) fn wake(word: *const AtomicI32) {
    if place(word).load(Ordering::SeqCst) > 0 {
        futex::wake(word.cast(), i32::MAX as u32);
    }
    if SEVERAL.load(Ordering::SeqCst) > 0 {
        ENDED.fetch_add(1, Ordering::SeqCst);
        futex::wake(&ENDED, i32::MAX as u32);
    }
}

/// Waits until one of the blocks is not in progress.
///
/// # Errors
///
/// An error number: EAGAIN when the time is over, EINTR after a signal handler, EINVAL for a time that is none.
pub(crate) fn suspend(blocks: &[*const Aiocb], timeout: Option<&timespec>) -> Result<(), c_int> {
    let Some((block, several)) = in_progress(blocks) else { return Ok(()) };
    let deadline = match timeout {
        Some(time) if !(0..NANOS).contains(&time.tv_nsec) => return Err(libc::EINVAL),
        Some(time) => Some(deadline(time)),
        None => None,
    };
    let count = if several { &SEVERAL } else { place(block.word()) };
    count.fetch_add(1, Ordering::SeqCst);
    let answer = if several {
        wait_for_several(blocks, deadline.as_ref())
    } else {
        wait_for_one(block, deadline.as_ref())
    };
    count.fetch_sub(1, Ordering::SeqCst);
    answer
}

/// A block that is in progress, and whether there are several. None: one is not, or there are none.
#[allow(unsafe_code, reason = "the program's list; see lib.rs")]
fn in_progress(blocks: &[*const Aiocb]) -> Option<(Block, bool)> {
    let mut found = None;
    for at in blocks {
        // SAFETY: clause *block*.
        let block = unsafe { Block::new(*at) };
        if block.is_null() {
            continue;
        }
        if !block.is_in_progress() {
            return None;
        }
        found = Some((block, found.is_some()));
    }
    found
}

fn deadline(timeout: &timespec) -> Timespec {
    let now = call::monotonic_nanos();
    let secs = u64::try_from(timeout.tv_sec).unwrap_or(0);
    let nanos = if timeout.tv_sec < 0 { 0 } else { timeout.tv_nsec as u64 };
    // 292 years are for ever.
    let after = secs.saturating_mul(NANOS as u64).saturating_add(nanos);
    Timespec::from_nanos(now.saturating_add(after).min(i64::MAX as u64))
}

fn wait_for_several(blocks: &[*const Aiocb], deadline: Option<&Timespec>) -> Result<(), c_int> {
    loop {
        let ended = ENDED.load(Ordering::SeqCst);
        if in_progress(blocks).is_none() {
            return Ok(());
        }
        read_answer(futex::wait_until(&ENDED, ended, deadline))?;
    }
}

fn wait_for_one(block: Block, deadline: Option<&Timespec>) -> Result<(), c_int> {
    while block.is_in_progress() {
        let word = word_of(&block);
        read_answer(futex::wait_until(word, libc::EINPROGRESS as u32, deadline))?;
    }
    Ok(())
}

/// The error number as futex(2) sees it.
#[allow(unsafe_code, reason = "an atomic number is one with a sign or without")]
fn word_of(block: &Block) -> &AtomicU32 {
    let word = std::ptr::from_ref(block.word()).cast::<AtomicU32>();
    // SAFETY: of the same size, borrowed for as long.
    unsafe { &*word }
}

/// How a request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Done = 2,
    Cancelled = 3,
}

/// The end of a request, for who waits for it and may not look at its block. 0 until somebody waits or it comes; then
/// one of [`How`].
#[derive(Debug, Default)]
pub(crate) struct End(AtomicU32);

/// Somebody may sleep.
const AWAITED: u32 = 1;

impl End {
    /// It has come.
    pub(crate) fn comes(&self, how: How) {
        // Release: who sees it sees the answer in the block.
        if self.0.swap(how as u32, Ordering::AcqRel) == AWAITED {
            futex::wake(&self.0, i32::MAX as u32);
        }
    }

    /// Waits for it until `deadline`. None: it has not come.
    pub(crate) fn wait(&self, deadline: &Timespec) -> Option<How> {
        const DONE: u32 = How::Done as u32;
        const CANCELLED: u32 = How::Cancelled as u32;
        let mut is_late = false;
        loop {
            // Acquire: pairs with `comes`.
            match self.0.load(Ordering::Acquire) {
                DONE => return Some(How::Done),
                CANCELLED => return Some(How::Cancelled),
                _ if is_late => return None,
                now => {
                    let (relaxed, awaited) = (Ordering::Relaxed, AWAITED);
                    let asked = self.0.compare_exchange(now, awaited, relaxed, relaxed);
                    if asked.is_ok() {
                        is_late = futex::wait_until(&self.0, AWAITED, Some(deadline)) == TIMED_OUT;
                    }
                }
            }
        }
    }
}

fn read_answer(answer: isize) -> Result<(), c_int> {
    match answer {
        EINTR_ANSWER => Err(libc::EINTR),
        TIMED_OUT => Err(libc::EAGAIN),
        _ => Ok(()), // woken, or it had changed: looked at again
    }
}

const EINTR_ANSWER: isize = -EINTR;
const TIMED_OUT: isize = -ETIMEDOUT;
