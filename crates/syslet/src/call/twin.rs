//! The non-blocking twin of a call: the same asked for without waiting.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use syslet_catalog::{Entry, Timeout, Twin};
use syslet_sys::arch;
use syslet_sys::uapi::{
    EACCES, EAGAIN, EINVAL, ENOMSG, ENOTSOCK, EOPNOTSUPP, F_OFD_SETLK, F_OFD_SETLKW, F_SETLK,
    F_SETLKW, GRND_NONBLOCK, IPC_NOWAIT, LOCK_NB, MSG_DONTWAIT, RWF_NOWAIT, WNOHANG, nr,
};

use super::number::Call;
use super::timeout::timeout;
use super::transfer::{Position, Transfer};

/// A twin, and the memory that it needs beside the caller's.
///
/// Its arguments may point into itself: it is made where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    call: Call,
    /// The argument that is to be the address of `extra`; 0: none.
    points_here: u8,
    /// One `struct iovec`, or a `struct timespec` of zero.
    extra: [usize; 2],
}

/// How a twin's answer is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is the call's own.
    Final,
    /// The call would have waited.
    WouldWait,
    /// The twin cannot be had for this file: nothing was done.
    NoTwin,
}

impl Attempt {
    fn new(nr: usize, args: [usize; 6]) -> Self {
        Self { call: Call::new(nr, args), points_here: 0, extra: [0; 2] }
    }

    fn changed(call: &Call, arg: u8, value: usize) -> Self {
        let mut call = *call;
        call.0[usize::from(arg) + 1] = value;
        Self { call, points_here: 0, extra: [0; 2] }
    }

    /// As `RWF_NOWAIT`, for the calls that can be turned into `preadv2` and `pwritev2`.
    pub(crate) fn nowait(call: &Call) -> Option<Self> {
        let [fd, at, len, ..] = *call.args() else { return None };
        let transfer = Transfer::of(call)?;
        let position = match transfer.position {
            Position::Own => usize::MAX, // -1
            Position::At(position) => position,
            Position::Unsound => return None,
        };
        let nr = if transfer.reads { nr::PREADV2 } else { nr::PWRITEV2 };
        let vector = if transfer.has_vectors { (at, len) } else { (0, 1) };
        let flags = transfer.flags | RWF_NOWAIT;
        // The lower half of the position has all 64 bits: preadv2(2).
        let mut twin = Self::new(nr, [fd, vector.0, vector.1, position, 0, flags]);
        if !transfer.has_vectors {
            twin.extra = [at, len];
            twin.points_here = 2;
        }
        Some(twin)
    }

    /// As `MSG_DONTWAIT`: `read` and `write` on what is a socket, and the calls with flags.
    pub(crate) fn message(call: &Call) -> Option<Self> {
        let args = call.args();
        let twin = || syslet_catalog::lookup(call.nr() as u32)?.twin;
        match (call.nr(), twin()) {
            // A read of nothing is not a receive of nothing, which would wait.
            (nr::READ | nr::WRITE, _) if args[2] == 0 => None,
            (nr::READ, _) => {
                Some(Self::new(nr::RECVFROM, [args[0], args[1], args[2], MSG_DONTWAIT, 0, 0]))
            }
            (nr::WRITE, _) => {
                Some(Self::new(nr::SENDTO, [args[0], args[1], args[2], MSG_DONTWAIT, 0, 0]))
            }
            (_, Some(Twin::MsgDontwait { arg })) => {
                Some(Self::changed(call, arg, args[usize::from(arg)] | MSG_DONTWAIT))
            }
            _ => None,
        }
    }

    /// With a time limit of zero: `epoll_wait` and its kin, `poll`, `ppoll`.
    pub(crate) fn zero(call: &Call) -> Option<Self> {
        if !matches!(
            call.nr(),
            nr::EPOLL_WAIT | nr::EPOLL_PWAIT | nr::EPOLL_PWAIT2 | nr::POLL | nr::PPOLL
        ) {
            return None;
        }
        let timeout = timeout(call);
        let arg = timeout.arg()?;
        let mut twin = Self::changed(call, arg, 0);
        // A limit in memory is this attempt's own zero.
        let in_memory = !matches!(timeout, Timeout::RelMillis { .. });
        twin.points_here = if in_memory { arg + 1 } else { 0 };
        Some(twin)
    }

    /// As `WNOHANG`.
    pub(crate) fn child(call: &Call) -> Option<Self> {
        Self::by_flag(call, syslet_catalog::lookup(call.nr() as u32)?)
    }

    /// For locks, queues, semaphores, children: where a flag says it.
    pub(crate) fn by_flag(call: &Call, entry: &Entry) -> Option<Self> {
        let twin = entry.twin?;
        let arg = twin.arg()?;
        let old = call.args()[usize::from(arg)];
        let new = match (twin, old) {
            (Twin::LockNb { .. }, _) => old | LOCK_NB,
            (Twin::SetLk { .. }, F_SETLKW) => F_SETLK,
            (Twin::SetLk { .. }, F_OFD_SETLKW) => F_OFD_SETLK,
            (Twin::IpcNowait { .. }, _) => old | IPC_NOWAIT,
            (Twin::Wnohang { .. }, _) => old | WNOHANG,
            (Twin::GrndNonblock { .. }, _) => old | GRND_NONBLOCK,
            _ => return None,
        };
        Some(Self::changed(call, arg, new))
    }

    /// What the twin's answer to `call` means, of a child or of readiness.
    pub(crate) fn read(&self, call: &Call, answer: isize) -> Answer {
        match call.nr() {
            nr::EPOLL_WAIT | nr::EPOLL_PWAIT | nr::EPOLL_PWAIT2 if answer == 0 => Answer::WouldWait,
            nr::WAIT4 if answer == 0 => Answer::WouldWait,
            // Signal 0 in the structure: no child has changed.
            nr::WAITID if answer == 0 => {
                let signal = call.args()[2] as *const i32;
                // SAFETY: the call's memory, which the kernel has just written.
                match unsafe { signal.read_unaligned() } {
                    0 => Answer::WouldWait,
                    _ => Answer::Final,
                }
            }
            nr::WAIT4 | nr::WAITID => Answer::Final,
            _ => read_transfer(answer),
        }
    }

    /// True if the call asks for no more than this: then it does not wait, and its answer stands.
    pub(crate) fn is(&self, call: &Call) -> bool {
        self.call == *call
    }

    /// The words of the call, valid as long as this stands where it is.
    #[inline(always)]
    pub(crate) fn words(&self) -> [usize; 7] {
        let mut words = self.call.0;
        if self.points_here != 0 {
            words[usize::from(self.points_here)] = self.extra.as_ptr() as usize;
        }
        words
    }

    /// Makes it, on whatever thread this is.
    ///
    /// # Safety
    ///
    /// The call that this is a twin of may be made.
    pub(crate) unsafe fn make(&self) -> isize {
        let words = self.words();
        let args = [words[1], words[2], words[3], words[4], words[5], words[6]];
        // SAFETY: the duty of this function; `extra` lives on.
        unsafe { arch::syscall(words[0], args) }
    }
}

/// What the answer of a twin of [`Attempt::nowait`] or [`Attempt::message`] means.
#[inline(always)]
pub(crate) fn read_transfer(answer: isize) -> Answer {
    const NO_WAIT: isize = -EAGAIN;
    const NO_FILE: isize = -EOPNOTSUPP;
    const NO_SOCKET: isize = -ENOTSOCK;
    match answer {
        NO_WAIT => Answer::WouldWait,
        NO_FILE | NO_SOCKET => Answer::NoTwin,
        _ => Answer::Final,
    }
}

/// What the answer of a twin of [`Attempt::by_flag`] means.
pub(crate) fn read_flagged(twin: Option<Twin>, answer: isize) -> Answer {
    let waits = match twin {
        Some(Twin::SetLk { .. }) => answer == -EAGAIN || answer == -EACCES,
        Some(Twin::IpcNowait { .. }) => answer == -EAGAIN || answer == -ENOMSG,
        Some(Twin::Wnohang { .. }) => answer == 0,
        _ => answer == -EAGAIN,
    };
    match answer {
        _ if waits => Answer::WouldWait,
        answer if answer == -EINVAL => Answer::NoTwin,
        _ => Answer::Final,
    }
}
