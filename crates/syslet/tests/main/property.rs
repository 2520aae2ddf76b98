//! Any interleaving of submit, cancel, complete and drop.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use syslet::{Limits, Pending, Ret};

use crate::util::calls::{Landing, go, open_descriptors, pending, read_call, try_go};
use crate::util::child::Child;
use crate::util::parking::let_others_act;
use crate::util::pipe::Pipe;
use crate::util::{Property, attached, eventually};

/// What is done, and to which of the operations made so far.
#[derive(Debug, Clone, Copy)]
enum Step {
    Submit,
    TrySubmit,
    /// So many calls may be parked from now on; 0: as many as ever.
    SetLimits(usize),
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
    /// If it is handed back, the pipe that it is not to read from: a byte is there.
    fn submit(limited: bool, or_busy: bool) -> Result<Self, Pipe> {
        let pipe = Pipe::new();
        let landing = Landing::leak();
        let call = read_call(pipe.read_end(), landing);
        // Who waited for room here would wait for ever.
        let submitted = match if limited || or_busy { try_go(call) } else { Ok(go(call)) } {
            Ok(submitted) => submitted,
            Err(error) => {
                assert!(limited && error.is_busy(), "{error:?}");
                assert_eq!(error.into_inner(), call);
                pipe.put(42);
                return Err(pipe);
            }
        };
        let handle = Some(pending(submitted));
        Ok(Self { pipe, landing, handle, answer: None, fed: false, cancelled: false })
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

    fn end(&mut self) {
        self.complete();
        self.wait();
    }

    /// Checks that exactly one thing has happened.
    fn check(self) {
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
    let mut handed_back = Vec::new();
    let mut limit = 0;
    for step in steps {
        let count = operations.len().max(1);
        let mut on = |at: usize, f: &dyn Fn(&mut Operation)| {
            if let Some(operation) = operations.get_mut(at % count) {
                f(operation);
            }
        };
        match *step {
            Step::Submit | Step::TrySubmit => {
                let parked = operations.iter().filter(|one| one.answer.is_none()).count();
                match Operation::submit(limit != 0, matches!(step, Step::TrySubmit)) {
                    Ok(operation) => operations.push(operation),
                    Err(_) if parked < limit => panic!("{parked} of {limit} calls, and no room"),
                    Err(pipe) => handed_back.push(pipe),
                }
            }
            Step::SetLimits(parked) => {
                limit = parked;
                limit_parked(parked);
            }
            Step::Complete(at) => on(at, &Operation::complete),
            Step::Cancel(at) => on(at, &Operation::cancel),
            Step::Drop(at) => on(at, &|operation| operation.handle = None),
            Step::Look(at) => on(at, &|operation| operation.look()),
            Step::Wait(at) => on(at, &Operation::wait),
        }
    }
    operations.iter_mut().for_each(Operation::end);
    limit_parked(0);
    let_others_act();
    for pipe in handed_back {
        assert_eq!(pipe.filled(), 1, "handed back, but it has read");
    }
    operations.into_iter().for_each(Operation::check);
}

fn limit_parked(calls: usize) {
    let limits = Limits::new();
    syslet::set_limits(if calls == 0 { limits } else { limits.parked(calls) });
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0usize..16;
    let step = prop_oneof![
        4 => Just(Step::Submit),
        3 => Just(Step::TrySubmit),
        2 => (0usize..4).prop_map(Step::SetLimits),
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
        let property = Property::tried();
        let outcome = TestRunner::new(config).run(&steps(), |steps| {
            attached(move || play(&steps));
            Ok(())
        });
        assert!(outcome.is_ok(), "{outcome:?}");
        let after = open_descriptors();
        let left = || (syslet::stats().outstanding, syslet::stats().parked);
        assert!(eventually(|| left() == (0, 0)), "{:?}", left());
        assert_eq!(after, before, "descriptors are left");
        property.held();
    });
    ended.expect("this is the parent").expect_done();
}
