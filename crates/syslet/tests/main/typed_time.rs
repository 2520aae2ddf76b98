//! Sleeping.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_executor::block_on;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use syslet::time::{sleep, sleep_until};

use crate::util::child::Child;
use crate::util::{attached, eventually, late};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn sleep_ends_at_its_time_and_never_before() {
    attached(|| {
        for time in [1, 7, 30] {
            let begun = Instant::now();
            let sleeping = sleep(millis(time));
            assert!(!sleeping.was_inline());
            sleeping.wait();
            assert!(begun.elapsed() >= millis(time));
            let deadline = Instant::now() + millis(time);
            block_on(sleep_until(deadline));
            assert!(Instant::now() >= deadline);
        }
    });
}

#[test]
fn time_that_is_over_is_not_slept() {
    attached(|| {
        assert!(sleep(Duration::ZERO).was_inline());
        assert!(sleep_until(Instant::now()).was_inline());
        let past = Instant::now().checked_sub(millis(100)).expect("the machine is up");
        assert!(sleep_until(past).was_inline());
    });
}

#[test]
fn sleeps_end_in_their_order() {
    attached(|| {
        let order = RefCell::new(Vec::new());
        let begun = Instant::now();
        // Shuffled. The first ends when all have been looked at.
        let sleeps = (0..12u64).map(|number| {
            let place = number * 5 % 12;
            let sleeping = sleep_until(begun + millis(1000 + place * 5));
            let order = &order;
            async move {
                sleeping.await;
                order.borrow_mut().push(place);
            }
        });
        // Looks at those that were woken in the order in which they were.
        block_on(sleeps.collect::<FuturesUnordered<_>>().collect::<()>());
        assert_eq!(*order.borrow(), (0..12).collect::<Vec<_>>());
    });
}

#[test]
fn sleeps_overlap() {
    attached(|| {
        let begun = Instant::now();
        let sleeps: Vec<_> = (0..100).map(|_| sleep(millis(100))).collect();
        sleeps.into_iter().for_each(|sleeping| sleeping.wait());
        let took = begun.elapsed();
        assert!(took >= millis(100));
        assert!(took < millis(5000), "{took:?}, and 10 s one after the other");
    });
}

#[test]
fn sleep_that_never_ends_can_be_cancelled_and_dropped() {
    let path = "typed_time::sleep_that_never_ends_can_be_cancelled_and_dropped";
    let ended = Child::new().run(path, || {
        attached(|| {
            for time in [Duration::from_secs(3600), Duration::MAX] {
                let mut sleeping = sleep(time);
                assert!(!sleeping.is_done());
                let _ = sleeping.cancel();
                sleeping.wait_deadline(late()).expect("it was cancelled");
                let mut sleeping = sleep(time);
                assert!(!sleeping.is_done());
                drop(sleeping);
                assert!(eventually(|| syslet::stats().outstanding == 0), "it holds a thread");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn wait_deadline_of_a_sleep_gives_it_back() {
    attached(|| {
        let begun = Instant::now();
        match sleep(millis(60)).wait_deadline(begun + millis(10)) {
            Err(sleeping) => sleeping.wait(),
            // This thread was kept from running for so long.
            Ok(()) => println!("over before its waiter looked: {:?}", begun.elapsed()),
        }
        assert!(begun.elapsed() >= millis(60));
    });
}
