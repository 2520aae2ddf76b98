//! The completion queue: where the answers of many operations can be fetched in one place.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::time::Instant;

use super::eventfd::EventFd;
use super::registry::Registry;
use super::ring::{Left, Record};
use super::shared::{Shared, close_left};
use super::tasks::Place;
use crate::Ret;
use crate::crew::generation;
use crate::sync::{Ordering, lock};

/// Largest capacity: 2^22 entries of 32 bytes are 128 MiB. What exceeds it overflows.
const MAX_CAPACITY: usize = 1 << 22;

/// The answer of an operation that was sent to a [`CompletionQueue`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// The number that the operation was sent with.
    pub user_data: u64,
    /// The answer: of a call `-errno` if it failed, of a closure what it returned.
    pub res: isize,
}

impl Completion {
    /// What a closure that panicked is said to have returned. The message went where panics are
    /// reported; the payload is dropped.
    pub const PANICKED: isize = isize::MIN;

    /// The answer as a call's.
    pub const fn ret(&self) -> Ret {
        Ret::new(self.res)
    }

    /// True if the operation is a closure that panicked.
    pub const fn panicked(&self) -> bool {
        self.res == Self::PANICKED
    }
}

impl From<Record> for Completion {
    #[inline]
    fn from(record: Record) -> Self {
        Self { user_data: record.user_data, res: record.res as isize }
    }
}

/// Descriptors that a call has made, to be closed if nobody hears of them. For surfaces that hand answers on.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Made(pub(super) Left, pub(super) isize);

impl Made {
    /// True if it has made none.
    pub fn is_nothing(&self) -> bool {
        self.0 == Left::Nothing
    }

    /// Closes them.
    pub fn close(self) {
        close_left(&Record { user_data: 0, res: self.1 as i64, left: self.0 });
    }
}

/// Counters of a queue. The parts are read one after the other, not at one instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Completions that came to the queue so far.
    pub pushed: u64,
    /// How many of them found the ring full and waited for room.
    pub overflowed: u64,
    /// Operations that are away now and will complete to the queue.
    pub outstanding: usize,
}

/// A queue of completions in memory: any thread or task may put operations in and take their answers
/// out, and taking one out needs no system call.
///
/// Calls and closures are sent with a number of the program's, `user_data`, and their answers come back
/// with it, in the order in which the operations end. What finishes inline is answered at once and does
/// not go through the queue, unless [`always_queue`](Self::always_queue) is asked for. The answers of
/// any number of operations fit: those that find the ring full wait in memory that they have anyway.
///
/// A queue is shared by reference, or in an [`Arc`]. Dropping it leaves the operations to themselves;
/// descriptors that calls such as `openat` have made, and that nobody has popped, are closed.
///
/// ```
/// use syslet::{Call, CompletionQueue, Queued};
///
/// let queue = CompletionQueue::new(64)?;
/// let mut answers = Vec::new();
/// for number in 0..10 {
///     // Finished inline: the answer is here. Otherwise it will be in the queue.
///     match queue.threadlet(number, move || number as isize * 2) {
///         Queued::Done(ret) => answers.push(ret.raw()),
///         Queued::Queued(_id) => {}
///     }
/// }
/// while answers.len() < 10 {
///     queue.wait(1);
///     while let Some(completion) = queue.pop() {
///         assert_eq!(completion.res, completion.user_data as isize * 2);
///         answers.push(completion.res);
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Signal handlers and forked children
///
/// Its functions are not for signal handlers. In a forked child the queue of the parent is dead: nothing
/// can be popped or sent, and waiting ends at once; what was away stays with the parent.
pub struct CompletionQueue {
    shared: Arc<Shared>,
    always: bool,
}

impl CompletionQueue {
    /// A queue whose ring has room for `capacity` completions, rounded up to a power of two.
    ///
    /// # Errors
    ///
    /// If the capacity is 0 or above 2^22.
    pub fn new(capacity: usize) -> io::Result<Self> {
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            let message = format!("capacity is {capacity}, not within 1 to {MAX_CAPACITY}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let capacity = capacity.next_power_of_two().max(2);
        let shared = Arc::new(Shared::new(capacity, generation()));
        Ok(Self { shared, always: false })
    }

    /// Whether answers of what finishes inline are queued too, so that all come in one place.
    pub fn always_queue(mut self, always: bool) -> Self {
        self.always = always;
        self
    }

    pub(super) fn queues_always(&self) -> bool {
        self.always
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.shared.registry)
    }

    /// In a forked child its locks may be held for ever, and nobody completes anything.
    #[inline(always)]
    pub(super) fn is_dead(&self) -> bool {
        self.shared.generation != generation()
    }

    /// Completions that the ring has room for.
    pub fn capacity(&self) -> usize {
        self.shared.ring.capacity()
    }

    /// Where the ring is, for programs in other languages that read it without a call: its memory is
    /// laid out as `crates/syslet/src/complete/README.md` says, and stays where it is until the queue is
    /// dropped.
    pub fn ring_address(&self) -> *const () {
        std::ptr::from_ref(&self.shared.ring).cast()
    }

    /// Lets completions that wait for room into the ring, as far as there is room now. Taking completions
    /// out does that by itself; only who has read the ring without a call has to ask for it.
    pub fn refill(&self) {
        if !self.is_dead() {
            self.shared.make_room();
        }
    }

    /// Takes the oldest completion out.
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn pop(&self) -> Option<Completion> {
        if self.is_dead() {
            return None;
        }
        self.shared.take_one().map(Completion::from)
    }

    /// Takes the oldest completions out, as many as there are and fit; says how many. Cheaper than one
    /// by one.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn pop_many(&self, completions: &mut [Completion]) -> usize {
        if self.is_dead() {
            return 0;
        }
        let limit = completions.len();
        let mut places = completions.iter_mut();
        self.shared.take_many(limit, |record| {
            if let Some(place) = places.next() {
                *place = record.into();
            }
        })
    }

    /// The oldest completion, which stays: others may take it. A descriptor in it is not the reader's.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn peek(&self) -> Option<Completion> {
        if self.is_dead() {
            return None;
        }
        self.shared.peek().map(Completion::from)
    }

    /// How many completions are in the queue, about: others put in and take out.
    pub fn len(&self) -> usize {
        if self.is_dead() {
            return 0;
        }
        self.shared.len()
    }

    /// True if nothing is in the queue, about.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until `min` completions can be popped; says how many can, at least.
    ///
    /// Each completion wakes one of the threads that wait for one: who is woken is expected to pop.
    /// Others may pop first, so that nothing is left; more than were sent never come.
    ///
    /// # Blocking
    ///
    /// Until then.
    pub fn wait(&self, min: usize) -> usize {
        if self.is_dead() { 0 } else { self.shared.wait(min, None) }
    }

    /// As [`wait`](Self::wait), until `deadline` at the latest: then the answer is less than `min`.
    ///
    /// # Blocking
    ///
    /// Until then.
    pub fn wait_deadline(&self, min: usize, deadline: Instant) -> usize {
        if self.is_dead() { 0 } else { self.shared.wait(min, Some(deadline)) }
    }

    /// Takes the oldest completion out, or has the task woken when there may be one.
    ///
    /// Each completion wakes every task that waits, because one of them may be gone. The waker is kept until then,
    /// also if nobody waits by it any more; [`next`](Self::next) takes it back.
    pub fn poll_pop(&self, context: &mut Context<'_>) -> Poll<Completion> {
        self.poll_at(context, None)
    }

    fn poll_at(&self, context: &mut Context<'_>, place: Option<&mut Place>) -> Poll<Completion> {
        if self.is_dead() {
            return Poll::Pending;
        }
        self.shared.poll_take(context, place).map(Completion::from)
    }

    /// As [`poll_pop`](Self::poll_pop), with what the call has made.
    #[doc(hidden)]
    pub fn poll_pop_made(&self, context: &mut Context<'_>) -> Poll<(Completion, Made)> {
        if self.is_dead() {
            return Poll::Pending;
        }
        let made = |record: Record| {
            let made = Made(record.left, record.res as isize);
            (Completion::from(record), made)
        };
        self.shared.poll_take(context, None).map(made)
    }

    /// The next completion, as a future for any executor. Dropping it loses nothing.
    pub fn next(&self) -> Next<'_> {
        Next { queue: self, place: Place::default() }
    }

    /// Puts a completion of the program's own in: to wake who waits, or to answer for something else.
    ///
    /// # Blocking
    ///
    /// Never.
    #[inline]
    pub fn post(&self, user_data: u64, res: isize) {
        if !self.is_dead() {
            self.shared.post(Record { user_data, res: res as i64, left: Left::Nothing });
        }
    }

    /// Has one added to `eventfd` for each completion from now on, and one now if there are any: so an
    /// epoll loop can watch the queue. Read the eventfd first, then pop until nothing is left.
    ///
    /// The descriptor is the program's: an [`OwnedFd`](std::os::fd::OwnedFd), or an [`Arc`] of one to
    /// go on using it. It is dropped when it is detached or the queue is gone, or when another takes its
    /// place. If the program closes it nevertheless, nothing is written to what then stands at its
    /// number, unless that is another eventfd.
    ///
    /// # Errors
    ///
    /// If it is not an eventfd, or the process was forked from that of the queue.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn attach_eventfd(&self, eventfd: impl AsFd + Send + Sync + 'static) -> io::Result<()> {
        let eventfd = EventFd::new(eventfd)?;
        if self.is_dead() {
            return Err(io::Error::other("the completion queue belongs to the parent process"));
        }
        self.shared.attach(eventfd);
        Ok(())
    }

    /// Gives the eventfd back to the program: from here on nothing is written to it.
    pub fn detach_eventfd(&self) {
        if !self.is_dead() {
            drop(self.shared.bell.detach());
        }
    }

    /// Reads the counters.
    pub fn stats(&self) -> QueueStats {
        if self.is_dead() {
            return QueueStats::default();
        }
        let registry = self.registry();
        QueueStats {
            pushed: self.shared.ring.taken() + self.shared.backlog() as u64,
            overflowed: self.shared.overflowed.load(Ordering::Relaxed),
            outstanding: registry.away(),
        }
    }
}

impl fmt::Debug for CompletionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionQueue")
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Drop for CompletionQueue {
    fn drop(&mut self) {
        if self.is_dead() {
            // Its locks may be held by threads that do not exist here.
            std::mem::forget(Arc::clone(&self.shared));
        } else {
            self.shared.abandon();
        }
    }
}

/// The next completion of a queue; see [`CompletionQueue::next`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Next<'a> {
    queue: &'a CompletionQueue,
    place: Place,
}

impl Future for Next<'_> {
    type Output = Completion;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion> {
        let this = self.get_mut();
        this.queue.poll_at(context, Some(&mut this.place))
    }
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        if self.place.is_used() && !self.queue.is_dead() {
            self.queue.shared.bell.leave(&self.place);
        }
    }
}
