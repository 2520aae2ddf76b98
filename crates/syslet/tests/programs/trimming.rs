//! Crew threads that end when they have been idle for long, and those that must not: what a guest has begun on
//! them would end too.

#![allow(unsafe_code, reason = "submits to a ring")]

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, types};

use crate::proc;
use crate::runner::{GUESTS, Scenario, skip};
use crate::sys;
use crate::work::{AwayRead, attach, away_reads, finish_all};

/// Seconds that each needs beside what a scenario may take.
const EXTRA: u64 = 20;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("crew_threads_that_are_not_needed_end_while_guests_live", GUESTS, idle)
        .extra(EXTRA),
    Scenario::new("a_child_that_dies_with_its_parent_outlives_idle_trimming", GUESTS, children)
        .extra(EXTRA),
    Scenario::new("a_request_of_io_uring_outlives_idle_trimming", GUESTS, requests).extra(EXTRA),
];

/// Crew threads end after ten idle seconds; this is longer.
const IDLE: Duration = Duration::from_secs(14);

/// Calls `watch` now and then until crew threads have been idle for long enough to end.
fn idle_for_long(watch: impl Fn()) {
    let end = Instant::now() + IDLE;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(100)); // looks again now and then
        watch();
    }
}

/// Calls `begin` on eight crew threads in turn, each asleep in a read afterwards.
fn on_eight_crew_threads<T>(mut begin: impl FnMut() -> T) -> (Vec<AwayRead>, Vec<T>) {
    let mut reads = away_reads(1); // the home sleeps
    let begun = (0..8).map(|_| {
        let begun = begin();
        reads.push(AwayRead::new());
        begun
    });
    let begun = begun.collect();
    (reads, begun)
}

fn idle() {
    if sys::prctl(libc::PR_GET_SECCOMP, 0) != 0 {
        skip("behind a filter those that have carried a guest are kept");
    }
    let _guard = attach();
    let reads = away_reads(20);
    sys::eventually("each read has a crew thread", || syslet::stats().crew >= 20);
    finish_all(reads);
    idle_for_long(|| ());
    sys::eventually("the crew threads end", || syslet::stats().crew < 10);
    finish_all(away_reads(20));
}

fn children() {
    let words = sys::shared_words();
    let guard = attach();
    let (reads, children) = on_eight_crew_threads(|| {
        sys::fork(move || {
            sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize);
            words[0].fetch_add(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        })
    });
    assert!(sys::wait_change(&words[0], 7), "the children are ready");
    others_are_busy_too();
    finish_all(reads);
    idle_for_long(|| {
        let alive = children.iter().all(|child| proc::lives(child.0));
        assert!(alive, "a child died with a crew thread");
    });
    assert_some_have_ended();
    children.into_iter().for_each(sys::Forked::kill);
    drop(guard);
}

fn requests() {
    let mut ring = match IoUring::new(16) {
        Ok(ring) => ring,
        Err(error) => skip(&format!("io_uring cannot be used here: {error}")),
    };
    let guard = attach();
    let mut bytes = [0u8; 8];
    let to = bytes.as_mut_ptr();
    let (reads, pipes) = on_eight_crew_threads(|| {
        let (reader, writer) = sys::pipe();
        let read = opcode::Read::new(types::Fd(reader.as_raw_fd()), to, 1).build();
        // SAFETY: all read into the same byte, which lives until the last request has ended.
        unsafe { ring.submission().push(&read) }.expect("there is room");
        assert_eq!(ring.submit().expect("it can be submitted"), 1);
        (reader, writer)
    });
    others_are_busy_too();
    finish_all(reads);
    idle_for_long(|| ());
    assert_some_have_ended();
    for (_, writer) in &pipes {
        assert!(sys::write_byte(writer.as_raw_fd(), 1));
    }
    ring.submit_and_wait(pipes.len()).expect("it can be waited for");
    let results: Vec<i32> = ring.completion().map(|completion| completion.result()).collect();
    assert_eq!(results, [1; 8], "a request ended with a crew thread");
    drop(guard);
}

/// Crew threads that carry nobody, at the same time as those that have.
fn others_are_busy_too() {
    let jobs: Vec<_> = thread::spawn(|| (0..12).map(|_| away_reads(1)).collect())
        .join()
        .expect("an unattached thread");
    jobs.into_iter().for_each(finish_all);
}

fn assert_some_have_ended() {
    let left = syslet::stats().crew;
    assert!(left < 20, "nothing was trimmed: {left} crew threads are left");
}
