//! What a runtime waits for when it is shut down: closures that nobody waits for any more, and writes that
//! were acknowledged before they were made.
//!
//! The crew does not belong to a runtime, so such work is also a task of the runtime's blocking pool. That
//! either runs a task or drops it, because it is being shut down: here both do the same. So dropping the
//! runtime waits for the work, and `shutdown_timeout` and `shutdown_background` bound the wait, as for
//! tokio's own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, ThreadId};

use syslet::Threadlet;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// Work that is done when this is dropped.
struct Duty<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Duty<F> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
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
    give(runtime, work);
    receiver
}

/// Gives the work to the runtime's blocking pool. If not even one thread can be made for it, which tokio
/// answers by a panic, it is done here and now.
fn give(runtime: &Handle, work: impl FnOnce() + Send + 'static) {
    let duty = Duty(Some(work));
    let given = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(move || drop(duty))));
    drop(given); // its panic may have come in a destructor, and what it is about is done
}

/// Nobody waits for the closure any more, but the runtime of the running code.
#[cold]
pub(crate) fn leave<T: Send + 'static>(closure: Threadlet<T>) {
    let Ok(runtime) = Handle::try_current() else { return };
    let here = thread::current().id();
    let program_s_thread = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
    give(&runtime, move || wait(closure, program_s_thread.then_some(here)));
}

/// Waits for the closure, but not on the thread `not_on`. That is the program's, which drops the tasks of a
/// current-thread runtime after its blocking pool: it may have asked not to wait.
fn wait<T: Send + 'static>(closure: Threadlet<T>, not_on: Option<ThreadId>) {
    if not_on != Some(thread::current().id()) {
        drop(closure.join_catch());
    }
}
