//! Work for crew threads without a guest: closures and calls of threads that are not attached, and
//! of guests for which no crew thread was left.

use std::collections::VecDeque;

use super::engine::Engine;
use super::kick;
use super::member::Crew;
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
    /// Crew threads that were woken for work and have not come yet.
    called: AtomicUsize,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::new(VecDeque::new()),
            waiting: AtomicUsize::new(0),
            called: AtomicUsize::new(0),
        }
    }

    /// The oldest piece of work. Threads that come for nothing, because others have taken what they were
    /// woken for, must not queue up behind a preempted holder of the lock to learn that.
    fn pop(&self) -> Option<Job> {
        // Raised before a piece is queued, lowered after it was taken.
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return None;
        }
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

    /// Pieces of work in the queue.
    pub(crate) fn waiting_jobs(&self) -> usize {
        self.jobs.waiting.load(Ordering::SeqCst)
    }

    /// True if one more job would find a crew thread now or soon, beside those that wait for one.
    ///
    /// What is read goes from the work to the threads, and from those that rest to those that come: so a thread that
    /// takes work, or comes to rest, meanwhile is counted once at most.
    pub(crate) fn has_room(&self) -> bool {
        let unserved = self.unserved_jobs();
        let resting = usize::try_from(self.spare()).unwrap_or(0);
        let coming = self.coming();
        let limit = self.limit.load(Ordering::Relaxed);
        let possible = limit.saturating_sub(self.total.load(Ordering::SeqCst));
        resting + coming + possible > unserved
    }

    /// Sees to it that as many crew threads come for work as pieces are waiting: wakes one that rests, or
    /// asks for one more.
    ///
    /// Threads that are woken or made and have not come yet count: on a busy machine they take long, and
    /// meanwhile others may have done what they were woken for. Were they not counted, each piece of
    /// work would have one more thread made.
    ///
    /// No piece is forgotten. `waiting` is raised before this looks at `called` and `spare`; a thread that
    /// comes lowers `called`, and one that rests raises `spare`, before it looks at `waiting`: one of
    /// the two sees the other. A thread that has taken a piece looks after the others first, because
    /// its own may not end.
    pub(super) fn dispatch(&self) {
        let unserved = self.unserved_jobs();
        if unserved == 0 {
            return;
        }
        if self.acquire() {
            self.jobs.called.fetch_add(1, Ordering::SeqCst);
            let cpu = syslet_sys::arch::current_cpu() as usize;
            self.kick_one(cpu, kick::JOB);
        } else {
            self.grow_unless_coming(unserved);
        }
    }

    /// Pieces of work for which no crew thread was woken yet.
    pub(super) fn unserved_jobs(&self) -> usize {
        let waiting = self.jobs.waiting.load(Ordering::SeqCst);
        waiting.saturating_sub(self.jobs.called.load(Ordering::SeqCst))
    }

    /// A crew thread has come for work.
    pub(super) fn come_for_jobs(&self) {
        self.jobs.called.fetch_sub(1, Ordering::SeqCst);
    }

    /// The oldest piece of work.
    pub(super) fn next_job(&self) -> Option<Job> {
        let job = self.jobs.pop()?;
        self.dispatch();
        Some(job)
    }

    /// Gives a credit back, or adds that of a thread that came to rest: work may be waiting for it, and
    /// attaching threads too.
    pub(super) fn release(&self) {
        self.add_credit();
        self.dispatch();
        if self.watchdog.growing() > 0 {
            drop(lock(&self.news.0));
            self.credited.notify_one(); // one credit, for one of them
        }
    }
}
