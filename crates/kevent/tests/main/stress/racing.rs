//! Threads that commit at the same time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use syslet_kevent::Event;

use crate::util::LONG;
use crate::util::ring::{Ringed, Seen};

const THREADS: usize = 4;
const PLACES: u32 = 8;
const ROUNDS: u64 = 1000;

/// What one thread gets of what is in the ring, without a lock: of the events that it has read the last so many are
/// its own as were free by its commit. `None`: more than it has read, or an error.
fn share(ring: &Ringed, uidx: &mut u32) -> Option<Vec<Event>> {
    let Seen { over, kidx } = ring.look();
    let mut read = Vec::new();
    while *uidx != kidx {
        read.push(ring.at(*uidx));
        *uidx = (*uidx + 1) % ring.size;
    }
    let freed = ring.queue.commit(kidx, over).ok()?;
    let others = read.len().checked_sub(freed as usize)?;
    Some(read.split_off(others))
}

/// What the threads of a round share. None of them panics: the others would wait for it.
struct Round {
    ring: Ringed,
    here: Barrier,
    left: AtomicUsize,
    got: Mutex<Vec<u64>>,
    over: AtomicBool,
}

impl Round {
    /// One of the threads that commit.
    fn run(&self) {
        loop {
            self.here.wait();
            let mut uidx = self.ring.look().kidx; // all was committed
            self.here.wait();
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let begun = Instant::now();
            while self.left.load(Ordering::SeqCst) > 0 && begun.elapsed() < LONG {
                // Ends when there is something, when another has committed, and soon: who has got the last events may
                // not have counted them yet.
                let soon = Some(Instant::now() + Duration::from_millis(1));
                let waited = self.ring.queue.wait(PLACES, uidx, soon);
                let Some(own) = waited.ok().and_then(|_| share(&self.ring, &mut uidx)) else {
                    self.left.store(0, Ordering::SeqCst);
                    self.got.lock().unwrap().push(u64::MAX);
                    break;
                };
                self.got.lock().unwrap().extend(own.iter().map(|event| event.id));
                let count = |left: usize| Some(left.saturating_sub(own.len()));
                let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
            }
            self.here.wait();
        }
    }

    /// Posts so many, and says what the threads have got.
    fn post(&self, ids: std::ops::Range<u64>) -> Vec<u64> {
        self.here.wait();
        self.left.store((ids.end - ids.start) as usize, Ordering::SeqCst);
        self.here.wait();
        ids.for_each(|id| self.ring.queue.post(Event { id, kind: 9, ..Event::default() }));
        self.here.wait();
        let mut got = std::mem::take(&mut *self.got.lock().unwrap());
        got.sort_unstable();
        got
    }
}

/// In rounds, of which each fits into the ring: so none can be so late that it was filled once more since it looked.
#[test]
fn threads_that_commit_at_once_share_the_events() {
    let round = &Round {
        ring: Ringed::new(PLACES),
        here: Barrier::new(THREADS + 1),
        left: AtomicUsize::new(0),
        got: Mutex::default(),
        over: AtomicBool::new(false),
    };
    let (mut next, mut wrong) = (0, None);
    std::thread::scope(|scope| {
        (0..THREADS).for_each(|_| drop(scope.spawn(|| round.run())));
        for number in 0..ROUNDS {
            // So many that all places are first and last in turn.
            let ids = next..next + 1 + number % u64::from(PLACES - 1);
            let got = round.post(ids.clone());
            if got != ids.clone().collect::<Vec<_>>() || !round.ring.queue.is_empty() {
                wrong = Some((ids, got));
                break;
            }
            next = ids.end;
        }
        round.here.wait();
        round.over.store(true, Ordering::SeqCst);
        round.here.wait();
    });
    assert_eq!(wrong, None, "what was posted, and what was got");
}
