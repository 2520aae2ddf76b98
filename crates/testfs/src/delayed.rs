//! One thread that gives answers when it is time for them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Gives an answer.
pub(crate) type Deed = Box<dyn FnOnce() + Send>;

/// See the module. Dropped, it gives what is left at once.
#[derive(Debug)]
pub(crate) struct Delayed {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Protects the heap and `ended`.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    heap: BinaryHeap<Reverse<Due>>,
    count: u64,
    ended: bool,
}

/// A deed, ordered by when it is due; `1` makes it unique.
struct Due(Instant, u64, Deed);

impl Delayed {
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run()
        };
        let thread = thread::Builder::new().name("testfs-delayed".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Does it after `delay`.
    pub(crate) fn after(&self, delay: Duration, deed: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.count += 1;
        let due = Due(Instant::now() + delay, state.count, Box::new(deed));
        state.heap.push(Reverse(due));
        drop(state);
        self.shared.changed.notify_one();
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there was printed there
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let wait =
                state.heap.peek().map(|Reverse(Due(at, ..))| at.saturating_duration_since(now));
            match wait {
                None if state.ended => return,
                Some(wait) if wait.is_zero() || state.ended => {
                    let Some(Reverse(Due(_, _, deed))) = state.heap.pop() else { continue };
                    drop(state);
                    deed();
                    state = self.lock();
                }
                Some(wait) => {
                    let woken = self.changed.wait_timeout(state, wait);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl fmt::Debug for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Due").field(&self.0).finish_non_exhaustive()
    }
}
