//! What is handed out: events, as kevent had them in 2006.

use std::fmt;
use std::io;
use std::ops::{BitOr, BitOrAssign};

/// What an event is about. The numbers are those of kevent, take 30.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum Kind {
    /// A socket.
    Socket = 0,
    /// A directory: what is created and removed there.
    Inode = 1,
    /// A time.
    Timer = 2,
    /// Readiness of anything that poll(2) takes.
    Poll = 3,
    /// A call or closure that was sent to the queue has ended.
    Completion = 5,
    /// A pipe.
    Pipe = 6,
    /// A signal.
    Signal = 7,
    /// A POSIX timer.
    PosixTimer = 8,
    /// What the program itself says.
    User = 9,
    /// A child has ended. Not in kevent.
    Child = 10,
}

impl Kind {
    /// The kind of this number.
    pub const fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Socket,
            1 => Self::Inode,
            2 => Self::Timer,
            3 => Self::Poll,
            5 => Self::Completion,
            6 => Self::Pipe,
            7 => Self::Signal,
            8 => Self::PosixTimer,
            9 => Self::User,
            10 => Self::Child,
            _ => return None,
        })
    }
}

/// Names a source in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// What it is about.
    pub kind: Kind,
    /// Which one: a descriptor, a signal's number, a process id, or a number of the program's.
    pub id: u64,
}

/// How a source behaves.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u32);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// The source is removed when its event is handed out.
    pub const ONESHOT: Self = Self(0x1);
    /// Of several sources on one socket all are told; without it the first.
    pub const WAKEUP_ALL: Self = Self(0x2);
    /// Edge-triggered: an event when something changes. Without it readiness is level-triggered: an event
    /// for as long as it lasts, each time that events are fetched.
    pub const ET: Self = Self(0x4);
    /// When the event is about to be handed out it is looked which of it still holds; the rest is left out, and if that
    /// is all there is none. Of a number that was closed, or is another file's, it is handed out as broken.
    pub const LAST_CHECK: Self = Self(0x8);
    /// What is ready at once is queued too, not only answered.
    pub const ALWAYS_QUEUE: Self = Self(0x10);
    /// The source is ready when it is added, whatever it is about.
    pub const READY: Self = Self(0x20);

    /// These bits; what is unknown is dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x3f)
    }

    /// The bits, as kevent had them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// True if all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#x})", self.0)
    }
}

/// Bits of [`Event::asked`]; of sockets, pipes, directories and user sources also of [`Event::happened`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Happened;

impl Happened {
    /// Sockets and pipes: something to read, or the end.
    pub const RECV: u32 = 1;
    /// Sockets: a connection to accept.
    pub const ACCEPT: u32 = 2;
    /// Sockets and pipes: room to write.
    pub const SEND: u32 = 4;
    /// Directories: an entry has come.
    pub const CREATE: u32 = 1;
    /// Directories: an entry has gone.
    pub const REMOVE: u32 = 2;
    /// Timers.
    pub const FIRED: u32 = 1;
    /// Signals.
    pub const DELIVERY: u32 = 1;
    /// Children.
    pub const EXITED: u32 = 1;
    /// Completions.
    pub const DONE: u32 = 1;
}

/// `KEVENT_RET_BROKEN`.
pub(crate) const BROKEN: u32 = 0x1;
/// `KEVENT_RET_DONE`.
pub(crate) const DONE: u32 = 0x2;

/// An event: `struct ukevent` of 2006, 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Event {
    /// See [`Key::id`].
    pub id: u64,
    /// Number of its [`Kind`].
    pub kind: u32,
    /// What was asked for.
    pub asked: u32,
    /// Bits of [`Flags`].
    pub flags: u32,
    /// How it stands: bits 0 (broken) and 1 (done).
    pub state: u32,
    /// What it says: of readiness, directories and user sources what has happened (and of directories how often); of
    /// timers milliseconds of `CLOCK_MONOTONIC`, their low 32 bits, and how often; of signals how often; of a child
    /// `si_status` and `si_code`; of completions the answer, low half first. Of a broken one 0 and `-errno`.
    pub data: [u32; 2],
    /// A number of the program's.
    pub user_data: u64,
}

const _: () = assert!(size_of::<Event>() == 40 && align_of::<Event>() == 8);

impl Event {
    /// Its kind, if it is one of ours.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(self.kind)
    }

    /// Names its source.
    pub fn key(&self) -> Option<Key> {
        Some(Key { kind: self.kind()?, id: self.id })
    }

    /// What has happened, of readiness and directories: bits as in [`asked`](Self::asked). What poll(2) tells
    /// unasked (`POLLERR`, `POLLHUP`) is among those of `Poll`; of sockets and pipes it is whatever was
    /// asked for.
    pub fn happened(&self) -> u32 {
        self.data[0]
    }

    /// How many events it stands for: timers, signals and directories that had more than one meanwhile; 2^32 - 1 for
    /// more than that.
    pub fn count(&self) -> u32 {
        // A signal's stands where take 30 has it.
        if self.kind() == Some(Kind::Signal) { self.data[0] } else { self.data[1] }
    }

    /// The answer of a call, closure or chain. Of a child its `si_status` is in the low half and `si_code` in the high
    /// one, as in [`data`](Self::data).
    pub fn result(&self) -> i64 {
        i64::from(self.data[0]) | i64::from(self.data[1].cast_signed()) << 32
    }

    pub(crate) fn set_result(&mut self, result: i64) {
        self.data = [result as u32, (result >> 32) as u32];
    }

    /// Why the source is none any more.
    pub fn error(&self) -> Option<io::Error> {
        let broken = self.state & BROKEN != 0;
        broken.then(|| io::Error::from_raw_os_error(self.data[1].cast_signed().wrapping_neg()))
    }
}
