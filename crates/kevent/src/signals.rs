//! Signals.
//!
//! A handler of ours counts them and has the clock's thread hand them out. What was there before is called by it,
//! unless a source wants the signal for itself alone; those that every thread blocks are taken by the keeper's
//! signalfd then. When no source is left what was there before is put back, unless the program has changed it
//! meanwhile.
//!
//! # Layers
//!
//! A program's handler that is put over ours may call ours, as the one before it. When sources go and come again ours
//! goes on top once more, and would be called by what it calls, without end. So there are several handlers that do
//! the same, each with what was there before *it*: on top goes one that was not there yet. Of those that one signal
//! goes through the one that is installed tells of it, or the latest if the program's own is.

#![allow(unsafe_code, reason = "signal handlers")]

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libc::{c_int, c_void, sigaction, siginfo_t};
use syslet::source;

use crate::core::On;
use crate::event::Happened;
use crate::node::Node;

const MOST: usize = 65;
/// Handlers; see *layers* in the module.
const LAYERS: usize = 8;
type Handler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
static HANDLERS: [Handler; LAYERS] = [
    handle::<0>,
    handle::<1>,
    handle::<2>,
    handle::<3>,
    handle::<4>,
    handle::<5>,
    handle::<6>,
    handle::<7>,
];
/// What of a program's own handler ours takes over: how calls and children are affected, and its stack.
const KEPT: c_int = libc::SA_RESTART
    | libc::SA_ONSTACK
    | libc::SA_NODEFER
    | libc::SA_NOCLDSTOP
    | libc::SA_NOCLDWAIT;
/// What stops the process unless somebody has it handled.
const STOPS: [c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

#[derive(Debug)]
struct Told {
    number: u32,
    only: bool,
    /// None: see [`hold`].
    node: Option<Arc<Node>>,
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
/// What was there before each handler. Never freed: it may be reading it.
static BEFORE: [[AtomicPtr<sigaction>; MOST]; LAYERS] =
    [const { [const { AtomicPtr::new(ptr::null_mut()) }; MOST] }; LAYERS];
/// The handler of each signal that was installed last.
static LATEST: [AtomicUsize; MOST] = [const { AtomicUsize::new(0) }; MOST];
/// Layers, by bit, whose handler before has run for the only time that it asked for (`SA_RESETHAND`).
static SPENT: [AtomicU32; MOST] = [const { AtomicU32::new(0) }; MOST];

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
        // A parent's, which it was about to hand out when it forked.
        COUNTS.iter().for_each(|count| count.store(0, Ordering::SeqCst));
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
///
/// # Errors
///
/// `EBUSY`: the program has put that many handlers over ours that no more can be told apart.
pub(crate) fn enter(number: u32, only: bool, node: &Arc<Node>) -> Result<(), c_int> {
    let mut told = told();
    if node.is_gone() {
        // Another may have its place, and what it is told. If it goes after this, that waits for the lock.
        return Ok(());
    }
    let first = !told.iter().any(|told| told.number == number);
    if first {
        install(number)?;
    }
    told.push(Told { number, only, node: Some(Arc::clone(node)) });
    choose(&told);
    Ok(())
}

/// From here on the source is not told.
pub(crate) fn leave(number: u32, node: &Arc<Node>) {
    let mut told = told();
    let before = told.len();
    told.retain(|told| !told.node.as_ref().is_some_and(|told| Arc::ptr_eq(told, node)));
    if told.len() < before {
        left(number, &told);
    }
}

/// Who was told of a signal is told no more.
fn left(number: u32, told: &[Told]) {
    choose(told);
    if !told.iter().any(|told| told.number == number) {
        remove(number);
    }
}

/// Has a signal handled as it is until this is dropped, though the source that is told of it leaves meanwhile: another
/// takes its place. What is delivered meanwhile is told then. `None` if nobody is told of it.
pub(crate) fn hold(number: u32) -> Option<Held> {
    let mut told = told();
    told.iter().find(|told| told.number == number)?;
    let only = told.iter().any(|told| told.number == number && told.only);
    told.push(Told { number, only, node: None });
    Some(Held(number))
}

/// See [`hold`].
#[derive(Debug)]
pub(crate) struct Held(u32);

impl Drop for Held {
    fn drop(&mut self) {
        let mut told = told();
        if let Some(at) = told.iter().position(|told| is_held(told, self.0)) {
            told.swap_remove(at);
            left(self.0, &told);
        }
        drop(told);
        source::ring_from_handler();
    }
}

fn is_held(told: &Told, number: u32) -> bool {
    told.number == number && told.node.is_none()
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

/// Which of our handlers it is.
fn layer_of(handler: usize) -> Option<usize> {
    HANDLERS.iter().position(|ours| *ours as usize == handler)
}

/// What was there before the handler of `layer`.
fn before(layer: usize, number: u32) -> Option<&'static sigaction> {
    // SAFETY: null, or made by `install`, and never freed.
    unsafe { BEFORE[layer][number as usize].load(Ordering::SeqCst).as_ref() }
}

fn install(number: u32) -> Result<(), c_int> {
    let old = action(number, None);
    let latest = &LATEST[number as usize];
    if let Some(layer) = layer_of(old.sa_sigaction) {
        latest.store(layer, Ordering::SeqCst);
        return Ok(()); // of a parent, before the fork; or put back by the program
    }
    let is_usable = |layer: &usize| match before(*layer, number) {
        None => true,
        // Over the same handler it is no other layer than it was.
        Some(before) => before.sa_sigaction == old.sa_sigaction,
    };
    let layer = (0..LAYERS).find(is_usable).ok_or(libc::EBUSY)?;
    let handles = !matches!(old.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
    // SAFETY: zeroes are a `sigaction`.
    let mut new: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    new.sa_sigaction = HANDLERS[layer] as usize;
    // What has no handler interrupts nothing.
    let kept = if handles { old.sa_flags & KEPT } else { libc::SA_RESTART | libc::SA_ONSTACK };
    new.sa_flags = libc::SA_SIGINFO | kept;
    if !handles {
        new.sa_flags |= old.sa_flags & (libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT);
    }
    if number as c_int == libc::SIGCHLD && old.sa_sigaction == libc::SIG_IGN {
        // Children of who ignores it are not waited for.
        new.sa_flags |= libc::SA_NOCLDWAIT;
    }
    new.sa_mask = old.sa_mask;
    SPENT[number as usize].fetch_and(!(1 << layer), Ordering::SeqCst);
    if !before(layer, number).is_some_and(|before| is_same(before, &old)) {
        BEFORE[layer][number as usize].store(Box::into_raw(Box::new(old)), Ordering::SeqCst);
    }
    latest.store(layer, Ordering::SeqCst);
    action(number, Some(&new));
    Ok(())
}

fn is_same(one: &sigaction, other: &sigaction) -> bool {
    let blocks = |action: &sigaction, number: usize| {
        // SAFETY: reads the set, which is borrowed.
        unsafe { libc::sigismember(&action.sa_mask, number as c_int) }
    };
    one.sa_sigaction == other.sa_sigaction
        && one.sa_flags == other.sa_flags
        && (1..MOST).all(|number| blocks(one, number) == blocks(other, number))
}

fn remove(number: u32) {
    let now = action(number, None);
    let Some(layer) = layer_of(now.sa_sigaction) else { return };
    let Some(before) = before(layer, number) else { return };
    let spent = SPENT[number as usize].load(Ordering::SeqCst) & 1 << layer != 0;
    action(number, Some(if spent { &DEFAULT } else { before }));
}

// SAFETY: zeroes are a `sigaction`: the default one.
static DEFAULT: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };

fn count(number: u32) {
    if let Some(count) = COUNTS.get(number as usize) {
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// The handler of a layer: atomics and two calls.
extern "C" fn handle<const LAYER: usize>(
    number: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
) {
    let number = number as u32;
    let tells = board().is_some() && LAYER == telling(number);
    if tells {
        count(number);
        source::ring_from_handler();
    }
    if !tells || ONLY.load(Ordering::SeqCst) & bit(number) == 0 {
        pass_on(LAYER, number, info, context);
    }
}

/// Which layer tells of a signal that is being handled; others are called by what that calls.
fn telling(number: u32) -> usize {
    let installed = layer_of(action(number, None).sa_sigaction);
    installed.unwrap_or_else(|| LATEST[number as usize].load(Ordering::SeqCst))
}

/// Does what would have been done without us.
fn pass_on(layer: usize, number: u32, info: *mut siginfo_t, context: *mut c_void) {
    let Some(before) = before(layer, number) else { return };
    let once = before.sa_flags & libc::SA_RESETHAND != 0;
    let spent =
        once && SPENT[number as usize].fetch_or(1 << layer, Ordering::SeqCst) & 1 << layer != 0;
    match before.sa_sigaction {
        libc::SIG_IGN => {}
        libc::SIG_DFL => by_default(number),
        _ if spent => by_default(number),
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: a handler that the program installed, of this type.
            let handler: Handler = unsafe { std::mem::transmute(handler) };
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
    let ours = action(number, Some(&DEFAULT));
    // Blocked while it is handled: comes when the handler has returned, or is let in below.
    // SAFETY: no memory.
    unsafe { libc::raise(number as c_int) };
    if STOPS.contains(&(number as c_int)) {
        let_in(number);
        // It has stopped, and goes on. If nobody has put a handler there meanwhile ours is there again.
        if action(number, None).sa_sigaction == libc::SIG_DFL {
            action(number, Some(&ours));
        }
    }
}

/// Lets in a signal that is pending for this thread.
fn let_in(number: u32) {
    let (mut set, mut old) = (MaybeUninit::zeroed(), MaybeUninit::zeroed());
    // SAFETY: writes the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: as above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), number as c_int) };
    // SAFETY: reads the one and writes the other, which are live.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), old.as_mut_ptr()) };
    // SAFETY: reads what was just written.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut()) };
}

/// Hands out what was counted. On the clock's thread.
fn hand_out() {
    for (number, count) in COUNTS.iter().enumerate() {
        if count.load(Ordering::Relaxed) == 0 {
            continue;
        }
        let told = told();
        if told.iter().any(|told| is_held(told, number as u32)) {
            continue; // rings when it is held no more
        }
        let count = count.swap(0, Ordering::SeqCst);
        let nodes: Vec<_> = told
            .iter()
            .filter(|told| told.number == number as u32)
            .filter_map(|told| told.node.clone())
            .collect();
        drop(told);
        for node in nodes {
            let _ = node.tell(Happened::DELIVERY, count, On::Clock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_is_told_of_no_delivery_of_its_parents() {
        drop(told());
        const NUMBER: u32 = 64;
        // Nothing rings, so that it is not handed out before the fork.
        count(NUMBER);
        // SAFETY: the child has what its parent's thread had, and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            drop(told());
            let left = COUNTS[NUMBER as usize].load(Ordering::SeqCst);
            // SAFETY: ends the child.
            unsafe { libc::_exit(left as c_int) };
        }
        let mut status = -1;
        // SAFETY: writes the status.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(status, 0);
    }
}
