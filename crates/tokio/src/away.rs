//! A closure that is away: its handle, who is told of its end, and its runtime's count.
//!
//! The library tells one waker of a closure's end. Here that is the closure itself, which takes itself off its
//! runtime's count, drops the result if nobody wants it, and wakes the task that waits.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use syslet::Threadlet;

use crate::tally::Counted;

pub(crate) struct Away<T: Send + 'static> {
    state: Mutex<State<T>>,
    /// Of a closure that was queued: closed by who comes first, the closure or an abort.
    gate: Option<Arc<AtomicBool>>,
}

struct State<T> {
    closure: Closure<T>,
    /// Who waits for it.
    task: Option<Waker>,
    /// Nobody will ask for its result.
    is_left: bool,
    counted: Option<Counted>,
}

enum Closure<T> {
    Away(Threadlet<T>),
    /// It ended before anybody could be told.
    Over(thread::Result<T>),
    Fetched,
}

impl<T> Closure<T> {
    fn is_finished(&self) -> bool {
        match self {
            Self::Away(threadlet) => threadlet.is_finished(),
            Self::Over(_) | Self::Fetched => true,
        }
    }

    /// Its result, from where it is. `None`: there is none, or not yet.
    fn fetch(self) -> Option<thread::Result<T>> {
        match self {
            Self::Away(mut threadlet) => {
                match threadlet.poll_catch(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => Some(result),
                    Poll::Pending => None,
                }
            }
            Self::Over(result) => Some(result),
            Self::Fetched => None,
        }
    }

    fn take(&mut self) -> Self {
        mem::replace(self, Self::Fetched)
    }
}

impl<T: Send + 'static> Away<T> {
    /// Of a closure that did not finish inline.
    pub(crate) fn new(
        mut threadlet: Threadlet<T>,
        gate: Option<Arc<AtomicBool>>,
        counted: Option<Counted>,
    ) -> Arc<Self> {
        let state = State { closure: Closure::Fetched, task: None, is_left: false, counted };
        let away = Arc::new(Self { state: Mutex::new(state), gate });
        let waker = Waker::from(Arc::clone(&away));
        let mut state = away.lock();
        let ended = match threadlet.poll_catch(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                state.closure = Closure::Away(threadlet);
                None
            }
            Poll::Ready(result) => {
                state.closure = Closure::Over(result);
                state.counted.take()
            }
        };
        drop(state);
        drop(ended);
        away
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.lock().closure.is_finished()
    }

    /// Its runtime does not end before it, or it has ended.
    pub(crate) fn is_seen_through(&self) -> bool {
        let state = self.lock();
        state.counted.is_some() || state.closure.is_finished()
    }

    /// Keeps it from beginning, if it is queued.
    pub(crate) fn abort(&self) {
        if let Some(gate) = &self.gate {
            gate.store(false, Ordering::Relaxed);
        }
    }

    /// Nothing once the result was fetched.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<thread::Result<T>>> {
        // Cloned and dropped outside the lock: it is code of the program's.
        let task = context.waker().clone();
        let mut state = self.lock();
        if state.closure.is_finished() {
            let closure = state.closure.take();
            drop(state);
            return Poll::Ready(closure.fetch());
        }
        let old = state.task.replace(task);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// **Blocking**: until it has ended.
    pub(crate) fn wait(&self) -> Option<thread::Result<T>> {
        let closure = self.lock().closure.take();
        match closure {
            Closure::Away(threadlet) => Some(threadlet.join_catch()),
            ended => ended.fetch(),
        }
    }

    /// Leaves it to itself.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.is_left = true;
        let over = state.closure.is_finished().then(|| state.closure.take());
        let task = state.task.take();
        drop(state);
        drop((over, task));
    }
}

impl<T: Send + 'static> Wake for Away<T> {
    /// It has ended. On the thread that it ended on.
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        let counted = state.counted.take(); // declared first: the count falls last, also if something panics
        let task = state.task.take();
        let left = state.is_left.then(|| state.closure.take());
        drop(state);
        drop(left.map(Closure::fetch));
        if let Some(task) = task {
            task.wake();
        }
        drop(counted);
    }
}
