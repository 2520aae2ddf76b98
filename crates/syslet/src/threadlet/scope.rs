//! Threadlets that borrow.
//!
//! [`scope()`] waits for *closures*, not for handles: a handle may be leaked, its closure may not
//! outlive what it borrows. Each closure counts in the scope until its result is stored and nothing of
//! it is left on the thread that ran it; results that nobody wants are dropped before the count falls.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{self, Thread};

use super::Threadlet;
use super::run::launch;
use crate::complete::Outcome;
use crate::sync::{AtomicUsize, Ordering};

/// What the closures of a scope share with the thread that waits for them.
struct Count {
    running: AtomicUsize,
    /// Closures that panicked, less panics that were fetched.
    panics: AtomicUsize,
    waiter: Thread,
    generation: u32,
}

/// One closure counted. Dropped with the closure if that could not be started.
struct Running(Arc<Count>);

impl Running {
    fn new(count: &Arc<Count>) -> Self {
        count.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }

    /// The closure is over.
    fn end(self, panicked: bool) {
        if panicked {
            self.0.panics.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The scope's end may come at once after the decrement: what is needed is kept by the Arc.
        // Release: the closure's effects. Acquire: not needed here, but the last one pairs with all.
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waiter.unpark();
        }
    }
}

/// Where closures that borrow may be started; see [`scope()`].
pub struct Scope<'scope, 'env: 'scope> {
    count: Arc<Count>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f` with a [`Scope`] in which threadlets may borrow from outside. Returns when `f` and all
/// closures started in the scope are over.
///
/// ```
/// let names = vec!["Cargo.toml", "src"];
/// let lengths = syslet::scope(|scope| {
///     let threadlets: Vec<_> =
///         names.iter().map(|name| scope.threadlet(move || std::fs::metadata(name))).collect();
///     threadlets.into_iter().map(|t| t.join().map(|m| m.len())).collect::<Vec<_>>()
/// });
/// assert!(lengths.iter().all(|length| length.is_ok()));
/// ```
///
/// # Panics
///
/// With `f`'s panic, or if a closure panicked that was not joined.
///
/// # Blocking
///
/// Until all closures have finished.
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        count: Arc::new(Count {
            running: AtomicUsize::new(0),
            panics: AtomicUsize::new(0),
            waiter: thread::current(),
            generation: crate::crew::generation(),
        }),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    // Acquire: pairs with the releases of the closures.
    // In a forked child the closures that were away do not exist.
    let generation = scope.count.generation;
    while scope.count.running.load(Ordering::Acquire) != 0
        && generation == crate::crew::generation()
    {
        thread::park();
    }
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.count.panics.load(Ordering::Relaxed) != 0 => {
            panic!("a scoped threadlet panicked")
        }
        Ok(result) => result,
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Runs `f` as [`threadlet`](crate::threadlet()) does.
    ///
    /// # Panics
    ///
    /// If not even one crew thread can be made.
    ///
    /// # Blocking
    ///
    /// As [`threadlet`](crate::threadlet()).
    pub fn threadlet<T, F>(&'scope self, f: F) -> ScopedThreadlet<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let running = Running::new(&self.count);
        match launch(f, move |panicked| running.end(panicked), false, Outcome::owned) {
            Ok(launched) => ScopedThreadlet {
                threadlet: Threadlet::new(launched),
                count: Arc::clone(&self.count),
                scope: PhantomData,
            },
            Err(_) => unreachable!("the closure is given back only if asked for"),
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.count.running.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// The handle of a closure that borrows; see [`Threadlet`].
pub struct ScopedThreadlet<'scope, T> {
    threadlet: Threadlet<T>,
    count: Arc<Count>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedThreadlet<'_, T> {
    /// True if the closure finished inline.
    pub fn was_inline(&self) -> bool {
        self.threadlet.was_inline()
    }

    /// True once the closure has finished.
    pub fn is_finished(&self) -> bool {
        self.threadlet.is_finished()
    }

    /// The closure's result.
    ///
    /// # Panics
    ///
    /// With the closure's own panic.
    ///
    /// # Blocking
    ///
    /// Until the closure has finished.
    pub fn join(self) -> T {
        self.join_catch().unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// The closure's result, or what it panicked with.
    ///
    /// # Errors
    ///
    /// The panic's payload.
    ///
    /// # Blocking
    ///
    /// Until the closure has finished.
    pub fn join_catch(mut self) -> thread::Result<T> {
        self.threadlet.wait();
        let result = self.threadlet.fetch().expect("a threadlet that has finished has a result");
        if result.is_err() {
            // Wraps for the moment if the closure's thread has not counted the panic yet.
            self.count.panics.fetch_sub(1, Ordering::Relaxed);
        }
        result
    }
}

impl<T> fmt::Debug for ScopedThreadlet<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.threadlet.fmt(f)
    }
}
