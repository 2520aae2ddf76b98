//! Work that a runtime waits for when it is shut down.
//!
//! The crew does not belong to a runtime, so such work is also a task of the runtime's blocking pool. That
//! either runs a task that it has taken or drops it, because it is being shut down: here both do the same. So
//! dropping the runtime waits for the work, and `shutdown_timeout` and `shutdown_background` bound the wait, as
//! for tokio's own.
//!
//! A pool that is being shut down takes no more. Its workers drop their tasks after that, so nothing that is
//! given up then can be brought here: closures that are away are counted from the start ([`tally`](crate::tally)).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

thread_local! {
    /// What becomes of the work that this thread is offering.
    static OFFER: Cell<Offer> = const { Cell::new(Offer::None) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    None,
    Made,
    Refused,
}

/// Work that nobody has begun.
type Work<W> = Arc<Mutex<Option<W>>>;

fn take<W>(work: &Work<W>) -> Option<W> {
    work.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Work that is done when this is dropped, unless it was refused: then it is left.
struct Duty<W> {
    work: Work<W>,
    f: fn(W),
}

impl<W> Drop for Duty<W> {
    fn drop(&mut self) {
        if OFFER.get() != Offer::None {
            OFFER.set(Offer::Refused);
        } else if let Some(work) = take(&self.work) {
            (self.f)(work);
        }
    }
}

/// Has `runtime` do the work before it ends. If it is ending already, the work is done here and now.
pub(crate) fn see_through<T, F>(runtime: &Handle, work: F) -> oneshot::Receiver<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let _ = sender.send(work()); // who was told of the work may have gone
    };
    if let Some(work) = give(runtime, work, |work| work()) {
        work();
    }
    receiver
}

/// Gives the work to the runtime's blocking pool, which does it by `f`. It is given back if the pool is being shut
/// down, and if not even one thread can be made for it: tokio answers that by a panic, and keeps the task.
pub(crate) fn give<W: Send + 'static>(runtime: &Handle, work: W, f: fn(W)) -> Option<W> {
    let work = Arc::new(Mutex::new(Some(work)));
    let duty = Duty { work: Arc::clone(&work), f };
    let before = OFFER.replace(Offer::Made);
    let given = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(move || drop(duty))));
    let offer = OFFER.replace(before);
    if given.is_err() || offer == Offer::Refused { take(&work) } else { None }
}
