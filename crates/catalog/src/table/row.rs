//! Short ways to write a row and its arguments.

use crate::entry::{Cancel, Entry, Events, Makes, Runs, Timeout, Twin, Waits};
use crate::kind::{Arg, CType, Dir, Kind, Length};

/// `__WNOTHREAD` of linux/wait.h.
pub(super) const WNOTHREAD: usize = 0x2000_0000;

/// A row that never waits, runs anywhere, makes nothing and is old; methods say what is different.
pub(super) const fn row(nr: u32, name: &'static str, args: &'static [Arg]) -> Entry {
    Entry {
        nr,
        name,
        args,
        waits: Waits::Never,
        twin: None,
        runs: Runs::Anywhere,
        timeout: Timeout::None,
        cancel: Cancel::NoWait,
        makes: Makes::Nothing,
        since: "",
    }
}

/// A number that Linux 6.19 answers with `ENOSYS`; `when` is the `since` column.
pub(super) const fn gone(nr: u32, name: &'static str, when: &'static str) -> Entry {
    row(nr, name, &[]).since(when)
}

impl Entry {
    const fn waits(mut self, waits: Waits, cancel: Cancel) -> Self {
        self.waits = waits;
        self.cancel = cancel;
        self
    }

    pub(super) const fn disk(self) -> Self {
        self.waits(Waits::Disk, Cancel::Uninterruptible)
    }

    pub(super) const fn reads(self, fd: u8) -> Self {
        self.waits(Waits::Readiness { fd, events: Events::In }, Cancel::Interruptible)
    }

    pub(super) const fn writes(self, fd: u8) -> Self {
        self.waits(Waits::Readiness { fd, events: Events::Out }, Cancel::Interruptible)
    }

    pub(super) const fn timer(self) -> Self {
        self.waits(Waits::Timer, Cancel::Interruptible)
    }

    pub(super) const fn child(self) -> Self {
        self.waits(Waits::Child, Cancel::Interruptible)
    }

    pub(super) const fn lock(self) -> Self {
        self.waits(Waits::Lock, Cancel::Interruptible)
    }

    pub(super) const fn other(self) -> Self {
        self.waits(Waits::Other, Cancel::Interruptible)
    }

    pub(super) const fn interruptible(mut self) -> Self {
        self.cancel = Cancel::Interruptible;
        self
    }

    pub(super) const fn killable(mut self) -> Self {
        self.cancel = Cancel::Killable;
        self
    }

    pub(super) const fn uninterruptible(mut self) -> Self {
        self.cancel = Cancel::Uninterruptible;
        self
    }

    pub(super) const fn twin(mut self, twin: Twin) -> Self {
        self.twin = Some(twin);
        self
    }

    pub(super) const fn bound(mut self, reason: &'static str) -> Self {
        self.runs = Runs::Bound(reason);
        self
    }

    /// Bound if `mask` of argument `arg` is one of `bound`.
    pub(super) const fn bound_if(
        mut self,
        arg: u8,
        mask: usize,
        bound: &'static [usize],
        reason: &'static str,
    ) -> Self {
        self.runs = Runs::Unless { arg, mask, bound, reason };
        self
    }

    pub(super) const fn refused(mut self, reason: &'static str) -> Self {
        self.runs = Runs::Refused(reason);
        self
    }

    pub(super) const fn timeout(mut self, timeout: Timeout) -> Self {
        self.timeout = timeout;
        self
    }

    pub(super) const fn makes(mut self, makes: Makes) -> Self {
        self.makes = makes;
        self
    }

    pub(super) const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }
}

/// Functions that make an argument which is a value.
macro_rules! values {
    ($($function:ident $kind:ident),* $(,)?) => {$(
        pub(super) const fn $function(name: &'static str) -> Arg {
            Arg { name, kind: Kind::$kind }
        }
    )*};
}

values! {
    int Int, fd Fd, dirfd DirFd, flags Flags, op Op, len Len, count Count, off Offset, pid Pid, id Id,
    mode Mode, sig Signal, addr Addr, opaque Opaque, millis Millis, secs Seconds,
    path Path, text Str, texts Strs,
}

/// Memory that the kernel reads, as many bytes as argument `len` says.
pub(super) const fn input(name: &'static str, len: u8) -> Arg {
    buf(name, Dir::In, Length::Arg(len))
}

/// Memory that the kernel writes, as many bytes as argument `len` says.
pub(super) const fn output(name: &'static str, len: u8) -> Arg {
    buf(name, Dir::Out, Length::Arg(len))
}

/// Memory that the kernel reads and writes, as many bytes as argument `len` says.
pub(super) const fn update(name: &'static str, len: u8) -> Arg {
    buf(name, Dir::InOut, Length::Arg(len))
}

pub(super) const fn buf(name: &'static str, dir: Dir, len: Length) -> Arg {
    Arg { name, kind: Kind::Buf { dir, len } }
}

pub(super) const fn in_one(name: &'static str, of: CType) -> Arg {
    Arg { name, kind: Kind::Struct { dir: Dir::In, of } }
}

pub(super) const fn out_one(name: &'static str, of: CType) -> Arg {
    Arg { name, kind: Kind::Struct { dir: Dir::Out, of } }
}

pub(super) const fn inout_one(name: &'static str, of: CType) -> Arg {
    Arg { name, kind: Kind::Struct { dir: Dir::InOut, of } }
}

pub(super) const fn in_many(name: &'static str, of: CType, count: u8) -> Arg {
    Arg { name, kind: Kind::Array { dir: Dir::In, of, count } }
}

pub(super) const fn out_many(name: &'static str, of: CType, count: u8) -> Arg {
    Arg { name, kind: Kind::Array { dir: Dir::Out, of, count } }
}

pub(super) const fn inout_many(name: &'static str, of: CType, count: u8) -> Arg {
    Arg { name, kind: Kind::Array { dir: Dir::InOut, of, count } }
}

pub(super) const fn iov(name: &'static str, dir: Dir, count: u8) -> Arg {
    Arg { name, kind: Kind::Iovec { dir, count } }
}

pub(super) const fn timespec(name: &'static str, dir: Dir) -> Arg {
    Arg { name, kind: Kind::Timespec(dir) }
}

pub(super) const fn timeval(name: &'static str, dir: Dir) -> Arg {
    Arg { name, kind: Kind::Timeval(dir) }
}
