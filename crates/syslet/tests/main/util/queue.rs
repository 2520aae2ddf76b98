//! Completion queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use syslet::{Call, Completion, CompletionQueue, OpId, Queued};

use super::calls::{Landing, read_call};
use super::late;
use super::pipe::Pipe;

/// A queue whose ring has so many places.
pub(crate) fn queue(capacity: usize) -> CompletionQueue {
    CompletionQueue::new(capacity).expect("a queue can be made")
}

/// The id of an operation that is expected to wait.
pub(crate) fn queued(queued: Queued) -> OpId {
    match queued {
        Queued::Queued(id) => id,
        Queued::Done(ret) => panic!("the operation is over: {ret:?}"),
    }
}

/// What comes next; fails if nothing does.
pub(crate) fn next(queue: &CompletionQueue) -> Completion {
    assert!(queue.wait_deadline(1, late()) >= 1, "nothing comes");
    queue.pop().expect("it was waited for")
}

/// As [`next`], where others take too.
pub(crate) fn next_of_many(queue: &CompletionQueue) -> Completion {
    loop {
        assert!(queue.wait_deadline(1, late()) >= 1, "nothing comes");
        if let Some(completion) = queue.pop() {
            return completion;
        }
    }
}

/// A read of one byte.
pub(crate) fn read_of(pipe: &Pipe) -> Call {
    read_call(pipe.read_end(), Landing::leak())
}

/// Notes that it was woken.
#[derive(Default)]
pub(crate) struct Flag(pub(crate) AtomicUsize);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
