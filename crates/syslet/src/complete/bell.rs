//! Who waits for a completion queue to have something: threads, tasks, and an eventfd of the program's.
//!
//! | word | changed by | meaning |
//! |---|---|---|
//! | `attention` | who waits | how many threads are about to sleep, and whether a task or an eventfd wants to be told |
//! | `events` | who completes, if a thread is about to sleep | counts the times somebody was told; threads sleep on it |
//! | `greedy` | who waits | how many of the threads want more than one completion |
//!
//! Who waits raises `attention`, makes a fence, and looks into the queue; who completes puts the record
//! in, makes a fence, and looks at `attention`. One of the two sees the other. A thread that is about to
//! sleep reads `events` before it looks, and sleeps only as long as `events` is what it has read: being
//! told in between is not missed. README.md has the argument, `models.rs` the model.

use std::task::Waker;
use std::time::Instant;

use crate::sync::{AtomicU32, Mutex, Ordering, fence, lock};

#[cfg(not(loom))]
pub(super) use super::eventfd::EventFd;
use super::tasks::{Place, Tasks};

/// In `attention`: a waker is registered.
const TASKS: u32 = 1 << 31;
/// In `attention`: an eventfd is attached.
const EVENTFD: u32 = 1 << 30;
/// In `attention`: threads about to sleep, one each.
const THREADS: u32 = EVENTFD - 1;

/// See the module.
#[repr(align(128))]
#[derive(Debug)]
pub(super) struct Bell {
    attention: AtomicU32,
    events: AtomicU32,
    greedy: AtomicU32,
    /// Protects the list only: wakers are cloned before and woken after.
    tasks: Mutex<Tasks>,
    /// Held while the eventfd is written to, which does not wait: once it is detached nobody writes.
    eventfd: Mutex<Option<EventFd>>,
    /// Stands for the kernel's side of the futex.
    #[cfg(loom)]
    kernel: (Mutex<()>, loom::sync::Condvar),
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            attention: AtomicU32::new(0),
            events: AtomicU32::new(0),
            greedy: AtomicU32::new(0),
            tasks: Mutex::new(Tasks::new()),
            eventfd: Mutex::new(None),
            #[cfg(loom)]
            kernel: (Mutex::new(()), loom::sync::Condvar::new()),
        }
    }

    /// A record was put into the queue: tells who waits for it. `uncovers` says whether more than this
    /// one can be found since then.
    #[inline]
    pub(super) fn ring(&self, uncovers: impl FnOnce() -> bool) {
        // SeqCst: pairs with the fences in `wait` and `register`. Either the waiter sees the record, or
        // this thread sees the waiter.
        fence(Ordering::SeqCst);
        // Acquire: pairs with the release in `Waiter::new`, for `greedy`.
        let attention = self.attention.load(Ordering::Acquire);
        if attention != 0 {
            self.tell(attention, uncovers());
        }
    }

    #[cold]
    fn tell(&self, attention: u32, uncovers: bool) {
        if attention & THREADS != 0 {
            // Release: pairs with the acquire in `wait`: who reads the new count sees the record.
            self.events.fetch_add(1, Ordering::Release);
            // One record is for one thread, unless one of them would go to sleep again over it.
            let all = uncovers || self.greedy.load(Ordering::Relaxed) != 0;
            self.wake(if all { i32::MAX as u32 } else { 1 });
        }
        if attention & TASKS != 0 {
            self.wake_tasks();
        }
        if attention & EVENTFD != 0
            && let Some(eventfd) = &*lock(&self.eventfd)
        {
            eventfd.add_one();
        }
    }

    /// Wakes every registered task.
    fn wake_tasks(&self) {
        let tasks = {
            let mut tasks = lock(&self.tasks);
            self.attention.fetch_and(!TASKS, Ordering::Relaxed);
            tasks.take()
        };
        tasks.wake();
    }

    /// Registers a task, in the place that its future has. To be followed by a look into the queue.
    pub(super) fn register(&self, waker: &Waker, place: Option<&mut Place>) {
        let new = waker.clone();
        let old = {
            let mut tasks = lock(&self.tasks);
            let old = tasks.keep(new, place);
            self.attention.fetch_or(TASKS, Ordering::Relaxed);
            old
        };
        drop(old);
        // SeqCst: pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
    }

    /// The future of a place is dropped.
    #[cfg(not(loom))]
    pub(super) fn leave(&self, place: &Place) {
        let old = {
            let mut tasks = lock(&self.tasks);
            let old = tasks.clear(place);
            if tasks.is_empty() {
                self.attention.fetch_and(!TASKS, Ordering::Relaxed);
            }
            old
        };
        drop(old);
    }

    /// Sleeps until `look` finds `min` or more, or until `deadline`; the last that it has found.
    ///
    /// **Blocking**: yes.
    pub(super) fn wait(
        &self,
        min: usize,
        deadline: Option<Instant>,
        look: impl Fn() -> usize,
    ) -> usize {
        let _waiter = Waiter::new(self, min > 1);
        loop {
            // Acquire: pairs with the release in `tell`.
            let seen = self.events.load(Ordering::Acquire);
            // SeqCst: pairs with the fence in `ring`.
            fence(Ordering::SeqCst);
            let found = look();
            if found >= min || !self.sleep(seen, deadline) {
                return found;
            }
        }
    }

    /// Attaches an eventfd; returns the one before. To be followed by a look into the queue.
    pub(super) fn attach(&self, eventfd: EventFd) -> Option<EventFd> {
        let old = lock(&self.eventfd).replace(eventfd);
        self.attention.fetch_or(EVENTFD, Ordering::Relaxed);
        // SeqCst: pairs with the fence in `ring`.
        fence(Ordering::SeqCst);
        old
    }

    /// Detaches the eventfd: when this returns nobody writes to it.
    #[cfg(not(loom))]
    pub(super) fn detach(&self) -> Option<EventFd> {
        let mut eventfd = lock(&self.eventfd);
        self.attention.fetch_and(!EVENTFD, Ordering::Relaxed);
        eventfd.take()
    }

    /// Adds one to the eventfd, if there is one.
    pub(super) fn nudge(&self) {
        if let Some(eventfd) = &*lock(&self.eventfd) {
            eventfd.add_one();
        }
    }
}

/// A thread that is about to sleep.
struct Waiter<'a> {
    bell: &'a Bell,
    greedy: bool,
}

impl<'a> Waiter<'a> {
    fn new(bell: &'a Bell, greedy: bool) -> Self {
        if greedy {
            bell.greedy.fetch_add(1, Ordering::Relaxed);
        }
        // Release: pairs with the acquire in `ring`: who sees this thread sees that it is greedy.
        bell.attention.fetch_add(1, Ordering::Release);
        Self { bell, greedy }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.bell.attention.fetch_sub(1, Ordering::Relaxed);
        if self.greedy {
            self.bell.greedy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(not(loom))]
impl Bell {
    /// Sleeps while `events` is `seen`. False: the deadline has come.
    fn sleep(&self, seen: u32, deadline: Option<Instant>) -> bool {
        let Some(timeout) = super::slot::time_left(deadline) else { return false };
        syslet_sys::futex::wait(&self.events, seen, timeout.as_ref());
        true
    }

    fn wake(&self, count: u32) {
        syslet_sys::futex::wake(&self.events, count);
    }
}

/// As the kernel does it: the comparison and the going to sleep are one step in the sight of a waker.
#[cfg(loom)]
impl Bell {
    fn sleep(&self, seen: u32, deadline: Option<Instant>) -> bool {
        let guard = lock(&self.kernel.0);
        if deadline.is_some() {
            return false;
        }
        if self.events.load(Ordering::Relaxed) == seen {
            drop(self.kernel.1.wait(guard).unwrap());
        }
        true
    }

    fn wake(&self, count: u32) {
        drop(lock(&self.kernel.0));
        if count == 1 { self.kernel.1.notify_one() } else { self.kernel.1.notify_all() }
    }
}

/// In place of the kernel's: what it was told.
#[cfg(loom)]
#[derive(Debug)]
pub(super) struct EventFd(pub(super) std::sync::Arc<std::sync::atomic::AtomicUsize>);

#[cfg(loom)]
impl EventFd {
    fn add_one(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}
