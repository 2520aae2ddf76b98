#![allow(unsafe_code, reason = "lends memory to a queue")]

use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::Instant;

use syslet_kevent::{Event, Flags, Queue, RingHeader, Source};

use crate::anonymous::{eventfd, wait_for_eventfd};
use crate::util::ring::Ringed;
use crate::util::{LONG, errno, pair, put, queue};

/// A queue with a ring, and where the program is in it.
struct Reading {
    ring: Ringed,
    uidx: u32,
}

impl std::ops::Deref for Reading {
    type Target = Ringed;

    fn deref(&self) -> &Ringed {
        &self.ring
    }
}

impl Reading {
    fn new(size: u32) -> Self {
        Self { ring: Ringed::new(size), uidx: 0 }
    }

    /// The next event, without a call; not committed.
    fn read(&mut self) -> Option<Event> {
        if self.look().kidx == self.uidx {
            return None;
        }
        let event = self.at(self.uidx);
        self.uidx = (self.uidx + 1) % self.size;
        Some(event)
    }

    fn post(&self, ids: std::ops::Range<u64>) {
        ids.for_each(|id| self.queue.post(Event { id, kind: 9, ..Event::default() }));
    }

    fn commit(&self) -> u32 {
        self.queue.commit(self.uidx, self.look().over).unwrap()
    }
}

#[test]
fn events_land_in_the_ring_and_are_read_without_a_call() {
    let mut ring = Reading::new(8);
    ring.post(0..5);
    let ids: Vec<_> = std::iter::from_fn(|| ring.read()).map(|event| event.id).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    assert_eq!(ring.commit(), 5);
    assert_eq!(ring.commit(), 0);
}

#[test]
fn a_full_ring_loses_nothing() {
    let mut ring = Reading::new(4);
    ring.post(0..1000);
    let mut next = 0;
    while next < 1000 {
        let before = next;
        while let Some(event) = ring.read() {
            assert_eq!(event.id, next);
            next += 1;
        }
        assert!(next - before <= 3 && next > before, "one place stays free");
        ring.commit();
    }
    assert_eq!(ring.header().over.load(Ordering::Relaxed), 250);
    assert!(ring.queue.is_empty());
}

#[test]
fn waiting_takes_the_index_last_seen() {
    let mut ring = Reading::new(8);
    let now = || Some(Instant::now());
    assert_eq!(ring.queue.wait(8, 0, now()).unwrap(), 0, "nothing is there");
    assert_eq!(errno(ring.queue.wait(9, 0, None)), libc::EINVAL);
    ring.post(0..2);
    assert_eq!(ring.queue.wait(8, 0, None).unwrap(), 2);
    assert_eq!(ring.queue.wait(1, 0, None).unwrap(), 1);
    ring.read();
    ring.read();
    ring.commit();
    // Another thread has read and committed: who saw index 0 does not sleep.
    assert_eq!(ring.queue.wait(8, 0, None).unwrap(), 0);
    assert_eq!(ring.queue.wait(8, 2, now()).unwrap(), 0);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| ring.queue.wait(8, 2, Some(Instant::now() + LONG)).unwrap());
        ring.post(2..3);
        assert_eq!(waits.join().unwrap(), 1);
    });
}

#[test]
fn a_source_that_is_in_the_ring_can_be_told_again() {
    let mut ring = Reading::new(8);
    ring.queue.add(Source::user(1)).unwrap();
    ring.queue.make_ready(Source::user(1).key());
    ring.queue.make_ready(Source::user(1).key());
    assert_eq!([ring.read().unwrap().id, ring.read().unwrap().id], [1, 1]);
    // Fetching takes what was not committed, and commits it.
    assert_eq!(ring.queue.get_events(2, 8, None).unwrap().len(), 2);
    assert_eq!(ring.commit(), 0);
}

#[test]
fn what_is_looked_at_last_lands_in_the_ring_though_nobody_calls() {
    for is_attached in [true, false] {
        let (mut ring, told) = (Reading::new(8), eventfd(0));
        if is_attached {
            ring.queue.attach_eventfd(told.try_clone().unwrap()).unwrap();
        }
        let ([(first, to_first), (last, to_last)], anonymous) = ([pair(), pair()], eventfd(0));
        let poll = Source::poll(anonymous.as_raw_fd(), libc::POLLIN as u16);
        let checked = Flags::ET | Flags::LAST_CHECK;
        ring.queue.add(poll.with(checked).user_data(1)).unwrap();
        ring.queue.add(Source::recv(&first).with(checked).user_data(2)).unwrap();
        ring.queue.add(Source::recv(&last).with(Flags::ET).user_data(3)).unwrap();
        // SAFETY: no memory but the number's.
        assert_eq!(unsafe { libc::eventfd_write(anonymous.as_raw_fd(), 1) }, 0);
        put(&to_first);
        put(&to_last);
        let (limit, mut all) = (Instant::now() + LONG, Vec::new());
        while all.len() < 3 {
            assert!(Instant::now() < limit, "all of them land");
            if is_attached {
                wait_for_eventfd(&told);
            }
            all.extend(std::iter::from_fn(|| ring.read()).map(|event| event.user_data));
        }
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    }
}

#[test]
fn rings_of_less_than_two_and_calls_without_one_are_refused() {
    let mut memory = [0u64; 6];
    let at = NonNull::from(&mut memory).cast::<RingHeader>();
    // SAFETY: it is refused.
    assert_eq!(errno(unsafe { Queue::with_ring(at, 1) }), libc::EINVAL);
    assert_eq!(errno(queue().commit(0, 0)), libc::EINVAL);
    assert_eq!(errno(queue().wait(0, 0, None)), libc::EINVAL);
}

#[test]
fn as_many_as_there_are_can_be_asked_for() {
    let ring = Ringed::new(8);
    for count in [1, 20] {
        for id in 0..count {
            ring.queue.post(Event { id, kind: 9, ..Event::default() });
        }
        let all = ring.queue.get_events(0, usize::MAX, None).unwrap();
        let ids: Vec<_> = all.iter().map(|event| event.id).collect();
        assert_eq!(ids, (0..count).collect::<Vec<_>>());
    }
}
