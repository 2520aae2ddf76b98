//! Work for crew threads without a guest: closures and calls of threads that are not attached, and
//! of guests for which no crew thread was left.

use std::collections::VecDeque;

use super::engine::Engine;
use super::member::{Crew, kick};
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// A piece of work. It stores its own result.
pub(crate) struct Job(Box<dyn FnOnce(&'static Crew) + Send>);

impl Job {
    pub(crate) fn new(work: impl FnOnce(&'static Crew) + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    pub(super) fn run(self, crew: &'static Crew) {
        (self.0)(crew);
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Jobs {
    /// Protects the queue only; no user code runs under it.
    queue: Mutex<VecDeque<Job>>,
    /// Its length.
    waiting: AtomicUsize,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self { queue: Mutex::new(VecDeque::new()), waiting: AtomicUsize::new(0) }
    }

    pub(super) fn pop(&self) -> Option<Job> {
        let job = lock(&self.queue).pop_front();
        if job.is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        job
    }
}

impl Engine {
    /// Queues work and finds a crew thread for it, now or when one is free.
    pub(crate) fn enqueue(&self, job: Job) {
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        self.jobs.waiting.fetch_add(1, Ordering::SeqCst);
        lock(&self.jobs.queue).push_back(job);
        self.dispatch();
    }

    /// True if a job would find a crew thread now or soon.
    pub(crate) fn has_room(&self) -> bool {
        self.spare() > 0 || self.total.load(Ordering::SeqCst) < self.limit.load(Ordering::Relaxed)
    }

    /// Gives queued work to a resting crew thread, or asks for one more.
    ///
    /// `waiting` is raised before this looks at `spare`, and a thread that rests raises `spare`
    /// before it looks at `waiting`: one of the two sees the other.
    fn dispatch(&self) {
        if self.jobs.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        if self.acquire() {
            let cpu = syslet_sys::arch::current_cpu() as usize;
            self.kick_one(cpu, kick::JOB);
        } else {
            self.grow(1);
        }
    }

    /// A crew thread came to rest: work may be waiting for it, and attaching threads too.
    pub(super) fn announce_rest(&self) {
        if self.jobs.waiting.load(Ordering::SeqCst) > 0 {
            self.dispatch();
        }
        if self.watchdog.takes_growing() {
            self.announce();
        }
    }
}
