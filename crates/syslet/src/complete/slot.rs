//! The result slot: where the answer of what went away is stored, exactly once.
//!
//! A slot is shared by the thread that finishes the work and the handle that waits for it. Its state
//! is a set of bits; each but the last two is set once, by the side that owns it:
//!
//! | bit | set by | meaning |
//! |---|---|---|
//! | `DONE` | finisher | the result is stored; nobody but the handle's side touches it from here on |
//! | `SLEEPER` | handle | a thread sleeps on the state word and must be woken |
//! | `WAKER` | handle | a waker is registered and must be woken |
//! | `DETACHED` | handle | nobody will fetch the result: the finisher drops it |
//! | `CANCEL` | handle | a cancel was asked for |
//! | `QUEUE` | handle | the result goes to a completion queue, see `queue.rs` |
//! | `BEGUN` | finisher | a queued closure runs: a cancel comes too late |
//! | `HELPER` | handle | the thread that sleeps helps, if it is told to |
//! | `TOLD` | owner of a parked call | what a crew thread would do is there to be done |
//!
//! The last two are cleared by the helper, which looks for what is to be done then. `TOLD` is set after that is there
//! to be found; who sets it and finds no `HELPER` sees to it that somebody else does it.
//!
//! Of `BEGUN` and `CANCEL`, whichever comes first decides whether a closure runs. Of `DONE` and `QUEUE`,
//! whoever's `fetch_or` comes second puts the result into the queue.
//!
//! `DONE` is set with release ordering after the result was written, and every wake-up comes after
//! it. If `DETACHED` was set first the finisher drops the result, otherwise the handle does:
//! whichever of the two `fetch_or`s comes second sees the other's bit.

#![allow(unsafe_code, reason = "the result cell is guarded by the state bits")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::shared::Ticket;
#[cfg(not(loom))]
use crate::sync::AtomicPtr;
use crate::sync::{AtomicU32, Mutex, Ordering, UnsafeCell, fence, lock};

const DONE: u32 = 1;
const SLEEPER: u32 = 2;
const WAKER: u32 = 4;
const DETACHED: u32 = 8;
const CANCEL: u32 = 16;
const QUEUE: u32 = 32;
const BEGUN: u32 = 64;
const HELPER: u32 = 128;
const TOLD: u32 = 256;

/// What a call or closure left behind: a number, or an owned value behind a pointer.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Not there yet, or already fetched.
    Empty,
    /// The kernel's answer.
    Number(isize),
    /// A descriptor that a call has made; closed if nobody wants it.
    Descriptor(i32),
    /// Two of them, which the call has stored where it was told to.
    Descriptors(i32, i32),
    /// A `Box<T>` given up to a raw pointer, and how to drop it.
    Owned(*mut (), unsafe fn(*mut ())),
}

// SAFETY: an owned outcome is a `Box<T>` of a `T: Send`; see `Outcome::owned`.
unsafe impl Send for Outcome {}

impl Outcome {
    /// Boxes `value`.
    pub(crate) fn owned<T: Send>(value: T) -> Self {
        /// Drops the box. Duty: `pointer` came from `Box::<T>::into_raw` and is not used again.
        unsafe fn drop_box<T>(pointer: *mut ()) {
            // SAFETY: the duty of this function.
            drop(unsafe { Box::from_raw(pointer.cast::<T>()) });
        }
        Self::Owned(Box::into_raw(Box::new(value)).cast(), drop_box::<T>)
    }

    /// Drops what nobody wants. A panic of an owned value's destructor is caught, because it runs on
    /// a thread whose owner has no part in it.
    pub(crate) fn discard(self) {
        match self {
            Self::Empty | Self::Number(_) => {}
            Self::Descriptor(one) => close(one),
            Self::Descriptors(one, other) => {
                close(one);
                close(other);
            }
            Self::Owned(pointer, drop_box) => {
                // SAFETY: made by `owned`, and consumed here.
                drop_caught(|| unsafe { drop_box(pointer) });
            }
        }
    }
}

/// Runs code of the user's on a thread that has no part in it: a panic ends here.
pub(crate) fn drop_caught(f: impl FnOnce()) {
    // A payload may panic when dropped, and so on: it is leaked instead.
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(std::mem::forget);
}

#[cfg(not(loom))]
pub(super) fn close(descriptor: i32) {
    syslet_sys::call::close(descriptor);
}

#[cfg(loom)]
pub(super) fn close(_: i32) {}

/// Who is told when the outcome is stored, or what must live until then.
#[derive(Default)]
enum Notify {
    #[default]
    Nobody,
    /// A task.
    Waker(Waker),
    /// Nobody, but this is the call's memory: it is dropped when the call is over.
    Keep(#[allow(dead_code, reason = "held for its destructor")] Box<dyn Send>),
    /// A completion queue.
    Queue(Ticket),
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Waker(_) => "Waker",
            Self::Keep(_) => "Keep",
            Self::Queue(_) => "Queue",
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Slot {
    state: AtomicU32,
    outcome: UnsafeCell<Outcome>,
    /// Protects itself only; nothing of the user's runs under it.
    notify: Mutex<Notify>,
    /// Kernel thread that makes the call, 0 as long as none does.
    tid: AtomicU32,
    /// Of which life of the process this is: a forked child has none of its parent's threads.
    generation: u32,
    /// What the call has become, if it was parked after its caller had gone on: a box, or null.
    #[cfg(not(loom))]
    moved: AtomicPtr<Arc<dyn Interrupt>>,
}

/// The state in which a slot was completed, of which somebody is still to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Untold(u32);

/// A call that can be asked to end.
#[cfg(not(loom))]
pub(crate) trait Interrupt: Send + Sync {
    /// Asks it.
    fn interrupt(&self);
    /// Makes it, if it waits for a thread.
    fn help(&self);
}

// SAFETY: `outcome` is written by the finisher before `DONE` and touched by one side only after it,
// as the module says; the rest is `Sync` by itself.
unsafe impl Sync for Slot {}
// SAFETY: `Outcome` is `Send`.
unsafe impl Send for Slot {}

impl Slot {
    pub(crate) fn new(tid: u32, generation: u32) -> Self {
        Self {
            state: AtomicU32::new(0),
            outcome: UnsafeCell::new(Outcome::Empty),
            notify: Mutex::new(Notify::Nobody),
            tid: AtomicU32::new(tid),
            generation,
            #[cfg(not(loom))]
            moved: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// Of which life of the process this slot is.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Kernel thread that makes the call, 0 if none does yet.
    pub(crate) fn tid(&self) -> u32 {
        // Acquire: pairs with `set_tid`.
        self.tid.load(Ordering::Acquire)
    }

    /// The kernel thread `tid` is about to make the call.
    pub(crate) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Release);
        // SeqCst: pairs with the fence in `ask_cancel`. Either the canceller sees the thread, or the
        // thread sees the bit.
        fence(Ordering::SeqCst);
    }

    /// The call goes on as `parked`, which a cancel is to be told to. Once, by the finisher.
    #[cfg(not(loom))]
    pub(crate) fn move_to(&self, parked: Arc<dyn Interrupt>) {
        let old = self.moved.swap(Box::into_raw(Box::new(parked)), Ordering::SeqCst);
        debug_assert!(old.is_null(), "a call moves once");
        // Pairs with the fence in `ask_cancel`: either the canceller finds what it has become, or we
        // find the wish.
        fence(Ordering::SeqCst);
        if self.cancel_asked() {
            self.interrupt_moved();
        }
    }

    /// Passes a cancel on to what the call has become. False: it has not moved.
    #[cfg(not(loom))]
    pub(crate) fn interrupt_moved(&self) -> bool {
        // SAFETY: null, or the box made by `move_to`, which lives as long as the slot.
        let moved = unsafe { self.moved.load(Ordering::SeqCst).as_ref() };
        moved.inspect(|call| call.interrupt()).is_some()
    }

    /// Makes what the call has become, if that waits for a thread.
    #[cfg(not(loom))]
    pub(crate) fn help_moved(&self) {
        // SAFETY: as in `interrupt_moved`.
        if let Some(moved) = unsafe { self.moved.load(Ordering::SeqCst).as_ref() } {
            moved.help();
        }
    }

    /// Something is there to be done. True: a thread that sleeps does it. False: nobody is told.
    pub(crate) fn tell_helper(&self) -> bool {
        // Release: pairs with the acquire of who is told. Acquire: of two that come together, one sees the other.
        let told = self.state.fetch_or(TOLD, Ordering::AcqRel) & HELPER != 0;
        if told {
            wake_all(&self.state);
        }
        told
    }

    /// Says that the calling thread, which is about to sleep, helps; gives the state.
    fn offer_help(&self) -> u32 {
        self.state.fetch_or(SLEEPER | HELPER, Ordering::AcqRel) | SLEEPER | HELPER
    }

    /// If there is something to be done, the helper does it: it sleeps no more.
    fn take_word(&self, state: u32) -> bool {
        let told = state & TOLD != 0;
        if told {
            // Acquire: pairs with the release in `tell_helper`.
            self.state.fetch_and(!(TOLD | HELPER), Ordering::AcqRel);
        }
        told
    }

    /// Sleeps until the outcome is stored, or something is there to be done, which the caller looks for then. False:
    /// that.
    ///
    /// **Blocking**: yes.
    pub(crate) fn wait_to_help(&self) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        if state & DONE == 0 {
            state = self.offer_help();
        }
        while state & DONE == 0 {
            if self.take_word(state) {
                return false;
            }
            sleep_on(&self.state, state);
            state = self.state.load(Ordering::Acquire);
        }
        true
    }

    /// Stores the outcome and wakes who waits. Called exactly once, by the finisher.
    ///
    /// User code (a waker, the destructor of a result that nobody wants) runs here, after the result
    /// is stored and outside the lock; its panics are caught.
    pub(crate) fn complete(&self, outcome: Outcome) {
        if let Some(rest) = self.store(outcome) {
            self.tell(rest);
        }
    }

    /// The first part of [`complete`](Self::complete), in which nothing of the user's runs: stores the outcome and
    /// wakes who sleeps. What is left, if anything, is for [`tell`](Self::tell).
    pub(crate) fn store(&self, outcome: Outcome) -> Option<Untold> {
        // SAFETY: `DONE` is not set, so the cell is the finisher's.
        self.outcome.with_mut(|cell| unsafe { *cell = outcome });
        // Release: pairs with the acquire of whoever sees `DONE`. Acquire: pairs with `DETACHED`.
        let before = self.state.fetch_or(DONE, Ordering::AcqRel);
        debug_assert_eq!(before & DONE, 0, "a result is stored exactly once");
        if before & (SLEEPER | DETACHED) == SLEEPER {
            wake_all(&self.state);
        }
        (before & (WAKER | QUEUE | DETACHED) != 0).then_some(Untold(before))
    }

    /// The second part: tells who is to be told, or drops what nobody wants.
    pub(crate) fn tell(&self, Untold(before): Untold) {
        if before & DETACHED != 0 {
            self.discard();
        } else {
            let notify = std::mem::take(&mut *lock(&self.notify));
            drop_caught(|| match notify {
                Notify::Waker(waker) => waker.wake(),
                // Without the bit, whoever has just put the ticket there sees `DONE`.
                Notify::Queue(ticket) if before & QUEUE != 0 => ticket.deliver(self.fetch()),
                Notify::Nobody | Notify::Keep(_) | Notify::Queue(_) => {}
            });
        }
    }

    /// The handle gives up its side to a completion queue: whoever comes second delivers the result.
    pub(crate) fn send(&self, ticket: Ticket) {
        let old = std::mem::replace(&mut *lock(&self.notify), Notify::Queue(ticket.clone()));
        drop_caught(|| drop(old));
        // Acquire: pairs with the release of `DONE`. Release: who comes second sees the ticket.
        if self.state.fetch_or(QUEUE, Ordering::AcqRel) & DONE != 0 {
            // Not left for the finisher, who may be about to let go of the call: that of the queue may be the last.
            let own = std::mem::take(&mut *lock(&self.notify));
            drop_caught(|| drop(own));
            ticket.deliver(self.fetch());
        }
    }

    /// The queue gives up: a result that was not delivered is dropped by the finisher.
    pub(crate) fn recall(&self) {
        // As in `detach`; but a result that is there is being delivered.
        if self.state.fetch_or(DETACHED, Ordering::AcqRel) & DONE == 0 {
            let notify = std::mem::take(&mut *lock(&self.notify));
            drop_caught(|| drop(notify));
        }
    }

    /// True once the outcome is stored.
    pub(crate) fn is_done(&self) -> bool {
        // Acquire: pairs with the release in `complete`.
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    /// True if a cancel was asked for.
    pub(crate) fn cancel_asked(&self) -> bool {
        self.state.load(Ordering::Acquire) & CANCEL != 0
    }

    /// A queued closure is about to run. False: it was cancelled.
    pub(crate) fn begin(&self) -> bool {
        self.state.fetch_or(BEGUN, Ordering::AcqRel) & CANCEL == 0
    }

    /// Cancels a queued closure. False: it has begun.
    pub(crate) fn cancel_unbegun(&self) -> bool {
        self.state.fetch_or(CANCEL, Ordering::AcqRel) & BEGUN == 0
    }

    /// Asks for a cancel. False: it is too late, the outcome is stored.
    pub(crate) fn ask_cancel(&self) -> bool {
        let in_time = self.state.fetch_or(CANCEL, Ordering::AcqRel) & DONE == 0;
        // SeqCst: pairs with the fence in `set_tid`.
        fence(Ordering::SeqCst);
        in_time
    }

    /// Takes the outcome out. Only after `DONE`, by the side that owns it then.
    fn fetch(&self) -> Outcome {
        debug_assert!(self.is_done());
        // SAFETY: `DONE` is set and this is the one side that touches the cell from here on.
        self.outcome.with_mut(|cell| unsafe { cell.replace(Outcome::Empty) })
    }

    /// The outcome if it is stored; the handle's side only.
    pub(crate) fn try_fetch(&self) -> Option<Outcome> {
        self.is_done().then(|| self.fetch())
    }

    /// The handle gives up: whoever comes second drops the result.
    pub(crate) fn detach(&self) {
        // Acquire: pairs with the release of `DONE`. Release: pairs with the finisher's acquire.
        if self.state.fetch_or(DETACHED, Ordering::AcqRel) & DONE != 0 {
            self.discard();
        }
    }

    /// As [`detach`](Self::detach), and leaves `memory` with the call until it is over.
    pub(crate) fn detach_with(&self, memory: Box<dyn Send>) {
        let old = std::mem::replace(&mut *lock(&self.notify), Notify::Keep(memory));
        drop_caught(|| drop(old));
        self.detach();
    }

    /// Drops the outcome and what was kept for the call. By whoever comes second.
    fn discard(&self) {
        self.fetch().discard();
        let notify = std::mem::take(&mut *lock(&self.notify));
        drop_caught(|| drop(notify));
    }

    /// True in a forked child, where nobody will finish this.
    #[cfg(not(loom))]
    fn is_orphan(&self) -> bool {
        self.generation != crate::crew::generation()
    }

    #[cfg(loom)]
    fn is_orphan(&self) -> bool {
        false
    }

    /// The handle of an orphan gives up. The lock may have been held by a thread that does not exist
    /// here; what had been stored before the fork is this process's too.
    #[cold]
    fn discard_orphan(&self) {
        if let Some(outcome) = self.try_fetch() {
            outcome.discard();
        }
    }

    /// Registers the waker of `context` unless the outcome is there.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.try_fetch() {
            return Poll::Ready(outcome);
        }
        // Cloned and dropped outside the lock: it is code of the user's.
        if !self.would_wake(context.waker()) {
            let new = Notify::Waker(context.waker().clone());
            let old = std::mem::replace(&mut *lock(&self.notify), new);
            drop(old);
        }
        // Acquire: if the finisher was first its result is visible. Release: if it comes second it
        // sees the waker.
        if self.state.fetch_or(WAKER, Ordering::AcqRel) & DONE != 0 {
            // Not left here for whoever comes to drop the slot: it is code of the user's.
            let waker = std::mem::take(&mut *lock(&self.notify));
            drop(waker);
            return Poll::Ready(self.fetch());
        }
        Poll::Pending
    }

    fn would_wake(&self, waker: &Waker) -> bool {
        matches!(&*lock(&self.notify), Notify::Waker(old) if old.will_wake(waker))
    }

    /// Sleeps until the outcome is stored, or until `deadline`. False: the deadline came first.
    ///
    /// **Blocking**: yes.
    #[cfg(not(loom))]
    pub(crate) fn wait(&self, deadline: Option<std::time::Instant>) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        while state & DONE == 0 {
            if state & SLEEPER == 0 {
                state = self.state.fetch_or(SLEEPER, Ordering::AcqRel) | SLEEPER;
                continue;
            }
            let Some(timeout) = time_left(deadline) else { return false };
            syslet_sys::futex::wait(&self.state, state, timeout.as_ref());
            state = self.state.load(Ordering::Acquire);
        }
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: nobody else can reach it any more.
        self.outcome.with_mut(|cell| unsafe { cell.replace(Outcome::Empty) }).discard();
        #[cfg(not(loom))]
        {
            let moved = *self.moved.get_mut();
            if !moved.is_null() {
                // SAFETY: made by `move_to`; nobody else can reach it any more.
                drop(unsafe { Box::from_raw(moved) });
            }
        }
    }
}

/// The time until `deadline`, for the kernel; inside, nothing if there is none. Nothing: it has come.
#[cfg(not(loom))]
pub(super) fn time_left(
    deadline: Option<std::time::Instant>,
) -> Option<Option<syslet_sys::uapi::Timespec>> {
    let Some(deadline) = deadline else { return Some(None) };
    let left = deadline.saturating_duration_since(std::time::Instant::now());
    let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX / 2);
    (nanos != 0).then(|| Some(syslet_sys::uapi::Timespec::from_nanos(nanos)))
}

#[cfg(not(loom))]
fn wake_all(word: &AtomicU32) {
    syslet_sys::futex::wake(word, i32::MAX as u32);
}

#[cfg(loom)]
fn wake_all(_: &AtomicU32) {}

/// Sleeps as long as `word` is `value`.
#[cfg(not(loom))]
fn sleep_on(word: &AtomicU32, value: u32) {
    syslet_sys::futex::wait(word, value, None);
}

/// Whoever changes the word wakes those who sleep on it, but for bits that they need not see.
#[cfg(loom)]
fn sleep_on(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        loom::thread::yield_now();
    }
}

/// A parked call and the crew's own slots hold one of these each: it stays within a line and a half,
/// with the two counts of an `Arc`.
#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() + 16 <= 96);

/// What a slot is part of: nothing, or a parked call.
pub(crate) trait Holder: Send + Sync + std::fmt::Debug {
    /// The slot.
    fn slot(&self) -> &Slot;
}

impl Holder for Slot {
    fn slot(&self) -> &Slot {
        self
    }
}

/// The handle's side of a slot: detaches when dropped.
#[derive(Debug)]
pub(crate) struct SlotHandle<H: Holder + ?Sized = Slot>(Option<Arc<H>>);

impl<H: Holder + ?Sized> SlotHandle<H> {
    pub(crate) fn new(holder: Arc<H>) -> Self {
        Self(Some(holder))
    }

    /// What holds the slot.
    pub(crate) fn holder(&self) -> &H {
        self.0.as_ref().expect("a slot handle holds its slot until it is dropped or fetched")
    }

    /// The slot.
    pub(crate) fn slot(&self) -> &Slot {
        self.holder().slot()
    }

    /// The outcome was fetched: nothing is left to detach from.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }

    /// What holds the slot, for a completion queue to keep.
    pub(crate) fn into_holder(mut self) -> Arc<H> {
        self.0.take().expect("a slot handle holds its slot until it is dropped or fetched")
    }

    /// Detaches, and leaves `memory` with the call until it is over.
    pub(crate) fn detach_with(mut self, memory: Box<dyn Send>) {
        if self.slot().is_orphan() {
            return; // no call uses the memory here
        }
        if let Some(holder) = self.0.take() {
            holder.slot().detach_with(memory);
        }
    }
}

impl<H: Holder + ?Sized> Drop for SlotHandle<H> {
    fn drop(&mut self) {
        let Some(holder) = self.0.take() else { return };
        if holder.slot().is_orphan() {
            holder.slot().discard_orphan();
            // Whatever it is part of may be half-changed.
            std::mem::forget(holder);
        } else {
            holder.slot().detach();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::mpsc::channel;
    use std::task::Waker;

    use super::*;

    /// A slot of another life of the process, finished while its lock was held.
    fn orphan(value: Arc<()>) -> Arc<Slot> {
        let slot = Arc::new(Slot::new(0, crate::crew::generation() + 1));
        assert!(slot.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        slot.complete(Outcome::owned(value));
        std::mem::forget(lock(&slot.notify));
        slot
    }

    #[test]
    fn a_handle_in_a_forked_child_needs_no_lock_and_loses_nothing() {
        let value = Arc::new(());
        let copies = [Arc::clone(&value), Arc::clone(&value)];
        let (done, wait) = channel();
        std::thread::spawn(move || {
            let [one, other] = copies.map(orphan);
            drop(SlotHandle::new(one));
            SlotHandle::new(other).detach_with(Box::new(()));
            done.send(()).expect("the test waits");
        });
        wait.recv_timeout(std::time::Duration::from_secs(60)).expect("no lock is waited for");
        assert_eq!(Arc::strong_count(&value), 1, "results that were there are dropped");
    }
}
