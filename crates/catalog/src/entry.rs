//! The row of the table and the types of its columns.

use crate::kind::{Arg, Kind};

/// What is known of one system call. Argument indices count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number.
    pub nr: u32,
    /// The name, as the kernel's table has it.
    pub name: &'static str,
    /// The arguments, at most six.
    pub args: &'static [Arg],
    /// What the call may sleep for.
    pub waits: Waits,
    /// How to ask for the same without sleeping, where that is possible.
    pub twin: Option<Twin>,
    /// On which kernel thread the call may be made.
    pub runs: Runs,
    /// Where the call's own time limit is.
    pub timeout: Timeout,
    /// What ends the sleep early.
    pub cancel: Cancel,
    /// What a success leaves behind that must be closed if nobody wants it any more.
    pub makes: Makes,
    /// The kernel version that brought the call; empty if older than Linux 2.6.16; `never` for a
    /// number that x86-64 never implemented, `until` and a version for a call removed by it.
    pub since: &'static str,
}

impl Entry {
    /// Whether Linux 6.19 has the call at all. The others answer `ENOSYS`.
    pub fn implemented(&self) -> bool {
        self.since != "never" && !self.since.starts_with("until")
    }

    /// The argument at `index`.
    pub fn arg(&self, index: u8) -> Option<&'static Arg> {
        self.args.get(usize::from(index))
    }

    /// The index of the first argument that is `kind`: of the flags, say.
    pub fn position(&self, kind: Kind) -> Option<usize> {
        self.args.iter().position(|arg| arg.kind == kind)
    }
}

/// What a call may sleep for, at worst. Short kernel locks, the scheduler and memory do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Nothing.
    Never,
    /// Storage, a file system, or kernel work that ends by itself: never for another thread or
    /// process to act, so such a call may be made in place when no thread is left. (A file system
    /// served by the calling process itself breaks this, for every call that reaches it.)
    Disk,
    /// A descriptor to become ready; the call then succeeds if it is made again and nobody else was
    /// faster. On a regular file or a block device this is to be read as [`Waits::Disk`].
    Readiness {
        /// The argument that is the descriptor.
        fd: u8,
        /// What to wait for.
        events: Events,
    },
    /// A point in time.
    Timer,
    /// A child to change state.
    Child,
    /// A lock, semaphore or futex that somebody else must release.
    Lock,
    /// Something else, which may need another thread or process to act: a peer, a signal, a set of
    /// descriptors, a device.
    Other,
}

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    /// `POLLIN`: something to read, a connection to accept.
    In,
    /// `POLLOUT`: room to write.
    Out,
}

/// How to ask for the same without sleeping. `arg` is the argument to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// Make the transfer with `preadv2` or `pwritev2` and `RWF_NOWAIT`; position -1 is the file's
    /// own.
    RwfNowait,
    /// Add `MSG_DONTWAIT`.
    MsgDontwait {
        /// The flags.
        arg: u8,
    },
    /// Add `LOCK_NB`.
    LockNb {
        /// The operation.
        arg: u8,
    },
    /// Use `F_SETLK` for `F_SETLKW`, `F_OFD_SETLK` for `F_OFD_SETLKW`; other commands do not wait
    /// for locks.
    SetLk {
        /// The command.
        arg: u8,
    },
    /// Add `IPC_NOWAIT`.
    IpcNowait {
        /// The flags.
        arg: u8,
    },
    /// Add `IPC_NOWAIT` to every `sem_flg` of a copy of the array.
    IpcNowaitEach {
        /// The array.
        arg: u8,
    },
    /// Add `WNOHANG`.
    Wnohang {
        /// The options.
        arg: u8,
    },
    /// Give a time limit of zero; for an absolute limit, a point in the past.
    ZeroTimeout {
        /// The time limit.
        arg: u8,
    },
    /// Add `SPLICE_F_NONBLOCK`. It covers the pipe; the other side waits unless it is `O_NONBLOCK`.
    SpliceNonblock {
        /// The flags.
        arg: u8,
    },
    /// Add `GRND_NONBLOCK`.
    GrndNonblock {
        /// The flags.
        arg: u8,
    },
}

impl Twin {
    /// The argument to change; `None` where another call is made instead.
    pub const fn arg(self) -> Option<u8> {
        match self {
            Self::RwfNowait => None,
            Self::MsgDontwait { arg }
            | Self::LockNb { arg }
            | Self::SetLk { arg }
            | Self::IpcNowait { arg }
            | Self::IpcNowaitEach { arg }
            | Self::Wnohang { arg }
            | Self::ZeroTimeout { arg }
            | Self::SpliceNonblock { arg }
            | Self::GrndNonblock { arg } => Some(arg),
        }
    }
}

/// On which kernel thread of the process a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// On any: effect and answer are those of the process.
    Anywhere,
    /// Only on the one that is meant, because effect or answer belongs to it; the reason.
    Bound(&'static str),
    /// On any, unless the argument `arg` says otherwise.
    Unless {
        /// The argument that says it.
        arg: u8,
        /// The bits of it that do.
        mask: usize,
        /// What they are where the call is [`Bound`](Self::Bound).
        bound: &'static [usize],
        /// Why it is, then.
        reason: &'static str,
    },
    /// Never on behalf of another, because it ends, copies or replaces the one that makes it; the
    /// reason.
    Refused(&'static str),
}

impl Runs {
    /// Why the call may not be made on another thread; `None` where it always may.
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Anywhere => None,
            Self::Bound(reason) | Self::Refused(reason) | Self::Unless { reason, .. } => {
                Some(reason)
            }
        }
    }

    /// Why the call may not be made on another thread with these arguments, of which those that are not
    /// known are `None`; `None` where it may.
    pub fn reason_with(self, args: [Option<usize>; 6]) -> Option<&'static str> {
        match self {
            Self::Unless { arg, mask, bound, reason } => {
                let free = args[usize::from(arg)].is_some_and(|arg| !bound.contains(&(arg & mask)));
                if free { None } else { Some(reason) }
            }
            other => other.reason(),
        }
    }
}

/// Where the time limit of a call is. `arg` is the argument that holds the time. A call that is made
/// again after it has waited needs a relative limit made shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// It has none.
    None,
    /// From now on, in a `struct timespec`.
    RelTimespec {
        /// The time.
        arg: u8,
        /// Whether the kernel writes what is left over it.
        updated: bool,
    },
    /// From now on, in a `struct timeval`.
    RelTimeval {
        /// The time.
        arg: u8,
        /// Whether the kernel writes what is left over it.
        updated: bool,
    },
    /// From now on, in milliseconds; negative is for ever.
    RelMillis {
        /// The time.
        arg: u8,
    },
    /// A point on a clock, in a `struct timespec`.
    AbsTimespec {
        /// The time.
        arg: u8,
    },
    /// A `struct timespec`; the call's [`Kind::Flags`] argument says which of the two it is
    /// (`TIMER_ABSTIME`).
    ByFlags {
        /// The time.
        arg: u8,
    },
    /// A `struct timespec`, or something else altogether; the call's [`Kind::Op`] argument says.
    ByOp {
        /// The time.
        arg: u8,
    },
}

impl Timeout {
    /// The argument that holds the time.
    pub const fn arg(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::RelTimespec { arg, .. }
            | Self::RelTimeval { arg, .. }
            | Self::RelMillis { arg }
            | Self::AbsTimespec { arg }
            | Self::ByFlags { arg }
            | Self::ByOp { arg } => Some(arg),
        }
    }

    /// Whether the time may count from the moment of the call.
    pub const fn may_be_relative(self) -> bool {
        !matches!(self, Self::None | Self::AbsTimespec { .. })
    }
}

/// What ends a call's sleep before its time. For [`Waits::Disk`] this is how local file systems
/// behave; network and user-space ones often let a signal through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// It does not sleep.
    NoWait,
    /// Any signal that has a handler: the call answers `EINTR` or with what it has done so far.
    Interruptible,
    /// Only a signal that kills the process.
    Killable,
    /// Nothing.
    Uninterruptible,
}

/// What a success leaves behind in the descriptor table. Descriptors that arrive *as data* are not
/// counted: `SCM_RIGHTS` messages, fanotify and userfaultfd events, `SO_PEERPIDFD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// Nothing, or a descriptor whose number the caller chose and can close itself (`dup2`).
    Nothing,
    /// The result is a new descriptor.
    Fd,
    /// Two new descriptors were stored.
    FdPair {
        /// The `int[2]` that holds them.
        arg: u8,
    },
    /// The result is a new descriptor for some values of an argument and a plain number for others:
    /// never to be closed without looking at it.
    FdByOp {
        /// The argument that decides.
        arg: u8,
    },
}
