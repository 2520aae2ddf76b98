//! Any chain does what its calls do one by one.

use std::fs::File;
use std::os::fd::AsRawFd;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use syslet::{Arg, Chain, StepId, When};

use crate::util::calls::{Block, close, go_chain, open_descriptors, plain};
use crate::util::chain::CONDITIONS;
use crate::util::child::Child;
use crate::util::pipe::{Pipe, file_with};
use crate::util::{Property, attached, eventually};

/// A number, or the result of one of the steps so far.
#[derive(Debug, Clone)]
enum Number {
    Is(i8),
    Of(Index),
}

/// What a step does. No result is used as a length: the buffers hold 64 bytes.
#[derive(Debug, Clone)]
enum Op {
    Parent,
    Seek(Number, u8),
    Read(u8),
    ReadAt(u8, Number),
    WriteAt(u8, Number),
    Truncate(Number),
    /// Reads a byte from a pipe that is empty when the chain begins.
    Wait,
    Dup,
    /// Of a duplicate, or of what never was one.
    Close(Index),
}

/// A rule, and the step that it leads to; `None`: the chain ends.
#[derive(Debug, Clone)]
struct Rule {
    step: Index,
    when: usize,
    to: Option<Index>,
}

/// The files that a chain, or its model, works on.
struct World {
    file: File,
    pipe: Pipe,
    block: &'static Block,
}

impl World {
    fn new() -> Self {
        Self { file: file_with(b"some bytes"), pipe: Pipe::new(), block: Block::with(b"written") }
    }

    fn fd(&self) -> Arg {
        (self.file.as_raw_fd() as usize).into()
    }

    /// Number and arguments of step `at`.
    fn call(&self, at: usize, op: &Op, ops: &[Op], ids: &[StepId]) -> (i64, [Arg; 4]) {
        let none = Arg::Value(0);
        // Results that differ between two worlds, numbers of descriptors, are not used as positions.
        let usable: Vec<usize> =
            (0..at).filter(|&at| !matches!(ops[at], Op::Dup | Op::Close(_))).collect();
        let number = |number: &Number| match number {
            Number::Of(index) if !usable.is_empty() => ids[*index.get(&usable)].into(),
            Number::Of(_) => none,
            Number::Is(value) => (*value as usize).into(),
        };
        let (from, to) = (self.block.address(), self.block.address() + 64);
        let len = |len: u8| Arg::Value(usize::from(len) % 64);
        match op {
            Op::Parent => (libc::SYS_getppid, [none; 4]),
            Op::Seek(offset, whence) => {
                let whence = usize::from(*whence % 4).into(); // 3 is SEEK_DATA, which may fail
                (libc::SYS_lseek, [self.fd(), number(offset), whence, none])
            }
            Op::Read(n) => (libc::SYS_read, [self.fd(), to.into(), len(*n), none]),
            Op::ReadAt(n, position) => {
                (libc::SYS_pread64, [self.fd(), to.into(), len(*n), number(position)])
            }
            Op::WriteAt(n, position) => {
                (libc::SYS_pwrite64, [self.fd(), from.into(), len(*n), number(position)])
            }
            Op::Truncate(len) => (libc::SYS_ftruncate, [self.fd(), number(len), none, none]),
            Op::Wait => {
                let fd = (self.pipe.read_end() as usize).into();
                (libc::SYS_read, [fd, to.into(), 1.into(), none])
            }
            Op::Dup => (libc::SYS_dup, [self.fd(), none, none, none]),
            Op::Close(which) => {
                let made: Vec<_> = (0..at).filter(|&at| matches!(ops[at], Op::Dup)).collect();
                let fd =
                    if made.is_empty() { usize::MAX.into() } else { ids[*which.get(&made)].into() };
                (libc::SYS_close, [fd, none, none, none])
            }
        }
    }
}

/// What became of a chain or a model.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// For a duplicate only whether it was made.
    answers: Vec<Option<isize>>,
    last: usize,
    stopped: bool,
    content: Vec<u8>,
    buffer: Vec<u8>,
    position: isize,
    left_in_pipe: usize,
}

impl Outcome {
    fn of(
        world: &World,
        ops: &[Op],
        answers: &[Option<isize>],
        last: usize,
        stopped: bool,
    ) -> Self {
        let alike = |(op, answer): (&Op, &Option<isize>)| match op {
            Op::Dup => answer.map(isize::signum),
            _ => *answer,
        };
        let fd = world.file.as_raw_fd() as usize;
        let position = plain(libc::SYS_lseek as usize, [fd, 0, libc::SEEK_CUR as usize, 0, 0, 0]);
        // The end of what may be a large file with holes: a pid may be its length.
        let length = world.file.metadata().expect("it is open").len();
        let mut content = vec![0; 4096.min(length as usize)];
        let tail = length - content.len() as u64;
        std::os::unix::fs::FileExt::read_exact_at(&world.file, &mut content, tail).expect("a read");
        content.extend(length.to_ne_bytes());
        Self {
            answers: ops.iter().zip(answers).map(alike).collect(),
            last,
            stopped,
            content,
            buffer: world.block.bytes().to_vec(),
            position,
            left_in_pipe: world.pipe.filled(),
        }
    }
}

/// The rules as they are meant, for the model: the last one that holds counts.
fn next(rules: &[(usize, When, Option<usize>)], at: usize, answer: isize) -> Option<usize> {
    let holds = |when: When| {
        let of =
            CONDITIONS.iter().find(|(condition, _)| *condition == when).expect("all are there");
        of.1.contains(&answer.signum())
    };
    let rule = rules.iter().rev().find(|&&(step, when, _)| step == at && holds(when));
    rule.map_or(Some(at + 1), |&(_, _, to)| to)
}

/// Makes the calls one by one.
fn model(ops: &[Op], ids: &[StepId], rules: &[(usize, When, Option<usize>)]) -> Outcome {
    let world = World::new();
    ops.iter().for_each(|_| world.pipe.put(7));
    let mut answers = vec![None; ops.len()];
    let (mut at, mut last, mut stopped) = (0, 0, false);
    while at < ops.len() {
        let (nr, args) = world.call(at, &ops[at], ops, ids);
        let value = |arg: Arg| match arg {
            Arg::Value(value) => value,
            Arg::Result(step) => {
                answers[step.index()].unwrap_or(-libc::ECANCELED as isize) as usize
            }
            Arg::At(_) => unreachable!("no step of these takes its argument from memory"),
        };
        let [a, b, c, d] = args.map(value);
        let answer = plain(nr as usize, [a, b, c, d, 0, 0]);
        answers[at] = Some(answer);
        last = at;
        match next(rules, at, answer) {
            Some(next) => at = next,
            None => {
                stopped = true;
                break;
            }
        }
    }
    let outcome = Outcome::of(&world, ops, &answers, last, stopped);
    close_duplicates(ops, &answers);
    outcome
}

fn close_duplicates(ops: &[Op], answers: &[Option<isize>]) {
    for (at, op) in ops.iter().enumerate() {
        let (Op::Dup, Some(fd)) = (op, answers[at]) else { continue };
        if crate::util::calls::is_open(fd as i32) {
            close(fd as i32);
        }
    }
}

/// Makes the calls as one chain.
fn chained(ops: &[Op], rules: &[(usize, When, Option<usize>)]) -> (Outcome, Vec<StepId>) {
    let world = World::new();
    let mut chain = Chain::new();
    let mut ids = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let (nr, args) = world.call(at, op, ops, &ids);
        ids.push(chain.push(nr as usize, args));
    }
    for &(step, when, to) in rules {
        match to {
            Some(to) => chain.skip_on(ids[step], when, ids[to]),
            None => chain.stop_on(ids[step], when),
        }
    }
    let submitted = go_chain(chain);
    ops.iter().for_each(|_| world.pipe.put(7));
    let result = submitted.wait();
    assert_eq!(result.cancelled(), None);
    let answers: Vec<_> = ids.iter().map(|&step| result.ret(step).map(|ret| ret.raw())).collect();
    let last = result.last().expect("a chain with steps makes one").0;
    let stopped = result.stopped();
    assert!(stopped.is_none_or(|step| step == last));
    let outcome = Outcome::of(&world, ops, &answers, last.index(), stopped.is_some());
    close_duplicates(ops, &answers);
    (outcome, ids)
}

fn compare(ops: &[Op], rules: &[Rule]) {
    // A rule leads to a later step, or to the end.
    let rules: Vec<_> = rules
        .iter()
        .map(|rule| {
            let step = rule.step.index(ops.len());
            let later = ops.len() - step - 1;
            let to = rule.to.filter(|_| later > 0).map(|to| step + 1 + to.index(later));
            (step, CONDITIONS[rule.when].0, to)
        })
        .collect();
    let (chained, ids) = chained(ops, &rules);
    assert_eq!(chained, model(ops, &ids, &rules), "{ops:?} {rules:?}");
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let number = || {
        prop_oneof![any::<i8>().prop_map(Number::Is), any::<Index>().prop_map(Number::Of)].boxed()
    };
    let op = prop_oneof![
        1 => Just(Op::Parent),
        4 => (number(), any::<u8>()).prop_map(|(offset, whence)| Op::Seek(offset, whence)),
        3 => any::<u8>().prop_map(Op::Read),
        3 => (any::<u8>(), number()).prop_map(|(n, position)| Op::ReadAt(n, position)),
        3 => (any::<u8>(), number()).prop_map(|(n, position)| Op::WriteAt(n, position)),
        1 => number().prop_map(Op::Truncate),
        1 => Just(Op::Wait),
        1 => Just(Op::Dup),
        1 => any::<Index>().prop_map(Op::Close),
    ];
    vec(op, 1..24)
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let to = prop_oneof![1 => Just(None), 3 => any::<Index>().prop_map(Some)];
    let rule = (any::<Index>(), 0..CONDITIONS.len(), to);
    vec(rule.prop_map(|(step, when, to)| Rule { step, when, to }), 0..8)
}

#[test]
fn chain_does_what_its_calls_do_one_by_one() {
    let path = "chain_property::chain_does_what_its_calls_do_one_by_one";
    let ended = Child::new().run(path, || {
        let before = open_descriptors();
        let config = ProptestConfig { cases: 600, failure_persistence: None, ..Default::default() };
        let property = Property::tried();
        let outcome = TestRunner::new(config).run(&(ops(), rules()), |(ops, rules)| {
            attached(move || compare(&ops, &rules));
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(eventually(|| syslet::stats().outstanding == 0));
        assert_eq!(open_descriptors(), before, "descriptors are left");
        property.held();
    });
    ended.expect("this is the parent").expect_done();
}
