//! Busy CPUs do not hold a guest up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use syslet::{Builder, threadlet};

use crate::util::calls::{Landing, affinity, go, pending, read_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, within};

/// Far above what is promised, because the machine may be shared.
const GENEROUS: Duration = Duration::from_millis(50);

/// Spins on every CPU until dropped.
struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Hogs {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = affinity()
            .iter()
            .map(|_| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|hog| hog.join().expect("a hog does not panic"));
    }
}

#[test]
fn blocking_calls_are_handed_off_on_busy_cpus() {
    let path = "hogs::blocking_calls_are_handed_off_on_busy_cpus";
    let ended = Child::new().run(path, || {
        // Hogs are made before attaching, so that they run where they like.
        let hogs = Hogs::start();
        let mut times = attached(|| {
            (0..200)
                .map(|_| {
                    let pipe = Pipe::new();
                    let begun = Instant::now();
                    let away = pending(go(read_call(pipe.read_end(), Landing::leak())));
                    let took = begun.elapsed();
                    pipe.put(1);
                    assert_eq!(away.wait().raw(), 1);
                    took
                })
                .collect::<Vec<_>>()
        });
        drop(hogs);
        times.sort_unstable();
        let (middle, high) = (times[100], times[198]);
        println!("\nnote: handoff on busy CPUs: p50 {middle:?}, p99 {high:?}");
        assert!(high < GENEROUS, "p99 is {high:?}");
    });
    let ended = ended.expect("this is the parent");
    ended.expect_done();
    ended.lines("note:").for_each(|line| println!("{line}"));
}

#[test]
fn closure_that_spins_until_its_caller_acts_ends() {
    let path = "hogs::closure_that_spins_until_its_caller_acts_ends";
    let ended = Child::new().run(path, || {
        for busy in [false, true] {
            let hogs = busy.then(Hogs::start);
            attached(move || {
                for _ in 0..10 {
                    let flag = Arc::new(AtomicBool::new(false));
                    let seen = Arc::clone(&flag);
                    let begun = Instant::now();
                    let away = threadlet(move || {
                        within(Duration::from_secs(20), || seen.load(Ordering::Acquire))
                    });
                    let took = begun.elapsed();
                    flag.store(true, Ordering::Release);
                    assert!(away.join(), "the caller was held up (busy: {busy})");
                    assert!(took < GENEROUS, "the caller goes on after {took:?} (busy: {busy})");
                }
            });
            drop(hogs);
        }
    });
    ended.expect("this is the parent").expect_done();
}

/// Two closures, the first of which spins until the second has run.
fn spin_and_open() {
    let open = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&open);
    let spins = Builder::new().elsewhere().launch(move || {
        while !seen.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    });
    Builder::new().elsewhere().launch(move || open.store(true, Ordering::Release)).join();
    spins.join();
}

#[test]
fn work_done_piece_by_piece_on_busy_cpus_needs_few_threads() {
    let path = "hogs::work_done_piece_by_piece_on_busy_cpus_needs_few_threads";
    let ended = Child::new().run(path, || {
        bounded(LIMIT, || {
            let threads: Vec<_> =
                (0..4).map(|_| thread::spawn(|| (0..200).for_each(|_| spin_and_open()))).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no closure is lost"));
        });
        let crew = syslet::stats().crew;
        println!("\nnote: {crew} crew threads");
        assert!(crew < 20, "{crew} crew threads for eight closures at a time");
    });
    let ended = ended.expect("this is the parent");
    ended.expect_done();
    ended.lines("note:").for_each(|line| println!("{line}"));
}
