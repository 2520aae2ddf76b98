//! The queue itself: its state, and who waits.
//!
//! # Waiting
//!
//! A thread that finds nothing counts itself among the sleepers, under the lock, reads `bell` there, and sleeps while
//! it is that. Who puts something in does so under the lock, and if there are more sleepers than were called already
//! it changes `bell` there, lets go, and wakes. So between look and sleep nothing is missed. A thread that comes
//! back, for whatever reason, strikes a call off, and if it leaves something behind calls another: so no call is lost
//! with a thread that left for a signal or its time.

mod chores;
mod closing;
mod looking;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use syslet::source::{self, EventFd, Nudged, Taken, Told};
use syslet_sys::futex;
use syslet_sys::uapi::Timespec;

use crate::aside::Aside;
use crate::completions::Completions;
use crate::event::Event;
use crate::node::Node;
use crate::state::{Item, State};

pub(crate) use self::closing::let_go;

/// On which thread something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// One with the program's descriptors, and the program's to use.
    Program,
    /// The clock's: with the program's descriptors.
    Clock,
    /// The keeper: with others.
    Keeper,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    this: Weak<Core>,
    pub(crate) life: u32,
    state: Mutex<State>,
    /// Changed, under the lock, when a sleeper is called.
    bell: AtomicU32,
    pub(crate) completions: OnceLock<Completions>,
    /// Held while it is written to, which does not wait, and never with the state: once it is detached nobody writes.
    eventfd: Mutex<Option<EventFd>>,
    /// Held while the source of a directory is added or takes the place of another, so that this one finds the watch of
    /// that: if both had one, what comes would be told by each. Taken before the state. Nobody is woken under it.
    pub(crate) directories: Mutex<()>,
    closed: AtomicBool,
}

/// Whom to wake, when the lock is let go.
#[derive(Debug, Default)]
#[must_use]
struct Calls {
    threads: u32,
    tasks: Taken,
    eventfd: bool,
    nudge: bool,
    /// Somebody was waiting for this.
    awaited: bool,
}

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    TimedOut,
    Interrupted,
    /// Though there is nothing.
    SentOn,
}

impl Core {
    pub(crate) fn new(state: State) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            life: source::life(),
            state: Mutex::new(state),
            bell: AtomicU32::new(0),
            completions: OnceLock::new(),
            eventfd: Mutex::new(None),
            directories: Mutex::new(()),
            closed: AtomicBool::new(false),
        })
    }

    /// In a forked child its locks may be held for ever, and nobody tells it anything.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.life != source::life()
    }

    /// It is no queue any more, or not in this process.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_of_parent() || self.closed.load(Ordering::Relaxed)
    }

    /// Has the eventfd told from now on.
    pub(crate) fn attach_eventfd(&self, eventfd: EventFd) {
        let old = lock(&self.eventfd).replace(eventfd);
        self.lock().has_eventfd = true;
        drop(old);
    }

    /// When this returns nobody writes to it.
    pub(crate) fn detach_eventfd(&self) {
        self.lock().has_eventfd = false;
        let old = lock(&self.eventfd).take();
        drop(old);
    }

    /// Tells the eventfd, on a thread that has the program's descriptors.
    fn tell_eventfd(&self) {
        if let Some(eventfd) = &*lock(&self.eventfd) {
            eventfd.add_one();
        }
    }

    pub(crate) fn this(&self) -> Weak<Core> {
        Weak::clone(&self.this)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Something was put in, by who has the lock.
    fn calls(&self, state: &mut State, on: On) -> Calls {
        let is_stuck = state.fill_ring(on != On::Keeper);
        let threads = self.rings(state.call());
        let others = !state.tasks.is_empty() || state.has_eventfd;
        let awaited = threads > 0 || others;
        let mut calls = Calls { threads, awaited, ..Calls::default() };
        let here = on == On::Program;
        if others && here {
            calls.tasks = state.tasks.take();
            calls.eventfd = state.has_eventfd;
        }
        // A program that looks at the ring's index alone would wait without end for what has not landed.
        if (is_stuck || (others && !here)) && !state.nudging {
            state.nudging = true;
            calls.nudge = true;
        }
        calls
    }

    fn wake(&self, calls: Calls) {
        if calls.threads > 0 {
            futex::wake(&self.bell, calls.threads);
        }
        if calls.nudge
            && let Some(this) = self.this.upgrade()
        {
            source::nudge(this);
        }
        if calls.eventfd {
            self.tell_eventfd();
        }
        calls.tasks.wake();
    }

    /// Puts in what `change` says (true: something was put in).
    fn put(&self, on: On, change: impl FnOnce(&mut State) -> bool) -> Told {
        let mut calls = Calls::default();
        self.with_on(on, |state| {
            if change(state) {
                calls = self.calls(state, on);
            }
        });
        let told = if calls.awaited { Told::Awaited } else { Told::Kept };
        self.wake(calls);
        told
    }

    /// Events came to a source.
    pub(crate) fn happen(&self, node: &Arc<Node>, events: u32, count: u32, on: On) -> Told {
        let mut is_gone = false;
        let told = self.put(on, |state| {
            let (of, node) = (node, node.heir());
            is_gone = node.is_gone();
            if of.file != node.file {
                return false; // its number means another by now
            }
            if is_gone || (node.keeps() && node.asks_for(node.in_its_words(events)) == 0) {
                return false;
            }
            node.note(events, count);
            state.enqueue(node)
        });
        if is_gone { Told::Gone } else { told }
    }

    /// As [`happen`](Self::happen), in the words of the source's kind.
    pub(crate) fn say(&self, node: &Arc<Node>, happened: u32, on: On) {
        self.put(on, |state| {
            let heir = node.heir();
            if heir.is_gone() {
                return false;
            }
            let is_its_own = Arc::ptr_eq(heir, node);
            let node = heir;
            let happened = if is_its_own { happened } else { node.asks_for(happened) };
            node.happened.fetch_or(happened, Ordering::Relaxed);
            node.note(0, 1);
            state.enqueue(node)
        });
    }

    /// A source is none any more: its last event says so. The one that has taken its place is none either, unless it is
    /// about another file.
    pub(crate) fn breaks(&self, node: &Arc<Node>, error: i32, on: On) {
        self.put(on, |state| {
            let heir = node.heir();
            if heir.file != node.file {
                return false;
            }
            let node = heir;
            node.error.store(error, Ordering::Relaxed);
            state.enqueue(node)
        });
    }

    /// Puts events in that belong to no source, the oldest first; in front if they were handed out before.
    pub(crate) fn post(&self, events: impl DoubleEndedIterator<Item = Event>, again: bool) {
        self.put(On::Program, |state| {
            let before = state.live;
            if again {
                for event in events.rev() {
                    state.ready.push_front(Item::Event(event));
                    state.live += 1;
                }
            } else {
                for event in events {
                    state.ready.push_back(Item::Event(event));
                    state.live += 1;
                }
            }
            state.live > before
        });
    }

    /// Hands out up to `max` events. `each` is called under the lock: it only keeps them.
    ///
    /// **Blocking**: as [`hand_out`](Self::hand_out).
    pub(crate) fn take(&self, max: usize, each: impl FnMut(Event)) -> usize {
        self.refresh(max);
        self.take_known(max, each)
    }

    /// As [`take`](Self::take), without a look at level-triggered sources.
    fn take_known(&self, max: usize, mut each: impl FnMut(Event)) -> usize {
        let mut taken = 0;
        self.hand_out(|state| {
            taken += state.take(max - taken, &mut each);
            max - taken
        });
        if taken == 0 {
            source::attend();
        }
        taken
    }

    /// So many threads are to be woken, who has the lock says.
    fn rings(&self, threads: u32) -> u32 {
        if threads > 0 {
            self.bell.fetch_add(1, Ordering::Relaxed);
        }
        threads
    }

    /// What is left is another thread's: how many to wake.
    fn pass_on(&self, state: &mut State) -> u32 {
        self.rings(if state.available() > 0 { state.call() } else { 0 })
    }

    /// Sleeps until `ready`, which wants `min` events.
    ///
    /// **Blocking**: until then.
    pub(crate) fn wait(
        &self,
        min: usize,
        deadline: Option<Instant>,
        mut ready: impl FnMut(&mut State) -> bool,
    ) -> Waited {
        let mut state = self.lock();
        let mut has_looked = false;
        loop {
            if ready(&mut state) {
                self.finish(state, On::Program);
                return Waited::Ready;
            }
            if self.is_dead() {
                return Waited::TimedOut;
            }
            let Some(left) = time_left(deadline) else { return Waited::TimedOut };
            // Once before it sleeps: of some there may be no answer.
            if !std::mem::replace(&mut has_looked, true) && !state.levels.is_empty() {
                let levels = state.take_levels();
                drop(state);
                self.look_at(levels);
                state = self.lock();
                continue; // anything may have happened meanwhile
            }
            has_looked = false;
            let bell = self.bell.load(Ordering::Relaxed);
            state.sleepers += 1;
            state.greedy += usize::from(min > 1);
            drop(state);
            source::attend();
            let answer = futex::wait(&self.bell, bell, left.as_ref());
            state = self.lock();
            state.sleepers -= 1;
            state.greedy -= usize::from(min > 1);
            state.called = state.called.saturating_sub(1);
            if answer == -(libc::EINTR as isize) && !ready(&mut state) {
                self.leave(state);
                return Waited::Interrupted;
            }
            if time_left(deadline).is_none() && !ready(&mut state) {
                self.leave(state);
                return Waited::TimedOut;
            }
            if state.sent_on > 0 && !ready(&mut state) {
                state.sent_on -= 1;
                self.leave(state);
                return Waited::SentOn;
            }
            // Those who were to be sent on may have left by themselves.
            state.sent_on = state.sent_on.min(state.sleepers);
        }
    }

    /// A thread leaves that may have been called: another is called for what there is.
    fn leave(&self, mut state: MutexGuard<'_, State>) {
        let threads = self.pass_on(&mut state);
        drop(state);
        if threads > 0 {
            futex::wake(&self.bell, threads);
        }
    }

    /// Has one thread that waits go on with what there is, if there is one.
    pub(crate) fn send_on(&self) {
        let _ = self.put(On::Program, |state| {
            state.sent_on = (state.sent_on + 1).min(state.sleepers);
            true
        });
    }

    /// Wakes one thread that waits, or all, though there may be nothing.
    pub(crate) fn rouse(&self) {
        let _ = self.put(On::Program, |_| true);
    }

    /// Waits for, and hands out, at least `min` events, but at most `max`. `each` is called under the lock: it only
    /// keeps them.
    pub(crate) fn fetch(
        &self,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
        each: impl FnMut(Event),
    ) -> io::Result<usize> {
        let mut aside = Aside::default();
        self.refresh(max);
        let fetched = self.fetch_known(min.min(max), max, deadline, &mut aside, each);
        if !aside.nodes.is_empty() {
            self.lock().levels.append(&mut aside.nodes);
        }
        fetched
    }

    fn fetch_known(
        &self,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
        aside: &mut Aside,
        mut each: impl FnMut(Event),
    ) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            let before = taken;
            self.hand_out(|state| {
                taken += state.take(max - taken, |event| {
                    if min > 1 {
                        aside.keys.insert((event.kind, event.id));
                    }
                    each(event);
                });
                if taken < min {
                    aside.put(state);
                }
                max - taken
            });
            if taken == before {
                source::attend();
            }
            if taken >= min {
                return Ok(taken);
            }
            let wanted = min - taken;
            let waited = self.wait(wanted, deadline, |state| state.available() >= wanted);
            match waited {
                Waited::Ready | Waited::TimedOut if self.is_dead() => return Ok(taken),
                Waited::Ready => {}
                Waited::TimedOut | Waited::SentOn => {
                    return Ok(taken + self.take_known(max - taken, each));
                }
                Waited::Interrupted if taken > 0 => return Ok(taken),
                Waited::Interrupted => return Err(io::Error::from_raw_os_error(libc::EINTR)),
            }
        }
    }
}

impl Nudged for Core {
    fn nudged(self: Arc<Self>) {
        let (tasks, has_ring) = {
            let mut state = self.lock();
            state.nudging = false;
            (state.tasks.take(), state.ring.is_some())
        };
        if has_ring {
            // An epoll loop may look at the index alone.
            self.fill_ring();
        }
        self.tell_eventfd();
        tasks.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `None`: it is over. `Some(None)`: there is no limit.
fn time_left(deadline: Option<Instant>) -> Option<Option<Timespec>> {
    let Some(deadline) = deadline else { return Some(None) };
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Some(Some(Timespec { sec: left.as_secs() as i64, nsec: i64::from(left.subsec_nanos()) }))
}
