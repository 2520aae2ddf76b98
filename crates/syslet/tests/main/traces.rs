//! Backtraces end.

use std::backtrace::Backtrace;
use std::hint::black_box;

use syslet::threadlet;

use crate::util::pipe::Pipe;
use crate::util::{Way, attached, way};

#[inline(never)]
fn frame_that_is_to_be_seen() -> String {
    black_box(Backtrace::force_capture()).to_string()
}

/// The lines of a trace that name a frame.
fn frames(trace: &str) -> impl Iterator<Item = &str> {
    let numbered = |line: &&str| {
        line.split_once(": ").is_some_and(|(number, _)| number.trim().parse::<u32>().is_ok())
    };
    trace.lines().filter(numbered)
}

fn check(trace: &str) {
    assert!(trace.contains("frame_that_is_to_be_seen"), "{trace}");
    let frames = frames(trace).count();
    assert!((2..200).contains(&frames), "{frames} frames: {trace}");
}

/// Makes traces until one was taken on the stack that a guest was switched to, and checks that it ends
/// there: what stands above, a closure and its result, is no frame. (A closure for which no crew thread
/// was left at once is queued, and has an ordinary thread's bottom, as all have in the pool.)
fn check_ends_at_the_switch(mut trace: impl FnMut() -> String) {
    let switched = (0..100).any(|_| {
        let trace = trace();
        check(&trace);
        let bottom = frames(&trace).position(|line| line.ends_with(": syslet_sys_enter"));
        let after = bottom.map(|bottom| frames(&trace).count() - bottom - 1);
        assert_eq!(after.unwrap_or(0), 0, "it goes on below the switch: {trace}");
        bottom.is_some() || way() == Way::Pool
    });
    assert!(switched, "no closure was run where its caller stood");
}

#[test]
fn backtrace_in_a_closure_that_runs_inline_ends_at_the_switch() {
    attached(|| check_ends_at_the_switch(|| threadlet(frame_that_is_to_be_seen).join()));
}

#[test]
fn backtrace_in_a_closure_that_went_away_ends_at_the_switch() {
    attached(|| {
        check_ends_at_the_switch(|| {
            let pipe = Pipe::new();
            let other = pipe.clone();
            let away = threadlet(move || {
                other.get();
                frame_that_is_to_be_seen()
            });
            pipe.put(0);
            away.join()
        });
    });
}

#[test]
fn backtrace_of_a_guest_goes_down_to_its_own_beginning() {
    attached(|| {
        crate::util::hand_off();
        let trace = frame_that_is_to_be_seen();
        check(&trace);
        assert!(trace.contains("backtrace_of_a_guest"), "{trace}");
        assert!(trace.contains("__rust_begin_short_backtrace") || trace.contains("thread"));
    });
}

#[test]
fn backtraces_of_nested_closures_end() {
    attached(|| {
        // Again and again: each walks from a stack whose bottom is a switch.
        for _ in 0..50 {
            check(&threadlet(|| threadlet(frame_that_is_to_be_seen).join()).join());
        }
    });
}
