//! Sources: what waits for many events, for the surfaces that hand events out (`syslet-kevent`).
//!
//! A call waits for one event. A source is what such calls have in common, kept where they would be kept,
//! and told of every event until it is taken back:
//!
//! - readiness of a descriptor: an edge-triggered watch in the keeper's epoll;
//! - a time, once or again and again: an entry in the clock's heap;
//! - an inode's directory entries, and signals that every thread blocks: an inotify and a signalfd in the
//!   keeper's table.
//!
//! What is told, is told on the keeper's or on a clock's thread, and must neither wait nor run code of the
//! program's: [`nudge`] has that done where the program's descriptors are.
//!
//! This is for the project's own crates: nothing here is promised to stay.

mod file;
mod mounts;

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::crew::{Engine, Settings, engine, generation, start};
use crate::sync::{AtomicU32, lock};

use syslet_sys::uapi::{EBADF, EPERM};

pub use self::file::{File, Sort};
pub use self::mounts::file_system;
use super::gathering::Gathering;
use super::keeper::{Delivery, Keeper};
use super::mail;
use super::op::{NOWHERE as NO_PLACE, hold_off_handlers};
pub use super::timers::Clock;
pub use crate::complete::{EventFd, Made, Place, Taken, Tasks};

/// The place of a source that is in no heap.
pub const NOWHERE: u32 = NO_PLACE;

/// What became of what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is none any more: this is for another.
    Gone,
    /// It is kept until somebody asks.
    Kept,
    /// Somebody was waiting for it.
    Awaited,
}

/// What is told of readiness.
pub trait Watched: Send + Sync {
    /// These events (of poll(2), or of inotify) came. On the keeper's thread.
    fn ready(self: Arc<Self>, events: u32) -> Told;
    /// No more will come: `error` is an errno. On the keeper's thread.
    fn broken(self: Arc<Self>, error: i32);
}

/// What is told at a time.
pub trait Timed: Send + Sync {
    /// A cell of the heap's, which begins as [`NOWHERE`].
    fn place(&self) -> &AtomicU32;
    /// Its time has come; when it is to be told again. On the clock's thread.
    fn expire(self: Arc<Self>) -> Option<u64>;
    /// True if nothing is to be told any more.
    fn is_over(&self) -> bool;
}

/// What is done on a thread with the program's descriptors.
pub trait Nudged: Send + Sync {
    /// Does it. A panic ends there.
    fn nudged(self: Arc<Self>);
}

impl fmt::Debug for dyn Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl fmt::Debug for dyn Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timed")
    }
}

impl fmt::Debug for dyn Nudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nudged")
    }
}

/// A watch to be begun.
#[derive(Debug, Clone)]
pub struct Order {
    /// The program's descriptor.
    pub number: i32,
    /// What it meant.
    pub file: File,
    /// Events of poll(2); or of inotify(7), for [`watch_inodes`].
    pub events: u32,
    /// It is told also if another source was told of the same event.
    pub wake_all: bool,
    /// Who is told.
    pub who: Arc<dyn Watched>,
    /// For [`watch_inodes`]: ends this watch, with nothing lost or told twice in between, unless it fails.
    pub instead_of: Option<WatchId>,
}

/// Names a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchId {
    pub(super) index: u32,
    pub(super) generation: u32,
    pub(super) serial: u64,
}

/// A watch to be ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Which.
    pub watch: WatchId,
    /// The number by which the program knew its descriptor.
    pub number: i32,
    /// What that meant: if it means another file by now that is left alone.
    pub file: File,
    /// What of poll(2) it was told and will not tell: others of the same file are told what is ready then, and of
    /// this if that cannot be found out. 0: nothing.
    pub unsaid: u32,
}

/// A watch, and the number by which the program knew its descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// Which.
    pub watch: WatchId,
    /// By this number.
    pub number: i32,
}

/// What became of an order: the watch, and what is ready at once, which is not told again; or `-errno`.
pub type Begun = Result<(WatchId, u32), isize>;

/// Starts what sources need.
///
/// # Errors
///
/// If there can be no threads.
pub fn begin() -> io::Result<()> {
    start(Settings::default()).map(|_| ())
}

/// Counts forks: what another generation has made is dead.
pub fn life() -> u32 {
    generation()
}

/// The engine; what is told here needs no crew thread, so none is asked for.
fn running() -> io::Result<&'static Engine> {
    engine().map_or_else(|| start(Settings::default()), Ok)
}

fn living() -> Option<&'static Engine> {
    running().ok()
}

/// Begins watches, in order, and says of each what became of it.
///
/// **Blocking**: until the keeper has taken the files, microseconds. The caller holds no lock that
/// [`Watched::ready`] takes.
pub fn watch(orders: Vec<Order>) -> Vec<Begun> {
    gather(orders, false)
}

/// As [`watch`], of inodes.
pub fn watch_inodes(orders: Vec<Order>) -> Vec<Begun> {
    gather(orders, true)
}

fn gather(orders: Vec<Order>, inodes: bool) -> Vec<Begun> {
    let _busy = hold_off_handlers();
    let Some(keeper) = living().and_then(Engine::watching_keeper) else {
        return vec![Err(-EPERM); orders.len()];
    };
    let ask = |gathering: &Arc<_>| keeper.gather(gathering, inodes);
    ask_all(keeper, orders, |order| order.number, ask, Err)
}

/// Whether these numbers still mean the files of their watches, open file by open file; for files that are
/// [alike](Sort::Alike). True also where that cannot be found out, and may be if the file that the number means now is
/// watched too, or was by a number that was closed, when more of its inode are than there are desks (`watch/desks.rs`).
///
/// **Blocking**: until the keeper has looked, microseconds. The caller holds no lock that [`Watched::ready`] takes.
pub fn are_same(named: Vec<Named>) -> Vec<bool> {
    let _busy = hold_off_handlers();
    let Some(keeper) = engine().and_then(Engine::watching_keeper) else {
        return vec![true; named.len()];
    };
    ask_all(keeper, named, |named| named.number, |all| keeper.compare(all), may_be_same)
}

/// Asks the keeper about files of the program's, whatever their number.
fn ask_all<A: Clone, R>(
    keeper: &Keeper,
    asked: Vec<A>,
    number: fn(&A) -> i32,
    ask: impl Fn(&Arc<Gathering<A, R>>),
    failed: fn(isize) -> R,
) -> Vec<R> {
    let ask = |asked, ticket| {
        let gathering = Arc::new(Gathering::new(asked, ticket));
        ask(&gathering);
        gathering.wait()
    };
    let Some(address) = keeper.address() else { return ask(asked, 0) };
    // Their files are sent, as many as go into a message.
    let send = |asked: &[A]| {
        let numbers: Vec<_> = asked.iter().map(number).collect();
        mail::send(address, &numbers).map(|ticket| ask(asked.to_vec(), ticket))
    };
    let one =
        |asked: &A| send(std::slice::from_ref(asked)).unwrap_or_else(|error| vec![failed(error)]);
    let some = |asked: &[A]| match send(asked) {
        Ok(answers) => answers,
        // One of the numbers was closed meanwhile, or there are too many files under way.
        Err(_) => asked.iter().flat_map(one).collect(),
    };
    asked.chunks(mail::MOST).flat_map(some).collect()
}

/// Whether a number that could not be taken may mean the same file still.
pub(super) fn may_be_same(error: isize) -> bool {
    error != -EBADF
}

/// The caller is about to wait for what [`Watched::ready`] tells, or has found nothing. While nobody waits, what
/// comes in a storm may be told a tenth of a millisecond late, many at once: not from here on.
///
/// **Blocking**: never.
pub fn attend() {
    if let Some(engine) = engine() {
        engine.park.keeper.attend();
    }
}

/// Ends watches of readiness. What they were about to be told they may still be.
///
/// **Blocking**: never, where the keeper takes files. Where they are sent to it: until its box has room for each whose
/// number means its file still, microseconds, and two seconds at most if the keeper waits for something itself (a watch
/// that was not sent ends with its file); and until no child is being forked, twice 20 ms at most for each.
pub fn unwatch(watches: Vec<Ended>) {
    let _busy = hold_off_handlers();
    let Some(engine) = engine() else { return };
    let Some(keeper) = engine.watching_keeper() else { return };
    let Some(address) = keeper.address() else {
        return keeper.leave(watches.into_iter().map(|ended| (ended, 0)).collect());
    };
    if keeper.is_here() {
        // Where numbers mean other files.
        return engine.deliver(Delivery::Nudge(Arc::new(Unwatch(watches))));
    }
    // What was closed has left by itself, and is sent by no ticket that is found; nor is what has its number by now.
    let send = |ended: Ended| {
        let is_its = File::of(ended.number).is_ok_and(|file| file.id == ended.file.id);
        let ticket = if is_its { mail::send(address, &[ended.number]).ok() } else { None };
        (ended, ticket.unwrap_or(mail::LOST))
    };
    keeper.leave(watches.into_iter().map(send).collect());
}

/// Watches that are ended where the program's descriptors are.
struct Unwatch(Vec<Ended>);

impl Nudged for Unwatch {
    fn nudged(self: Arc<Self>) {
        unwatch(self.0.clone());
    }
}

/// As [`unwatch`], of inodes.
pub fn unwatch_inode(watch: WatchId) {
    let _busy = hold_off_handlers();
    if let Some(keeper) = engine().and_then(Engine::watching_keeper) {
        keeper.leave_inode(watch);
    }
}

/// Has `who` told at `at`, in nanoseconds of `clock`. It must be in no heap.
///
/// # Errors
///
/// If there can be no thread.
pub fn set_alarm(clock: Clock, at: u64, who: Arc<dyn Timed>) -> io::Result<()> {
    let _busy = hold_off_handlers();
    let timers =
        running()?.clock(clock).ok_or_else(|| io::Error::other("no thread for the clock"))?;
    timers.add_alarm(at, who);
    Ok(())
}

/// Takes it back, if it is in the heap.
pub fn clear_alarm(clock: Clock, who: &(dyn Timed + 'static)) {
    let _busy = hold_off_handlers();
    if let Some(timers) = engine().and_then(|engine| engine.clock(clock)) {
        timers.remove_alarm(who);
    }
}

/// Has something done soon on a thread with the program's descriptors.
pub fn nudge(who: Arc<dyn Nudged>) {
    let _busy = hold_off_handlers();
    if let Some(engine) = living() {
        engine.deliver(Delivery::Nudge(who));
    }
}

/// Has `hook` called on the first clock's thread whenever [`ring_from_handler`] was.
///
/// # Errors
///
/// If there can be no thread.
pub fn on_ring(hook: fn()) -> io::Result<()> {
    let engine = running()?;
    *lock(&engine.park.hook) = Some(hook);
    match engine.clock(Clock::Monotonic) {
        Some(_) => Ok(()),
        None => Err(io::Error::other("no thread for the clock")),
    }
}

/// Has the hook of [`on_ring`] called. For signal handlers.
pub fn ring_from_handler() {
    if let Some(engine) = engine()
        && let Some(timers) = engine.park.clocks[Clock::Monotonic as usize].get()
    {
        timers.ring();
    }
}

/// Has the keeper take the signals of `mask` that are pending for the process, because every thread blocks
/// them, and call `each` with their numbers, on its own thread. Replaces what was asked before.
///
/// **Blocking**: until the keeper has heard of it. The caller holds no lock that `each` takes.
pub fn take_signals(mask: u64, each: fn(u32)) {
    let _busy = hold_off_handlers();
    if let Some(keeper) = living().and_then(|engine| engine.keeper(false)) {
        keeper.take_signals(mask, each);
    }
}
