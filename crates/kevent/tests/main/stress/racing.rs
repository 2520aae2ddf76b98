//! Threads that commit at the same time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use syslet_kevent::{Event, Queue};

use crate::util::ring::{Ringed, Seen};

const THREADS: usize = 4;
const PLACES: u32 = 8;

/// What one thread gets of what is in the ring, without a lock: of the events that it has read the last so many are
/// its own as were free by its commit.
fn share(ring: &Ringed, uidx: &mut u32) -> Vec<Event> {
    let Seen { over, kidx } = ring.look();
    let mut read = Vec::new();
    while *uidx != kidx {
        read.push(ring.at(*uidx));
        *uidx = (*uidx + 1) % ring.size;
    }
    let freed = ring.queue.commit(kidx, over).expect("it is there") as usize;
    assert!(freed <= read.len(), "more is free than was read");
    read.split_off(read.len() - freed)
}

fn post(queue: &Queue, ids: std::ops::Range<u64>) {
    ids.for_each(|id| queue.post(Event { id, kind: 9, ..Event::default() }));
}

/// In rounds, of which each fits into the ring: so none can be so late that it was filled once more since it looked.
#[test]
fn threads_that_commit_at_once_share_the_events() {
    const ROUNDS: u64 = 1000;
    let (ring, all_here) = (Ringed::new(PLACES), Barrier::new(THREADS + 1));
    let (ring, all_here) = (&ring, &all_here);
    let (got, left) = (&Mutex::new(HashSet::new()), &AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    all_here.wait();
                    let mut uidx = ring.look().kidx; // all was committed
                    all_here.wait();
                    while left.load(Ordering::SeqCst) > 0 {
                        // Ends when there is something, when another has committed, and soon: who has got the
                        // last events may not have counted them yet.
                        let soon = Some(Instant::now() + Duration::from_millis(1));
                        ring.queue.wait(PLACES, uidx, soon).expect("no handler runs");
                        let own = share(ring, &mut uidx);
                        left.fetch_sub(own.len(), Ordering::SeqCst);
                        let mut got = got.lock().unwrap();
                        own.iter().for_each(|event| assert!(got.insert(event.id), "{event:?}"));
                    }
                    all_here.wait();
                }
            });
        }
        let mut next = 0;
        for round in 0..ROUNDS {
            // So many that all places are first and last in turn.
            let count = 1 + round % u64::from(PLACES - 1);
            all_here.wait();
            left.store(count as usize, Ordering::SeqCst);
            all_here.wait();
            post(&ring.queue, next..next + count);
            next += count;
            all_here.wait();
            assert_eq!((got.lock().unwrap().len() as u64, ring.queue.len()), (next, 0));
        }
    });
}
