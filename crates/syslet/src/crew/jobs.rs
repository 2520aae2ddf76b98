//! Work for crew threads without a guest: closures and calls of threads that are not attached, and
//! of guests for which no crew thread was left.

use std::collections::VecDeque;
use std::sync::Arc;

use super::engine::Engine;
use super::kick;
use super::member::Crew;
use crate::sync::{AtomicUsize, Mutex, Ordering, lock};

/// Pieces of work in the queue up to which it is looked through whenever one is withdrawn; a longer one, when half of
/// it was.
const FEW: usize = 64;

/// A piece of work. It stores its own result.
pub(crate) struct Job {
    work: Box<dyn FnOnce(&'static Crew) + Send>,
    of: Option<Arc<dyn Withdrawable>>,
}

/// What others than a crew thread may do: then its job does nothing.
pub(crate) trait Withdrawable: Send + Sync {
    /// False: somebody else does it, or has.
    fn is_wanted(&self) -> bool;

    /// It waits for a crew thread from now on. False: it is not wanted any more.
    fn begin_turn(&self) -> bool {
        self.is_wanted()
    }
}

impl Job {
    pub(crate) fn new(work: impl FnOnce(&'static Crew) + Send + 'static) -> Self {
        Self { work: Box::new(work), of: None }
    }

    /// One that does nothing if `of` is not wanted any more.
    pub(crate) fn withdrawable(
        of: Arc<dyn Withdrawable>,
        work: impl FnOnce(&'static Crew) + Send + 'static,
    ) -> Self {
        Self { work: Box::new(work), of: Some(of) }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.of.as_ref().is_none_or(|of| of.is_wanted())
    }

    /// See [`Withdrawable::begin_turn`].
    pub(crate) fn begin_turn(&self) -> bool {
        self.of.as_ref().is_none_or(|of| of.begin_turn())
    }

    pub(super) fn run(self, crew: &'static Crew) {
        (self.work)(crew);
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
    /// Pieces that were withdrawn since the queue was looked through, some of which may have been taken out since.
    withdrawn: AtomicUsize,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            queue: Mutex::new(VecDeque::new()),
            waiting: AtomicUsize::new(0),
            called: AtomicUsize::new(0),
            withdrawn: AtomicUsize::new(0),
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

    /// A piece of work is not wanted any more: it is taken out of the queue, now or when many are. What is left there
    /// until then counts as waiting.
    pub(crate) fn job_withdrawn(&self) {
        let withdrawn = self.jobs.withdrawn.fetch_add(1, Ordering::Relaxed) + 1;
        let waiting = self.jobs.waiting.load(Ordering::SeqCst);
        if waiting == 0 || (waiting > FEW && withdrawn * 2 < waiting) {
            return;
        }
        let gone = {
            let mut queue = lock(&self.jobs.queue);
            self.jobs.withdrawn.store(0, Ordering::Relaxed);
            let all = std::mem::take(&mut *queue);
            let (kept, gone): (VecDeque<_>, VecDeque<_>) =
                all.into_iter().partition(Job::is_wanted);
            *queue = kept;
            self.jobs.waiting.fetch_sub(gone.len(), Ordering::SeqCst);
            gone
        };
        gone.iter().for_each(|_| self.one_done());
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
