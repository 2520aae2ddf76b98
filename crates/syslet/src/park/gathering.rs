//! Questions about many files at once, on their way to the keeper and back.

use syslet_sys::futex;

use crate::sync::{AtomicU32, Mutex, Ordering, lock};

/// What is asked, and the answers.
#[derive(Debug)]
pub(super) struct Gathering<A, R> {
    /// The files were sent with this ticket; 0: they are to be taken.
    pub(super) ticket: u64,
    asked: Mutex<Vec<A>>,
    answers: Mutex<Vec<R>>,
    done: AtomicU32,
}

impl<A, R> Gathering<A, R> {
    pub(super) fn new(asked: Vec<A>, ticket: u64) -> Self {
        let (asked, answers) = (Mutex::new(asked), Mutex::default());
        Self { ticket, asked, answers, done: AtomicU32::new(0) }
    }

    /// **Blocking**: until the keeper has answered.
    pub(super) fn wait(&self) -> Vec<R> {
        while self.done.load(Ordering::Acquire) == 0 {
            futex::wait(&self.done, 0, None);
        }
        std::mem::take(&mut *lock(&self.answers))
    }

    pub(super) fn take_asked(&self) -> Vec<A> {
        std::mem::take(&mut *lock(&self.asked))
    }

    pub(super) fn answer(&self, answers: Vec<R>) {
        *lock(&self.answers) = answers;
        self.done.store(1, Ordering::Release);
        futex::wake(&self.done, 1);
    }
}
