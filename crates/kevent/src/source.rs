//! What a queue can be asked to watch.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use syslet::source::Clock;

use crate::event::{Flags, Happened, Key, Kind};

/// What is behind a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A descriptor, and events of poll(2).
    Ready(RawFd, u32),
    /// A directory.
    Inode(RawFd),
    /// When, and how often from then on, in nanoseconds.
    Timer(Clock, u64, u64),
    /// A signal, and whether nothing else is to be told of it.
    Signal(u32, bool),
    Child(i32),
    User,
}

/// Something to watch: what, how, and with which number of the program's its events come.
///
/// A source names a descriptor by its number and does not keep its file: closing it ends the source, unless it is
/// a directory's, which goes on. See [`Queue`](crate::Queue).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a source does nothing until it is added to a queue"]
pub struct Source {
    pub(crate) key: Key,
    pub(crate) what: What,
    pub(crate) asked: u32,
    pub(crate) flags: Flags,
    pub(crate) user_data: u64,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

impl Source {
    fn new(kind: Kind, id: u64, asked: u32, what: What) -> Self {
        Self { key: Key { kind, id }, what, asked, flags: Flags::NONE, user_data: 0 }
    }

    /// Events of a socket by its number: [`Happened::RECV`], [`Happened::ACCEPT`], [`Happened::SEND`].
    pub fn socket(number: RawFd, asked: u32) -> Self {
        Self::transfer(Kind::Socket, number, asked)
    }

    /// Events of a pipe: [`Happened::RECV`], [`Happened::SEND`].
    pub fn pipe(number: RawFd, asked: u32) -> Self {
        Self::transfer(Kind::Pipe, number, asked)
    }

    fn transfer(kind: Kind, number: RawFd, asked: u32) -> Self {
        let mut events = 0;
        if asked & (Happened::RECV | Happened::ACCEPT) != 0 {
            events |= libc::POLLIN | libc::POLLRDHUP;
        }
        if asked & Happened::SEND != 0 {
            events |= libc::POLLOUT;
        }
        let what = What::Ready(number, events as u16 as u32);
        Self::new(kind, number as u32 as u64, asked, what)
    }

    /// Something to read from a socket.
    pub fn recv(socket: &impl AsFd) -> Self {
        Self::socket(socket.as_fd().as_raw_fd(), Happened::RECV)
    }

    /// Room to write to a socket.
    pub fn send(socket: &impl AsFd) -> Self {
        Self::socket(socket.as_fd().as_raw_fd(), Happened::SEND)
    }

    /// A connection to accept.
    pub fn accept(socket: &impl AsFd) -> Self {
        Self::socket(socket.as_fd().as_raw_fd(), Happened::ACCEPT)
    }

    /// Events of poll(2), of any descriptor that has some. A signalfd tells of signals that are sent to the process,
    /// not of those that are sent to one thread (`pthread_kill`, `raise`): of these [`signal`](Self::signal) tells too.
    pub fn poll(number: RawFd, events: u16) -> Self {
        let events = u32::from(events);
        Self::new(Kind::Poll, number as u32 as u64, events, What::Ready(number, events))
    }

    /// Entries that come to a directory and go from it: [`Happened::CREATE`], [`Happened::REMOVE`]. It goes on when its
    /// number is closed, until that is added as another directory's. If more comes at once than the kernel keeps
    /// (`/proc/sys/fs/inotify/max_queued_events`) each source of a directory is told of all that it asks for, and how
    /// often is wrong.
    pub fn directory(directory: &impl AsFd, asked: u32) -> Self {
        Self::inode(directory.as_fd().as_raw_fd(), asked)
    }

    /// As [`directory`](Self::directory), by number.
    pub fn inode(number: RawFd, asked: u32) -> Self {
        Self::new(Kind::Inode, number as u32 as u64, asked, What::Inode(number))
    }

    fn time(id: u64, clock: Clock, first: u64, period: u64) -> Self {
        Self::new(Kind::Timer, id, Happened::FIRED, What::Timer(clock, first, period))
    }

    /// A timer that fires once, `after` that time.
    pub fn after(id: u64, after: Duration) -> Self {
        let first = Clock::Monotonic.now().saturating_add(nanos(after));
        Self::time(id, Clock::Monotonic, first, 0).with(Flags::ONESHOT)
    }

    /// A timer that fires every `period`, for the first time after one.
    pub fn every(id: u64, period: Duration) -> Self {
        let period = nanos(period).max(1);
        let first = Clock::Monotonic.now().saturating_add(period);
        Self::time(id, Clock::Monotonic, first, period)
    }

    /// A timer that fires at a point in time.
    pub fn at(id: u64, when: Instant) -> Self {
        Self::after(id, when.saturating_duration_since(Instant::now()))
    }

    /// A timer that fires when the clock of the day shows `when`, also if it is set.
    pub fn at_date(id: u64, when: SystemTime) -> Self {
        let since = when.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::time(id, Clock::Realtime, nanos(since), 0).with(Flags::ONESHOT)
    }

    /// A timer of which everything is given: when `clock` shows `first`, and every `period` from then on if that is
    /// not 0; in nanoseconds.
    pub fn timer(id: u64, clock: Clock, first: u64, period: u64) -> Self {
        let source = Self::time(id, clock, first, period);
        if period == 0 { source.with(Flags::ONESHOT) } else { source }
    }

    /// As [`timer`](Self::timer), but there afterwards, to be set anew by [`Queue::modify`](crate::Queue::modify).
    pub fn timer_that_stays(id: u64, clock: Clock, first: u64, period: u64) -> Self {
        Self::time(id, clock, first, period)
    }

    /// A signal. It is delivered as always, and told when it is: as soon as a thread has it handled. While the queue
    /// has such a source there is a handler for it, which calls the program's with its `SA_RESTART`, `SA_ONSTACK`,
    /// `SA_NODEFER` and children's flags kept: so what was ignored is not ignored any more in programs that are
    /// executed (exec(3) keeps what is ignored, and no handlers). A program that puts another handler there is told
    /// no more, unless that calls the one before. Of one that is stopped by the signal, what comes before it is
    /// handled again is not told.
    pub fn signal(number: u32) -> Self {
        Self::new(Kind::Signal, number.into(), Happened::DELIVERY, What::Signal(number, false))
    }

    /// A signal that is delivered only through the queue, also if all threads block it: no handler runs.
    pub fn signal_only(number: u32) -> Self {
        let what = What::Signal(number, true);
        Self::new(Kind::Signal, u64::from(number) | NOMASK, Happened::DELIVERY, what)
    }

    /// The end of a child, which is left to be waited for.
    pub fn child(pid: i32) -> Self {
        Self::new(Kind::Child, pid as u32 as u64, Happened::EXITED, What::Child(pid))
            .with(Flags::ONESHOT)
    }

    /// What the program says by [`Queue::ready`](crate::Queue::ready).
    pub fn user(id: u64) -> Self {
        Self::new(Kind::User, id, u32::MAX, What::User)
    }

    /// Has it behave so, too.
    pub fn with(mut self, flags: Flags) -> Self {
        self.flags |= flags;
        self
    }

    /// Has its events carry this number.
    pub fn user_data(mut self, user_data: u64) -> Self {
        self.user_data = user_data;
        self
    }

    /// As another kind and id, with what an event of C's said it is to have.
    #[doc(hidden)]
    pub fn named(mut self, key: Key, asked: u32) -> Self {
        self.key = key;
        self.asked = asked;
        self
    }

    /// What it is called in its queue.
    pub fn key(&self) -> Key {
        self.key
    }
}

/// `KEVENT_SIGNAL_NOMASK`.
pub(crate) const NOMASK: u64 = 1 << 63;
