//! The queue as programs have it.

#![allow(unsafe_code, reason = "one function has a duty: see `with_ring`")]

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use syslet::source::{self, EventFd};

use crate::core::Core;
use crate::core::On;
use crate::event::{Event, Key};
use crate::ring::{Ring, RingHeader};
use crate::source::{Source, What};
use crate::state::State;

/// So many events are taken out on the stack.
const FEW: usize = 64;
/// Places of the largest ring.
pub const MOST_PLACES: u32 = 1 << 24;

pub(crate) fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// An event queue in memory.
///
/// Sources of all kinds are added; what happens to them is fetched in one place, by any number of threads or tasks:
/// each event is handed to one of them. Fetching an event that is there needs no system call (but for level-triggered
/// sources and [`LAST_CHECK`](crate::Flags::LAST_CHECK), which are looked at by poll(2); if they are of files
/// that share their inode (see *Descriptors*) another thread is asked too, and waited for some microseconds, in
/// whatever hands events out), and the queue is no descriptor.
///
/// # Blocking
///
/// What hands events out and does not wait for them is said to wait *at most for the keeper*: never, but for some
/// microseconds where that is asked about a source ([`LAST_CHECK`](crate::Flags::LAST_CHECK), or level-triggered, of
/// files that share their inode), and where a source of a signal for the queue alone is handed out that ends with that
/// ([`ONESHOT`](crate::Flags::ONESHOT)). A file that is looked at may have a server (FUSE), which answers. With a ring
/// what puts events in ([`post`](Self::post), [`ready`](Self::ready)) may hand some out, and asks nobody, but may wait
/// for the other two.
///
/// A queue is shared by reference, or in an [`Arc`]. Dropping it ends its sources.
///
/// ```
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
/// use syslet_kevent::{Flags, Queue, Source};
///
/// let queue = Queue::new()?;
/// let (mut one, other) = UnixStream::pair()?;
/// queue.add(Source::recv(&other).with(Flags::ET).user_data(7))?;
/// one.write_all(b"!")?;
/// let events = queue.get_events(1, 16, None)?;
/// assert_eq!(events[0].user_data, 7);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Descriptors
///
/// A source of readiness names a number and its file. It does not keep the file: if the program closes it, that takes
/// effect at once, and the source ends with a broken event (`EBADF`), when the queue finds out: when the number is
/// added anew, when a level-triggered source is looked at, or in its rounds, within a tenth of a second if the queue
/// is in use and has less than 64 sources, within a second per 64 sources if nobody uses it. What happens to another
/// file that has got the number is not told. There are exceptions: of files that share an inode (all eventfds,
/// timerfds, signalfds and epolls, all masters of terminals, a FIFO that was opened more than once), if more than
/// 4,096 are watched, or than a quarter of `RLIMIT_NOFILE` if that is less, another of these that was copied to this
/// number by `dup2` may be taken for the same, or not be watched any more when this is removed after it was closed;
/// and so may the same message queue, the same device (but terminals and TUN) and the same file of `/proc` or `/sys`
/// if it is opened again, and an end of a pipe that is opened again through `/proc/self/fd`. Until the queue finds
/// out, though, what happens to the old file is told under the number, if that is open elsewhere too (`dup`, `fork`,
/// sent to another process), and so is what had happened to it before and was not handed out yet, in any case: not
/// with [`LAST_CHECK`](crate::Flags::LAST_CHECK).
///
/// # Signal handlers and forked children
///
/// Its functions are not for signal handlers. In a forked child the queue of the parent is dead: nothing
/// is handed out, waiting ends at once, and adding, removing, `wait`, `commit` and submitting fail with
/// `EBADF`.
pub struct Queue {
    pub(crate) core: Arc<Core>,
}

/// What became of a source that was added.
pub type Changed = io::Result<Option<Event>>;

impl Queue {
    /// A queue without a ring.
    ///
    /// # Errors
    ///
    /// If there can be no threads for it.
    pub fn new() -> io::Result<Self> {
        source::begin()?;
        Ok(Self { core: Core::new(State::default()) })
    }

    /// A queue whose events land in a ring of `size` places behind a header at `ring`, as far as there is room; what
    /// finds none waits in the queue. See [`wait`](Self::wait) and [`commit`](Self::commit).
    ///
    /// # Errors
    ///
    /// `EINVAL` if `size` is less than 2 or more than 2^24. If there can be no threads.
    ///
    /// # Safety
    ///
    /// `ring` is a [`RingHeader`], with `size` places for an [`Event`] behind it, to be written to by any thread
    /// until the queue has been dropped. The program reads only events up to `kidx` that it has not committed.
    pub unsafe fn with_ring(ring: NonNull<RingHeader>, size: u32) -> io::Result<Self> {
        if !(2..=MOST_PLACES).contains(&size) {
            return Err(error(libc::EINVAL));
        }
        source::begin()?;
        // SAFETY: the duty of this function.
        let ring = unsafe { Ring::new(ring, size) };
        Ok(Self { core: Core::new(State::with_ring(ring)) })
    }

    /// True in a forked child, and when it was closed.
    pub fn is_dead(&self) -> bool {
        self.core.is_dead()
    }

    /// Ends all sources. Who waits goes on, with what there was; nothing more is handed out, and nothing written
    /// to the ring.
    ///
    /// # Blocking
    ///
    /// As [`remove`](Self::remove) for each source, and for as long as closing the descriptors takes that nobody has
    /// fetched.
    pub fn close(&self) {
        if !self.is_dead() {
            self.core.close();
        }
    }

    pub(crate) fn living(&self) -> io::Result<()> {
        if self.is_dead() { Err(error(libc::EBADF)) } else { Ok(()) }
    }

    /// Adds a source. If it is ready at once that is answered, and not told again unless
    /// [`ALWAYS_QUEUE`](crate::Flags::ALWAYS_QUEUE) asks for it; with
    /// [`ONESHOT`](crate::Flags::ONESHOT) it has ended then.
    ///
    /// # Errors
    ///
    /// `EEXIST`: there is one of its kind and id. `EBADF`: the descriptor is not open. `EPERM`: it has no readiness
    /// (a file), or the sandbox does not let us watch it (PLATFORM.md). `EINVAL`: there is no such signal. `ECHILD`:
    /// there is no such child. `EBADF` also if the queue was closed or is that of a parent process. `EBUSY`: of a
    /// signal, the program has put eight handlers over ours. `EAGAIN`: there can be no thread. Of directories what
    /// inotify_add_watch(2) says: `ENOSPC`, and `EINVAL` if nothing is asked for.
    ///
    /// # Blocking
    ///
    /// Of descriptors until another thread has taken them, about ten microseconds; add many at once by
    /// [`add_all`](Self::add_all). Of a signal that is for the queue alone until that thread has heard of it. Else
    /// never.
    pub fn add(&self, source: Source) -> Changed {
        match source.what {
            What::Ready(..) | What::Inode(_) => self.add_all(&[source]).pop().expect("one answer"),
            _ => self.enter(source, false),
        }
    }

    /// Adds several sources; says of each what became of it.
    ///
    /// # Blocking
    ///
    /// As [`add`](Self::add).
    pub fn add_all(&self, sources: &[Source]) -> Vec<Changed> {
        self.enter_all(sources, false)
    }

    /// Has the source of this kind and id be as `source` says. What it had to tell of readiness or of a child is found
    /// anew; what had come of signals, of directories (of what is still asked for) and of [`ready`](Self::ready) comes
    /// with the new `user_data`, and nothing is lost meanwhile. A timer that is set anew has not fired, whatever it had
    /// to tell, as timerfd_settime(2) has it. What is in the ring stays as it is.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none. Else as [`add`](Self::add): there is none afterwards.
    ///
    /// # Blocking
    ///
    /// As [`add`](Self::add).
    pub fn modify(&self, source: Source) -> io::Result<()> {
        match source.what {
            What::Ready(..) | What::Inode(_) => {
                self.enter_all(&[source], true).pop().expect("one answer").map(|_| ())
            }
            _ => self.enter(source, true).map(|_| ()),
        }
    }

    /// Removes a source. No event of it is handed out afterwards, unless it is in the ring.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none. `EBADF`: the queue was closed, or is that of a parent process.
    ///
    /// # Blocking
    ///
    /// Of a signal that is for the queue alone until another thread has heard of it, of children as
    /// [`cancel`](Self::cancel). Else never.
    pub fn remove(&self, key: Key) -> io::Result<()> {
        self.living()?;
        self.core.with(|state| state.remove(key)).map(|_| ()).ok_or_else(|| error(libc::ENOENT))
    }

    /// Has sources be ready, whatever they are about, as if all that they ask for had happened. Without any
    /// one thread that waits, if there is one, goes on with what there is. Says of how many there is none.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn ready(&self, keys: &[Key]) -> usize {
        if self.is_dead() {
            return keys.len();
        }
        if keys.is_empty() {
            self.core.send_on();
        }
        keys.iter().filter(|key| !self.make_ready(**key)).count()
    }

    /// Has a source be ready; false if there is none.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn make_ready(&self, key: Key) -> bool {
        if self.is_dead() {
            return false;
        }
        let node = self.core.lock().sources.get(&key).cloned();
        let Some(node) = node else { return false };
        self.core.say(&node, node.source.asked, On::Program);
        true
    }

    /// Puts an event of the program's own in, of no source.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn post(&self, event: Event) {
        if !self.is_dead() {
            self.core.post(std::iter::once(event), false);
        }
    }

    /// Waits until `min` events can be handed out, and hands out all there are, but not more than `max`. After
    /// `deadline` it hands out what there is.
    ///
    /// # Errors
    ///
    /// `EINTR`: a signal handler has run on this thread before `min` events were there, and none was taken.
    ///
    /// # Blocking
    ///
    /// Until then; if `min` is 0 [at most for the keeper](Queue#blocking).
    pub fn get_events(
        &self,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
    ) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        self.fetch(&mut events, min, max, deadline)?;
        Ok(events)
    }

    /// As [`get_events`](Self::get_events), behind what is in `events` already; says how many.
    ///
    /// # Errors
    ///
    /// As [`get_events`](Self::get_events).
    ///
    /// # Blocking
    ///
    /// As [`get_events`](Self::get_events).
    pub fn fetch(
        &self,
        events: &mut Vec<Event>,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        if self.is_dead() {
            return Ok(0);
        }
        self.core.fetch(min, max, deadline, |event| events.push(event))
    }

    /// As [`get_events`](Self::get_events), with each event given to `each`, which may use the queue. If it panics
    /// those that it has not been given are handed on.
    ///
    /// # Errors
    ///
    /// As [`get_events`](Self::get_events).
    ///
    /// # Blocking
    ///
    /// As [`get_events`](Self::get_events).
    pub fn fetch_each(
        &self,
        min: usize,
        max: usize,
        deadline: Option<Instant>,
        mut each: impl FnMut(Event),
    ) -> io::Result<usize> {
        if max > FEW {
            let mut events = Vec::new();
            self.fetch(&mut events, min, max, deadline)?;
            return Ok(self.give(&events, each));
        }
        if self.is_dead() {
            return Ok(0);
        }
        // On the stack: a loop that fetches changes, one at least at a time, allocates nothing.
        let (mut events, mut count) = ([Event::default(); FEW], 0);
        self.core.fetch(min, max, deadline, |event| {
            events[count] = event;
            count += 1;
        })?;
        Ok(self.give(&events[..count], &mut each))
    }

    /// The number of the program's that a source's events carry, if there is such a source.
    pub fn user_data_of(&self, key: Key) -> Option<u64> {
        self.living().ok()?;
        self.core.lock().sources.get(&key).map(|node| node.source.user_data)
    }

    /// How many events can be handed out, about.
    pub fn len(&self) -> usize {
        if self.is_dead() { 0 } else { self.core.lock().available() }
    }

    /// True if there are none, about.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many sources it has.
    pub fn sources(&self) -> usize {
        if self.is_dead() { 0 } else { self.core.lock().sources.len() }
    }

    /// Has 1 added to `eventfd` when something comes to the queue, and now if something is there: so an epoll loop
    /// can watch it. Read it first, then fetch until nothing is left.
    ///
    /// The descriptor is the program's and must stay open until it is detached, which dropping the queue does too. If
    /// its number is closed all the same (`closefrom(3)`), nothing is written to what is opened in its place, unless
    /// that is another eventfd: the kernel gives them one inode.
    ///
    /// # Errors
    ///
    /// If it is not an eventfd. `EBADF`: the queue was closed, or is that of a parent process.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn attach_eventfd(&self, eventfd: impl AsFd + Send + Sync + 'static) -> io::Result<()> {
        self.living()?;
        self.core.attach_eventfd(EventFd::new(eventfd)?);
        if !self.is_empty() {
            self.core.rouse();
        }
        Ok(())
    }

    /// Nothing is written to the eventfd from now on, and what was given for it is dropped.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn detach_eventfd(&self) {
        if !self.is_dead() {
            self.core.detach_eventfd();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.core.is_of_parent() {
            // Its lock may be held by a thread that does not exist here.
            std::mem::forget(Arc::clone(&self.core));
        } else {
            self.core.close();
            if let Some(completions) = self.core.completions.get() {
                completions.abandon();
            }
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Queue");
        f.field("sources", &self.sources()).field("len", &self.len()).finish_non_exhaustive()
    }
}
