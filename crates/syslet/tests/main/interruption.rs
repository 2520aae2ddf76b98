//! Away calls do not answer EINTR that nobody asked for.

use std::time::{Duration, Instant};

use crate::util::calls::{
    count_signals, go, pending, poll_call, signal_thread, signals_seen, sleep_call, taking_call,
    threads_named, word_call,
};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{attached, within};

const TIME: Duration = Duration::from_millis(200);
/// Between two rounds of signals: often enough to interrupt a call many times.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends SIGUSR1 to every crew thread, again and again, until `done`.
pub(crate) fn pester(mut done: impl FnMut() -> bool) {
    let mut last = Instant::now();
    let mut crew = Vec::new();
    let named = within(Duration::from_secs(20), || {
        crew = threads_named("syslet-crew");
        !crew.is_empty()
    });
    assert!(named, "there is a crew");
    let ended = within(Duration::from_secs(20), || {
        if last.elapsed() > PAUSE {
            last = Instant::now();
            crew.iter().for_each(|&tid| signal_thread(tid, libc::SIGUSR1));
        }
        done()
    });
    assert!(ended, "the call does not end");
}

#[test]
fn time_limit_holds_in_total_over_interruptions() {
    let path = "interruption::time_limit_holds_in_total_over_interruptions";
    let ended = Child::new().run(path, || {
        attached(|| {
            count_signals(libc::SIGUSR1);
            let pipe = Pipe::new();
            let late = -libc::ETIMEDOUT as isize;
            let calls = [sleep_call(TIME), poll_call(pipe.read_end(), 200), word_call(TIME)];
            for (call, answer) in calls.into_iter().zip([0, 0, late]) {
                let begun = Instant::now();
                let away = pending(go(call));
                // Begun anew at each interruption it would never end.
                pester(|| away.is_done());
                let took = begun.elapsed();
                assert_eq!(away.wait().raw(), answer, "{call:?}");
                assert!(took >= TIME, "{call:?} ended after {took:?}");
            }
        });
        println!("signals handled: {}", signals_seen());
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn call_without_a_limit_waits_on() {
    let path = "interruption::call_without_a_limit_waits_on";
    let ended = Child::new().run(path, || {
        attached(|| {
            count_signals(libc::SIGUSR1);
            let pipe = Pipe::new();
            let away = pending(go(taking_call(pipe.read_end())));
            let end = Instant::now() + TIME;
            pester(|| Instant::now() > end || away.is_done());
            assert!(!away.is_done(), "the call was broken off");
            pipe.put(1);
            assert_eq!(away.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}
