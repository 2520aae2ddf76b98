//! Calls that wait for readiness, a time or a child: tried without waiting, and parked if they would
//! have to.

#![allow(unsafe_code, reason = "makes system calls and reads their time limits")]

use syslet_catalog::{Entry, Events, Makes, Twin, Waits};
use syslet_sys::descriptor;
use syslet_sys::uapi::{
    AF_INET, AF_INET6, CLOCK_MONOTONIC, CLOCK_REALTIME, EAGAIN, EINPROGRESS, MSG_DONTWAIT,
    MSG_PEEK, MSG_WAITALL, O_NONBLOCK, P_PID, POLLIN, POLLOUT, RWF_NOWAIT, TIMER_ABSTIME, WEXITED,
    WNOWAIT, nr,
};

use super::attempt::{Tried, try_as_guest};
use super::cold::{Found, found, is_read_at};
use super::kinds::{Kind, look};
use super::number::{Call, Ret};
use super::pending::Pending;
use super::progress::Progress;
use super::several::{ask, is_too_large};
use super::submit::{Submitted, in_place};
use super::timeout::{Limit, limit, time_of_sleep};
use super::twin::{Answer, Attempt, read_transfer};
use crate::SubmitError;
use crate::crew::{Busy, Engine, Guest, Settings, engine_of_guest, start};
use crate::park::{Clock, NEVER, Order, Way};

/// What became of a call that might be parked. `None`: it is made as any other.
type Routed = Option<Result<Submitted, SubmitError<Call>>>;

/// Who asks, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    guest: Option<&'static Guest>,
    or_busy: bool,
}

/// What a descriptor is waited for by `call`: the descriptor and the events of poll(2).
pub(crate) fn interest(call: &Call) -> Option<(i32, u32)> {
    if call.nr() == nr::CONNECT {
        return Some((call.args()[0] as i32, POLLOUT));
    }
    if matches!(call.nr(), nr::POLL | nr::PPOLL) {
        if call.args()[1] != 1 {
            return None; // see `several`
        }
        let entry = call.args()[0] as *const (i32, u16, u16); // struct pollfd
        // SAFETY: the call's memory, under the duties of `submit`.
        let (descriptor, events, _) = unsafe { entry.read_unaligned() };
        return Some((descriptor, u32::from(events)));
    }
    match syslet_catalog::lookup(call.nr() as u32)?.waits {
        Waits::Readiness { fd, events } => {
            let events = match events {
                Events::In => POLLIN,
                Events::Out => POLLOUT,
            };
            Some((call.args()[usize::from(fd)] as i32, events))
        }
        _ => None,
    }
}

/// True if `call` may bring new descriptors: it is answered where the program's are.
pub(crate) fn brings_descriptors(call: &Call) -> bool {
    let entry = syslet_catalog::lookup(call.nr() as u32);
    // A message may carry some.
    call.nr() == nr::RECVMSG || entry.is_none_or(|entry| entry.makes != Makes::Nothing)
}

/// The child that a `wait4` or `waitid` waits for, if it is one.
pub(crate) fn child_of(call: &Call) -> i32 {
    match call.nr() {
        nr::WAIT4 => call.args()[0] as i32,
        _ => call.args()[1] as i32,
    }
}

/// Tries and parks a call of [`Class::may_park`](syslet_catalog::Class::may_park).
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn submit_waiting(
    call: &Call,
    guest: Option<&'static Guest>,
    or_busy: bool,
) -> Routed {
    if guest.is_some_and(Guest::in_handler) {
        return None;
    }
    let asker = Asker { guest, or_busy };
    let entry = syslet_catalog::lookup(call.nr() as u32)?;
    match entry.waits {
        // SAFETY: the caller's duties.
        Waits::Timer => unsafe { sleep(asker, call) },
        // SAFETY: as above.
        Waits::Child => unsafe { wait_for_child(asker, call) },
        // SAFETY: as above.
        Waits::Readiness { .. } => unsafe { transfer(asker, call, entry) },
        // SAFETY: as above.
        Waits::Disk => unsafe { read_storage(asker, call, Kind::guess(call.args()[0])) },
        // SAFETY: as above.
        _ if call.nr() == nr::CONNECT => unsafe { connect(asker, call) },
        // SAFETY: as above.
        _ => unsafe { poll(asker, call) },
    }
}

impl Asker {
    fn engine(&self) -> Option<&'static Engine> {
        match self.guest {
            Some(_) => Some(engine_of_guest()),
            None => start(Settings::default()).ok(),
        }
    }

    /// A signal handler that runs until this is dropped must not begin a call of the guest's: it would
    /// find locks held.
    fn hold_off_handlers(&self) -> Option<Busy<'static>> {
        self.guest.map(Guest::keep_busy)
    }

    fn park(&self, order: Order) -> Routed {
        let call = order.call;
        let _busy = self.hold_off_handlers();
        Some(match self.engine()?.park(order, self.or_busy) {
            Ok(parked) => Ok(Submitted::Pending(Pending::new(parked))),
            Err(_) => Err(SubmitError::Busy(call)),
        })
    }
}

fn done(answer: isize) -> Routed {
    Some(Ok(Submitted::Done(Ret::new(answer))))
}

/// `nanosleep` and `clock_nanosleep`.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn sleep(asker: Asker, call: &Call) -> Routed {
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
unsafe fn poll(asker: Asker, call: &Call) -> Routed {
    let args = call.args();
    let masked = match call.nr() {
        nr::PPOLL => args[3] != 0,
        // A structure: the address of the mask, and its size.
        // SAFETY: the caller's duties.
        nr::PSELECT6 => args[5] != 0 && unsafe { (args[5] as *const usize).read_unaligned() } != 0,
        _ => false,
    };
    if masked || is_too_large(call) {
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
unsafe fn connect(asker: Asker, call: &Call) -> Routed {
    let [socket, address, len, ..] = *call.args() else { return None };
    // SAFETY: the caller's duties.
    let family = (len >= 2).then(|| unsafe { (address as *const u16).read_unaligned() })?;
    let descriptor = socket as i32;
    let flags = descriptor::status_flags(descriptor);
    let waits = flags >= 0 && flags as usize & O_NONBLOCK == 0;
    let network = matches!(family, AF_INET | AF_INET6) && descriptor::is_stream_socket(descriptor);
    if !waits || !network || descriptor::has_socket_timeout(descriptor, true) {
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
unsafe fn wait_for_events(asker: Asker, call: &Call, way: Way) -> Routed {
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
        Some((descriptor, _)) => descriptor::stat(descriptor).ok()?.ino,
        None => 0,
    };
    let clock = Clock::Monotonic;
    asker.park(Order { call: *call, way, file, done: 0, deadline, clock })
}

/// `wait4` and `waitid` of one child that is to end.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn wait_for_child(asker: Asker, call: &Call) -> Routed {
    let args = call.args();
    let options = if call.nr() == nr::WAIT4 { args[2] } else { args[3] };
    let one = match call.nr() {
        nr::WAIT4 => options == 0 && args[0] as i32 > 0,
        // Without the structure its answer does not say whether there was a child.
        _ => args[0] == P_PID && options & !WNOWAIT == WEXITED && args[2] != 0,
    };
    if !one {
        return None;
    }
    let attempt = Attempt::child(call)?;
    // SAFETY: the caller's duties.
    let answer = unsafe { attempt.make() };
    if attempt.read(call, answer) == Answer::Final {
        return done(answer);
    }
    let (deadline, clock) = (NEVER, Clock::Monotonic);
    asker.park(Order { call: *call, way: Way::Child, file: 0, done: 0, deadline, clock })
}

/// How to try a transfer on a descriptor of this kind; none if it is not to be tried.
fn way_of(call: &Call, entry: &Entry, kind: Kind) -> Option<Way> {
    let args = call.args();
    match entry.twin {
        None => Some(Way::Thread),
        Some(Twin::MsgDontwait { arg }) => {
            let flags = args[usize::from(arg)];
            let several = entry.name.ends_with("mmsg");
            // All of it, of a stream: what is there, and then the rest.
            let all = flags & MSG_WAITALL != 0;
            let divisible = call.nr() == nr::RECVFROM
                && flags & MSG_PEEK == 0
                && descriptor::is_stream_socket(args[0] as i32);
            let tried = flags & MSG_DONTWAIT == 0 && !several && (!all || divisible);
            tried.then_some(Way::Message)
        }
        Some(Twin::RwfNowait) => match kind {
            _ if matches!(call.nr(), nr::PREADV2 | nr::PWRITEV2) && args[5] & RWF_NOWAIT != 0 => {
                None
            }
            Kind::Socket if matches!(call.nr(), nr::READ | nr::WRITE) => Some(Way::Message),
            Kind::Device => Some(Way::Thread),
            _ => Some(Way::Nowait),
        },
        _ => None,
    }
}

/// A transfer, an accept, or a wait for events.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn transfer(asker: Asker, call: &Call, entry: &Entry) -> Routed {
    if matches!(entry.twin, Some(Twin::ZeroTimeout { .. })) {
        let masked = call.nr() != nr::EPOLL_WAIT && call.args()[4] != 0;
        if masked {
            return None;
        }
        // SAFETY: the caller's duties.
        return unsafe { wait_for_events(asker, call, Way::Zero) };
    }
    let descriptor = call.args()[0];
    let mut kind = Kind::guess(descriptor);
    if kind == Kind::Unknown {
        kind = look(descriptor).ok()?.0;
    }
    if kind.is_storage() {
        // SAFETY: the caller's duties.
        return unsafe { read_storage(asker, call, kind) };
    }
    let way = way_of(call, entry, kind)?;
    let decision = if way == Way::Thread {
        let (number, events) = interest(call)?;
        if descriptor::poll(number, events as u16, 0) != 0 {
            return None;
        }
        wait_for_readiness(call, way)
    } else {
        let attempt = match way {
            Way::Message => Attempt::message(call)?,
            _ => Attempt::nowait(call)?,
        };
        // SAFETY: the caller's duties.
        match unsafe { asker.attempt(&attempt, call, way) } {
            Tried::Away(pending) => return Some(Ok(Submitted::Pending(pending))),
            // SAFETY: as above.
            Tried::Here(answer) => unsafe { decide(call, way, answer) },
        }
    };
    match decision {
        Decision::Over(answer) => done(answer),
        Decision::Park(order) => asker.park(order),
        Decision::Rest(order) => asker.send_away(order),
        Decision::Run => None,
    }
}

/// A guest's read at a position: tried, if those of its descriptor were cold lately.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn read_storage(asker: Asker, call: &Call, kind: Kind) -> Routed {
    if kind == Kind::Unknown {
        look(call.args()[0]).ok()?; // the next ones need not come here
    }
    if kind != Kind::Cold || asker.guest.is_none() || !is_read_at(call) {
        return None;
    }
    let attempt = Attempt::nowait(call)?;
    // SAFETY: the caller's duties.
    let answer = match unsafe { asker.attempt(&attempt, call, Way::Disk) } {
        Tried::Away(pending) => return Some(Ok(Submitted::Pending(pending))),
        Tried::Here(answer) => answer,
    };
    // SAFETY: it was just made.
    match unsafe { found(call, answer) } {
        Found::Warm(answer) => done(answer),
        Found::Cold if engine_of_guest().park.disk.takes_reads() => {
            asker.park(order(*call, Way::Disk, 0, 0))
        }
        Found::Cold | Found::NoTwin => None,
    }
}

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
            has_no_twin(call.args()[0], way);
            Decision::Run
        }
        // SAFETY: the duty of this function.
        Answer::Final => unsafe { finished(call, answer) },
    }
}

impl Asker {
    /// Makes an attempt: as a guest's call if it can be protected, for even a call that does not wait
    /// may touch memory that has to be fetched.
    ///
    /// # Safety
    ///
    /// Those of `submit`.
    unsafe fn attempt(&self, attempt: &Attempt, call: &Call, way: Way) -> Tried {
        match self.guest {
            // SAFETY: the guest is ready; the rest is the caller's duty.
            Some(guest) if guest.ready().is_ok() => unsafe {
                try_as_guest(guest, attempt, call, way)
            },
            // SAFETY: the caller's duties.
            _ => Tried::Here(unsafe { attempt.make() }),
        }
    }
}

/// The guess about the descriptor was wrong, or it cannot be tried.
#[cold]
fn has_no_twin(descriptor: usize, way: Way) {
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
unsafe fn finished(call: &Call, answer: isize) -> Decision {
    match Progress::of(call, answer) {
        Progress::Over => {}
        progress => return unfinished(call, progress, answer),
    }
    let args = call.args();
    let short = call.nr() == nr::READ && answer > 0 && (answer as usize) < args[2];
    let stream = Kind::guess(args[0]) == Kind::Stream;
    if short && stream && descriptor::is_seekable(args[0] as i32) {
        // The number names a file by now, of which only a part was in memory.
        Kind::Storage.remember(args[0]);
        let part = answer as usize;
        let rest = Call::new(nr::READ, [args[0], args[1] + part, args[2] - part]);
        return Decision::Rest(order(rest, Way::Thread, 0, part));
    }
    Decision::Over(answer)
}

/// A call without a time limit.
pub(super) fn order(call: Call, way: Way, file: u64, done: usize) -> Order {
    Order { call, way, file, done, deadline: NEVER, clock: Clock::Monotonic }
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

impl Asker {
    fn send_away(&self, order: Order) -> Routed {
        let _busy = self.hold_off_handlers();
        let pending = self.engine()?.send_away(order);
        Some(Ok(Submitted::Pending(Pending::new(pending))))
    }
}

/// True if the socket has a time limit of its own for what `call` does.
fn is_limited(call: &Call) -> bool {
    let sends = interest(call).is_some_and(|(_, events)| events == POLLOUT);
    descriptor::has_socket_timeout(call.args()[0] as i32, sends)
}

/// The call would wait: it is parked, if that is what a plain call would do.
fn wait_for_readiness(call: &Call, way: Way) -> Decision {
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
    let limited = kind == Kind::Socket && is_limited(call);
    if kind.is_storage() || limited {
        return Decision::Run;
    }
    Decision::Park(order(*call, way, stat.ino, 0))
}
