//! What a queue knows, under its lock.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use syslet::source::{Ended, Made, Tasks};

use crate::doubts::Doubts;
use crate::event::{Event, Flags, Key};
use crate::level::{self, Found};
use crate::node::Node;
use crate::ring::Ring;

/// What waits to be handed out.
#[derive(Debug)]
pub(crate) enum Item {
    Node(Arc<Node>),
    Event(Event),
    /// The answer of a call, and the descriptors that it has made: closed if nobody fetches it.
    Made(Box<(Event, Made)>),
}

/// Multiplies and folds: keys are small numbers that nobody chooses to harm.
#[derive(Debug, Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }
}

pub(crate) type Sources = HashMap<Key, Arc<Node>, BuildHasherDefault<Fold>>;

/// What is left to be done when the lock is let go.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    /// Watches to be ended.
    pub(crate) watches: Vec<Ended>,
    /// Sources that are none any more and are still known elsewhere.
    pub(crate) ended: Vec<Arc<Node>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) sources: Sources,
    /// Each source at most once, so that there is always room: made when sources are added.
    pub(crate) ready: VecDeque<Item>,
    /// How many of these are still to be handed out: others were removed meanwhile.
    pub(crate) live: usize,
    /// Level-triggered sources whose event was handed out: to be looked at again.
    pub(crate) levels: Vec<Arc<Node>>,
    pub(crate) ring: Option<Ring>,
    /// Threads that sleep, of these those that wait for several events, and those that were woken and have
    /// not come yet.
    pub(crate) sleepers: usize,
    pub(crate) greedy: usize,
    pub(crate) called: usize,
    /// Threads that wait for the ring, and go on when the program's index moves.
    pub(crate) indexed: usize,
    /// Threads that sleep and are to go on though there is nothing.
    pub(crate) sent_on: usize,
    /// Tasks to be woken when something has come.
    pub(crate) tasks: Tasks,
    pub(crate) has_eventfd: bool,
    /// Somebody is on the way to wake tasks and write to the eventfd.
    pub(crate) nudging: bool,
    /// Sources of descriptors, for the sweep.
    pub(crate) watched: Vec<Arc<Node>>,
    pub(crate) cursor: usize,
    pub(crate) sweeping: bool,
    /// Since the last sweep something was done with the queue.
    pub(crate) active: bool,
    /// Calls to [`State::pass_levels`] in a row that left them.
    passed: u32,
    pub(crate) chores: Chores,
}

/// Fetches in a row that may leave the level-triggered sources unlooked at, because enough else is ready.
const PASSES: u32 = 8;

impl State {
    pub(crate) fn with_ring(ring: Ring) -> Self {
        Self { ring: Some(ring), ..Self::default() }
    }

    /// Events that could be handed out now, about: with `LAST_CHECK` there may be fewer.
    pub(crate) fn available(&self) -> usize {
        self.live + self.ring.as_ref().map_or(0, |ring| ring.len() as usize)
    }

    /// Adds a source, and room for its event.
    pub(crate) fn insert(&mut self, node: Arc<Node>) {
        self.active = true;
        if node.readiness().is_some() {
            node.round.store(self.watched.len(), Ordering::Relaxed);
            self.watched.push(Arc::clone(&node));
        }
        self.sources.insert(node.source.key, node);
        self.make_room();
    }

    /// The sweep does not look at it any more: another takes its place.
    fn leave_rounds(&mut self, node: &Node) {
        let at = node.round.swap(usize::MAX, Ordering::Relaxed);
        if at == usize::MAX {
            return;
        }
        self.watched.swap_remove(at);
        if let Some(moved) = self.watched.get(at) {
            moved.round.store(at, Ordering::Relaxed);
        }
    }

    fn make_room(&mut self) {
        // Removed sources leave their place behind, until it is asked for.
        if self.ready.len() > 2 * self.live + 64 {
            self.ready.retain(|item| match item {
                Item::Node(node) => !node.is_gone(),
                Item::Event(_) | Item::Made(_) => true,
            });
        }
        let wanted = self.sources.len() + self.ready.len();
        if self.ready.capacity() < wanted {
            self.ready.reserve(2 * wanted - self.ready.len());
        }
        let levels = self.sources.len();
        if self.levels.capacity() < levels {
            self.levels.reserve(2 * levels - self.levels.len());
        }
    }

    /// Puts a source among the ready, unless it is there; says whether it was put.
    pub(crate) fn enqueue(&mut self, node: &Arc<Node>) -> bool {
        if node.is_gone() || node.queued.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.live += 1;
        node.count_turn();
        self.ready.push_back(Item::Node(Arc::clone(node)));
        true
    }

    /// What is to be asked about among the next `max` that are not in the ring, if what is to be handed out next is:
    /// else nothing has stopped at it. See [`Doubts`].
    pub(crate) fn find_doubtful(&self, max: usize) -> Doubts {
        let mut doubts = Doubts::default();
        if max == 0 || !self.is_in_doubt() {
            return doubts;
        }
        let is_live = |item: &&Item| !matches!(item, Item::Node(node) if node.is_gone());
        for item in self.ready.iter().filter(is_live).take(max) {
            if let Item::Node(node) = item
                && node.is_to_be_asked_about()
            {
                doubts.note(node);
            }
        }
        doubts
    }

    /// What is to be handed out next is to be asked about first.
    fn is_in_doubt(&self) -> bool {
        matches!(self.ready.front(), Some(Item::Node(node)) if node.is_to_be_asked_about())
    }

    /// So many places of the ring are free.
    pub(crate) fn room(&self) -> usize {
        self.ring.as_ref().map_or(0, |ring| ring.room() as usize)
    }

    /// Takes a source out. What is known of it elsewhere is a chore.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Arc<Node>> {
        self.active = true;
        let node = self.sources.remove(&key)?;
        self.end(&node, 0);
        Some(node)
    }

    /// Puts a source in the place of the one that has its key; says whether it has something to tell at once. `None`:
    /// there is none, and nothing is done.
    pub(crate) fn replace(&mut self, node: &Arc<Node>) -> Option<bool> {
        let old = self.remove(node.source.key)?;
        self.insert(Arc::clone(node));
        Some(old.bequeath(node) && self.enqueue(node))
    }

    /// As [`remove`](Self::remove), if it still is this one that has its key.
    pub(crate) fn remove_this(&mut self, node: &Node) {
        let key = node.source.key;
        if self.sources.get(&key).is_some_and(|now| std::ptr::eq(&raw const **now, node)) {
            self.remove(key);
        }
    }

    /// `unsaid`: what it was told and will not tell, because it says that it is broken.
    fn end(&mut self, node: &Arc<Node>, unsaid: u32) {
        node.gone.store(true, Ordering::SeqCst);
        self.leave_rounds(node);
        let was_queued = node.queued.swap(false, Ordering::Relaxed);
        if was_queued {
            self.live -= 1;
        }
        let unsaid = if was_queued { node.unsaid() } else { unsaid };
        match (node.readiness(), node.watch.get()) {
            (Some((number, _)), Some(&watch)) => {
                // What the number means now is not to be touched.
                let is_closed = node.error.load(Ordering::Relaxed) == libc::EBADF;
                let number = if is_closed { -1 } else { number };
                self.chores.watches.push(node.ended(watch, number, unsaid));
            }
            (Some(_), None) => {}
            _ => self.chores.ended.push(Arc::clone(node)),
        }
    }

    /// Hands the event of a source out, or `None`: there is none any more.
    fn hand_out(&mut self, node: &Arc<Node>) -> Option<Event> {
        if node.is_gone() {
            return None;
        }
        node.queued.store(false, Ordering::Relaxed);
        self.live -= 1;
        let mut broken = node.error.load(Ordering::Relaxed) != 0;
        if !broken && node.is(Flags::LAST_CHECK) {
            match level::look_last(node) {
                Found::Ready(events) if node.keeps_to(events) => {}
                Found::Nothing | Found::Ready(_) => {
                    node.collect_anew();
                    return None;
                }
                Found::Closed => {
                    node.error.store(libc::EBADF, Ordering::Relaxed);
                    broken = true;
                }
                Found::Unknown => {}
            }
        }
        let unsaid = if broken { node.unsaid() } else { 0 };
        let event = node.event();
        if broken || node.is(Flags::ONESHOT) {
            self.sources.remove(&node.source.key);
            self.end(node, unsaid);
        } else if node.readiness().is_some() && !node.is(Flags::ET) {
            self.look_again(node);
        }
        Some(event)
    }

    /// The oldest event that can be handed out, not from the ring.
    fn next(&mut self) -> Option<Event> {
        loop {
            if self.is_in_doubt() {
                return None;
            }
            match self.ready.pop_front()? {
                Item::Event(event) => {
                    self.live -= 1;
                    return Some(event);
                }
                Item::Made(made) => {
                    self.live -= 1;
                    return Some(made.0);
                }
                Item::Node(node) => {
                    if let Some(event) = self.hand_out(&node) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Hands out up to `max` events.
    pub(crate) fn take(&mut self, max: usize, mut each: impl FnMut(Event)) -> usize {
        self.active = true;
        let mut taken = 0;
        while taken < max {
            let event = match self.ring.as_mut().and_then(Ring::take) {
                Some(event) => event,
                None => match self.next() {
                    Some(event) => event,
                    None => break,
                },
            };
            each(event);
            taken += 1;
        }
        self.fill_ring(true);
        taken
    }

    /// Moves what there is to the ring, as far as there is room. `here`: the program's descriptors can be looked at.
    /// True if it has stopped at what is to be looked at, or asked about, first.
    pub(crate) fn fill_ring(&mut self, here: bool) -> bool {
        while self.room() > 0 {
            match self.ready.front() {
                None => return false,
                Some(Item::Node(node)) if node.is_gone() => {
                    // Or what is behind it would be handed out unseen.
                    self.ready.pop_front();
                    continue;
                }
                Some(Item::Node(node)) if node.is(Flags::LAST_CHECK) && !here => return true,
                Some(_) if self.is_in_doubt() => return true,
                Some(_) => {}
            }
            if let (Some(event), Some(ring)) = (self.next(), &mut self.ring) {
                ring.put(event);
            }
        }
        false
    }

    /// The level-triggered sources that are to be looked at before `max` events are handed out; none if
    /// enough else is there, for some times.
    pub(crate) fn pass_levels(&mut self, max: usize) -> Vec<Arc<Node>> {
        if self.levels.is_empty() {
            return Vec::new();
        }
        if self.live >= max && self.passed < PASSES {
            self.passed += 1;
            return Vec::new();
        }
        self.passed = 0;
        let room = self.levels.capacity();
        let levels = self.take_levels();
        self.levels = Vec::with_capacity(room);
        levels
    }

    /// All of them, to be looked at.
    pub(crate) fn take_levels(&mut self) -> Vec<Arc<Node>> {
        let levels = std::mem::take(&mut self.levels);
        levels.iter().for_each(|node| node.looked_for.store(false, Ordering::Relaxed));
        levels
    }

    /// A level-triggered source is to be looked at.
    pub(crate) fn look_again(&mut self, node: &Arc<Node>) {
        if !node.is_gone() && !node.looked_for.swap(true, Ordering::Relaxed) {
            self.levels.push(Arc::clone(node));
        }
    }

    /// How many threads are to be woken for something new.
    pub(crate) fn call(&mut self) -> u32 {
        if self.sleepers <= self.called {
            return 0;
        }
        if self.greedy > 0 {
            return self.call_all();
        }
        self.called += 1;
        1
    }

    fn call_all(&mut self) -> u32 {
        self.called = self.sleepers;
        i32::MAX as u32
    }

    /// How many threads are to be woken for what `read` has read of the ring, beside its answer: all, if one waits for
    /// the program's index.
    pub(crate) fn read<R>(&mut self, read: impl FnOnce(&mut Self) -> R) -> (R, u32) {
        let before = self.ring.as_ref().map(Ring::read);
        let answer = read(self);
        let has_moved = self.ring.as_ref().map(Ring::read) != before;
        let is_awaited = has_moved && self.indexed > 0 && self.sleepers > 0;
        (answer, if is_awaited { self.call_all() } else { 0 })
    }
}
