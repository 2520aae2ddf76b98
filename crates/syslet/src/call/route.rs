//! Calls that wait for readiness, a time or a child: which way each goes. They are tried without waiting, and
//! parked if they would have to.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use std::sync::Arc;

use syslet_catalog::{Entry, Events, Makes, Twin, Waits};
use syslet_sys::descriptor;
use syslet_sys::uapi::{
    MSG_DONTWAIT, MSG_ERRQUEUE, MSG_FASTOPEN, MSG_OOB, MSG_PEEK, MSG_WAITALL, P_PIDFD, POLLIN,
    POLLOUT, RWF_NOWAIT, nr,
};

use super::attempt::{Tried, try_as_guest};
use super::cold::{Found, found};
use super::decide::{Decision, decide, wait_for_readiness};
use super::kinds::{Kind, look};
use super::number::{Call, Ret};
use super::pending::Pending;
use super::progress::Progress;
use super::queued::{Queued, Rest};
use super::submit::Submitted;
use super::transfer::is_read_at;
use super::twin::Attempt;
use super::wait::{connect, poll, sleep, wait_for_child, wait_for_events};
use crate::SubmitError;
use crate::complete::Slot;
use crate::crew::{Busy, Engine, Guest, Settings, engine_of_guest, generation, start};
use crate::park::{Clock, HOLDS_AT_ONCE, NEVER, Order, Way};
use crate::sync::Ordering;

/// What became of a call that might be parked. `None`: it is made as any other.
pub(super) type Routed = Option<Result<Submitted, SubmitError<Call>>>;

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
    if call.nr() == nr::WAITID {
        let by_descriptor = call.args()[0] == P_PIDFD;
        return by_descriptor.then(|| (call.args()[1] as i32, POLLIN));
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

/// True if `call` may bring new descriptors, or names more than the one that it waits for: it is made where the
/// program's are.
pub(crate) fn needs_descriptors(call: &Call) -> bool {
    if matches!(call.nr(), nr::SENDMSG | nr::RECVMSG) {
        // A message has descriptors in its control data only.
        let message = call.args()[1] as *const [usize; 7]; // struct msghdr
        // SAFETY: the call's memory, under the duties of `submit`; the kernel has read it when it was tried.
        let [.., control_len, _flags] = unsafe { message.read_unaligned() };
        return control_len != 0;
    }
    let entry = syslet_catalog::lookup(call.nr() as u32);
    entry.is_none_or(|entry| entry.makes != Makes::Nothing)
}

/// Which argument of `call` names the descriptor that it waits for.
pub(crate) fn descriptor_argument(call: &Call) -> usize {
    usize::from(call.nr() == nr::WAITID)
}

/// The child that a `wait4` or `waitid` waits for, if it is one and named by its number.
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

    pub(super) fn park(&self, order: Order) -> Routed {
        let call = order.call;
        let _busy = self.hold_off_handlers();
        let engine = self.engine()?;
        Some(match engine.park(order, self.or_busy) {
            Ok(parked) => Ok(Submitted::Pending(Pending::new(parked))),
            // Handed back it would be made twice.
            Err(order) if order.has_begun() => Ok(park_begun(engine, order)),
            Err(_) => Err(SubmitError::Busy(call)),
        })
    }

    /// Makes an attempt: as a guest's call if it can be protected, for even a call that does not wait
    /// may touch memory that has to be fetched. But where files are held at once the guest must not go on before the
    /// call has its file, and waits for the attempt.
    ///
    /// # Safety
    ///
    /// Those of `submit`.
    unsafe fn attempt(&self, attempt: &Attempt, call: &Call, way: Way) -> Tried {
        match self.guest {
            // SAFETY: the guest is ready; the rest is the caller's duty.
            Some(guest) if !self.stays(way) && guest.ready().is_ok() => unsafe {
                try_as_guest(guest, attempt, call, way)
            },
            // SAFETY: the caller's duties.
            _ => Tried::Here(unsafe { attempt.make() }),
        }
    }

    /// True if an attempt of this way is to be over when the caller goes on.
    fn stays(&self, way: Way) -> bool {
        way != Way::Disk && HOLDS_AT_ONCE.load(Ordering::Relaxed)
    }

    fn follow(&self, decision: Decision) -> Routed {
        match decision {
            Decision::Over(answer) => done(answer),
            Decision::Park(order) => self.park(order),
            Decision::Rest(order) => self.send_away(&order),
            Decision::Run => None,
        }
    }

    fn send_away(&self, order: &Order) -> Routed {
        let _busy = self.hold_off_handlers();
        Some(Ok(send_away(self.engine()?, order.call, order.done)))
    }
}

/// Gives a call that has done a part of its work to a crew thread. Who calls has the duties of `submit` for it.
#[cold]
pub(super) fn send_away(engine: &'static Engine, call: Call, done: usize) -> Submitted {
    let turn = engine.turn(&call);
    // SAFETY: the duty of this function: the call may be made until it ends, wherever that is.
    let queued = unsafe { Queued::queue(engine, Rest { call, done }, turn) };
    Submitted::Pending(Pending::new(queued))
}

/// Parks a call of which a part is done, although there is no room for it.
#[cold]
fn park_begun(engine: &'static Engine, order: Order) -> Submitted {
    let slot = Arc::new(Slot::new(0, generation()));
    engine.park_away(order, Arc::clone(&slot));
    Submitted::Pending(Pending::new(slot))
}

pub(super) fn done(answer: isize) -> Routed {
    Some(Ok(Submitted::Done(Ret::new(answer))))
}

/// How to try a transfer on a descriptor of this kind; none if it is not to be tried.
fn way_of(call: &Call, entry: &Entry, kind: Kind) -> Option<Way> {
    let args = call.args();
    match entry.twin {
        None => Some(Way::Thread),
        Some(Twin::MsgDontwait { arg }) if kind == Kind::Device => {
            // If it is a socket by now, what does not wait there is not to wait.
            let flags = args[usize::from(arg)];
            (flags & MSG_DONTWAIT == 0 && !is_aside(call, flags)).then_some(Way::Thread)
        }
        Some(Twin::MsgDontwait { arg }) => {
            let flags = args[usize::from(arg)];
            let several = entry.name.ends_with("mmsg");
            // All of it, of a stream: what is there, and then the rest.
            let all = flags & MSG_WAITALL != 0;
            let divisible = || {
                let plain = call.nr() == nr::RECVFROM && flags & MSG_PEEK == 0;
                plain && descriptor::is_stream_socket(args[0] as i32)
            };
            // Without waiting it would begin a connection, and send nothing.
            let connects = flags & MSG_FASTOPEN != 0 && Progress::writes(call);
            let whole = several || connects || is_aside(call, flags) || (all && !divisible());
            let tried = flags & MSG_DONTWAIT == 0 && !whole;
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

/// True if it receives what does not wait, and is not what readiness is of.
fn is_aside(call: &Call, flags: usize) -> bool {
    flags & (MSG_ERRQUEUE | MSG_OOB) != 0 && !Progress::writes(call)
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
    if way == Way::Thread {
        return wait_untried(asker, call);
    }
    let attempt = match way {
        Way::Message => Attempt::message(call)?,
        _ => Attempt::nowait(call)?,
    };
    // SAFETY: the caller's duties.
    let decision = match unsafe { asker.attempt(&attempt, call, way) } {
        Tried::Away(pending) => return Some(Ok(Submitted::Pending(pending))),
        // SAFETY: as above.
        Tried::Here(answer) => unsafe { decide(call, way, answer) },
    };
    match decision {
        // It has just turned out that it cannot be tried.
        Decision::Run if Kind::guess(descriptor) == Kind::Device => wait_untried(asker, call),
        decision => asker.follow(decision),
    }
}

/// A transfer that cannot be tried: its descriptor says whether it would wait.
fn wait_untried(asker: Asker, call: &Call) -> Routed {
    let (number, events) = interest(call)?;
    if descriptor::poll(number, events as u16, 0) != 0 {
        return None;
    }
    asker.follow(wait_for_readiness(call, Way::Thread))
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

/// A call without a time limit.
pub(super) fn order(call: Call, way: Way, file: u64, done: usize) -> Order {
    Order { call, way, file, done, deadline: NEVER, clock: Clock::Monotonic }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::os::fd::AsRawFd;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::CancelOutcome;
    use crate::call::submit::enqueue;

    /// A file that has no name any more.
    fn file(name: &str) -> std::fs::File {
        let name = std::env::temp_dir().join(format!("syslet-{name}-{}", std::process::id()));
        let options = std::fs::File::options().read(true).write(true).create(true).clone();
        let file = options.open(&name).expect("a file can be made");
        std::fs::remove_file(&name).expect("it is there");
        file
    }

    #[test]
    fn the_rest_of_a_write_goes_on_before_other_writes_begin() {
        let mut file = file("parts");
        let engine = start(Settings::default()).expect("it can be started");
        let write = |bytes: &'static [u8]| {
            let args = [file.as_raw_fd() as usize, bytes.as_ptr() as usize, bytes.len()];
            Call::new(nr::WRITE, args)
        };
        let mut turns: Vec<_> = std::iter::from_fn(|| engine.turn(&write(b"")).ok()).collect();
        let pending = |submitted| match submitted {
            Submitted::Pending(pending) => pending,
            Submitted::Done(ret) => panic!("nobody has made it: {ret:?}"),
        };
        // SAFETY: the bytes are static, the file is open until the end.
        let other = unsafe { enqueue(engine, write(b"other"), false) };
        let other = pending(other.expect("it waits"));
        let rest = pending(send_away(engine, write(b"rest"), 1));
        drop(turns.pop());
        let late = Instant::now() + Duration::from_secs(60);
        assert_eq!(rest.wait_deadline(late).expect("it is made").raw(), 5);
        assert_eq!(other.wait_deadline(late).expect("it is made").raw(), 5);
        let mut found = String::new();
        file.rewind().expect("a file has a beginning");
        file.read_to_string(&mut found).expect("it is text");
        assert_eq!(found, "restother");
    }

    #[test]
    fn the_rest_of_a_write_waits_for_its_turn() {
        let mut file = file("rest");
        let engine = start(Settings::default()).expect("it can be started");
        let bytes: &'static [u8] = b"rest";
        let call =
            Call::new(nr::WRITE, [file.as_raw_fd() as usize, bytes.as_ptr() as usize, bytes.len()]);
        // As many as may be are away.
        let turns: Vec<_> = std::iter::from_fn(|| engine.turn(&call).ok()).collect();
        assert_eq!(turns.len(), crate::call::DEFAULT_WRITERS);
        let pending = || match send_away(engine, call, 5) {
            Submitted::Pending(pending) => pending,
            Submitted::Done(ret) => panic!("nobody has made it: {ret:?}"),
        };
        let [made, cancelled] = [pending(), pending()];
        assert_eq!(cancelled.cancel(), CancelOutcome::Asked);
        assert!(cancelled.is_done());
        assert_eq!(cancelled.wait().raw(), 5, "what was written before is the answer");
        // What comes later, and needs no turn, is made.
        let read = Call::new(nr::READ, [file.as_raw_fd() as usize, bytes.as_ptr() as usize, 0]);
        assert_eq!(send_away(engine, read, 0).wait().raw(), 0);
        assert!(!made.is_done(), "it did not wait for its turn");
        drop(turns);
        let made =
            made.wait_deadline(Instant::now() + Duration::from_secs(60)).expect("it is made");
        assert_eq!(made.raw(), 9);
        let mut found = String::new();
        file.rewind().expect("a file has a beginning");
        file.read_to_string(&mut found).expect("it is text");
        assert_eq!(found, "rest");
        assert!(engine.turn(&call).is_ok(), "the count is right again");
    }
}
