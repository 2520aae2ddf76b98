//! What the answer of an attempt at a transfer means for the call: it is over, it is parked, or a thread makes
//! what is left.

#![allow(unsafe_code, reason = "reads what calls name in memory")]

use syslet_sys::descriptor;
use syslet_sys::uapi::{EAGAIN, O_NONBLOCK, POLLOUT, Stat, nr};

use super::cold::{Found, found};
use super::kinds::{Kind, look};
use super::number::Call;
use super::progress::Progress;
use super::route::{interest, order};
use super::transfer::{Transfer, bytes};
use super::twin::{Answer, read_transfer};
use crate::park::{Order, Way};

/// What is to be done after an attempt.
#[derive(Debug)]
pub(super) enum Decision {
    /// Nothing: this is the answer.
    Over(isize),
    /// It waits.
    Park(Order),
    /// A thread does what is left.
    Rest(Order),
    /// It is made as any other call.
    Run,
}

/// What is to be done after an attempt at `call` that answered `answer`.
///
/// # Safety
///
/// The call may be made.
pub(super) unsafe fn decide(call: &Call, way: Way, answer: isize) -> Decision {
    if way == Way::Disk {
        // Somebody has gone on already: a thread may as well fetch it.
        // SAFETY: it was just made.
        return match unsafe { found(call, answer) } {
            Found::Warm(answer) => Decision::Over(answer),
            Found::Cold | Found::NoTwin => Decision::Run,
        };
    }
    match read_transfer(answer) {
        Answer::WouldWait => wait_for_readiness(call, way),
        Answer::NoTwin => {
            cannot_be_tried(call.args()[0], way);
            Decision::Run
        }
        // SAFETY: the duty of this function.
        Answer::Final => unsafe { finished(call, way, answer) },
    }
}

/// The guess about the descriptor was wrong, or it cannot be tried.
#[cold]
fn cannot_be_tried(descriptor: usize, way: Way) {
    match look(descriptor) {
        Ok((Kind::Stream, _)) if way == Way::Nowait => Kind::Device.remember(descriptor),
        Ok((Kind::Socket, _)) if way == Way::Nowait => Kind::Device.remember(descriptor),
        _ => {}
    }
}

/// The attempt has an answer. A part of a write has to go on, and a short read of what turns out to
/// be a file too.
///
/// # Safety
///
/// The call may be made.
unsafe fn finished(call: &Call, way: Way, answer: isize) -> Decision {
    match Progress::of(call, answer) {
        Progress::Over => {}
        progress => return unfinished(call, progress, answer),
    }
    // What has answered as a socket is one.
    if way != Way::Nowait || answer <= 0 {
        return Decision::Over(answer);
    }
    match Transfer::of(call) {
        // SAFETY: it has just read its vectors.
        Some(transfer) if transfer.reads && (answer as usize) < unsafe { bytes(call) } => {
            short(call, transfer, answer)
        }
        _ => Decision::Over(answer),
    }
}

/// A read has found less than it asked for. The number may name a file by now, of which only a part was in memory.
fn short(call: &Call, transfer: Transfer, answer: isize) -> Decision {
    let args = call.args();
    // The first costs less, and says no of most that are none; but eventfds and their kin say yes.
    if !descriptor::is_seekable(args[0] as i32) || !Kind::is_storage_now(args[0]) {
        return Decision::Over(answer);
    }
    if transfer.has_position() {
        return Decision::Run; // done again as a whole
    }
    let part = answer as usize;
    let rest = if transfer.has_vectors {
        *call
    } else {
        Call::new(nr::READ, [args[0], args[1] + part, args[2] - part])
    };
    Decision::Rest(order(rest, Way::Thread, 0, part))
}

/// A write has written a part: the rest waits, if the descriptor is one that waits at all.
#[cold]
fn unfinished(call: &Call, progress: Progress, answer: isize) -> Decision {
    let descriptor = call.args()[0];
    let flags = descriptor::status_flags(descriptor as i32);
    if flags < 0 || flags as usize & O_NONBLOCK != 0 {
        return Decision::Over(answer);
    }
    let Ok((kind, stat)) = look(descriptor) else { return Decision::Over(answer) };
    let part = answer as usize;
    let limited = kind == Kind::Socket && is_limited(call);
    match progress {
        Progress::Rest(rest) if !kind.is_storage() && !limited => {
            let way = if kind == Kind::Socket { Way::Message } else { Way::Nowait };
            Decision::Park(order(rest, way, stat.ino, part))
        }
        Progress::Rest(rest) => Decision::Rest(order(rest, Way::Thread, 0, part)),
        _ => Decision::Rest(order(*call, Way::Thread, 0, part)),
    }
}

/// The call would wait: it is parked, if that is what a plain call would do.
pub(super) fn wait_for_readiness(call: &Call, way: Way) -> Decision {
    let descriptor = call.args()[0];
    let flags = descriptor::status_flags(descriptor as i32);
    if flags < 0 {
        return Decision::Run;
    }
    if flags as usize & O_NONBLOCK != 0 {
        // Not a reason to wait but the answer. Where nothing was tried the call itself gives it.
        return if way == Way::Thread { Decision::Run } else { Decision::Over(-EAGAIN) };
    }
    let Ok((kind, stat)) = look(descriptor) else { return Decision::Run };
    let way = if kind == Kind::Device && way == Way::Message { Way::Thread } else { way };
    let limited = Kind::of(&stat) == Kind::Socket && is_limited(call);
    let is_its_threads = stat.is_anonymous() && descriptor::may_be_its_threads(descriptor as i32);
    if kind.is_storage() || limited || is_its_threads {
        return Decision::Run;
    }
    Decision::Park(order(*call, way, stat.ino, 0))
}

/// True for a signalfd: parked, nobody would be told of a signal, because the kernel asks it on a thread of its own,
/// which has none.
pub(super) fn is_of_signals(descriptor: i32, stat: &Stat) -> bool {
    stat.is_anonymous() && descriptor::may_be_signals(descriptor)
}

/// True if the socket has a time limit of its own for what `call` does.
fn is_limited(call: &Call) -> bool {
    let sends = interest(call).is_some_and(|(_, events)| events == POLLOUT);
    descriptor::has_socket_timeout(call.args()[0] as i32, sends)
}
