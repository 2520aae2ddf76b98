//! How many closures of a runtime are away, for the runtime to wait for them when it ends.
//!
//! While there are any, one task of the runtime's blocking pool waits until there are none, the *waiter*
//! ([`waiter`]). The pool of a runtime that ends waits for it; so nobody else has to. Above all no
//! destructor waits: the tasks of a runtime that ends are dropped one after the other, and a closure may wait for what
//! is dropped later.

mod waiter;

use std::cell::RefCell;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::{Handle, Id};

use self::waiter::Waiter;

/// Of the runtimes that have one.
static TALLIES: Mutex<Vec<(Id, Weak<Tally>)>> = Mutex::new(Vec::new());

thread_local! {
    /// That of the runtime that was asked for last.
    static LAST: RefCell<Option<(Id, Arc<Tally>)>> = const { RefCell::new(None) };
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    state: Mutex<State>,
    /// What the waiter waits for has come.
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    away: usize,
    /// Closures that have gone away, ever.
    begun: u64,
    /// There is a waiter, or there is about to be.
    waits: bool,
    /// It is to be told when the last closure has ended; otherwise it looks by itself.
    hears: bool,
    /// A task of the runtime's will tell that the runtime ends.
    is_guarded: bool,
}

/// A closure that is away, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<Tally>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Has the runtime of the running code wait for a closure that is away. `None`: there is none, or it is ending
/// already, or can have no thread.
pub(crate) fn count_here() -> Option<Counted> {
    Handle::try_current().ok().and_then(|runtime| count(&runtime))
}

fn count(runtime: &Handle) -> Option<Counted> {
    let tally = Tally::of(runtime.id());
    let is_first = {
        let mut state = tally.lock();
        state.away += 1;
        state.begun += 1;
        !mem::replace(&mut state.waits, true)
    };
    let counted = Counted(Arc::clone(&tally));
    if is_first && Waiter::begin(runtime, &tally).is_err() {
        tally.lock().waits = false;
        return None;
    }
    Some(counted)
}

impl Tally {
    /// That of this runtime.
    fn of(id: Id) -> Arc<Self> {
        let known = LAST.try_with(|last| match &*last.borrow() {
            Some((of, tally)) if *of == id => Some(Arc::clone(tally)),
            _ => None,
        });
        if let Ok(Some(tally)) = known {
            return tally;
        }
        let tally = Self::find(id);
        let old = LAST.try_with(|last| last.replace(Some((id, Arc::clone(&tally)))));
        drop(old);
        tally
    }

    fn find(id: Id) -> Arc<Self> {
        let mut tallies = TALLIES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tallies.iter().find(|(of, _)| *of == id).and_then(|(_, known)| known.upgrade());
        known.unwrap_or_else(|| {
            let tally = Arc::new(Self::default());
            tallies.retain(|(_, other)| other.strong_count() > 0);
            tallies.push((id, Arc::downgrade(&tally)));
            tally
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A closure has ended.
    fn end(&self) {
        let mut state = self.lock();
        state.away -= 1;
        let tell = state.away == 0 && state.hears;
        drop(state);
        if tell {
            self.news.notify_one();
        }
    }
}
