//! Waits that transfer nothing: for a time, for a child, for events of descriptors, for a connection.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use syslet_sys::descriptor;
use syslet_sys::memory::is_readable;
use syslet_sys::uapi::{
    AF_INET, AF_INET6, CLOCK_MONOTONIC, CLOCK_REALTIME, EINPROGRESS, O_NONBLOCK, P_PID, P_PIDFD,
    POLLHUP, TIMER_ABSTIME, WEXITED, WNOWAIT, nr,
};

use super::decide::is_of_signals;
use super::number::Call;
use super::route::{Asker, Routed, child_of, done, interest, order};
use super::several::{ask, is_too_large, sets_are_there};
use super::submit::in_place;
use super::timeout::{Limit, limit, time_of_sleep};
use super::twin::{Answer, Attempt};
use crate::park::{CHILD_LOOKS, Clock, NEVER, Order, Way};
use crate::sync::{AtomicI32, Ordering};

/// Children that have stopped under a wait of ours, each at the place of its number: we trace them. Those that share a
/// place have it by turns, and what is lost is looked at again.
static TRACED: [AtomicI32; 64] = [const { AtomicI32::new(0) }; 64];

/// The next waits for child `pid` have a thread: who traces it wants to be told at once.
pub(crate) fn note_traced(pid: i32) {
    TRACED[pid as usize % TRACED.len()].store(pid, Ordering::Relaxed);
}

/// `nanosleep` and `clock_nanosleep`.
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn sleep(asker: Asker, call: &Call) -> Routed {
    let (clock, absolute) = match call.nr() {
        nr::NANOSLEEP => (CLOCK_MONOTONIC, false),
        nr::CLOCK_NANOSLEEP => (call.args()[0], call.args()[1] & TIMER_ABSTIME != 0),
        _ => return None,
    };
    let clock = match clock {
        // A time from now on does not depend on how the clock is set.
        CLOCK_REALTIME if absolute => Clock::Realtime,
        CLOCK_MONOTONIC | CLOCK_REALTIME => Clock::Monotonic,
        _ => return None,
    };
    // SAFETY: the caller's duties.
    let time = unsafe { time_of_sleep(call) }?;
    let now = clock.now();
    let deadline = if absolute { time } else { now.saturating_add(time).min(NEVER - 1) };
    if deadline <= now {
        return done(0);
    }
    asker.park(Order { call: *call, way: Way::Sleep, file: 0, done: 0, deadline, clock })
}

/// `poll` and `ppoll`, `select` and `pselect6`.
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn poll(asker: Asker, call: &Call) -> Routed {
    let args = call.args();
    let masked = match call.nr() {
        nr::PPOLL => args[3] != 0,
        // A structure: the address of the mask, and its size.
        nr::PSELECT6 if args[5] != 0 => {
            // What is not there is for the kernel to find.
            !is_readable(args[5], size_of::<usize>())
                // SAFETY: it was looked at, and the caller's duties.
                || unsafe { (args[5] as *const usize).read_unaligned() } != 0
        }
        _ => false,
    };
    if masked || is_too_large(call) || !sets_are_there(call) {
        return None;
    }
    let way = match call.nr() {
        nr::POLL | nr::PPOLL if args[0] == 0 => return None,
        nr::POLL | nr::PPOLL if args[1] == 1 => Way::Poll,
        _ => Way::Several,
    };
    // SAFETY: the caller's duties.
    unsafe { wait_for_events(asker, call, way) }
}

/// `connect`, of a stream over the network: begun without waiting.
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn connect(asker: Asker, call: &Call) -> Routed {
    let [socket, address, len, ..] = *call.args() else { return None };
    if len < 2 || !is_readable(address, 2) {
        return None;
    }
    // SAFETY: it was looked at, and the caller's duties.
    let family = unsafe { (address as *const u16).read_unaligned() };
    let descriptor = socket as i32;
    let flags = descriptor::status_flags(descriptor);
    let waits = flags >= 0 && flags as usize & O_NONBLOCK == 0;
    let network = matches!(family, AF_INET | AF_INET6) && descriptor::is_stream_socket(descriptor);
    // As poll(2) says it: neither connected nor on the way there, nor does it listen.
    let fresh = || descriptor::poll(descriptor, 0, 0) & POLLHUP as isize != 0;
    if !waits || !network || !fresh() || descriptor::has_socket_timeout(descriptor, true) {
        return None;
    }
    let file = descriptor::stat(descriptor).ok()?.ino;
    // Nobody reads or writes before it is connected, so nobody is misled by the flag meanwhile.
    descriptor::set_status_flags(descriptor, flags | O_NONBLOCK as isize);
    // SAFETY: the caller's duties.
    let answer = unsafe { in_place(call) }.raw();
    descriptor::set_status_flags(descriptor, flags);
    if answer != -EINPROGRESS {
        return done(answer);
    }
    asker.park(order(*call, Way::Connect, file, 0))
}

/// Asks with a time limit of zero first.
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn wait_for_events(asker: Asker, call: &Call, way: Way) -> Routed {
    // SAFETY: the caller's duties.
    let deadline = match unsafe { limit(call) } {
        Limit::Never => NEVER,
        Limit::After(nanos) => Clock::Monotonic.now().saturating_add(nanos).min(NEVER - 1),
        Limit::Unsound => return None,
    };
    let over = deadline <= Clock::Monotonic.now();
    if way == Way::Several && over {
        return None; // does not wait
    }
    let answer = match way {
        // SAFETY: as above.
        Way::Several => unsafe { ask(call) },
        // SAFETY: as above.
        _ => unsafe { Attempt::zero(call)?.make() },
    };
    if answer != 0 || over {
        return done(answer);
    }
    let file = match interest(call) {
        Some((descriptor, _)) => {
            let stat = descriptor::stat(descriptor).ok()?;
            if way == Way::Poll && is_of_signals(descriptor, &stat) {
                return None;
            }
            stat.ino
        }
        None => 0,
    };
    let clock = Clock::Monotonic;
    asker.park(Order { call: *call, way, file, done: 0, deadline, clock })
}

/// `wait4` and `waitid` of one child that is to end. (If we trace it they are told of its stops too, of which a pidfd
/// does not tell: so a child that waits by number is looked at now and then.)
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn wait_for_child(asker: Asker, call: &Call) -> Routed {
    let args = call.args();
    let options = if call.nr() == nr::WAIT4 { args[2] } else { args[3] };
    let one = match call.nr() {
        nr::WAIT4 => options == 0 && args[0] as i32 > 0,
        // Without the structure its answer does not say whether there was a child.
        _ => matches!(args[0], P_PID | P_PIDFD) && options & !WNOWAIT == WEXITED && args[2] != 0,
    };
    if !one {
        return None;
    }
    let now = Clock::Monotonic.now();
    let (mut file, mut deadline) = (0, now.saturating_add(CHILD_LOOKS[0]));
    if let Some((pidfd, _)) = interest(call) {
        // PIDFD_NONBLOCK, of Linux 5.10: such a call does not wait.
        let flags = descriptor::status_flags(pidfd);
        if flags < 0 || flags as usize & O_NONBLOCK != 0 {
            return None;
        }
        file = descriptor::stat(pidfd).ok()?.ino;
        deadline = NEVER;
    } else {
        let pid = child_of(call);
        if TRACED[pid as usize % TRACED.len()].load(Ordering::Relaxed) == pid {
            return None;
        }
    }
    let attempt = Attempt::child(call)?;
    // SAFETY: the caller's duties.
    let answer = unsafe { attempt.make() };
    if attempt.read(call, answer) == Answer::Final {
        return done(answer);
    }
    let clock = Clock::Monotonic;
    asker.park(Order { call: *call, way: Way::Child, file, done: 0, deadline, clock })
}
