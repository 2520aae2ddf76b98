//! What becomes of a request.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::content::scramble;

/// What is put to the script. Files have the numbers of their places in the list that was mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A file is opened.
    Open {
        /// Which.
        file: usize,
    },
    /// A file is read. Also at its end.
    Read {
        /// Which.
        file: usize,
        /// From where.
        offset: u64,
        /// How many bytes there are for it, at most: the end of the file is taken into account.
        length: usize,
    },
}

/// What becomes of it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// How long the asking thread sleeps in the kernel, at least.
    pub delay: Duration,
    /// What it gets then, if not what it should.
    pub fault: Option<Fault>,
}

impl Answer {
    /// At once, and right.
    pub const NOW: Self = Self { delay: Duration::ZERO, fault: None };
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The disk has failed: EIO.
    Failed,
    /// The server says that it was interrupted: EINTR.
    Interrupted,
    /// The file has become shorter: a read gets so many bytes less, down to none, which is the end of the
    /// file. An opening gets the file.
    Shorter(usize),
}

/// A script that rolls dice: the same for the same seed and order of requests.
#[derive(Debug)]
pub struct Chances {
    /// Parts of 1000 that are delayed, that fail, and that are too short.
    pub delayed: u64,
    /// See `delayed`.
    pub failed: u64,
    /// See `delayed`.
    pub shorter: u64,
    /// How long what is delayed takes.
    pub delay: RangeInclusive<Duration>,
    /// Counts up from the seed.
    pub state: AtomicU64,
}

impl Chances {
    /// The next answer.
    pub fn answer(&self, request: &Request) -> Answer {
        let delay = if self.roll(1000) < self.delayed { self.some_delay() } else { Duration::ZERO };
        let fault = match (self.roll(1000), request) {
            (part, _) if part < self.failed => Some(Fault::Failed),
            (part, Request::Read { length, .. }) if part < self.failed + self.shorter => {
                Some(Fault::Shorter(1 + self.roll((*length).max(1) as u64) as usize))
            }
            _ => None,
        };
        Answer { delay, fault }
    }

    fn some_delay(&self) -> Duration {
        let (least, most) = (self.delay.start(), self.delay.end());
        let span = most.saturating_sub(*least).as_micros() as u64;
        *least + Duration::from_micros(self.roll(span + 1))
    }

    /// A number below `bound`.
    fn roll(&self, bound: u64) -> u64 {
        scramble(self.state.fetch_add(1, Ordering::Relaxed)) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_keep_their_chances() {
        let chances = Chances {
            delayed: 200,
            failed: 100,
            shorter: 50,
            delay: Duration::from_millis(1)..=Duration::from_millis(3),
            state: AtomicU64::new(1),
        };
        let read = Request::Read { file: 0, offset: 0, length: 10 };
        let answers: Vec<_> = (0..10_000).map(|_| chances.answer(&read)).collect();
        let count = |is: &dyn Fn(&Answer) -> bool| answers.iter().filter(|one| is(one)).count();
        let near = |count: usize, wanted: usize| count.abs_diff(wanted) < wanted / 4;
        assert!(near(count(&|one| one.delay > Duration::ZERO), 2000));
        assert!(near(count(&|one| one.fault == Some(Fault::Failed)), 1000));
        assert!(near(count(&|one| matches!(one.fault, Some(Fault::Shorter(1..=10)))), 500));
        assert!(answers.iter().all(|one| one.delay <= Duration::from_millis(3)));
        let open = Request::Open { file: 0 };
        let of_opening = |_| matches!(chances.answer(&open).fault, None | Some(Fault::Failed));
        assert!((0..1000).all(of_opening), "what is opened has no length");
    }
}
