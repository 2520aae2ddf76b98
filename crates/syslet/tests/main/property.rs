//! Any interleaving of submit, cancel, complete and drop.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use syslet::{Pending, Ret};

use crate::util::calls::{Landing, go, open_descriptors, pending, read_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually};

/// What is done, and to which of the operations made so far.
#[derive(Debug, Clone, Copy)]
enum Step {
    Submit,
    Complete(usize),
    Cancel(usize),
    Drop(usize),
    Look(usize),
    Wait(usize),
}

/// An accepted read of one byte from a pipe of its own.
struct Operation {
    pipe: Pipe,
    landing: &'static Landing,
    handle: Option<Pending>,
    answer: Option<Ret>,
    fed: bool,
    cancelled: bool,
}

impl Operation {
    fn submit() -> Self {
        let pipe = Pipe::new();
        let landing = Landing::leak();
        let handle = Some(pending(go(read_call(pipe.read_end(), landing))));
        Self { pipe, landing, handle, answer: None, fed: false, cancelled: false }
    }

    fn complete(&mut self) {
        if !std::mem::replace(&mut self.fed, true) {
            self.pipe.put(42);
        }
    }

    fn cancel(&mut self) {
        if let Some(handle) = &self.handle {
            let _ = handle.cancel();
            self.cancelled = true;
        }
    }

    /// An operation that was neither fed nor cancelled would wait for ever.
    fn wait(&mut self) {
        if self.fed || self.cancelled {
            self.answer = self.handle.take().map(Pending::wait).or(self.answer);
        }
    }

    fn look(&self) {
        if let Some(handle) = &self.handle {
            assert!(self.fed || self.cancelled || !handle.is_done(), "an answer from nowhere");
        }
    }

    /// Ends it, and checks that exactly one thing has happened.
    fn settle(mut self) {
        self.complete();
        self.wait();
        match self.answer {
            Some(ret) if ret.is_cancelled() => {
                assert!(self.cancelled, "nobody has cancelled it");
                assert_eq!(self.pipe.filled(), 1, "cancelled, but it has read");
            }
            Some(ret) => {
                assert_eq!((ret.raw(), self.landing.byte()), (1, 42));
                assert_eq!(self.pipe.filled(), 0);
            }
            // Dropped: it has read, or was cancelled before.
            None if self.cancelled => {}
            None => assert!(eventually(|| self.pipe.filled() == 0), "the call was lost"),
        }
    }
}

fn play(steps: &[Step]) {
    let mut operations: Vec<Operation> = Vec::new();
    for step in steps {
        let count = operations.len().max(1);
        let mut on = |at: usize, f: &dyn Fn(&mut Operation)| {
            if let Some(operation) = operations.get_mut(at % count) {
                f(operation);
            }
        };
        match *step {
            Step::Submit => operations.push(Operation::submit()),
            Step::Complete(at) => on(at, &Operation::complete),
            Step::Cancel(at) => on(at, &Operation::cancel),
            Step::Drop(at) => on(at, &|operation| operation.handle = None),
            Step::Look(at) => on(at, &|operation| operation.look()),
            Step::Wait(at) => on(at, &Operation::wait),
        }
    }
    operations.into_iter().for_each(Operation::settle);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0usize..16;
    let step = prop_oneof![
        4 => Just(Step::Submit),
        2 => at().prop_map(Step::Complete),
        2 => at().prop_map(Step::Cancel),
        1 => at().prop_map(Step::Drop),
        1 => at().prop_map(Step::Look),
        1 => at().prop_map(Step::Wait),
    ];
    vec(step, 1..40)
}

#[test]
fn every_accepted_operation_completes_once_and_no_descriptor_leaks() {
    let path = "property::every_accepted_operation_completes_once_and_no_descriptor_leaks";
    let ended = Child::new().run(path, || {
        attached(|| play(&[Step::Submit, Step::Complete(0), Step::Wait(0)]));
        let before = open_descriptors();
        let config = ProptestConfig { cases: 80, failure_persistence: None, ..Default::default() };
        let outcome = TestRunner::new(config).run(&steps(), |steps| {
            attached(move || play(&steps));
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        let after = open_descriptors();
        assert!(eventually(|| syslet::stats().outstanding == 0));
        assert_eq!(after, before, "descriptors are left");
    });
    ended.expect("this is the parent").expect_done();
}
