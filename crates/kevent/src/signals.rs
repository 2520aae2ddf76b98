//! Signals.
//!
//! A handler of ours counts them and has the clock's thread hand them out. What was there before is called by it, unless
//! a source wants the signal for itself alone; those that every thread blocks are taken by the keeper's signalfd then. When no
//! source is left what was there before is put back, unless the program has changed it meanwhile.

#![allow(unsafe_code, reason = "signal handlers")]

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libc::{c_int, c_void, sigaction, siginfo_t};
use syslet::source;

use crate::core::On;
use crate::event::Happened;
use crate::node::Node;

const MOST: usize = 65;

#[derive(Debug)]
struct Told {
    number: u32,
    only: bool,
    node: Arc<Node>,
}

/// Who is told, in one life of the process: a forked child has none, and its own lock.
#[derive(Debug)]
struct Board {
    life: u32,
    told: Mutex<Vec<Told>>,
}

/// Never freed: there is one for each life.
static BOARD: AtomicPtr<Board> = AtomicPtr::new(ptr::null_mut());
/// Deliveries that the clock's thread has not handed out yet.
static COUNTS: [AtomicU32; MOST] = [const { AtomicU32::new(0) }; MOST];
/// Signals, by bit, that only queues are told of.
static ONLY: AtomicU64 = AtomicU64::new(0);
/// What was there before. Never freed: a handler may be reading it.
static BEFORE: [AtomicPtr<sigaction>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];

/// The board of this life, if somebody was ever told.
fn board() -> Option<&'static Board> {
    // SAFETY: null, or made below and never freed.
    let board = unsafe { BOARD.load(Ordering::SeqCst).as_ref() };
    board.filter(|board| board.life == source::life())
}

/// The board of this life.
fn made_board() -> &'static Board {
    loop {
        if let Some(board) = board() {
            return board;
        }
        let old = BOARD.load(Ordering::SeqCst);
        let new = Box::new(Board { life: source::life(), told: Mutex::default() });
        let new = Box::into_raw(new);
        if BOARD.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // SAFETY: made above, and nobody has seen it.
            drop(unsafe { Box::from_raw(new) });
            continue;
        }
        ONLY.store(0, Ordering::SeqCst);
        // There is a thread for the clock, or queues have no timers either.
        let _ = source::on_ring(hand_out);
    }
}

fn told() -> MutexGuard<'static, Vec<Told>> {
    made_board().told.lock().unwrap_or_else(PoisonError::into_inner)
}

const fn bit(number: u32) -> u64 {
    1 << (number - 1)
}

/// False for what has no handler, and for what the C library or ours need.
pub(crate) fn may_be_told(number: u32) -> bool {
    let own = [libc::SIGKILL, libc::SIGSTOP, 32, 33];
    (1..MOST as u32).contains(&number) && !own.contains(&(number as i32))
}

/// From here on the source is told.
pub(crate) fn enter(number: u32, only: bool, node: &Arc<Node>) {
    let mut told = told();
    let first = !told.iter().any(|told| told.number == number);
    told.push(Told { number, only, node: Arc::clone(node) });
    choose(&told);
    if first {
        install(number);
    }
    if node.is_gone() {
        drop(told);
        leave(number, node);
    }
}

/// From here on the source is not told.
pub(crate) fn leave(number: u32, node: &Arc<Node>) {
    let mut told = told();
    let before = told.len();
    told.retain(|told| !Arc::ptr_eq(&told.node, node));
    if told.len() == before {
        return;
    }
    choose(&told);
    if !told.iter().any(|told| told.number == number) {
        remove(number);
    }
}

/// Which signals are for queues alone.
fn choose(told: &[Told]) {
    let only = told.iter().filter(|told| told.only).fold(0, |only, told| only | bit(told.number));
    if ONLY.swap(only, Ordering::SeqCst) != only {
        // Waits for the keeper, which takes no lock of ours.
        source::take_signals(only, |number| {
            count(number);
            source::ring_from_handler();
        });
    }
}

fn action(number: u32, new: Option<&sigaction>) -> sigaction {
    let mut old = MaybeUninit::<sigaction>::zeroed();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both are null or live.
    unsafe { libc::sigaction(number as c_int, new, old.as_mut_ptr()) };
    // SAFETY: zeroes are one, and the library has written it.
    unsafe { old.assume_init() }
}

fn install(number: u32) {
    // SAFETY: zeroes are a `sigaction`.
    let mut new: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    new.sa_sigaction = handle as *const () as usize;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    let old = action(number, None);
    new.sa_mask = old.sa_mask;
    if old.sa_sigaction == new.sa_sigaction {
        return; // of a parent, before the fork
    }
    let kept = Box::into_raw(Box::new(old));
    BEFORE[number as usize].store(kept, Ordering::SeqCst);
    action(number, Some(&new));
}

fn remove(number: u32) {
    let now = action(number, None);
    let before = BEFORE[number as usize].load(Ordering::SeqCst);
    if now.sa_sigaction == handle as *const () as usize && !before.is_null() {
        // SAFETY: made by `install`, never freed.
        action(number, Some(unsafe { &*before }));
    }
}

fn count(number: u32) {
    if let Some(count) = COUNTS.get(number as usize) {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// The handler: atomics and one call.
extern "C" fn handle(number: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let number = number as u32;
    if board().is_some() {
        count(number);
        source::ring_from_handler();
    }
    if board().is_none() || ONLY.load(Ordering::SeqCst) & bit(number) == 0 {
        pass_on(number, info, context);
    }
}

/// Does what would have been done without us.
fn pass_on(number: u32, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE[number as usize].load(Ordering::SeqCst);
    // SAFETY: null, or made by `install`, and never freed.
    let Some(before) = (unsafe { before.as_ref() }) else { return };
    match before.sa_sigaction {
        libc::SIG_IGN => {}
        libc::SIG_DFL => by_default(number),
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: a handler that the program installed, of this type.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(number as c_int, info, context);
        }
        handler => {
            // SAFETY: as above.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(number as c_int);
        }
    }
}

/// What is ignored by default is; else the process ends, or stops, as it would have.
fn by_default(number: u32) {
    let ignored = [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGCONT];
    if ignored.contains(&(number as c_int)) {
        return;
    }
    // SAFETY: zeroes are a `sigaction`: the default one.
    let default: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action(number, Some(&default));
    // Comes when the handler has returned.
    // SAFETY: no memory.
    unsafe { libc::raise(number as c_int) };
}

/// Hands out what was counted. On the clock's thread.
fn hand_out() {
    for (number, count) in COUNTS.iter().enumerate() {
        if count.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let count = count.swap(0, Ordering::SeqCst);
        let nodes: Vec<_> = told()
            .iter()
            .filter(|told| told.number == number as u32)
            .map(|told| Arc::clone(&told.node))
            .collect();
        nodes.iter().for_each(|node| node.tell(Happened::DELIVERY, count, On::Clock));
    }
}
