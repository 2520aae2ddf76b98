//! Events that a thread works on, and hands on if it cannot.

use crate::{Event, Queue};

impl Queue {
    /// Takes events that are there, to be worked on: those that are left when the batch is dropped, also by a panic
    /// that ends the thread, are handed on to others.
    ///
    /// # Blocking
    ///
    /// [At most for the keeper](Queue#blocking).
    pub fn batch(&self, max: usize) -> Batch<'_> {
        let mut events = Vec::new();
        if !self.is_dead() {
            self.core.take(max, |event| events.push(event));
        }
        Batch { queue: self, events: events.into() }
    }

    /// Puts events back that were handed out, before all that are not in a ring yet: for a thread that cannot work on
    /// them. They come as they were, whether their sources are still there or not.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn hand_on(&self, events: &[Event]) {
        if !self.is_dead() && !events.is_empty() {
            self.core.post(events.iter().copied(), true);
        }
    }

    /// Gives events that were taken to `each`; those that are left if it panics are handed on.
    pub(crate) fn give(&self, events: &[Event], each: impl FnMut(Event)) -> usize {
        let mut left = Left { queue: self, events };
        left.give(each);
        events.len()
    }
}

/// Events that are given to a closure.
struct Left<'a> {
    queue: &'a Queue,
    events: &'a [Event],
}

impl Left<'_> {
    fn give(&mut self, mut each: impl FnMut(Event)) {
        while let [event, rest @ ..] = self.events {
            self.events = rest;
            each(*event);
        }
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.queue.hand_on(self.events);
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
    /// Gives each event to `work`. It is done with when `work` returns; if `work` panics it is handed on, with those
    /// behind it.
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
