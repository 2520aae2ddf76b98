//! The keeper's thread, and its descriptor table.

use std::ffi::CString;
use std::sync::Arc;

use syslet_sys::uapi::{EBADF, ECANCELED, EPOLLONESHOT, EpollEvent, POLLIN, Timespec};
use syslet_sys::{call as kernel, descriptor, futex};

use super::{
    DONE, Delivery, IMPOSSIBLE, Keeper, NOT_DONE, PollIn, Reply, Request, TAKES_NOTHING, WORKS,
    answer,
};
use crate::call::{interest, needs_descriptors};
use crate::crew::{CREW_MASK, Engine};
use crate::park::again::{self, Went};
use crate::park::closing;
use crate::park::gathering::Gathering;
use crate::park::mail::Inbox;
use crate::park::nap::NAPS;
use crate::park::op::{Parked, Way};
use crate::park::set::Set;
use crate::park::source::{Begun, Ended, Named, Order};
use crate::park::watch::{From, Watches};
use crate::park::{Clock, DRIVES};
use crate::sync::{Ordering, lock};

/// How long a call is parked before its file is held, in nanoseconds: most are over by then, and to hold a
/// file costs more than a call. Not longer, because what was parked meanwhile is noted until then.
const HOLD_AFTER: u64 = 50_000_000;
/// How long the keeper rests at most after it was asked for something, in nanoseconds: what need not be done at once
/// is asked for without waking it, see [`Keeper::leave`]. If nothing is, its next rest has no end.
const LIGHT_REST: u64 = 100_000_000;
/// Events taken at a time.
const BATCH: usize = 256;
/// Rounds more than the new watches need in which all that is ready is taken before they are answered: what
/// is not seen by then is told later.
const ROUNDS: usize = 4;
/// Times in a row that it must have told only what nobody waited for, before it takes naps.
const QUIET: u32 = 2;
/// How long a nap is, at most, but for the thread's timer slack (50 us). Waking the keeper for each event costs
/// whoever causes the event more than the event itself; while nobody waits for them they are as well told many at
/// once.
const NAP: Timespec = Timespec { sec: 0, nsec: 100_000 };

/// A call of which the keeper holds the file; its place is the descriptor in the keeper's table.
#[derive(Debug)]
struct Kept {
    call: Arc<Parked>,
    /// It is in the epoll.
    watched: bool,
}

/// The keeper's thread: what only it touches.
#[derive(Debug)]
pub(super) struct Table {
    engine: &'static Engine,
    keeper: &'static Keeper,
    epoll: i32,
    /// The process, as a descriptor; negative if files cannot be taken.
    process: i32,
    kept: Vec<Option<Kept>>,
    watches: Watches,
    /// Times in a row that nobody waited for what was told.
    quiet: u32,
    /// Something was asked for since the last rest.
    was_asked: bool,
}

impl Table {
    /// Takes up the work, with a table of its own.
    pub(super) fn new(engine: &'static Engine, keeper: &'static Keeper) -> Option<Self> {
        // Our signal is let in only where it cannot be missed.
        kernel::set_signal_mask(u64::MAX);
        keeper.tid.store(kernel::gettid() as u32, Ordering::Relaxed);
        let own = descriptor::own_table() >= 0;
        let epoll = if own { descriptor::new_epoll() as i32 } else { -1 };
        let process = descriptor::open_process(kernel::getpid()) as i32;
        if let Ok(stat) = descriptor::stat(process)
            && !stat.is_anonymous()
        {
            keeper.processes.store(stat.dev, Ordering::Relaxed);
        }
        // Taking any descriptor tells whether that is allowed: of one that is not open it says so.
        let taken = descriptor::take_from(process, -1);
        let takes = process >= 0 && taken == -EBADF;
        let state = match (epoll >= 0, takes) {
            (true, true) => WORKS,
            (true, false) => TAKES_NOTHING,
            (false, _) => IMPOSSIBLE,
        };
        let mut inbox = None;
        if state == TAKES_NOTHING
            && let Some((made, address)) = Inbox::new()
        {
            let _ = keeper.address.set(address);
            inbox = Some(made);
        }
        keeper.state.store(state, Ordering::Release);
        futex::wake(&keeper.state, i32::MAX as u32);
        let (kept, watches) = (Vec::new(), Watches::new(epoll, process, inbox));
        let table =
            Self { engine, keeper, epoll, process, kept, watches, quiet: 0, was_asked: false };
        (state != IMPOSSIBLE).then_some(table)
    }

    pub(super) fn run(mut self) -> ! {
        DRIVES.set(true);
        let mut look_at = None;
        loop {
            // What was asked for before this is served in this round; what is asked for after it prevents a nap.
            self.keeper.nap.begin_round();
            self.serve();
            let now = Clock::Monotonic.now();
            match look_at {
                Some(time) if time <= now => {
                    self.look_at_newcomers();
                    look_at = None;
                }
                _ => {}
            }
            if look_at.is_none() && self.keeper.attentive.load(Ordering::SeqCst) == 1 {
                look_at = Some(now + HOLD_AFTER);
            }
            self.sleep(look_at.map(|time| time.saturating_sub(now)));
        }
    }

    /// Waits for events, requests, or the time for the newcomers.
    fn sleep(&mut self, nanos: Option<u64>) {
        let mut events = [EpollEvent::default(); BATCH];
        let keeper = self.keeper;
        let has_newcomers = nanos.is_some();
        let lightly = std::mem::take(&mut self.was_asked);
        let nanos = if lightly { Some(nanos.unwrap_or(u64::MAX).min(LIGHT_REST)) } else { nanos };
        keeper.rest.begin(lightly);
        let attentive = keeper.attentive.load(Ordering::SeqCst) == 1;
        let idle = lock(&keeper.requests).is_empty() && (has_newcomers || !attentive);
        let nanos = if idle { nanos } else { Some(0) };
        // Rounded up: the newcomers are not looked at before their time.
        let millis = nanos.map_or(-1, |nanos| nanos.div_ceil(1_000_000) as i32);
        // A knock between the look and the sleep is pending, and let in by the wait itself.
        let count = descriptor::ready(self.epoll, &mut events, millis, Some(CREW_MASK));
        keeper.rest.end();
        let events = &events[..count.max(0) as usize];
        let calls = self.take(events);
        let quiet = self.watches.was_quiet() && !calls;
        self.quiet = if quiet { self.quiet.saturating_add(1) } else { 0 };
        // If more is ready than was taken, somebody may be waiting for that.
        if self.quiet >= QUIET && events.len() < BATCH {
            self.nap();
        }
    }

    /// Lets events gather: nobody waits for those of this round. Who begins to wait ends this.
    fn nap(&mut self) {
        let nap = &self.keeper.nap;
        if nap.doze() {
            futex::wait(nap.word(), NAPS, Some(&NAP));
            nap.rise();
        }
    }

    /// True: a call was among them, for which its caller waits.
    fn take(&mut self, events: &[EpollEvent]) -> bool {
        let mut calls = false;
        for event in events {
            let EpollEvent { events, data } = *event;
            if !self.watches.told(data, events) {
                calls = true;
                self.event(data as usize, events);
            }
        }
        calls
    }

    /// Begins watches. All are in the epoll before it is asked once what is ready: so each learns what is at
    /// once, and is told of nothing that came before.
    fn gather(&mut self, gathering: &Gathering<Order, Begun>, inodes: bool) {
        let orders = gathering.take_asked();
        let numbers: Vec<_> = orders.iter().map(|order| order.number).collect();
        let files = self.watches.sent(gathering.ticket, &numbers);
        let orders = orders.into_iter().zip(files);
        if inodes {
            let begin = |(order, file)| self.watches.begin_inode(order, file);
            return gathering.answer(orders.map(begin).collect());
        }
        let begun: Vec<_> = orders.map(|(order, file)| self.watches.begin(order, file)).collect();
        self.watches.tidy();
        for _ in 0..begun.len() / BATCH + ROUNDS {
            let mut events = [EpollEvent::default(); BATCH];
            let count = descriptor::ready(self.epoll, &mut events, 0, None).max(0) as usize;
            self.take(&events[..count]);
            if count < BATCH {
                break;
            }
        }
        let mut answers = Vec::with_capacity(begun.len());
        for begun in begun {
            answers.push(begun.map(|watch| (watch, self.watches.first(watch))));
        }
        gathering.answer(answers);
    }

    fn compare(&mut self, gathering: &Gathering<Named, bool>) {
        let asked = gathering.take_asked();
        let numbers: Vec<_> = asked.iter().map(|named| named.number).collect();
        let files = self.watches.sent(gathering.ticket, &numbers);
        let is_its = |(named, file): (Named, _)| self.watches.is_its(named.watch, file);
        let answers = asked.into_iter().zip(files).map(is_its).collect();
        self.watches.tidy();
        gathering.answer(answers);
    }

    fn leave(&mut self, watches: &[(Ended, u64)]) {
        for (ended, ticket) in watches {
            let files = self.watches.sent(*ticket, &[ended.number]);
            files.into_iter().for_each(|file| self.watches.leave(*ended, file));
        }
        self.watches.tidy();
    }

    fn serve(&mut self) {
        let mut requests = std::mem::take(&mut *lock(&self.keeper.requests));
        self.was_asked |= !requests.is_empty();
        for request in requests.drain(..) {
            match request {
                Request::Watch(call, descriptor, events, ticket, reply) => {
                    let watched = self.watch(call, descriptor, events, ticket);
                    answer(&reply, if watched { DONE } else { NOT_DONE });
                }
                Request::Hold(call, descriptor, ticket, reply) => {
                    self.hold(call, descriptor, ticket);
                    answer(&reply, DONE);
                }
                Request::Set(call, interests, place, reply) => {
                    let mut files = Vec::new();
                    for (ticket, some) in interests {
                        let numbers: Vec<_> = some.iter().map(|(number, _)| *number).collect();
                        let sent = self.watches.sent(ticket, &numbers).into_iter();
                        files.extend(sent.zip(some.iter().map(|(_, events)| *events)));
                    }
                    let watched = self.watch_set(&call, files, place);
                    answer(&reply, if watched { DONE } else { NOT_DONE });
                }
                Request::Child(call, pid) => self.watch_child(call, pid),
                Request::GoOn(call) => self.go_on_with_held(&call),
                Request::Gather(gathering, inodes) => self.gather(&gathering, inodes),
                Request::Compare(gathering) => self.compare(&gathering),
                Request::Leave(watches) => self.leave(&watches),
                Request::LeaveInode(watch) => self.watches.leave_inode(watch),
                Request::Signals(mask, each, reply) => {
                    self.watches.take_signals(mask, each);
                    answer(&reply, DONE);
                }
                Request::Release(place, reply) => self.release(place, Some(reply)),
            }
        }
    }

    /// Files of calls that have stayed are held from now on.
    fn look_at_newcomers(&mut self) {
        self.keeper.attentive.store(0, Ordering::SeqCst);
        let newcomers = std::mem::take(&mut *lock(&self.keeper.newcomers));
        for (call, number) in newcomers {
            if !call.is_over()
                && call.kept_at().is_none()
                && let Some(descriptor) = self.take_file(&call, number)
            {
                self.keep(call, descriptor);
            }
        }
    }

    /// The file of `call`, which the program knows as `number`, if it may be taken, as far as `/proc` tells.
    fn take_file(&self, call: &Parked, number: i32) -> Option<i32> {
        let path = CString::new(format!("/proc/{}/fd/{number}", self.engine.pid)).ok()?;
        if descriptor::stat_of_path(&path).is_ok_and(|stat| !self.keeper.may_take(&stat)) {
            return None;
        }
        if_its_file(call, descriptor::take_from(self.process, number) as i32)
    }

    /// Keeps `call` with its file, which is `descriptor` here. False: the call is over, and the file
    /// closed.
    fn keep(&mut self, call: Arc<Parked>, descriptor: i32) -> bool {
        let place = descriptor as usize;
        if !call.keep_at(descriptor as u32) {
            closing::close(descriptor);
            return false;
        }
        if self.kept.len() <= place {
            self.kept.resize_with(place + 1, || None);
        }
        self.keeper.held.fetch_add(1, Ordering::Relaxed);
        self.kept[place] = Some(Kept { call, watched: false });
        true
    }

    /// Lets go of what is kept there; `reply` hears of it.
    fn release(&mut self, descriptor: u32, reply: Option<Arc<Reply>>) {
        if self.take_out(descriptor) {
            closing::close_and_tell(descriptor as i32, reply);
        } else {
            reply.inspect(|reply| reply.done());
        }
    }

    /// What is kept there is so no more, and its number to be closed. False: nothing is.
    fn take_out(&mut self, descriptor: u32) -> bool {
        let Some(kept) = self.kept.get_mut(descriptor as usize).and_then(Option::take) else {
            return false;
        };
        if kept.watched {
            // Closing would not do: the program has the file open too.
            descriptor::forget(self.epoll, descriptor as i32);
        }
        self.keeper.held.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// The file of `call`, which was sent, or which the program knows as `number`: a descriptor here.
    fn file_of(&self, call: &Parked, number: i32, sent: Option<From>) -> Option<i32> {
        match sent {
            // Who sent it has looked whether it may be.
            Some(From::Sent(sent)) => if_its_file(call, sent),
            _ => self.take_file(call, number),
        }
    }

    fn hold(&mut self, call: Arc<Parked>, number: i32, ticket: u64) {
        let sent = self.watches.sent(ticket, &[number]).pop();
        if let Some(descriptor) = self.file_of(&call, number, sent) {
            self.keep(call, descriptor);
        }
    }

    fn watch(&mut self, call: Arc<Parked>, number: i32, events: u32, ticket: u64) -> bool {
        let sent = self.watches.sent(ticket, &[number]).pop();
        if let Some(kept) = call.kept_at() {
            sent.into_iter().for_each(From::let_go);
            return self.arm(kept, events);
        }
        let Some(descriptor) = self.file_of(&call, number, sent) else { return false };
        if !self.keep(Arc::clone(&call), descriptor) {
            return true; // it is over already
        }
        // If not, it is held all the same: something else may tell of it, or a thread make it.
        self.arm(descriptor as u32, events)
    }

    /// Arms the watch of what is kept at `place`.
    fn arm(&mut self, place: u32, events: u32) -> bool {
        let Some(Some(kept)) = self.kept.get_mut(place as usize) else { return true };
        let event = EpollEvent { events: events | EPOLLONESHOT, data: u64::from(place) };
        let armed = descriptor::watch(self.epoll, place as i32, event, kept.watched) == 0;
        kept.watched |= armed;
        armed
    }

    /// Lets the owned call wait, if its set is polled from now on where `place` says.
    fn watch_set(&mut self, call: &Arc<Parked>, files: Vec<(From, u32)>, place: PollIn) -> bool {
        // That of the round before. The numbers may mean other files by now, and the old ones be ready for ever.
        if let Some(kept) = call.kept_at()
            && call.keep_no_more(kept)
        {
            self.release(kept, None);
        }
        let Some(set) = Set::of(self.process, files) else { return false };
        match place {
            PollIn::Ring => self.engine.arm_apart(call, set.number(), POLLIN),
            PollIn::Epoll => self.keep_set(call, set),
        }
    }

    /// Lets the owned call wait for its set, which is watched and kept here.
    fn keep_set(&mut self, call: &Arc<Parked>, set: Set) -> bool {
        let epoll = set.into_number();
        if !self.keep(Arc::clone(call), epoll) {
            return true; // it is over already
        }
        call.wait();
        if self.arm(epoll as u32, POLLIN) {
            return true;
        }
        if !call.claim() {
            return true; // its release is on the way
        }
        if call.keep_no_more(epoll as u32) {
            self.release(epoll as u32, None);
        }
        false
    }

    fn watch_child(&mut self, call: Arc<Parked>, pid: i32) {
        if let Some(kept) = call.kept_at() {
            return self.arm_child(&call, kept);
        }
        let child = descriptor::open_process(pid) as i32;
        if child < 0 {
            // It is gone, or something is wrong: the call itself finds out.
            if call.claim() {
                self.engine.deliver(Delivery::Ready(call, 0));
            }
            return;
        }
        if self.keep(Arc::clone(&call), child) {
            self.arm_child(&call, child as u32);
        }
    }

    /// A call that nobody could tell of its child gets a thread.
    fn arm_child(&mut self, call: &Arc<Parked>, place: u32) {
        if !self.arm(place, POLLIN) && call.claim() {
            self.engine.deliver(Delivery::Thread(Arc::clone(call)));
        }
    }

    /// What is kept at `place` is ready.
    fn event(&mut self, place: usize, events: u32) {
        let Some(Some(kept)) = self.kept.get(place) else { return };
        let call = Arc::clone(&kept.call);
        if !call.claim_by_event() {
            return; // it is over: its release is on the way
        }
        if again::needs_program_table(&call) {
            self.engine.deliver(Delivery::Ready(call, events));
        } else {
            self.try_held(&call, place as u32);
        }
    }

    /// The owned call's descriptor is gone: its file is here.
    fn go_on_with_held(&mut self, call: &Arc<Parked>) {
        if needs_descriptors(&call.call()) {
            // Made here it would take this table's for the program's.
            return self.engine.deliver(Delivery::Finish(Arc::clone(call), -EBADF));
        }
        let place = call.kept_at().unwrap_or(u32::MAX);
        self.try_held(call, place);
    }

    /// Tries the owned call on the file that is held for it; watches that if it must wait again.
    fn try_held(&mut self, call: &Arc<Parked>, place: u32) {
        let Some(Some(_)) = self.kept.get(place as usize) else {
            return self.engine.deliver(Delivery::Finish(Arc::clone(call), -EBADF));
        };
        match again::attempt(call, Some(place as i32)) {
            Went::Over(answer) => self.finish(call, place, answer),
            Went::NeedsThread => self.engine.deliver(Delivery::Thread(Arc::clone(call))),
            Went::Waits => self.let_go(call, place),
        }
    }

    /// The owned call, whose file is held at `place`, is over.
    fn finish(&mut self, call: &Arc<Parked>, place: u32, answer: isize) {
        if closing::may_wait(place as i32) || !call.keep_no_more(place) {
            // Who tells the answer waits for the close.
            return self.engine.deliver(Delivery::Finish(Arc::clone(call), answer));
        }
        self.take_out(place);
        // Here and now, whatever it would say if it were asked once more.
        kernel::close(place as i32);
        call.finish(&self.engine.park, answer);
    }

    /// As [`Engine::let_go`], for a call that is watched here.
    fn let_go(&mut self, call: &Arc<Parked>, place: u32) {
        let events = interest(&call.call()).map_or(POLLIN, |(_, events)| events);
        // An epoll, as where it is parked first.
        let in_ring = call.way == Way::Zero && self.engine.arm_apart(call, place as i32, events);
        if !in_ring {
            call.wait();
        }
        if !in_ring && !self.arm(place, events) && call.claim() {
            self.engine.deliver(Delivery::Thread(Arc::clone(call)));
        } else if call.is_timed() && !call.is_among_timers() && call.claim() {
            self.engine.deliver(Delivery::Finish(Arc::clone(call), 0));
        } else if call.claim_if_cancelled() {
            self.engine.deliver(Delivery::Finish(Arc::clone(call), -ECANCELED));
        }
        if in_ring && call.is_over_after() {
            // Finished while its poll was being armed, by somebody who could not know where.
            self.engine.park.disarm(call);
        }
    }
}

/// `taken`, a descriptor here or `-errno`, if it is the file of `call`; else it is closed.
fn if_its_file(call: &Parked, taken: i32) -> Option<i32> {
    if taken < 0 {
        return None;
    }
    if descriptor::stat(taken).is_ok_and(|stat| call.is_of(&stat)) {
        return Some(taken);
    }
    closing::close(taken);
    None
}
