//! Backtraces end.

use std::backtrace::Backtrace;
use std::hint::black_box;

use syslet::threadlet;

use crate::util::attached;
use crate::util::pipe::Pipe;

#[inline(never)]
fn frame_that_is_to_be_seen() -> String {
    black_box(Backtrace::force_capture()).to_string()
}

fn check(trace: &str) {
    assert!(trace.contains("frame_that_is_to_be_seen"), "{trace}");
    let frames = trace.lines().filter(|line| line.contains(": ")).count();
    assert!((2..200).contains(&frames), "{frames} frames: {trace}");
}

#[test]
fn backtrace_in_a_closure_that_runs_inline() {
    attached(|| check(&threadlet(frame_that_is_to_be_seen).join()));
}

#[test]
fn backtrace_in_a_closure_that_went_away() {
    attached(|| {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let away = threadlet(move || {
            other.get();
            frame_that_is_to_be_seen()
        });
        pipe.put(0);
        check(&away.join());
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
