//! Events for tasks.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use syslet::source::Place;

use crate::{Event, Queue};

impl Queue {
    /// Hands out an event, or has the task woken when there may be one. Each event wakes every task that waits,
    /// because one of them may be gone. The waker is kept until then, also if nobody waits by it any more;
    /// [`next`](Self::next) and [`events`](Self::events) take it back. `None`: the queue was closed, or is that of a
    /// parent process.
    ///
    /// # Blocking
    ///
    /// [At most for the keeper](Queue#blocking).
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_at(context, None)
    }

    fn poll_at(&self, context: &mut Context<'_>, place: Option<&mut Place>) -> Poll<Option<Event>> {
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
        let waker = context.waker().clone();
        let old = self.core.lock().tasks.keep(waker, place);
        drop(old);
        // What came before the waker was there; and who closes wakes those whom it finds.
        match take() {
            Some(event) => Poll::Ready(Some(event)),
            None if self.is_dead() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// The events as a stream, for any executor. Several streams share the events.
    pub fn events(&self) -> Events<'_> {
        Events { queue: self, place: Place::default() }
    }

    /// The next event; `None` if the queue was closed. Dropping the future loses nothing.
    pub fn next(&self) -> Next<'_> {
        Next(self.events())
    }
}

/// The events of a queue; see [`Queue::events`]. It ends when the queue is closed.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Events<'a> {
    queue: &'a Queue,
    place: Place,
}

impl Stream for Events<'_> {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let this = self.get_mut();
        this.queue.poll_at(context, Some(&mut this.place))
    }
}

impl Clone for Events<'_> {
    fn clone(&self) -> Self {
        self.queue.events()
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        if self.place.is_used() && !self.queue.is_dead() {
            let old = self.queue.core.lock().tasks.clear(&self.place);
            drop(old);
        }
    }
}

/// The next event of a queue; see [`Queue::next`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Next<'a>(Events<'a>);

impl Future for Next<'_> {
    type Output = Option<Event>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        Pin::new(&mut self.0).poll_next(context)
    }
}
