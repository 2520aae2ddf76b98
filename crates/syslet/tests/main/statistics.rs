//! The counters count.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use syslet::{Histogram, stats, threadlet};

use crate::util::calls::{Landing, go, pread_call, taking_call};
use crate::util::child::Child;
use crate::util::pipe::{Pipe, file_with};
use crate::util::{Way, attached, eventually, hand_off, skip_in_pool, way};

#[test]
fn known_sequence_is_counted_exactly() {
    let path = "statistics::known_sequence_is_counted_exactly";
    let ended = Child::new().run(path, || {
        if skip_in_pool("counting by guest") {
            return;
        }
        assert_eq!(stats(), syslet::Stats::default(), "nothing has begun");
        let started = Instant::now();
        attached(move || {
            let begun = stats();
            assert_eq!(begun.guest.map(|guest| (guest.inline, guest.handed_off)), Some((0, 0)));
            assert_eq!(begun.attached, 1);
            assert!(begun.crew >= 2 && begun.crew <= begun.crew_limit);

            // What was preempted is handed off, and what found no crew thread in time is queued: the
            // handles know that it was not inline.
            let (mut inline, mut away) = (0, 0);
            let mut count = |was_inline: bool| if was_inline { inline += 1 } else { away += 1 };
            (0..500).for_each(|_| count(threadlet(|| ()).was_inline()));
            let file = file_with(b"x");
            let call = pread_call(file.as_raw_fd(), Landing::leak(), 0);
            (0..500).for_each(|_| count(go(call).is_done()));
            let pipe = Pipe::new();
            for _ in 0..30 {
                let submitted = go(taking_call(pipe.read_end()));
                count(submitted.is_done());
                pipe.put(1);
                assert_eq!(submitted.wait().raw(), 1);
                hand_off();
                count(false);
            }
            let now = stats();
            let guest = now.guest.expect("a guest");
            assert_eq!(guest.handed_off + guest.queued, away);
            // After a read that was handed off the next is attempted without waiting, once: this file
            // system cannot be asked.
            assert!(
                [0, 1].contains(&(guest.inline - inline)),
                "{guest:?}, {inline} by the handles"
            );
            assert!(guest.handed_off >= 30 && inline > 500, "{guest:?}");
            assert_eq!(guest.in_place, 0);
            assert_eq!(guest.latency.count(), guest.handed_off);
            check_histogram(&guest.latency);
            // The bound of a bucket is at most four times what is in it (two by its own width, and two by
            // that of the bucket of ticks).
            let longest = guest.latency.quantile(1.0);
            assert!(longest <= started.elapsed() * 4, "a handoff took {longest:?}");
            assert_eq!(now.total, guest, "the only guest");
            assert_eq!(now.spawn_failures, 0);
        });
        let after = stats();
        assert_eq!((after.attached, after.guest.is_none()), (0, true));
        assert!(after.total.handed_off >= 30 && after.total.inline > 500, "{after:?}");
        assert_eq!(after.total.latency.count(), after.total.handed_off);
    });
    ended.expect("this is the parent").expect_done();
}

fn check_histogram(latency: &Histogram) {
    let buckets: Vec<_> = latency.buckets().collect();
    assert!(buckets.iter().all(|(_, count)| *count > 0));
    assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), latency.count());
    let (low, middle, high) = (latency.quantile(0.0), latency.quantile(0.5), latency.quantile(1.0));
    assert!(Duration::ZERO < low && low <= middle && middle <= high);
    assert_eq!(Some(high), buckets.last().map(|(bound, _)| *bound));
}

#[test]
fn empty_histogram_is_empty() {
    let histogram = Histogram::default();
    assert_eq!((histogram.count(), histogram.quantile(0.5)), (0, Duration::ZERO));
    assert_eq!(histogram.buckets().count(), 0);
}

#[test]
fn next_guest_begins_at_zero() {
    if skip_in_pool("counting by guest") {
        return;
    }
    for _ in 0..3 {
        attached(|| {
            let guest = stats().guest.expect("a guest");
            assert_eq!((guest.inline, guest.handed_off, guest.latency.count()), (0, 0, 0));
            hand_off();
            assert_eq!(stats().guest.expect("a guest").handed_off, 1);
        });
    }
}

#[test]
fn pool_has_no_guests() {
    if way() != Way::Pool {
        return crate::util::skip("the way of working is not the pool");
    }
    attached(|| {
        assert_eq!(threadlet(|| 1).join(), 1);
        let stats = stats();
        assert_eq!((stats.guest, stats.attached), (None, 0));
        assert!(stats.crew > 0);
    });
}

#[test]
fn closures_that_compute_are_counted_as_false_handoffs() {
    if skip_in_pool("a handoff") {
        return;
    }
    attached(|| {
        let began = stats().guest.expect("a guest");
        assert_eq!((began.handed_off, began.false_handoffs), (0, 0));
        // Of one that other work keeps from its CPU meanwhile nobody can say that it computes.
        let counted = eventually(|| {
            let flag = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&flag);
            // Until the guest, which goes on, lets it end.
            let spins = threadlet(move || {
                while !seen.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            });
            flag.store(true, Ordering::SeqCst);
            spins.join();
            stats().guest.expect("a guest").false_handoffs > 0
        });
        assert!(counted, "{:?}", stats());
        let now = stats();
        let guest = now.guest.clone().expect("a guest");
        assert!(guest.false_handoffs <= guest.handed_off, "{guest:?}");
        assert!(now.total.false_handoffs >= guest.false_handoffs, "{now:?}");
    });
}
