//! Any interleaving of what can be done with a queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use syslet::{CancelOutcome, Completion, CompletionQueue, Limits, OpId, Queued};

use crate::util::calls::{
    Landing, go, number_call, open_descriptors, pending, read_call, send, taking_call, try_send,
};
use crate::util::child::Child;
use crate::util::parking::let_others_act;
use crate::util::pipe::Pipe;
use crate::util::{Property, attached, eventually, late};

/// What is done, and to which of the operations made so far.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A read of one byte from a pipe of its own: parked.
    Submit,
    /// The same, if there is room for one more.
    TrySubmit,
    /// So many calls may be parked from now on; 0: as many as ever.
    SetLimits(usize),
    /// A call that takes such a byte with a thread.
    SubmitTaking,
    /// The same in a closure.
    Threadlet,
    /// The same by a handle, which is sent to the queue.
    SendTo,
    /// The same while the call ends, about so long after it was told to.
    SendWhileItEnds(usize),
    /// As that, but the handle is dropped, and nothing comes to the queue.
    DropWhileItEnds(usize),
    /// A call that does not wait.
    Inline,
    Complete(usize),
    Cancel(usize),
    CancelNumber(usize),
    CancelDescriptor(usize),
    Pop,
    PopMany(usize),
    Wait,
}

struct Operation {
    pipe: Pipe,
    /// Where the byte lands, if it does.
    landing: Option<&'static Landing>,
    id: OpId,
    closure: bool,
    /// Whether it waits without a thread, and counts among those.
    parks: bool,
    fed: bool,
    cancelled: bool,
}

impl Operation {
    fn feed(&mut self) {
        if !std::mem::replace(&mut self.fed, true) {
            self.pipe.put(42);
        }
    }
}

/// Does `act` about `time` turns after another thread has begun to put a byte into `pipe`.
fn while_it_ends<R>(pipe: &Pipe, time: usize, act: impl FnOnce() -> R) -> R {
    let begun = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            begun.store(true, Ordering::SeqCst);
            pipe.put(42);
        });
        assert!(eventually(|| begun.load(Ordering::SeqCst)));
        (0..time).for_each(|_| std::hint::spin_loop());
        act()
    })
}

struct World {
    queue: CompletionQueue,
    /// Crew threads are few: what is due may have to wait for what is not.
    few: bool,
    /// Most parked calls, if they are bounded: who submitted one more would wait for room that nobody makes.
    limit: usize,
    /// Of calls that were handed back; there is a byte in each.
    handed_back: Vec<Pipe>,
    /// Of calls whose handle was dropped; a byte was put into each.
    dropped: Vec<Pipe>,
    /// Those that wait, by their numbers.
    operations: Vec<Operation>,
    /// Completions that were taken.
    taken: HashMap<u64, isize>,
}

/// Numbers of calls that do not wait begin here.
const INLINE: u64 = 1 << 32;

impl World {
    fn new(capacity: usize, few: bool) -> Self {
        let queue = CompletionQueue::new(capacity).expect("a queue can be made").always_queue(true);
        Self {
            queue,
            few,
            limit: 0,
            handed_back: Vec::new(),
            dropped: Vec::new(),
            operations: Vec::new(),
            taken: HashMap::new(),
        }
    }

    fn submit(&mut self, step: Step) {
        let number = self.operations.len() as u64;
        let (pipe, landing) = (Pipe::new(), Landing::leak());
        let call = read_call(pipe.read_end(), landing);
        let mut fed = false;
        let id = match step {
            Step::SendTo if self.limit == 0 => pending(go(call)).send_to(&self.queue, number),
            Step::SendWhileItEnds(time) if self.limit == 0 => {
                fed = true;
                let handle = pending(go(call));
                while_it_ends(&pipe, time, || handle.send_to(&self.queue, number))
            }
            Step::DropWhileItEnds(time) if self.limit == 0 => {
                let handle = pending(go(call));
                while_it_ends(&pipe, time, || drop(handle));
                return self.dropped.push(pipe);
            }
            Step::Threadlet => {
                let other = pipe.clone();
                self.id(self.queue.threadlet(number, move || isize::from(other.get())))
            }
            Step::SubmitTaking => self.id(send(&self.queue, number, taking_call(pipe.read_end()))),
            Step::Submit if self.limit == 0 => self.id(send(&self.queue, number, call)),
            _ => match try_send(&self.queue, number, call) {
                Ok(queued) => self.id(queued),
                Err(error) => {
                    let full = self.limit != 0 && self.parked() >= self.limit;
                    assert!(error.is_busy() && (full || self.few), "{error:?}");
                    assert_eq!(error.into_inner(), call);
                    pipe.put(42);
                    return self.handed_back.push(pipe);
                }
            },
        };
        let closure = matches!(step, Step::Threadlet);
        let landing = (!closure && !matches!(step, Step::SubmitTaking)).then_some(landing);
        let parks = landing.is_some();
        let operation = Operation { pipe, landing, id, closure, parks, fed, cancelled: false };
        self.operations.push(operation);
    }

    /// Calls that may be parked, for their completions have not come.
    fn parked(&self) -> usize {
        let operations = self.operations.iter().enumerate();
        let waits = operations
            .filter(|(at, one)| one.parks && !self.taken.contains_key(&(*at as u64)))
            .count();
        waits + self.dropped.len()
    }

    fn id(&self, queued: Queued) -> OpId {
        match queued {
            Queued::Queued(id) => id,
            Queued::Done(_) => panic!("everything is queued"),
        }
    }

    fn inline(&mut self, number: u64) {
        let _ = send(&self.queue, INLINE + number, number_call(libc::SYS_getppid, []));
    }

    fn note(&mut self, completion: Completion) {
        let Completion { user_data, res, .. } = completion;
        if let Some(operation) = self.operations.get(user_data as usize) {
            assert!(operation.fed || operation.cancelled, "an answer from nowhere");
        }
        assert_eq!(self.taken.insert(user_data, res), None, "{user_data} has come twice");
    }

    fn pop(&mut self) -> bool {
        let popped = self.queue.pop();
        popped.map(|one| self.note(one)).is_some()
    }

    /// What will surely come.
    fn due(&self) -> usize {
        let operations = self.operations.iter().enumerate();
        let due = |(at, one): &(usize, &Operation)| {
            (one.fed || one.cancelled) && !self.taken.contains_key(&(*at as u64))
        };
        operations.filter(due).count()
    }

    fn step(&mut self, step: Step, number: u64) {
        match step {
            Step::Submit
            | Step::TrySubmit
            | Step::SubmitTaking
            | Step::Threadlet
            | Step::SendTo
            | Step::SendWhileItEnds(_)
            | Step::DropWhileItEnds(_) => self.submit(step),
            Step::SetLimits(parked) => {
                self.limit = parked;
                limit_parked(parked);
            }
            Step::Inline => self.inline(number),
            Step::Pop => drop(self.pop()),
            Step::PopMany(count) => {
                let mut some = vec![Completion::default(); count];
                let n = self.queue.pop_many(&mut some);
                some[..n].iter().for_each(|&one| self.note(one));
            }
            Step::Wait => {
                let due = if self.few { 0 } else { self.due() };
                assert!(self.queue.wait_deadline(due, late()) >= due, "a completion is lost");
            }
            Step::Complete(at) => self.on(at, |_, operation, _| operation.feed()),
            Step::Cancel(at) => self.on(at, |queue, operation, _| {
                // A closure is cancelled if it has not begun, a call in any case.
                let outcome = queue.cancel(operation.id);
                operation.cancelled |= !operation.closure || outcome == CancelOutcome::NotBegun;
            }),
            Step::CancelNumber(at) => self.on(at, |queue, operation, number| {
                let told = queue.cancel_all(number);
                assert!(told <= 1);
                operation.cancelled |= told == 1;
            }),
            Step::CancelDescriptor(at) => self.on(at, |queue, operation, _| {
                let told = queue.cancel_descriptor(operation.pipe.read_end());
                assert!(told <= 1);
                operation.cancelled |= told == 1;
            }),
        }
    }

    fn on(&mut self, at: usize, f: impl FnOnce(&CompletionQueue, &mut Operation, u64)) {
        let number = at % self.operations.len().max(1);
        if let Some(operation) = self.operations.get_mut(number) {
            f(&self.queue, operation, number as u64);
        }
    }

    /// Ends everything, and checks that each has come once.
    fn settle(mut self, inline: usize) {
        self.operations.iter_mut().for_each(Operation::feed);
        let all = self.operations.len() + inline;
        let missing = all - self.taken.len();
        assert!(self.queue.wait_deadline(missing, late()) >= missing, "a completion is lost");
        while self.pop() {}
        assert_eq!(self.taken.len(), all);
        assert_eq!(self.queue.stats().outstanding, 0);
        assert_eq!(self.queue.stats().pushed, all as u64);
        limit_parked(0);
        let_others_act();
        assert!(
            self.handed_back.iter().all(|pipe| pipe.filled() == 1),
            "handed back, and has read"
        );
        let read = || self.dropped.iter().all(|pipe| pipe.filled() == 0);
        assert!(eventually(read), "a call was lost with its handle");
        for (at, operation) in self.operations.iter().enumerate() {
            match self.taken[&(at as u64)] {
                42 if operation.closure => {}
                1 => {
                    assert_eq!(operation.pipe.filled(), 0);
                    assert!(operation.landing.is_none_or(|landing| landing.byte() == 42));
                }
                res => {
                    assert_eq!(res, -(libc::ECANCELED as isize));
                    assert!(operation.cancelled, "nobody has cancelled it");
                    assert_eq!(operation.pipe.filled(), 1, "cancelled, but it has read");
                }
            }
        }
    }

    /// Drops the queue with work away, which ends meanwhile.
    fn abandon(mut self) {
        let mut operations = std::mem::take(&mut self.operations);
        thread::scope(|scope| {
            scope.spawn(|| operations.iter_mut().for_each(Operation::feed));
            drop(self);
        });
        for operation in operations {
            let read = eventually(|| operation.cancelled || operation.pipe.filled() == 0);
            assert!(read, "an operation was lost with its queue");
        }
    }
}

fn limit_parked(calls: usize) {
    let limits = Limits::new();
    syslet::set_limits(if calls == 0 { limits } else { limits.parked(calls) });
}

fn play(capacity: usize, steps: &[Step], few: bool, abandon: bool) {
    limit_parked(0);
    let mut world = World::new(capacity, few);
    for (number, step) in steps.iter().enumerate() {
        world.step(*step, number as u64);
    }
    if abandon {
        return world.abandon();
    }
    world.settle(steps.iter().filter(|step| matches!(step, Step::Inline)).count());
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0usize..16;
    let step = prop_oneof![
        3 => Just(Step::Submit),
        2 => Just(Step::TrySubmit),
        1 => (0usize..4).prop_map(Step::SetLimits),
        2 => Just(Step::SubmitTaking),
        2 => Just(Step::Threadlet),
        1 => Just(Step::SendTo),
        2 => (0usize..2000).prop_map(Step::SendWhileItEnds),
        1 => (0usize..2000).prop_map(Step::DropWhileItEnds),
        2 => Just(Step::Inline),
        4 => at().prop_map(Step::Complete),
        2 => at().prop_map(Step::Cancel),
        1 => at().prop_map(Step::CancelNumber),
        1 => at().prop_map(Step::CancelDescriptor),
        2 => Just(Step::Pop),
        1 => at().prop_map(Step::PopMany),
        1 => Just(Step::Wait),
    ];
    vec(step, 1..40)
}

fn holds(limit: Option<usize>) {
    let world = (1usize..9, steps(), any::<bool>());
    attached(|| play(2, &[Step::SubmitTaking, Step::Complete(0), Step::Wait], false, false));
    let before = open_descriptors();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
    let property = Property::tried();
    let outcome = TestRunner::new(config).run(&world, |(capacity, steps, abandon)| {
        attached(move || play(capacity, &steps, limit.is_some(), abandon));
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    let after = open_descriptors();
    assert!(eventually(|| syslet::stats().outstanding == 0));
    assert_eq!(after, before, "descriptors are left");
    assert!(limit.is_none_or(|limit| syslet::stats().crew <= limit));
    property.held();
}

#[test]
fn each_operation_comes_once_whatever_is_done() {
    let path = "queue_property::each_operation_comes_once_whatever_is_done";
    Child::new().run(path, || holds(None)).expect("this is the parent").expect_done();
}

#[test]
fn each_operation_comes_once_with_few_crew_threads() {
    let path = "queue_property::each_operation_comes_once_with_few_crew_threads";
    let child = Child::new().var("SYSLET_MAX_CREW", 6);
    child.run(path, || holds(Some(6))).expect("this is the parent").expect_done();
}
