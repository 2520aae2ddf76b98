//! Calls that feed each other are submitted as one.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use syslet::{Arg, CancelOutcome, Chain, Refusal, StepId, SubmitError, When, stats, threadlet};

use crate::util::calls::{
    Block, Counter, Landing, block_signal, checked_chain, close as close_now, count_signals,
    gettid, go, go_chain, is_open, number_call, open_descriptors, pread_call, read_call,
    signals_seen, sleep_call, taking_call, try_go_chain,
};
use crate::util::chain::{
    CONDITIONS, NamedFile, add, answers, close, count, open, pending, signed, step,
};
use crate::util::child::Child;
use crate::util::pipe::{Pipe, file_with};
use crate::util::{LIMIT, attached, bounded, eventually, late, skip_in_pool, soon};

const EBADF: isize = -libc::EBADF as isize;
const ECANCELED: isize = -libc::ECANCELED as isize;

fn spin(rounds: usize) {
    (0..rounds).for_each(|_| std::hint::spin_loop());
}

#[test]
fn open_read_close_of_a_real_file() {
    attached(|| {
        let file = NamedFile::with(b"what is in it");
        let block = Block::leak();
        let mut inline = 0;
        for _ in 0..100 {
            let mut chain = Chain::new();
            let open = file.open(&mut chain);
            chain.stop_on(open, When::Negative);
            let read =
                step(&mut chain, libc::SYS_read, [open.into(), block.address().into(), 64.into()]);
            let close = close(&mut chain, open);
            let before = stats().guest.map(|guest| guest.inline);
            let submitted = go_chain(chain);
            if submitted.is_done() {
                inline += 1;
                let calls = stats().guest.zip(before).map(|(guest, before)| guest.inline - before);
                assert_eq!(calls, Some(1), "one crossing for all steps");
            }
            let result = submitted.wait();
            let [fd, n, closed] = answers(&result, [open, read, close]);
            assert!(fd.is_some_and(|fd| fd > 2), "{fd:?}");
            assert_eq!((n, closed), (Some(13), Some(0)));
            assert_eq!(&block.bytes()[..13], b"what is in it");
            assert_eq!(result.last().map(|(step, ret)| (step, ret.raw())), Some((close, 0)));
            assert_eq!((result.stopped(), result.cancelled()), (None, None));
        }
        if !skip_in_pool("inline") {
            assert!(inline > 50, "only {inline} of 100 were inline");
        }
    });
}

#[test]
fn open_stat_map_close_takes_the_length_from_memory() {
    attached(|| {
        let content: Vec<u8> = (0..5000).map(|n| n as u8).collect();
        let file = NamedFile::with(&content);
        let stat = Block::leak();
        let size = stat.address() + std::mem::offset_of!(libc::stat, st_size);
        let mut chain = Chain::new();
        let open = file.open(&mut chain);
        let fstat = step(&mut chain, libc::SYS_fstat, [open.into(), stat.address().into()]);
        let (read, private) = (libc::PROT_READ as usize, libc::MAP_PRIVATE as usize);
        let map = step(
            &mut chain,
            libc::SYS_mmap,
            [0.into(), Arg::At(size), read.into(), private.into(), open.into(), 0.into()],
        );
        let close = close(&mut chain, open);
        for step in [open, fstat, map, close] {
            chain.stop_on(step, When::Negative);
        }
        // What the map shows is written to a pipe from which it can be compared.
        let pipe = Pipe::new();
        let write = step(
            &mut chain,
            libc::SYS_write,
            [(pipe.write_end() as usize).into(), map.into(), Arg::At(size)],
        );
        let unmap = step(&mut chain, libc::SYS_munmap, [map.into(), Arg::At(size)]);
        let result = go_chain(chain).wait();
        assert_eq!(
            answers(&result, [fstat, close, write, unmap]),
            [Some(0), Some(0), Some(5000), Some(0)]
        );
        assert!(result.ret(map).is_some_and(|ret| ret.raw() > 0 && ret.raw() % 4096 == 0));
        assert!(content.iter().all(|&byte| pipe.get() == byte));
    });
}

#[test]
fn each_condition_stops_for_its_results_only() {
    attached(|| {
        let file = file_with(b"");
        for (when, holds_for) in CONDITIONS {
            for sign in [-1, 0, 1] {
                let mut chain = Chain::new();
                let first = signed(&mut chain, file.as_raw_fd(), sign);
                let second = signed(&mut chain, file.as_raw_fd(), 1);
                chain.stop_on(first, when);
                let result = go_chain(chain).wait();
                let stops = holds_for.contains(&sign);
                assert!(result.ret(first).is_some_and(|ret| ret.raw().signum() == sign));
                assert_eq!(result.ret(second).is_none(), stops, "{when:?} of {sign}");
                assert_eq!(result.stopped(), stops.then_some(first), "{when:?} of {sign}");
                let last = if stops { first } else { second };
                assert_eq!(result.last().map(|(step, _)| step), Some(last));
            }
        }
    });
}

#[test]
fn each_condition_skips_for_its_results_only() {
    attached(|| {
        let file = file_with(b"");
        for (when, holds_for) in CONDITIONS {
            for sign in [-1, 0, 1] {
                let mut chain = Chain::new();
                let first = signed(&mut chain, file.as_raw_fd(), sign);
                let between = [0; 2].map(|_| signed(&mut chain, file.as_raw_fd(), 1));
                let target = signed(&mut chain, file.as_raw_fd(), 1);
                let after = signed(&mut chain, file.as_raw_fd(), 0);
                chain.skip_on(first, when, target);
                let result = go_chain(chain).wait();
                let skips = holds_for.contains(&sign);
                for step in between {
                    assert_eq!(result.ret(step).is_none(), skips, "{when:?} of {sign}");
                }
                assert_eq!(answers(&result, [target, after]), [Some(5), Some(0)]);
                assert_eq!(result.stopped(), None);
            }
        }
    });
}

#[test]
fn later_rules_replace_earlier_ones_for_their_results() {
    // An atom of 2007 with `next` far ahead, STOP_ON_NEGATIVE and SKIP_TO_NEXT_ON_STOP.
    attached(|| {
        let file = file_with(b"");
        for (sign, linear) in [(-1, true), (0, false), (1, false)] {
            let mut chain = Chain::new();
            let atom = signed(&mut chain, file.as_raw_fd(), sign);
            let linearly_next = signed(&mut chain, file.as_raw_fd(), 1);
            let next = signed(&mut chain, file.as_raw_fd(), 0);
            chain.skip_on(atom, When::Always, next);
            chain.skip_on(atom, When::Negative, linearly_next);
            chain.stop_on(linearly_next, When::Always);
            let result = go_chain(chain).wait();
            let made = [linearly_next, next].map(|step| result.ret(step).is_some());
            assert_eq!(made, [linear, !linear], "{sign}");
            assert_eq!(result.stopped(), linear.then_some(linearly_next));
        }
    });
}

#[test]
fn errors_are_passed_on_unless_a_rule_stops_them() {
    attached(|| {
        let file = file_with(b"abc");
        let landing = Landing::leak();
        let mut chain = Chain::new();
        let dup = step(&mut chain, libc::SYS_dup, [usize::MAX.into()]);
        // `-EBADF` is no descriptor either.
        let seek = step(&mut chain, libc::SYS_lseek, [dup.into()]);
        let read = add(&mut chain, pread_call(file.as_raw_fd(), landing, 2));
        let result = go_chain(chain).wait();
        assert_eq!(answers(&result, [dup, seek, read]), [Some(EBADF), Some(EBADF), Some(1)]);
        assert_eq!(landing.byte(), b'c');
    });
}

#[test]
fn step_that_was_left_out_passes_on_that_it_was() {
    attached(|| {
        let file = file_with(b"");
        let mut chain = Chain::new();
        let first = signed(&mut chain, file.as_raw_fd(), 0);
        let left_out = signed(&mut chain, file.as_raw_fd(), 1);
        let here = (libc::SEEK_SET as usize).into();
        let fd = (file.as_raw_fd() as usize).into();
        let seek = step(&mut chain, libc::SYS_lseek, [fd, left_out.into(), here]);
        // The position shows what was passed on: it is a negative one.
        let close = close(&mut chain, left_out);
        chain.skip_on(first, When::Zero, seek);
        let result = go_chain(chain).wait();
        let einval = -libc::EINVAL as isize;
        assert_eq!(
            answers(&result, [first, left_out, seek, close]),
            [Some(0), None, Some(einval), Some(EBADF)]
        );
    });
}

#[test]
fn step_that_sleeps_takes_the_whole_chain_away() {
    attached(|| {
        let file = NamedFile::with(b"0123456789");
        let (pipe, landing, block, counter) =
            (Pipe::new(), Landing::leak(), Block::leak(), Counter::new());
        let mut chain = Chain::new();
        let open = file.open(&mut chain);
        let counted = count(&mut chain, &counter);
        let wait = add(&mut chain, read_call(pipe.read_end(), landing));
        // The number of bytes to read is what came through the pipe.
        let read =
            step(&mut chain, libc::SYS_read, [open.into(), block.address().into(), wait.into()]);
        let close = close(&mut chain, open);
        let counted_again = count(&mut chain, &counter);
        let away = pending(go_chain(chain));
        assert!(eventually(|| counter.take() == 1), "the steps before it are made");
        let Err(away) = away.wait_deadline(soon(20)) else { panic!("a step sleeps") };
        assert!(!away.is_done());
        assert_eq!(counter.take(), 0, "no step overtakes another");
        pipe.put(3);
        let result = away.wait_deadline(late()).expect("it ends");
        assert_eq!(
            answers(&result, [counted, wait, read, close, counted_again]),
            [Some(8), Some(1), Some(1), Some(0), Some(8)]
        );
        assert_eq!((landing.byte(), block.bytes()[0], counter.take()), (3, b'0', 1));
    });
}

#[test]
fn chain_may_sleep_many_times() {
    attached(|| {
        let pipe = Pipe::new();
        let landing = Landing::leak();
        let mut chain = Chain::new();
        let steps: Vec<StepId> =
            (0..50).map(|_| add(&mut chain, read_call(pipe.read_end(), landing))).collect();
        let away = pending(go_chain(chain));
        for byte in 0..50 {
            assert!(eventually(|| pipe.filled() == 0), "step {byte} was not made");
            pipe.put(byte);
        }
        let result = away.wait();
        assert!(steps.iter().all(|&step| result.ret(step).is_some_and(|ret| ret.raw() == 1)));
        assert_eq!(landing.byte(), 49);
    });
}

#[test]
fn pending_chain_is_a_future() {
    attached(|| {
        let pipe = Pipe::new();
        let landing = Landing::leak();
        let mut chain = Chain::new();
        let read = [0; 2].map(|_| add(&mut chain, read_call(pipe.read_end(), landing)));
        let away = pending(go_chain(chain));
        let other = pipe.clone();
        let writer = std::thread::spawn(move || {
            other.put(1);
            assert!(eventually(|| other.filled() == 0));
            other.put(2);
        });
        let result = futures_executor::block_on(away);
        assert_eq!(answers(&result, read), [Some(1), Some(1)]);
        assert_eq!(landing.byte(), 2);
        writer.join().expect("writing does not panic");
    });
}

#[test]
fn chain_is_queued_as_one_piece_by_threads_that_are_not_attached() {
    bounded(LIMIT, || {
        let (pipe, counter, landing) = (Pipe::new(), Counter::new(), Landing::leak());
        let mut chain = Chain::new();
        let read = add(&mut chain, read_call(pipe.read_end(), landing));
        let counted = count(&mut chain, &counter);
        let away = pending(go_chain(chain));
        pipe.put(5);
        assert_eq!(answers(&away.wait(), [read, counted]), [Some(1), Some(8)]);
        assert_eq!((landing.byte(), counter.take()), (5, 1));
    });
}

#[test]
fn chain_that_cannot_wait_is_made_at_once_everywhere() {
    bounded(LIMIT, || {
        let mut chain = Chain::new();
        let pid = add(&mut chain, number_call(libc::SYS_getpid, []));
        let group = step(&mut chain, libc::SYS_getpgid, [pid.into()]);
        let submitted = go_chain(chain);
        assert!(submitted.is_done());
        let result = submitted.wait();
        assert_eq!(result.ret(pid).map(|ret| ret.raw()), Some(std::process::id() as isize));
        assert!(result.ret(group).is_some_and(|ret| ret.raw() > 0));
    });
}

#[test]
fn chain_inside_a_threadlet_is_made_in_place() {
    attached(|| {
        let file = NamedFile::with(b"x");
        let done = threadlet(move || {
            let mut chain = Chain::new();
            let open = file.open(&mut chain);
            let close = close(&mut chain, open);
            let submitted = go_chain(chain);
            submitted.is_done() && submitted.wait().ret(close).is_some_and(|ret| ret.raw() == 0)
        });
        assert!(done.join());
    });
}

#[test]
fn chain_without_steps_is_done() {
    attached(|| {
        let submitted = go_chain(Chain::new());
        assert!(submitted.is_done());
        let result = submitted.wait();
        assert!(result.last().is_none() && result.stopped().is_none());
    });
}

#[test]
fn chain_can_be_submitted_again() {
    attached(|| {
        let file = file_with(b"");
        let mut chain = Chain::new();
        let end = (libc::SEEK_END as usize).into();
        let fd = (file.as_raw_fd() as usize).into();
        let size = step(&mut chain, libc::SYS_lseek, [fd, 0.into(), end]);
        let only_if_empty = signed(&mut chain, file.as_raw_fd(), 0);
        chain.stop_on(size, When::Nonzero);
        let result = go_chain(chain).wait();
        assert_eq!(answers(&result, [size, only_if_empty]), [Some(0), Some(0)]);
        file.set_len(7).expect("a file in memory has any length");
        let result = go_chain(result.into_chain()).wait();
        assert_eq!(answers(&result, [size, only_if_empty]), [Some(7), None]);
        let mut chain = result.into_chain();
        chain.clear();
        assert!(go_chain(chain).wait().last().is_none());
    });
}

#[test]
fn refused_step_is_named_and_nothing_is_run() {
    let refused = |submit: fn(Chain) -> Result<syslet::SubmittedChain, SubmitError<Chain>>| {
        let counter = Counter::new();
        let chain_with = |nr: i64| {
            let mut chain = Chain::new();
            count(&mut chain, &counter);
            let bad = step(&mut chain, nr, [3.into()]);
            step(&mut chain, libc::SYS_vfork, []);
            (chain, bad)
        };
        let (chain, exit) = chain_with(libc::SYS_exit);
        match submit(chain) {
            Err(SubmitError::Refused(_, why @ Refusal::BoundStep { step, name, reason })) => {
                assert_eq!((step, name, step.index()), (exit, "exit", 1));
                let text = why.to_string();
                assert!(text.contains("step 1: exit") && text.contains(reason), "{text}");
            }
            other => panic!("{other:?}"),
        }
        for nr in [511, 4096, (1 << 32) | 39] {
            let (chain, unknown) = chain_with(nr);
            match submit(chain) {
                Err(SubmitError::Refused(_, why @ Refusal::UnknownStep { step, nr: named })) => {
                    assert_eq!((step, named), (unknown, nr as usize));
                    assert!(why.to_string().contains(&format!("step 1: system call {nr}")));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(counter.take(), 0, "a step was made");
    };
    bounded(LIMIT, move || refused(checked_chain));
    attached(move || {
        refused(checked_chain);
        refused(try_go_chain);
    });
}

#[test]
fn steps_only_go_forward() {
    let wrong = |build: fn(&mut Chain, StepId, StepId)| {
        let made = std::panic::catch_unwind(|| {
            let mut chain = Chain::new();
            let (first, second) = (close_nothing(&mut chain), close_nothing(&mut chain));
            build(&mut chain, first, second);
        });
        assert!(made.is_err());
    };
    wrong(|chain, first, second| chain.skip_on(second, When::Zero, first));
    wrong(|chain, first, _| chain.skip_on(first, When::Zero, first));
    wrong(|chain, first, second| {
        chain.clear();
        chain.skip_on(first, When::Zero, second);
    });
    wrong(|chain, _, second| {
        chain.clear();
        step(chain, libc::SYS_close, [second.into()]);
    });
    wrong(|chain, first, _| {
        chain.clear();
        chain.stop_on(first, When::Zero);
    });
}

fn close_nothing(chain: &mut Chain) -> StepId {
    step(chain, libc::SYS_close, [usize::MAX.into()])
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
    let path = "chains::queued_chain_is_cancelled_before_it_begins";
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
            held.iter().for_each(|_| blocker.put(1));
            held.into_iter().for_each(|away| assert_eq!(away.wait().raw(), 1));
            let result = queued.wait();
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
    let path = "chains::steps_that_are_away_do_not_answer_eintr_unasked";
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
    let path = "chains::step_that_a_handler_of_the_guest_has_interrupted_answers_eintr";
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

/// Runs `body` in a process of its own, in which nobody else opens and closes descriptors.
fn alone(path: &str, body: fn()) {
    let ended = Child::new().run(path, body);
    ended.expect("this is the parent").expect_done();
}

/// True once as many descriptors are open as `before`.
fn all_closed(before: usize) -> bool {
    eventually(|| open_descriptors() == before)
}

#[test]
fn dropped_chain_runs_on_and_its_descriptors_are_closed() {
    alone("chains::dropped_chain_runs_on_and_its_descriptors_are_closed", || {
        attached(|| {
            let (pipe, counter, file) = (Pipe::new(), Counter::new(), NamedFile::with(b""));
            let pair = Block::leak();
            let before = open_descriptors();
            let mut chain = Chain::new();
            let open = file.open(&mut chain);
            // Two pairs, one after the other in the same memory; the first half of the first is closed.
            step(&mut chain, libc::SYS_pipe2, [pair.address().into(), 0.into()]);
            step(&mut chain, libc::SYS_close, [Arg::At(pair.address())]);
            step(&mut chain, libc::SYS_dup, [open.into()]);
            step(&mut chain, libc::SYS_pipe2, [pair.address().into(), 0.into()]);
            step(&mut chain, libc::SYS_fcntl, [open.into(), (libc::F_DUPFD as usize).into()]);
            count(&mut chain, &counter);
            add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
            file.open(&mut chain);
            count(&mut chain, &counter);
            let away = pending(go_chain(chain));
            assert!(eventually(|| counter.take() == 1));
            assert_eq!(open_descriptors(), before + 6);
            drop(away);
            assert_eq!(open_descriptors(), before + 6, "the chain needs them");
            pipe.put(1);
            assert!(eventually(|| counter.take() == 1), "it did not run on");
            assert!(all_closed(before), "{} are left", open_descriptors() - before);
        });
    });
}

#[test]
fn result_that_is_dropped_with_its_handle_closes_descriptors() {
    alone("chains::result_that_is_dropped_with_its_handle_closes_descriptors", || {
        attached(|| {
            let (pipe, file) = (Pipe::new(), NamedFile::with(b""));
            let before = open_descriptors();
            for cancel in [false, true] {
                let mut chain = Chain::new();
                file.open(&mut chain);
                add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
                let away = pending(go_chain(chain));
                assert!(eventually(|| open_descriptors() == before + 1));
                if cancel {
                    let _ = away.cancel();
                } else {
                    pipe.put(1);
                }
                assert!(eventually(|| away.is_done()));
                assert_eq!(open_descriptors(), before + 1, "the handle may still be asked");
                drop(away);
                assert_eq!(open_descriptors(), before);
            }
        });
    });
}

#[test]
fn result_hands_descriptors_over() {
    alone("chains::result_hands_descriptors_over", || {
        attached(|| {
            let (pipe, file) = (Pipe::new(), NamedFile::with(b""));
            for cancel in [false, true] {
                let before = open_descriptors();
                let mut chain = Chain::new();
                let open = file.open(&mut chain);
                add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
                let away = pending(go_chain(chain));
                assert!(eventually(|| open_descriptors() == before + 1));
                if cancel {
                    let _ = away.cancel();
                } else {
                    pipe.put(1);
                }
                let result = away.wait();
                assert_eq!(result.cancelled().is_some(), cancel);
                let fd = result.ret(open).expect("it was made").raw() as i32;
                drop(result);
                assert!(is_open(fd), "it is the caller's");
                close_now(fd);
            }
        });
    });
}

#[test]
fn descriptors_that_the_chain_has_closed_are_not_closed_again() {
    alone("chains::descriptors_that_the_chain_has_closed_are_not_closed_again", || {
        attached(|| {
            let (pipe, counter, file) = (Pipe::new(), Counter::new(), NamedFile::with(b""));
            let (pair, zeroes) = (Block::leak(), file_with(&[0; 8]));
            let mut chain = Chain::new();
            // A number that is made, closed and made again is closed in the end.
            let first = file.open(&mut chain);
            close(&mut chain, first);
            let second = file.open(&mut chain);
            let third = file.open(&mut chain);
            close(&mut chain, third);
            // Replaced, by one whose number was chosen.
            let fourth = file.open(&mut chain);
            step(&mut chain, libc::SYS_dup2, [second.into(), fourth.into()]);
            let fifth = step(&mut chain, libc::SYS_pipe2, [pair.address().into(), 0.into()]);
            let range = [fourth.into(), 1000.into(), 0.into()];
            step(&mut chain, libc::SYS_close_range, range);
            // Closed by a number in memory that is overwritten later.
            let other = Block::leak();
            step(&mut chain, libc::SYS_pipe2, [other.address().into(), 0.into()]);
            step(&mut chain, libc::SYS_close, [Arg::At(other.address())]);
            let zeroes = (zeroes.as_raw_fd() as usize).into();
            step(&mut chain, libc::SYS_pread64, [zeroes, other.address().into(), 8.into()]);
            count(&mut chain, &counter);
            add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
            chain.stop_on(fifth, When::Negative);
            let away = pending(go_chain(chain));
            assert!(eventually(|| counter.take() == 1));
            // The program takes the numbers that the chain no longer has.
            let ours: Vec<_> = (0..4).map(|_| file_with(b"ours")).collect();
            let before = open_descriptors();
            drop(away);
            pipe.put(1);
            assert!(eventually(|| syslet::stats().outstanding == 0));
            assert_eq!(open_descriptors(), before - 2, "two were the chain's");
            assert!(ours.iter().all(|file| file.metadata().is_ok_and(|meta| meta.len() == 4)));
        });
    });
}

#[test]
fn descriptors_of_chosen_numbers_stay() {
    alone("chains::descriptors_of_chosen_numbers_stay", || {
        attached(|| {
            let (pipe, file) = (Pipe::new(), NamedFile::with(b""));
            let mut chain = Chain::new();
            let made = file.open(&mut chain);
            step(&mut chain, libc::SYS_dup2, [made.into(), 300.into()]);
            step(&mut chain, libc::SYS_fcntl, [300.into(), (libc::F_GETFD as usize).into()]);
            add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
            drop(pending(go_chain(chain)));
            pipe.put(1);
            assert!(eventually(|| syslet::stats().outstanding == 0));
            assert!(is_open(300));
            close_now(300);
        });
    });
}

#[test]
fn missing_file_ends_the_chain_at_its_first_step() {
    attached(|| {
        let name = Block::with(b"/nonexistent/file");
        let mut chain = Chain::new();
        let open = open(&mut chain, name.address());
        let close = close(&mut chain, open);
        chain.stop_on(open, When::Negative);
        let result = go_chain(chain).wait();
        assert_eq!(result.ret(open).and_then(|ret| ret.errno()), Some(libc::ENOENT));
        assert_eq!((result.ret(close), result.stopped()), (None, Some(open)));
    });
}
