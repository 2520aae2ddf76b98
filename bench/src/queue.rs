//! The completion queue: putting in and taking out, beside a list under a lock.
//!
//! A figure is the time for one completion, in and out, as the mean of a batch. Batches of the ways take
//! turns and are compared pair by pair.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Barrier, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use syslet::{Completion, CompletionQueue};

use crate::error::Trouble;
use crate::guest::on_thread;
use crate::options::{QueueOptions, QueueWork};
use crate::report::Row;
use crate::samples::Samples;

/// Room in the ring, where it is to be enough.
const CAPACITY: usize = 1024;
/// Completions that are taken out at once by `pop_many`.
const MANY: usize = 32;
/// Threads that put in, and as many that take out.
const SIDES: usize = 2;

/// Measures every work that is asked for.
pub(crate) fn run(options: &QueueOptions) -> Result<Vec<Row>, Trouble> {
    let mut rows = Vec::new();
    for work in options.works() {
        rows.extend(match work {
            QueueWork::PostPop => alone("post_pop", options, &[list_alone, one_by_one, by_many])?,
            QueueWork::Overflow => alone("overflow", options, &[list_alone, overflowing])?,
            QueueWork::Shared => alone("shared", options, &[list_shared, queue_shared])?,
        });
    }
    Ok(rows)
}

/// What one way of a work gave for a batch: its name, the time of one completion, and what is wrong.
type Batch = (&'static str, f64, Option<String>);

/// Measures the ways of a work, the first of which the others are compared with.
fn alone(
    work: &'static str,
    options: &QueueOptions,
    ways: &[fn(usize) -> Batch],
) -> Result<Vec<Row>, Trouble> {
    let (rounds, size) = (options.rounds(), options.batch());
    on_thread("bench-queue", || {
        let mut samples = vec![Samples::default(); ways.len()];
        let mut faults = vec![None; ways.len()];
        let names: Vec<_> = ways.iter().map(|way| way(size).0).collect(); // and warms up
        for round in 0..rounds {
            // Who follows whom changes from round to round.
            for turn in 0..ways.len() {
                let at = (round + turn) % ways.len();
                let (_, nanos, fault) = ways[at](size);
                samples[at].push(nanos);
                faults[at] = faults[at].take().or(fault);
            }
        }
        let row = |at: usize| {
            let mut row = Row::new(work, names[at], &samples[at]);
            row.more.batch = Some(size);
            row.fault.clone_from(&faults[at]);
            if at == 0 { row } else { row.against(&samples[at], &samples[0]) }
        };
        Ok((0..ways.len()).map(row).collect())
    })
}

fn queue(capacity: usize) -> CompletionQueue {
    CompletionQueue::new(capacity).expect("the capacity is within the range")
}

/// Nanoseconds of each of `size` completions that `f` puts in and takes out.
#[inline(always)]
fn timed(size: usize, f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_nanos() as f64 / size as f64
}

/// The reference: what one would write without the library.
#[derive(Default)]
struct List {
    list: Mutex<VecDeque<Completion>>,
    news: Condvar,
}

impl List {
    fn post(&self, completion: Completion) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push_back(completion);
    }

    /// Costs a system call each time: the standard library's condition does not know who waits.
    fn post_and_wake(&self, completion: Completion) {
        self.post(completion);
        self.news.notify_one();
    }

    fn pop(&self) -> Option<Completion> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn wait_pop(&self) -> Completion {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match list.pop_front() {
                Some(completion) => return completion,
                None => list = self.news.wait(list).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

fn list_alone(size: usize) -> Batch {
    let list = List::default();
    list.list.lock().unwrap_or_else(PoisonError::into_inner).reserve(CAPACITY);
    let nanos = timed(size, || {
        for _ in 0..size {
            list.post(black_box(Completion::default()));
            black_box(list.pop());
        }
    });
    ("mutex-list", nanos, None)
}

fn one_by_one(size: usize) -> Batch {
    let queue = queue(CAPACITY);
    let nanos = timed(size, || {
        for number in 0..size {
            queue.post(black_box(number as u64), 0);
            black_box(queue.pop());
        }
    });
    ("queue", nanos, fault(&queue, size, 0))
}

fn by_many(size: usize) -> Batch {
    let queue = queue(CAPACITY);
    let mut some = [Completion::default(); MANY];
    let nanos = timed(size, || {
        for first in (0..size).step_by(MANY) {
            let until = (first + MANY).min(size);
            (first..until).for_each(|number| queue.post(black_box(number as u64), 0));
            black_box(queue.pop_many(&mut some));
        }
    });
    ("queue-pop-many", nanos, fault(&queue, size, 0))
}

fn overflowing(size: usize) -> Batch {
    let queue = queue(2);
    let nanos = timed(size, || {
        (0..size).for_each(|number| queue.post(black_box(number as u64), 0));
        while black_box(queue.pop()).is_some() {}
    });
    ("queue", nanos, fault(&queue, size, size.saturating_sub(2)))
}

/// What is wrong if `size` completions should have gone through, `overflowed` of them beyond the ring.
fn fault(queue: &CompletionQueue, size: usize, overflowed: usize) -> Option<String> {
    let stats = queue.stats();
    let right =
        queue.is_empty() && (stats.pushed, stats.overflowed) == (size as u64, overflowed as u64);
    (!right).then(|| format!("{size} completions, {overflowed} beyond the ring, but {stats:?}"))
}

/// Runs `put` and `take` of a share each on several threads.
fn together(size: usize, put: impl Fn(u64) + Sync, take: impl Fn() + Sync) -> f64 {
    let share = size.div_ceil(SIDES);
    let start = Barrier::new(2 * SIDES);
    let begin = || {
        start.wait();
        Instant::now()
    };
    let begun = thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..SIDES {
            threads.push(scope.spawn(|| {
                let begun = begin();
                (0..share as u64).for_each(&put);
                begun
            }));
            threads.push(scope.spawn(|| {
                let begun = begin();
                (0..share).for_each(|_| take());
                begun
            }));
        }
        let begun = threads.into_iter().map(|thread| thread.join());
        begun.filter_map(Result::ok).min()
    });
    let nanos = begun.map_or(0, |begun| begun.elapsed().as_nanos());
    nanos as f64 / (share * SIDES) as f64
}

fn list_shared(size: usize) -> Batch {
    let list = List::default();
    let nanos = together(
        size,
        |number| {
            let mut completion = Completion::default();
            completion.user_data = number;
            list.post_and_wake(completion);
        },
        || {
            black_box(list.wait_pop());
        },
    );
    ("mutex-list", nanos, None)
}

fn queue_shared(size: usize) -> Batch {
    let queue = queue(CAPACITY);
    let take = || {
        while black_box(queue.pop()).is_none() {
            queue.wait(1);
        }
    };
    let nanos = together(size, |number| queue.post(number, 0), take);
    let left = queue.len();
    let fault = (left != 0).then(|| format!("{left} completions are left"));
    ("queue", nanos, fault)
}
