//! A stack overflow is reported and ends the process.

use std::hint::black_box;

use syslet::threadlet;

use crate::util::attached;
use crate::util::child::{Child, Ended};
use crate::util::pipe::Pipe;

/// Uses stack without end.
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn sink(depth: usize) -> usize {
    let frame = black_box([depth; 64]);
    sink(depth + 1) + black_box(frame)[0]
}

fn reported(ended: Option<Ended>) {
    let ended = ended.expect("this is the parent");
    assert!(!ended.timed_out, "{ended:#?}");
    assert_eq!(ended.signal, Some(libc::SIGABRT), "{ended:#?}");
    assert!(ended.stderr.contains("has overflowed its stack"), "{ended:#?}");
}

#[test]
fn overflow_in_a_threadlet_is_reported() {
    reported(Child::new().run("overflow::overflow_in_a_threadlet_is_reported", || {
        attached(|| threadlet(|| sink(0)).join());
    }));
}

#[test]
fn overflow_in_a_threadlet_that_went_away_is_reported() {
    reported(Child::new().run(
        "overflow::overflow_in_a_threadlet_that_went_away_is_reported",
        || {
            attached(|| {
                let pipe = Pipe::new();
                let other = pipe.clone();
                let away = threadlet(move || sink(other.get().into()));
                pipe.put(0);
                away.join()
            });
        },
    ));
}

#[test]
fn overflow_of_a_guest_is_reported() {
    reported(Child::new().run("overflow::overflow_of_a_guest_is_reported", || {
        attached(|| {
            assert_eq!(threadlet(|| 1).join(), 1);
            sink(0)
        });
    }));
}

#[test]
fn overflow_of_a_guest_after_a_handoff_is_reported() {
    reported(Child::new().run("overflow::overflow_of_a_guest_after_a_handoff_is_reported", || {
        attached(|| {
            let pipe = Pipe::new();
            let other = pipe.clone();
            let away = threadlet(move || other.get());
            pipe.put(0);
            away.join();
            sink(0)
        });
    }));
}

#[test]
fn overflow_after_detaching_is_reported() {
    reported(Child::new().run("overflow::overflow_after_detaching_is_reported", || {
        let thread = std::thread::spawn(|| {
            drop(crate::util::attach());
            sink(0)
        });
        let _ = thread.join();
    }));
}
