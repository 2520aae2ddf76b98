//! Events for tasks.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::{Event, Queue};

impl Queue {
    /// Hands out an event, or has the task woken when there may be one. Each event wakes every task that waits,
    /// because one of them may be gone. `None`: the queue was closed, or is that of a parent process.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        if self.is_dead() {
            return Poll::Ready(None);
        }
        let mut event = None;
        let mut take = || {
            self.core.take(1, |taken| event = Some(taken));
            event
        };
        if let Some(event) = take() {
            return Poll::Ready(Some(event));
        }
        // Cloned and dropped where no lock is held: a waker is code of the program's.
        let mut waker = Some(context.waker().clone());
        {
            let mut state = self.core.lock();
            if !state.tasks.iter().any(|task| task.will_wake(context.waker())) {
                state.tasks.extend(waker.take());
            }
        }
        drop(waker);
        // What came before the waker was there; and who closes wakes those whom it finds.
        match take() {
            Some(event) => Poll::Ready(Some(event)),
            None if self.is_dead() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// The events as a stream, for any executor. Several streams share the events.
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }

    /// The next event; `None` if the queue was closed. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }
}

/// The events of a queue; see [`Queue::events`]. It ends when the queue is closed.
#[derive(Debug, Clone, Copy)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Events<'a>(&'a Queue);

impl Stream for Events<'_> {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_next(context)
    }
}
