//! Busy CPUs do not hold a guest up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use syslet::{Builder, threadlet};

use crate::util::calls::{affinity, go, pending, taking_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, within};

/// Far above what is promised, because the machine may be shared; far below what a thread of lowest
/// priority waits for its share of a busy CPU.
const GENEROUS: Duration = Duration::from_millis(10);
/// Longer than two rounds of the watchdog's.
const ROUNDS: Duration = Duration::from_millis(2);

/// What an ordinary thread needs on this machine, now, to notice something: it sleeps for a while, and wakes
/// who waits for it. The watchdog and a standby do no more.
struct Control {
    ask: Sender<()>,
    answer: Receiver<()>,
    /// How long it took, and what is compared with that.
    times: [Vec<Duration>; 2],
}

impl Control {
    fn start() -> Self {
        let ((ask, asked), (tell, answer)) = (channel(), channel());
        thread::spawn(move || {
            for () in asked {
                thread::sleep(ROUNDS);
                if tell.send(()).is_err() {
                    break;
                }
            }
        });
        Self { ask, answer, times: [Vec::new(), Vec::new()] }
    }

    /// Takes `took` down beside a measurement of its own.
    fn note(&mut self, took: Duration) {
        let begun = Instant::now();
        self.ask.send(()).expect("the thread is there");
        self.answer.recv().expect("the thread is there");
        self.times[0].push(begun.elapsed());
        self.times[1].push(took);
    }

    /// Fails unless three in four of what was taken down are of the order of the control, or short anyway.
    #[track_caller]
    fn judge(mut self, what: &str) {
        self.times.iter_mut().for_each(|times| times.sort_unstable());
        let at = |of: &[Duration], quantile| of[of.len() * quantile / 100];
        let [control, ours] = &self.times;
        let [high, limit] = [ours, control].map(|times| at(times, 75));
        println!(
            "\nnote: {what}: p50 {:?}, p75 {high:?}; an ordinary thread: p50 {:?}, p75 {limit:?}",
            at(ours, 50),
            at(control, 50),
        );
        assert!(
            high < GENEROUS.max(limit * 4),
            "{what}: p75 is {high:?}, of the control {limit:?}"
        );
    }
}

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
        attached(|| {
            let mut control = Control::start();
            for _ in 0..200 {
                let pipe = Pipe::new();
                let begun = Instant::now();
                let away = pending(go(taking_call(pipe.read_end())));
                control.note(begun.elapsed());
                pipe.put(1);
                assert_eq!(away.wait().raw(), 1);
            }
            control.judge("handoff on busy CPUs");
        });
        drop(hogs);
    });
    let ended = ended.expect("this is the parent");
    ended.expect_done();
    ended.lines("note:").for_each(|line| println!("note:{line}"));
}

#[test]
fn closure_that_spins_until_its_caller_acts_ends() {
    let path = "hogs::closure_that_spins_until_its_caller_acts_ends";
    let ended = Child::new().run(path, || {
        for busy in [false, true] {
            let hogs = busy.then(Hogs::start);
            attached(move || {
                let mut control = Control::start();
                for _ in 0..20 {
                    let flag = Arc::new(AtomicBool::new(false));
                    let seen = Arc::clone(&flag);
                    let begun = Instant::now();
                    let away = threadlet(move || {
                        within(Duration::from_secs(20), || seen.load(Ordering::Acquire))
                    });
                    let took = begun.elapsed();
                    flag.store(true, Ordering::Release);
                    assert!(away.join(), "the caller was held up (busy: {busy})");
                    control.note(took);
                }
                control.judge(if busy { "spinning on busy CPUs" } else { "spinning" });
            });
            drop(hogs);
        }
    });
    let ended = ended.expect("this is the parent");
    ended.expect_done();
    ended.lines("note:").for_each(|line| println!("note:{line}"));
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
        // One for each piece would be as many as there may be, 512.
        assert!(crew < 64, "{crew} crew threads for eight closures at a time");
    });
    let ended = ended.expect("this is the parent");
    ended.expect_done();
    ended.lines("note:").for_each(|line| println!("note:{line}"));
}
