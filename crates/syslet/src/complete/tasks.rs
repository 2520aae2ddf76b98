//! Wakers of tasks that wait for a queue.
//!
//! A future that waits has a *place*, in which it keeps one waker, whichever task polls it, and which it clears when it
//! is dropped: else the wakers of futures that were dropped would pile up while nothing comes. Who polls by hand has no
//! place, and its waker is kept until something comes.

#![cfg_attr(
    loom,
    allow(unreachable_pub, dead_code, reason = "the models have no futures with places")
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Where a future has its waker; of one queue.
#[derive(Debug, Default)]
pub struct Place(u64);

/// See the module. Its owner protects it by a lock: a waker is code of the program's, which is neither cloned nor woken
/// nor dropped under one.
#[derive(Debug, Default)]
pub struct Tasks {
    placed: BTreeMap<u64, Waker>,
    others: Vec<Waker>,
    last: u64,
}

impl Tasks {
    /// None.
    pub const fn new() -> Self {
        Self { placed: BTreeMap::new(), others: Vec::new(), last: 0 }
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.placed.is_empty() && self.others.is_empty()
    }

    /// Keeps a waker; gives back what is not needed, to be dropped without the lock.
    #[must_use]
    pub fn keep(&mut self, waker: Waker, place: Option<&mut Place>) -> Option<Waker> {
        let Some(place) = place else {
            if self.others.iter().any(|other| other.will_wake(&waker)) {
                return Some(waker);
            }
            self.others.push(waker);
            return None;
        };
        if place.0 == 0 {
            self.last += 1;
            place.0 = self.last;
        }
        self.placed.insert(place.0, waker)
    }

    /// Clears a place; gives what is to be dropped without the lock.
    #[must_use]
    pub fn clear(&mut self, place: &Place) -> Option<Waker> {
        self.placed.remove(&place.0)
    }

    /// Takes them all out.
    #[must_use]
    pub fn take(&mut self) -> Taken {
        Taken(std::mem::take(&mut self.placed), std::mem::take(&mut self.others))
    }
}

impl Place {
    /// False if nothing was ever kept there.
    pub fn is_used(&self) -> bool {
        self.0 != 0
    }
}

/// Tasks that were taken out.
#[derive(Debug, Default)]
pub struct Taken(BTreeMap<u64, Waker>, Vec<Waker>);

impl Taken {
    /// Wakes all: one of them may have been dropped. A panic of a waker is caught, because it runs on a thread that
    /// has no part in it.
    pub fn wake(self) {
        for waker in self.0.into_values().chain(self.1) {
            catch_unwind(AssertUnwindSafe(|| waker.wake())).unwrap_or_else(std::mem::forget);
        }
    }
}
