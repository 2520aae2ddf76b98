//! Many times are waited for at once.

#![allow(unsafe_code, reason = "asks for the time, into a variable that lives")]

use std::time::Duration;

use syslet::stats;

use crate::util::attached;
use crate::util::calls::{Words, number_call, send};
use crate::util::child::Child;
use crate::util::queue::{next, queue};

/// Nanoseconds of CLOCK_MONOTONIC.
fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: live.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Has `count` sleeps end from `lead` on, all of which are to be parked before the first ends; false if the machine
/// was too slow for that.
fn end_in_order(count: u64, lead: Duration) -> bool {
    /// Between two times: less than it takes to wake a thread, so that many are over at once.
    const STEP: u64 = 2_000;
    /// No divisor of the count: each number once, far from the one before.
    const STRIDE: u64 = 7919;
    let queue = queue(count as usize).always_queue(true);
    let first = now() + lead.as_nanos() as u64;
    for at in 0..count {
        let number = at * STRIDE % count;
        let until = first + number * STEP;
        let until = Words::leak([until / 1_000_000_000, until % 1_000_000_000]).address();
        let args = [libc::CLOCK_MONOTONIC as usize, libc::TIMER_ABSTIME as usize, until, 0];
        let _ = send(&queue, number, number_call(libc::SYS_clock_nanosleep, args));
    }
    let in_time = now() < first && stats().parked == count as usize;
    let ends: Vec<_> = (0..count)
        .map(|_| {
            let one = next(&queue);
            assert_eq!(one.res, 0);
            assert!(now() >= first + one.user_data * STEP, "{} has ended early", one.user_data);
            one.user_data
        })
        .collect();
    assert!(!in_time || ends.is_sorted(), "not in order: {ends:?}");
    in_time
}

#[test]
fn many_sleeps_end_in_the_order_of_their_times() {
    let path = "timers::many_sleeps_end_in_the_order_of_their_times";
    let ended = Child::new().run(path, || {
        attached(|| {
            let leads = [50, 200, 1000, 5000].map(Duration::from_millis);
            assert!(leads.into_iter().any(|lead| end_in_order(5000, lead)), "never parked in time");
        });
    });
    ended.expect("this is the parent").expect_done();
}
