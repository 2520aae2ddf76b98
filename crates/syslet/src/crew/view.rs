//! What guests and crew threads are doing, for who looks on from another thread: hints, true when they were
//! read.

#![allow(unsafe_code, reason = "reads guest records, which are never freed")]

use super::guest::Guest;
use super::kick;
use super::member::Crew;
use crate::sync::Ordering;

/// What a crew thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    Rests,
    /// It carries the guest of this index.
    Carries(usize),
    /// It is in a call or closure of the guest of this index, which has gone on. Since when, in ticks.
    Away(usize, u64),
    /// It runs queued work. Since when, in ticks.
    Job(u64),
    /// It is on its way from one to another of these.
    Between,
}

/// A guest as others see it.
#[derive(Debug)]
pub(crate) struct GuestView {
    pub(crate) index: usize,
    /// Kernel thread of its home.
    pub(crate) home: i32,
    /// Kernel thread of its carrier.
    pub(crate) carrier: i32,
}

impl Crew {
    pub(crate) fn doing(&self) -> Doing {
        // Acquire: pairs with the claim; so the mark of what was before has been taken away.
        let command = self.kick.load(Ordering::Acquire);
        if command <= kick::HELD {
            return Doing::Rests;
        }
        let since = self.since.load(Ordering::Relaxed);
        match kick::decode(command) {
            kick::Command::Job if since != 0 => Doing::Job(since),
            kick::Command::Take(_) | kick::Command::Carry(_) => self.with_guest(since),
            _ => Doing::Between,
        }
    }

    /// It was woken for a guest, which it carries, or has carried until it was taken.
    fn with_guest(&self, since: u64) -> Doing {
        // SAFETY: null, or a record, which is never freed.
        let guest = unsafe { self.guest.load(Ordering::Relaxed).as_ref() };
        let Some(guest) = guest else { return Doing::Between };
        match guest.carrier_now() {
            Some(carrier) if std::ptr::eq(carrier, self) => Doing::Carries(guest.index),
            _ if since != 0 => Doing::Away(guest.index, since),
            _ => Doing::Between,
        }
    }
}

impl Guest {
    /// The guest, if it is attached and not just coming or going.
    pub(crate) fn view(&self) -> Option<GuestView> {
        let carrier = self.carrier_now()?.tid();
        Some(GuestView { index: self.index, home: self.home.tid(), carrier })
    }
}
