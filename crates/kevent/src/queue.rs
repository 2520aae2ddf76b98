//! The queue as programs have it.

#![allow(unsafe_code, reason = "one function has a duty: see `with_ring`")]

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use syslet::source::{self, File, Order, Watched};

use crate::core::{Core, On, Waited};
use crate::event::{BROKEN, DONE, Event, Flags, Happened, Key};
use crate::inode;
use crate::level;
use crate::node::Node;
use crate::ring::{Ring, RingHeader};
use crate::source::{Source, What};
use crate::state::{Item, State};
use crate::{child, signals, sweep};

/// Largest ring.
const MOST_PLACES: u32 = 1 << 24;

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// An event queue in memory.
///
/// Sources of all kinds are added; what happens to them is fetched in one place, by any number of threads or tasks: each event is
/// handed to one of them. Fetching an event that is there needs no system call, and the queue is no descriptor.
///
/// A queue is shared by reference, or in an [`Arc`]. Dropping it ends its sources.
///
/// ```
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use syslet_kevent::{Flags, Queue, Source};
///
/// let queue = Queue::new()?;
/// let (mut one, other) = UnixStream::pair()?;
/// queue.add(Source::recv(&other).with(Flags::ET).user_data(7))?;
/// one.write_all(b"!")?;
/// let events = queue.get_events(1, 16, None)?;
/// assert_eq!(events[0].user, 7);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Descriptors
///
/// A source of readiness names a number and its file. It does not keep the file: if the program closes it, that
/// takes effect at once, and the source ends with a broken event (`EBADF`), when the queue finds out: when the
/// number is added anew, when a level-triggered source is looked at, or in its rounds, within a tenth of a second if
/// the queue is in use and has less than 64 sources, within a second per 64 sources if nobody uses it. Nothing fires for
/// another file that has got the number.
///
/// # Signal handlers and forked children
///
/// Its functions are not for signal handlers. In a forked child the queue of the parent is dead: nothing
/// is handed out, waiting ends at once, and adding fails with `EBADF`.
pub struct Queue {
    pub(crate) core: Arc<Core>,
}

/// What became of a source that was added.
pub type Changed = io::Result<Option<Event>>;

impl Queue {
    /// A queue without a ring.
    ///
    /// # Errors
    ///
    /// If there can be no threads for it.
    pub fn new() -> io::Result<Self> {
        source::begin()?;
        Ok(Self { core: Core::new(State::default()) })
    }

    /// A queue whose events land in a ring of `size` places behind a header at `ring`, as far as there is room; what
    /// finds none waits in the queue. See [`wait`](Self::wait) and [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// `EINVAL` if `size` is less than 2 or more than 2^24. If there can be no threads.
    ///
    /// # Safety
    ///
    /// `ring` is a [`RingHeader`], with `size` places for an [`Event`] behind it, to be written to by any thread until the queue
    /// has been dropped. The program reads only events up to `kidx` that it has not committed.
    pub unsafe fn with_ring(ring: NonNull<RingHeader>, size: u32) -> io::Result<Self> {
        if !(2..=MOST_PLACES).contains(&size) {
            return Err(error(libc::EINVAL));
        }
        source::begin()?;
        // SAFETY: the duty of this function.
        let ring = unsafe { Ring::new(ring, size) };
        Ok(Self { core: Core::new(State::with_ring(ring)) })
    }

    /// True in a forked child, and when it was closed.
    pub fn is_dead(&self) -> bool {
        self.core.is_dead()
    }

    /// Ends all sources. Who waits goes on, with what there was; nothing more is handed out, and nothing written
    /// to the ring.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn close(&self) {
        if !self.is_dead() {
            self.core.close();
        }
    }

    pub(crate) fn living(&self) -> io::Result<()> {
        if self.is_dead() { Err(error(libc::EBADF)) } else { Ok(()) }
    }

    /// Adds a source. If it is ready at once that is answered, and not told again unless
    /// [`Flags::ALWAYS_QUEUE`] asks for it; with [`Flags::ONESHOT`] it has ended then.
    ///
    /// # Errors
    ///
    /// `EEXIST`: there is one of its kind and id. `EBADF`: the descriptor is not open. `EPERM`: it has no readiness (a file), or
    /// the sandbox does not let us watch it (PLATFORM.md). `EINVAL`: there is no such signal. `ECHILD`: there is no such child.
    ///
    /// # Blocking
    ///
    /// Of descriptors until another thread has taken them, about ten microseconds; add many at once by
    /// [`add_all`](Self::add_all). Else never.
    pub fn add(&self, source: Source) -> Changed {
        match source.what {
            What::Ready(..) | What::Inode(_) => self.add_all(&[source]).pop().expect("one answer"),
            _ => self.enter(source, false),
        }
    }

    /// Adds several sources; says of each what became of it.
    ///
    /// # Blocking
    ///
    /// As [`add`](Self::add).
    pub fn add_all(&self, sources: &[Source]) -> Vec<Changed> {
        self.enter_all(sources, false)
    }

    /// Has the source of this kind and id be as `source` says. What it had to tell is dropped, and found anew.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none. Else as [`add`](Self::add): there is none afterwards.
    ///
    /// # Blocking
    ///
    /// As [`add`](Self::add).
    pub fn modify(&self, source: Source) -> io::Result<()> {
        match source.what {
            What::Ready(..) | What::Inode(_) => {
                self.enter_all(&[source], true).pop().expect("one answer").map(|_| ())
            }
            _ => self.enter(source, true).map(|_| ()),
        }
    }

    /// Removes a source. No event of it is handed out afterwards, unless it is in the ring.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn remove(&self, key: Key) -> io::Result<()> {
        self.living()?;
        self.core.with(|state| state.remove(key)).map(|_| ()).ok_or_else(|| error(libc::ENOENT))
    }

    /// Has sources be ready, whatever they are about, as if all that they ask for had happened. Without any it wakes one
    /// thread that waits. Says of how many there is none.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn ready(&self, keys: &[Key]) -> usize {
        if self.is_dead() {
            return keys.len();
        }
        if keys.is_empty() {
            self.core.rouse();
        }
        keys.iter().filter(|key| !self.make_ready(**key)).count()
    }

    /// Has a source be ready; false if there is none.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn make_ready(&self, key: Key) -> bool {
        if self.is_dead() {
            return false;
        }
        let node = self.core.lock().sources.get(&key).cloned();
        let Some(node) = node else { return false };
        self.core.say(&node, node.source.asked, On::Program);
        true
    }

    /// Puts an event of the program's own in, of no source.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn post(&self, event: Event) {
        if !self.is_dead() {
            self.core.post(std::iter::once(event), false);
        }
    }

    /// Waits until `min` events can be handed out, and hands out all there are, but not more than `max`. After `deadline` it hands
    /// out what there is.
    ///
    /// # Errors
    ///
    /// `EINTR`: a signal handler has run on this thread, and nothing is there.
    ///
    /// # Blocking
    ///
    /// Until then; never if `min` is 0.
    pub fn get_events(
        &self,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
    ) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        self.fetch(&mut events, min, max, deadline)?;
        Ok(events)
    }

    /// As [`get_events`](Self::get_events), behind what is in `events` already; says how many.
    ///
    /// # Errors
    ///
    /// As [`get_events`](Self::get_events).
    ///
    /// # Blocking
    ///
    /// As [`get_events`](Self::get_events).
    pub fn fetch(
        &self,
        events: &mut Vec<Event>,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        self.fetch_each(min, max, deadline, |event| events.push(event))
    }

    /// As [`get_events`](Self::get_events), with each event given to `each`, under a lock of the queue's: it must not
    /// use it.
    ///
    /// # Errors
    ///
    /// As [`get_events`](Self::get_events).
    ///
    /// # Blocking
    ///
    /// As [`get_events`](Self::get_events).
    pub fn fetch_each(
        &self,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
        each: impl FnMut(Event),
    ) -> io::Result<usize> {
        if self.is_dead() {
            return Ok(0);
        }
        self.core.fetch(min, max, deadline, each)
    }

    /// The number of the program's that a source's events carry, if there is such a source.
    pub fn user_data_of(&self, key: Key) -> Option<u64> {
        self.living().ok()?;
        self.core.lock().sources.get(&key).map(|node| node.source.user)
    }

    /// Takes events that are there, to be worked on: those that are left when the batch is dropped, also by a panic that ends
    /// the thread, are handed on to others.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn batch(&self, max: usize) -> Batch<'_> {
        let mut events = Vec::new();
        if !self.is_dead() {
            self.core.take(max, |event| events.push(event));
        }
        Batch { queue: self, events: events.into() }
    }

    /// Puts events back that were handed out, before all others: for a thread that cannot work on them.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn hand_on(&self, events: &[Event]) {
        if !self.is_dead() && !events.is_empty() {
            self.core.post(events.iter().copied(), true);
        }
    }

    /// How many events can be handed out, about.
    pub fn len(&self) -> usize {
        if self.is_dead() { 0 } else { self.core.lock().available() }
    }

    /// True if there are none, about.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many sources it has.
    pub fn sources(&self) -> usize {
        if self.is_dead() { 0 } else { self.core.lock().sources.len() }
    }

    /// Waits until the ring has events that are not committed, or the program's index, which was `uidx` when it was last
    /// looked at, is another; says how many events are in the ring, but at most `num`.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no ring, or it has less than `num` places. `EINTR`: a signal handler has run.
    ///
    /// # Blocking
    ///
    /// Until then, or `deadline`.
    pub fn wait(&self, num: u32, uidx: u32, deadline: Option<Instant>) -> io::Result<u32> {
        self.living()?;
        let size = self.core.lock().ring.as_ref().map(Ring::size);
        if size.is_none_or(|size| num > size) {
            return Err(error(libc::EINVAL));
        }
        self.core.refresh(num as usize);
        let moved = |state: &mut State| {
            state.active = true;
            state.fill_ring(true);
            state.ring.as_ref().is_some_and(|ring| ring.len() > 0 || ring.uidx() != uidx)
        };
        if self.core.wait(1, deadline, moved) == Waited::Interrupted {
            return Err(error(libc::EINTR));
        }
        Ok(self.core.with(|state| state.ring.as_ref().map_or(0, |ring| ring.len().min(num))))
    }

    /// The program has read the ring up to index `uidx`, and the header's `over` was this when it looked. Says how many places
    /// are free by that, which is less than it thinks if another thread was faster. What waited for room moves up.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is no ring, or nothing at that index. `EOVERFLOW`: the ring has come round more than once since.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn commit(&self, uidx: u32, over: u32) -> io::Result<u32> {
        self.living()?;
        let freed = self.core.with(|state| {
            state.active = true;
            let ring = state.ring.as_mut().ok_or_else(|| error(libc::EINVAL))?;
            let freed = ring.commit(uidx, over)?;
            state.fill_ring(true);
            Ok::<_, io::Error>(freed)
        })?;
        if freed > 0 {
            // Who waits for the index to change.
            self.core.rouse();
        }
        Ok(freed)
    }

    /// Has 1 added to `eventfd` when something comes to the queue, and now if something is there: so an epoll loop can watch
    /// it. Read it first, then fetch until nothing is left.
    pub fn attach_eventfd(&self, eventfd: OwnedFd) {
        if self.is_dead() {
            return;
        }
        self.core.lock().eventfd = Some(Arc::new(std::fs::File::from(eventfd)));
        if !self.is_empty() {
            self.core.rouse();
        }
    }

    /// Nothing is written to the eventfd from now on. It is closed.
    pub fn detach_eventfd(&self) {
        if !self.is_dead() {
            self.core.lock().eventfd = None;
        }
    }

    /// Puts a source into the queue, without having anything told yet.
    fn insert(&self, source: Source, again: bool) -> io::Result<Arc<Node>> {
        let file = match source.what {
            What::Ready(number, _) | What::Inode(number) => {
                let file = File::of(number);
                Some(file.map_err(|number| error(-number as i32))?)
            }
            What::Signal(number, _) if !signals::may_be_told(number) => {
                return Err(error(libc::EINVAL));
            }
            _ => None,
        };
        let node = Arc::new(Node::new(self.core.this(), source, file));
        self.core.with(|state| {
            self.living()?;
            let old = state.sources.get(&source.key);
            match old {
                None if again => return Err(error(libc::ENOENT)),
                Some(_) if again => drop(state.remove(source.key)),
                Some(old) if level::is_same(old) => return Err(error(libc::EEXIST)),
                Some(old) => {
                    // Its number was closed, and is another's now.
                    let mut event = old.blank();
                    event.state = BROKEN | DONE;
                    event.data[1] = (-libc::EBADF) as u32;
                    state.remove(source.key);
                    state.ready.push_back(Item::Event(event));
                    state.live += 1;
                }
                None => {}
            }
            state.insert(Arc::clone(&node));
            if node.readiness().is_some() {
                state.watched.push(Arc::downgrade(&node));
            }
            Ok(node)
        })
    }

    /// A source that was put in cannot be one.
    fn fail(&self, node: &Node, number: i32) -> io::Error {
        self.core.with(|state| {
            let key = node.source.key;
            if state.sources.get(&key).is_some_and(|now| std::ptr::eq(&raw const **now, node)) {
                state.remove(key);
            }
        });
        error(number)
    }

    /// Adds a source that needs no other thread.
    fn enter(&self, source: Source, again: bool) -> Changed {
        self.living()?;
        let node = self.insert(source, again)?;
        let at_once = match source.what {
            What::Timer(clock, first, _) => {
                let due = source.flags.contains(Flags::ONESHOT) && first <= clock.now();
                if !due && source::set_alarm(clock, first, Arc::clone(&node) as _).is_err() {
                    return Err(self.fail(&node, libc::EAGAIN));
                }
                if node.is_gone() {
                    source::clear_alarm(clock, &*node);
                }
                u32::from(due)
            }
            What::Signal(number, only) => {
                signals::enter(number, only, &node);
                0
            }
            What::Child(pid) => match child::enter(&self.core, &node, pid) {
                Ok(ended) => u32::from(ended),
                Err(number) => return Err(self.fail(&node, number)),
            },
            What::Ready(..) | What::Inode(_) | What::User => 0,
        };
        Ok(self.entered(&node, at_once, again))
    }

    /// A source was added that was ready at once for `events`.
    fn entered(&self, node: &Arc<Node>, events: u32, again: bool) -> Option<Event> {
        if node.is(Flags::READY) {
            self.core.say(node, node.source.asked | events, On::Program);
            return None;
        }
        if events == 0 {
            return None;
        }
        if again || node.is(Flags::ALWAYS_QUEUE) {
            node.tell(events, 1, On::Program);
            return None;
        }
        self.core.with(|state| {
            node.note(events, 1);
            let event = node.event();
            if node.is(Flags::ONESHOT) {
                state.remove(node.source.key);
            } else if node.readiness().is_some() && !node.is(Flags::ET) && !node.is_gone() {
                state.levels.push(Arc::clone(node));
            }
            Some(event)
        })
    }

    fn enter_all(&self, sources: &[Source], again: bool) -> Vec<Changed> {
        if self.is_dead() {
            return sources.iter().map(|_| Err(error(libc::EBADF))).collect();
        }
        let mut answers: Vec<Changed> = Vec::with_capacity(sources.len());
        let (mut ready, mut inodes) = (Vec::new(), Vec::new());
        for (at, source) in sources.iter().enumerate() {
            let orders = match source.what {
                What::Ready(..) => &mut ready,
                What::Inode(_) => &mut inodes,
                _ => {
                    answers.push(self.enter(*source, again));
                    continue;
                }
            };
            let node = self.insert(*source, again);
            answers.push(node.map(|node| {
                orders.push((at, node));
                None
            }));
        }
        self.watch(&ready, again, &mut answers, source::watch);
        self.watch(&inodes, again, &mut answers, source::watch_inodes);
        if !ready.is_empty() {
            sweep::begin(&self.core);
        }
        answers
    }

    /// Has the engine tell these sources.
    fn watch(
        &self,
        nodes: &[(usize, Arc<Node>)],
        again: bool,
        answers: &mut [Changed],
        begin: fn(Vec<Order>) -> Vec<source::Begun>,
    ) {
        if nodes.is_empty() {
            return;
        }
        let begun = begin(nodes.iter().map(|(_, node)| order(node)).collect());
        for ((at, node), begun) in nodes.iter().zip(begun) {
            answers[*at] = match begun {
                Err(number) => Err(self.fail(node, -number as i32)),
                Ok((watch, events)) => {
                    let gone = self.core.with(|_| {
                        let _ = node.watch.set(watch);
                        node.is_gone()
                    });
                    match (gone, node.readiness()) {
                        (false, _) => Ok(self.entered(node, events, again)),
                        (true, Some((number, _))) => {
                            source::unwatch(&[(watch, number)]);
                            Ok(None)
                        }
                        (true, None) => {
                            source::unwatch_inode(watch);
                            Ok(None)
                        }
                    }
                }
            };
        }
    }
}

fn order(node: &Arc<Node>) -> Order {
    let (number, events) = match node.source.what {
        What::Inode(number) => (number, inode::events(node.source.asked)),
        _ => node.readiness().unwrap_or((-1, 0)),
    };
    let file = node.file.unwrap_or(File { id: (0, 0), is_socket: false });
    let (wake_all, who) = (node.is(Flags::WAKEUP_ALL), Arc::clone(node) as Arc<dyn Watched>);
    Order { number, file, events, wake_all, who }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.core.is_of_parent() {
            // Its lock may be held by a thread that does not exist here.
            std::mem::forget(Arc::clone(&self.core));
        } else {
            self.core.close();
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Queue");
        f.field("sources", &self.sources()).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Events that a thread works on; see [`Queue::batch`].
#[derive(Debug)]
#[must_use = "what is not taken out of a batch is handed on"]
pub struct Batch<'a> {
    queue: &'a Queue,
    events: std::collections::VecDeque<Event>,
}

impl Batch<'_> {
    /// The next event, which is handed on if `work` panics: it is done with when `work` returns.
    pub fn each(&mut self, mut work: impl FnMut(&Event)) {
        while let Some(event) = self.events.front() {
            work(event);
            self.events.pop_front();
        }
    }

    /// Events left.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True if none is left.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.queue.hand_on(self.events.make_contiguous());
    }
}

const _: () = assert!(Happened::FIRED == 1 && Happened::EXITED == 1);
