//! Calls that feed each other are submitted as one.

use std::os::fd::AsRawFd;

use syslet::{Arg, Chain, Refusal, StepId, SubmitError, When, stats, threadlet};

use crate::util::calls::{
    Block, Counter, Landing, checked_chain, go_chain, number_call, pread_call, read_call,
    try_go_chain,
};
use crate::util::chain::{
    CONDITIONS, NamedFile, add, answers, close, close_nothing, count, open, pending, signed, step,
};
use crate::util::pipe::{Pipe, file_with};
use crate::util::{LIMIT, attached, bounded, eventually, late, skip_in_pool, soon};

const EBADF: isize = -libc::EBADF as isize;

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
