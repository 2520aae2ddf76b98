//! A cancelled call ends, or was too late, and nothing in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use syslet::{CancelOutcome, Submitted};

use crate::util::calls::{
    Counter, Landing, go, install, pending, read_call, signal_thread, sleep_call, status_field,
    stray_cancel, taking_call, threads_named, word_call, write_call,
};
use crate::util::child::Child;
use crate::util::parking::let_others_act;
use crate::util::pipe::Pipe;
use crate::util::{LIMIT, attached, bounded, eventually, skip_in_pool};

/// What is added to an eventfd.
static ONE: [u8; 8] = 1u64.to_ne_bytes();

fn spin(rounds: usize) {
    (0..rounds).for_each(|_| std::hint::spin_loop());
}

#[test]
fn cancel_before_entry_never_runs() {
    // Calls of a thread that is not attached are queued: each is cancelled on its way to its thread,
    // or just before, during or after its system call.
    const ROUNDS: usize = 5000;
    let (cancelled, made) = bounded(LIMIT, || {
        let counter = Counter::new();
        let (mut cancelled, mut made) = (0, 0);
        let end = Instant::now() + LIMIT / 2;
        for round in 0.. {
            // Which side wins depends on what else the machine does.
            let both = cancelled > 0 && made > 0;
            if round >= ROUNDS && (both || Instant::now() > end) {
                break;
            }
            let away = pending(go(write_call(counter.fd(), &ONE)));
            spin(round * 7 % 997);
            let outcome = away.cancel();
            let ret = away.wait();
            let effect = counter.take();
            if ret.is_cancelled() {
                assert_eq!(effect, 0, "round {round}: cancelled, but it ran ({outcome:?})");
                assert_ne!(outcome, CancelOutcome::TooLate);
                cancelled += 1;
            } else {
                assert_eq!((ret.raw(), effect), (8, 1), "round {round}: {outcome:?}");
                assert_ne!(outcome, CancelOutcome::NotBegun);
                made += 1;
            }
        }
        (cancelled, made)
    });
    println!("{cancelled} cancelled, {made} made");
    assert!(cancelled > 0 && made > 0, "one side of the race was never seen");
}

static INSIDE: AtomicBool = AtomicBool::new(false);
static RETURN: AtomicBool = AtomicBool::new(false);

/// A handler that returns when it is told to.
extern "C" fn tarry(_: libc::c_int) {
    INSIDE.store(true, Ordering::SeqCst);
    while !RETURN.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
}

/// The crew thread that is asleep in a splice from `fd`.
fn taker_of(fd: i32) -> Option<i32> {
    let call = format!("{} {fd:#x} ", libc::SYS_splice);
    threads_named("syslet-crew").into_iter().find(|tid| {
        std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"))
            .is_ok_and(|text| text.starts_with(&call))
    })
}

/// True if thread `tid` blocks `signal`.
fn blocks(tid: i32, signal: i32) -> bool {
    let set = status_field(tid, "SigBlk").expect("the thread lives");
    u64::from_str_radix(&set, 16).expect("a signal set") & 1 << (signal - 1) != 0
}

/// True if signal 33 waits for thread `tid`, which lets it through.
fn is_coming(tid: i32) -> bool {
    let has = |field| {
        let set = status_field(tid, field).expect("the thread lives");
        u64::from_str_radix(&set, 16).expect("a signal set") & 1 << 32 != 0
    };
    has("SigPnd") && !has("SigBlk")
}

#[test]
fn cancel_during_a_handler_that_interrupted_the_call_is_not_lost() {
    if skip_in_pool("crew threads of the pool run no handlers") {
        return;
    }
    let path = "cancelling::cancel_during_a_handler_that_interrupted_the_call_is_not_lost";
    let ended = Child::new().run(path, || {
        install(libc::SIGUSR1, tarry, libc::SA_RESTART);
        attached(|| {
            for _ in 0..20 {
                INSIDE.store(false, Ordering::SeqCst);
                RETURN.store(false, Ordering::SeqCst);
                let pipe = Pipe::new();
                let away = pending(go(taking_call(pipe.read_end())));
                let mut reader = None;
                assert!(eventually(|| {
                    reader = taker_of(pipe.read_end());
                    reader.is_some()
                }));
                let reader = reader.expect("found above");
                if blocks(reader, libc::SIGUSR1) {
                    // No crew thread was left: the call was queued, and such threads run no handlers.
                    pipe.put(1);
                    assert_eq!(away.wait().raw(), 1);
                    continue;
                }
                signal_thread(reader, libc::SIGUSR1);
                assert!(eventually(|| INSIDE.load(Ordering::SeqCst)), "the handler runs");
                assert_eq!(away.cancel(), CancelOutcome::Asked);
                assert!(eventually(|| !is_coming(reader)), "the cancel arrives");
                RETURN.store(true, Ordering::SeqCst);
                let ret = away.wait_deadline(Instant::now() + LIMIT).expect("the call ends");
                assert!(ret.is_cancelled(), "{ret:?}");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn cancel_while_asleep_ends_the_call() {
    attached(|| {
        for _ in 0..300 {
            let pipe = Pipe::new();
            let landing = Landing::leak();
            let away = pending(go(read_call(pipe.read_end(), landing)));
            let outcome = away.cancel();
            assert!(matches!(outcome, CancelOutcome::Asked | CancelOutcome::NotBegun));
            let ret = away.wait();
            assert!(ret.is_cancelled(), "{ret:?}");
            assert_eq!(ret.errno(), Some(libc::ECANCELED));
            let away = pending(go(taking_call(pipe.read_end())));
            let _ = away.cancel();
            assert!(away.wait().is_cancelled());
            pipe.put(1);
            let_others_act();
            assert_eq!(pipe.filled(), 1, "a cancelled call has read");
        }
    });
}

#[test]
fn cancel_of_calls_with_time_limits() {
    attached(|| {
        let begun = Instant::now();
        for call in [sleep_call, word_call] {
            let away = pending(go(call(Duration::from_secs(50))));
            let _ = away.cancel();
            assert!(away.wait().is_cancelled());
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    });
}

#[test]
fn cancel_that_is_too_late_leaves_the_answer() {
    attached(|| {
        let pipe = Pipe::new();
        let landing = Landing::leak();
        let away = pending(go(read_call(pipe.read_end(), landing)));
        pipe.put(4);
        assert!(eventually(|| away.is_done()));
        assert_eq!(away.cancel(), CancelOutcome::TooLate);
        assert_eq!(away.wait().raw(), 1);
        assert_eq!(landing.byte(), 4);
    });
}

#[test]
fn cancel_races_with_completion() {
    // The byte arrives while the cancel is on its way: it is read, or it is still there.
    const ROUNDS: usize = 1500;
    // On a busy machine a round takes many time slices.
    let end = Instant::now() + LIMIT / 3;
    attached(move || {
        let turn = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let pipe = Pipe::new();
        let writer = {
            let (turn, stop, pipe) = (Arc::clone(&turn), Arc::clone(&stop), pipe.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    if turn.swap(false, Ordering::AcqRel) {
                        pipe.put(1);
                    } else {
                        thread::yield_now();
                    }
                }
            })
        };
        let (mut cancelled, mut read) = (0, 0);
        let mut rounds = 0;
        for round in (0..ROUNDS).take_while(|_| Instant::now() < end) {
            rounds += 1;
            let landing = Landing::leak();
            let Submitted::Pending(away) = go(read_call(pipe.read_end(), landing)) else {
                panic!("round {round}: the pipe is not empty")
            };
            turn.store(true, Ordering::Release);
            spin(round * 13 % 499);
            let _ = away.cancel();
            let ret = away.wait();
            if ret.is_cancelled() {
                assert!(eventually(|| pipe.filled() == 1), "round {round}: the byte is lost");
                assert_eq!(pipe.get(), 1);
                cancelled += 1;
            } else {
                assert_eq!((ret.raw(), landing.byte()), (1, 1), "round {round}");
                read += 1;
            }
            assert_eq!(pipe.filled(), 0, "round {round}");
        }
        stop.store(true, Ordering::Release);
        writer.join().expect("writing does not panic");
        println!("{cancelled} cancelled, {read} read");
        assert_eq!(cancelled + read, rounds);
        assert!(rounds > 20, "{rounds} rounds");
    });
}

#[test]
fn cancel_hits_no_other_call() {
    // Each call is cancelled just as it ends, while the thread that made it takes the next one.
    const ROUNDS: usize = 1500;
    attached(|| {
        for round in 0..ROUNDS {
            let (first, second) = (Pipe::new(), Pipe::new());
            let away = pending(go(read_call(first.read_end(), Landing::leak())));
            first.put(1);
            spin(round * 5 % 301);
            let _ = away.cancel();
            let landing = Landing::leak();
            let next = go(read_call(second.read_end(), landing));
            drop(away);
            second.put(2);
            let ret = next.wait();
            assert_eq!((ret.raw(), landing.byte()), (1, 2), "round {round}: {ret:?}");
        }
    });
}

#[test]
fn cancel_that_comes_for_an_earlier_call_does_not_disturb_the_next() {
    attached(|| {
        let pipe = Pipe::new();
        let away = pending(go(taking_call(pipe.read_end())));
        for _ in 0..20 {
            // What a cancel sends that is overtaken by the end of its call.
            threads_named("syslet-crew").into_iter().for_each(stray_cancel);
        }
        let own = pending(go(taking_call(pipe.read_end())));
        pipe.put(1);
        pipe.put(1);
        assert_eq!((away.wait().raw(), own.wait().raw()), (1, 1));
    });
}

#[test]
fn queued_call_is_cancelled_before_it_begins() {
    let path = "cancelling::queued_call_is_cancelled_before_it_begins";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        bounded(LIMIT, || {
            let blocker = Pipe::new();
            // Both crew threads are taken.
            let held: Vec<_> =
                (0..2).map(|_| pending(go(taking_call(blocker.read_end())))).collect();
            let untouched = Pipe::new();
            untouched.put(1);
            let queued = pending(go(taking_call(untouched.read_end())));
            assert_eq!(queued.cancel(), CancelOutcome::NotBegun);
            // Whatever becomes of the crew.
            assert!(queued.is_done() && queued.wait().is_cancelled());
            held.iter().for_each(|_| blocker.put(1));
            held.into_iter().for_each(|away| assert_eq!(away.wait().raw(), 1));
            assert_eq!(untouched.filled(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}
