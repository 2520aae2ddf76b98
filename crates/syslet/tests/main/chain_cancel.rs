//! Chains that are cancelled or interrupted end between two steps.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use syslet::{CancelOutcome, Chain, When};

use crate::util::calls::{
    Block, Counter, Landing, block_signal, count_signals, gettid, go, go_chain, number_call,
    read_call, signals_seen, sleep_call, taking_call,
};
use crate::util::chain::{add, answers, count, pending, signed};
use crate::util::child::Child;
use crate::util::parking::let_others_act;
use crate::util::pipe::{Pipe, file_with};
use crate::util::{LIMIT, attached, bounded, eventually, skip_in_pool};

const ECANCELED: isize = -libc::ECANCELED as isize;

fn spin(rounds: usize) {
    (0..rounds).for_each(|_| std::hint::spin_loop());
}

#[test]
fn cancel_while_a_step_sleeps_keeps_the_answers_before_it() {
    attached(|| {
        for _ in 0..100 {
            let (pipe, counter) = (Pipe::new(), Counter::new());
            let mut chain = Chain::new();
            let before = count(&mut chain, &counter);
            let asleep = add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
            let after = count(&mut chain, &counter);
            let away = pending(go_chain(chain));
            assert!(eventually(|| counter.take() == 1));
            assert_eq!(away.cancel(), CancelOutcome::Asked);
            let result = away.wait();
            assert_eq!(answers(&result, [before, asleep, after]), [Some(8), Some(ECANCELED), None]);
            assert_eq!((result.cancelled(), result.stopped()), (Some(asleep), None));
            assert_eq!(result.last().map(|(step, _)| step), Some(asleep));
            assert_eq!(counter.take(), 0, "a step after the cancelled one was made");
            pipe.put(1);
            let_others_act();
            assert_eq!(pipe.filled(), 1, "the cancelled step has read");
        }
    });
}

#[test]
fn cancel_takes_precedence_over_rules() {
    attached(|| {
        let (pipe, counter) = (Pipe::new(), Counter::new());
        let mut chain = Chain::new();
        let asleep = add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
        let after = count(&mut chain, &counter);
        chain.skip_on(asleep, When::Negative, after);
        let away = pending(go_chain(chain));
        let _ = away.cancel();
        let result = away.wait();
        assert_eq!((result.cancelled(), result.ret(after)), (Some(asleep), None));
        assert_eq!(counter.take(), 0);
    });
}

#[test]
fn cancel_that_is_too_late_leaves_the_answers() {
    attached(|| {
        let pipe = Pipe::new();
        let mut chain = Chain::new();
        let read = add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
        let away = pending(go_chain(chain));
        pipe.put(4);
        assert!(eventually(|| away.is_done()));
        assert_eq!(away.cancel(), CancelOutcome::TooLate);
        let result = away.wait();
        assert_eq!((result.cancelled(), answers(&result, [read])), (None, [Some(1)]));
    });
}

#[test]
fn queued_chain_is_cancelled_before_it_begins() {
    let path = "chain_cancel::queued_chain_is_cancelled_before_it_begins";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        bounded(LIMIT, || {
            let blocker = Pipe::new();
            // Both crew threads are taken.
            let held: Vec<_> = (0..2).map(|_| go(taking_call(blocker.read_end()))).collect();
            let counter = Counter::new();
            let mut chain = Chain::new();
            let steps = [0; 2].map(|_| count(&mut chain, &counter));
            let queued = pending(go_chain(chain));
            assert_eq!(queued.cancel(), CancelOutcome::NotBegun);
            // Whatever becomes of the crew.
            assert!(queued.is_done());
            let result = queued.wait();
            held.iter().for_each(|_| blocker.put(1));
            held.into_iter().for_each(|away| assert_eq!(away.wait().raw(), 1));
            assert_eq!(answers(&result, steps), [Some(ECANCELED), None]);
            assert_eq!(result.cancelled(), Some(steps[0]));
            assert_eq!(counter.take(), 0);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn cancel_at_any_moment_ends_the_chain_between_two_steps() {
    // A queued chain is cancelled on its way to its thread, or before, during or after any step.
    const ROUNDS: usize = 3000;
    let seen = bounded(LIMIT, || {
        let counter = Counter::new();
        let mut seen = [0; 5];
        for round in 0..ROUNDS {
            let mut chain = Chain::new();
            let steps = [0; 4].map(|_| count(&mut chain, &counter));
            let away = pending(go_chain(chain));
            spin(round * 7 % 1499);
            let outcome = away.cancel();
            let result = away.wait();
            let answers = answers(&result, steps);
            let made = answers.iter().take_while(|&&answer| answer == Some(8)).count();
            let effect = counter.take();
            assert_eq!(effect, made as u64, "round {round}: {answers:?}");
            match result.cancelled() {
                Some(step) => {
                    assert_eq!(step, steps[made], "round {round}: {answers:?}");
                    assert_eq!(answers[made], Some(ECANCELED), "round {round}");
                    assert!(answers[made + 1..].iter().all(Option::is_none), "round {round}");
                    assert_ne!(outcome, CancelOutcome::TooLate);
                }
                None => assert_eq!(made, 4, "round {round}: {answers:?}"),
            }
            seen[made] += 1;
        }
        seen
    });
    println!("steps made before the cancel: {seen:?}");
    assert!(seen[0] > 0 && seen[4] > 0, "one side of the race was never seen: {seen:?}");
}

#[test]
fn steps_that_are_away_do_not_answer_eintr_unasked() {
    let path = "chain_cancel::steps_that_are_away_do_not_answer_eintr_unasked";
    let ended = Child::new().run(path, || {
        attached(|| {
            count_signals(libc::SIGUSR1);
            const TIME: Duration = Duration::from_millis(100);
            let mut chain = Chain::new();
            let sleeps = [0; 2].map(|_| add(&mut chain, sleep_call(TIME)));
            let begun = Instant::now();
            let away = pending(go_chain(chain));
            // Begun anew at each interruption it would never end.
            crate::interruption::pester(|| away.is_done());
            let took = begun.elapsed();
            assert_eq!(answers(&away.wait(), sleeps), [Some(0), Some(0)]);
            assert!(took >= TIME * 2, "ended after {took:?}");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn step_that_a_handler_of_the_guest_has_interrupted_answers_eintr() {
    // A signal that waits while the guest blocks it interrupts ppoll, which lets it through, before
    // that sleeps: nobody has taken the guest. (Preempted just then, it may be taken: the step waits.)
    const ROUNDS: i64 = 50;
    let path = "chain_cancel::step_that_a_handler_of_the_guest_has_interrupted_answers_eintr";
    let ended = Child::new().run(path, || {
        if skip_in_pool("EINTR") {
            return;
        }
        bounded(LIMIT, || {
            block_signal(libc::SIGUSR2);
            count_signals(libc::SIGUSR2);
            let guard = crate::util::attach();
            let (file, counter) = (file_with(b""), Counter::new());
            let mut interrupted = 0;
            for _ in 0..ROUNDS {
                let mut chain = Chain::new();
                let ids = [std::process::id() as usize, gettid() as usize];
                let signal =
                    number_call(libc::SYS_tgkill, [ids[0], ids[1], libc::SIGUSR2 as usize]);
                let signal = add(&mut chain, signal);
                let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                let time = std::ptr::from_mut(Box::leak(Box::new(time))) as usize;
                let no_signals = Block::leak().address();
                let poll = number_call(libc::SYS_ppoll, [0, 0, time, no_signals, 8]);
                let poll = add(&mut chain, poll);
                let after = signed(&mut chain, file.as_raw_fd(), 1);
                count(&mut chain, &counter);
                let submitted = go_chain(chain);
                let was_done = submitted.is_done();
                let result = submitted.wait();
                assert_eq!(answers(&result, [signal, after]), [Some(0), Some(5)]);
                assert_eq!(counter.take(), 1, "every step is made once");
                match result.ret(poll).map(|ret| ret.raw()) {
                    Some(0) => assert!(!was_done, "ppoll has slept"),
                    eintr => {
                        assert_eq!(eintr, Some(-libc::EINTR as isize));
                        interrupted += i64::from(was_done);
                    }
                }
            }
            drop(guard);
            assert!(interrupted > ROUNDS / 2, "only {interrupted} of {ROUNDS} were interrupted");
            assert!(signals_seen() >= interrupted);
        });
    });
    ended.expect("this is the parent").expect_done();
}
