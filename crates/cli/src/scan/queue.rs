//! What is left to be done, and what was found so far.
//!
//! The listings form a stack: the last one found is worked on first, so that few are open at a time.
//! Units are cut from the listing at its top.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;

use super::listing::Listing;
use super::report::Tally;
use super::visit::{Outcome, Unit};

/// Most entries of a unit that opens no files: their calls are short, and stand close together on
/// the disk because listings are in the order of inodes.
const BATCH: usize = 32;

/// Listings that are not finished, with the first entry that nobody has begun.
#[derive(Debug)]
pub(super) struct Stack {
    listings: Vec<(Arc<Listing>, usize)>,
    /// Regular files will be read: each is a unit.
    read: bool,
}

impl Stack {
    pub(super) fn new(roots: Arc<Listing>, read: bool) -> Self {
        Self { listings: vec![(roots, 0)], read }
    }

    pub(super) fn push(&mut self, found: Vec<Arc<Listing>>) {
        self.listings.extend(found.into_iter().map(|listing| (listing, 0)));
    }

    pub(super) fn pop(&mut self) -> Option<Unit> {
        let (listing, next) = self.listings.last_mut()?;
        let start = *next;
        let room = (listing.len() - start).min(BATCH);
        let short = listing
            .kinds(start..start + room)
            .take_while(|kind| match kind {
                FileType::Directory | FileType::Unknown => false,
                FileType::RegularFile => !self.read,
                _ => true,
            })
            .count();
        *next = start + short.max(1);
        let range = start..*next;
        let listing =
            if *next < listing.len() { Arc::clone(listing) } else { self.listings.pop()?.0 };
        Some(Unit { listing, range })
    }

    fn is_empty(&self) -> bool {
        self.listings.is_empty()
    }
}

/// The stack, shared by those who work on it.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Most units at work for [`Queue::next`] to begin another.
    limit: usize,
    /// There is something new to do, or nothing any more.
    news: Condvar,
}

/// Units of work that are done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Units {
    pub(super) all: u64,
    /// By those who asked to go on.
    pub(super) going_on: u64,
}

/// Protected by the lock, which is held for moments only: nothing is read or written under it.
#[derive(Debug)]
struct State {
    stack: Stack,
    tally: Tally,
    units: Units,
    /// Units that somebody works on.
    busy: usize,
    /// Those who sleep in [`Queue::next`].
    waiting: usize,
    /// Nothing more is begun: the manifest cannot be written, or somebody panicked.
    stopped: bool,
    panicked: bool,
}

impl Queue {
    pub(super) fn new(stack: Stack, limit: usize) -> Self {
        let state = State {
            stack,
            tally: Tally::default(),
            units: Units::default(),
            busy: 0,
            waiting: 0,
            stopped: false,
            panicked: false,
        };
        Self { state: Mutex::new(state), limit, news: Condvar::new() }
    }

    /// A unit of work; `None` when all is done. Waits while there is none, and while as many as
    /// the limit are at work.
    pub(super) fn next(&self) -> Option<Unit> {
        let mut state = self.lock();
        loop {
            if state.is_over() {
                return None;
            }
            if state.busy < self.limit
                && let Some(unit) = state.begin()
            {
                self.tell(state);
                return Some(unit);
            }
            state.waiting += 1;
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// A unit is done. If `go_on`, answers with another one, if there is one now.
    pub(super) fn done(&self, outcome: Outcome, go_on: bool) -> Option<Unit> {
        let mut state = self.lock();
        state.tally.add(&outcome.tally);
        state.stack.push(outcome.found);
        state.stopped |= outcome.stop;
        state.busy -= 1;
        state.units.all += 1;
        state.units.going_on += u64::from(go_on);
        let unit = if go_on { state.begin() } else { None };
        self.tell(state);
        unit
    }

    /// Somebody panicked at work.
    pub(super) fn fail(&self) {
        let mut state = self.lock();
        state.busy -= 1;
        (state.stopped, state.panicked) = (true, true);
        self.tell(state);
    }

    /// The sums so far.
    pub(super) fn tally(&self) -> Tally {
        self.lock().tally
    }

    pub(super) fn units(&self) -> Units {
        self.lock().units
    }

    pub(super) fn has_panicked(&self) -> bool {
        self.lock().panicked
    }

    /// Wakes one of those who wait if there is work: that one wakes the next. All when all is done.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let (waiting, over) = (state.waiting, state.is_over());
        let more = !state.stack.is_empty() && !state.stopped && state.busy < self.limit;
        drop(state);
        if waiting > 0 && over {
            self.news.notify_all();
        } else if waiting > 0 && more {
            self.news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self) -> Option<Unit> {
        let unit = if self.stopped { None } else { self.stack.pop() }?;
        self.busy += 1;
        Some(unit)
    }

    fn is_over(&self) -> bool {
        self.busy == 0 && (self.stopped || self.stack.is_empty())
    }
}
