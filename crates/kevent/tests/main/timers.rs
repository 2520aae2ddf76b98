use std::time::{Duration, Instant, SystemTime};

use syslet_kevent::{Clock, Kind, Source};

use crate::util::{LONG, one, queue, within_short};

const STEP: Duration = Duration::from_millis(20);

#[test]
fn a_timer_fires_once_not_before_its_time() {
    let queue = queue();
    let begun = Instant::now();
    queue.add(Source::after(1, STEP).user_data(11)).unwrap();
    let event = one(&queue);
    assert!(begun.elapsed() >= STEP);
    assert_eq!((event.kind(), event.user_data, event.count()), (Some(Kind::Timer), 11, 1));
    assert_eq!(queue.sources(), 0);
    assert_eq!(within_short(&queue), []);
}

#[test]
fn a_periodic_timer_counts_the_periods_that_nobody_fetched() {
    let queue = queue();
    let begun = Instant::now();
    queue.add(Source::every(1, Duration::from_millis(5))).unwrap();
    let mut fired = 0;
    while begun.elapsed() < 4 * STEP {
        fired += one(&queue).count();
    }
    let periods = begun.elapsed().as_millis() as u32 / 5;
    assert!(fired <= periods + 1, "{fired} of {periods}");
    // What fired meanwhile is one event that counts, unless the clock's thread was late this time.
    let limit = Instant::now() + LONG;
    loop {
        std::thread::sleep(STEP);
        let count = one(&queue).count();
        fired += count;
        if count >= 2 {
            break;
        }
        assert!(Instant::now() < limit, "{fired} came one by one");
    }
    let all = begun.elapsed().as_millis() as u32 / 5;
    while fired < all {
        fired += one(&queue).count(); // or it hangs: they do come
    }
    queue.remove(Source::every(1, STEP).key()).unwrap();
    assert_eq!(within_short(&queue), []);
}

#[test]
fn a_count_that_is_full_stays_so() {
    let queue = queue();
    // More often than can be counted since the clock began, and again until the other fires.
    queue.add(Source::timer(1, Clock::Monotonic, 1, 1)).unwrap();
    queue.add(Source::after(2, Duration::from_millis(5))).unwrap();
    let limit = Instant::now() + LONG;
    while queue.len() < 2 {
        assert!(Instant::now() < limit);
        std::thread::yield_now();
    }
    let event = one(&queue);
    assert_eq!((event.id, event.count()), (1, u32::MAX));
}

#[test]
fn absolute_times_are_those_of_their_clock() {
    let queue = queue();
    let (begun, date) = (Instant::now(), SystemTime::now());
    queue.add(Source::at(1, begun + 2 * STEP)).unwrap();
    queue.add(Source::at_date(2, date + STEP)).unwrap();
    let now = Clock::Monotonic.now();
    queue.add(Source::timer(3, Clock::Monotonic, now + STEP.as_nanos() as u64 * 3, 0)).unwrap();
    // The clocks have a thread each, which may be late: none comes too early, and those of one clock in their order.
    let mut told = Vec::new();
    while told.len() < 3 {
        let id = one(&queue).id;
        let is_due = match id {
            2 => SystemTime::now() >= date + STEP,
            1 => begun.elapsed() >= 2 * STEP,
            _ => Clock::Monotonic.now() >= now + STEP.as_nanos() as u64 * 3,
        };
        assert!(is_due, "{id} comes early");
        told.push(id);
    }
    told.retain(|id| *id != 2);
    assert_eq!(told, [1, 3]);
}

#[test]
fn a_time_that_has_passed_is_answered() {
    let queue = queue();
    let event = queue.add(Source::at(1, Instant::now())).unwrap().expect("it is over");
    assert_eq!((event.id, queue.sources()), (1, 0));
}

#[test]
fn a_timer_can_be_set_anew_and_taken_back() {
    let queue = queue();
    let begun = Instant::now();
    queue.add(Source::after(1, Duration::from_secs(3600))).unwrap();
    queue.add(Source::after(2, STEP)).unwrap();
    queue.modify(Source::after(1, 2 * STEP).user_data(1)).unwrap();
    queue.remove(Source::after(2, STEP).key()).unwrap();
    assert_eq!(one(&queue).user_data, 1);
    assert!(begun.elapsed() >= 2 * STEP);
    assert_eq!(within_short(&queue), []);
}

#[test]
fn ten_thousand_timers_fire_each_once_in_order() {
    let queue = queue();
    let start = Clock::Monotonic.now() + 1_500_000_000;
    for id in 0..10_000u64 {
        // Added in an order of its own.
        let at = start + (id * 7919 % 10_000) * 10_000;
        assert_eq!(queue.add(Source::timer(id, Clock::Monotonic, at, 0)).unwrap(), None);
    }
    let mut seen = std::collections::HashSet::new();
    let mut last = 0;
    while seen.len() < 10_000 {
        let event = one(&queue);
        let rank = event.id * 7919 % 10_000;
        assert!(seen.insert(event.id) && rank >= last, "{event:?} after {last}");
        last = rank;
    }
    assert_eq!(queue.sources(), 0);
}
