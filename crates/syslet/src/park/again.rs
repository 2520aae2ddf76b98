//! Going on with a parked call: its event came.

#![allow(unsafe_code, reason = "makes the call again, under the duties of `submit`")]

use std::sync::Arc;

use syslet_sys::call as kernel;
use syslet_sys::uapi::{
    EBADF, ECANCELED, EPIPE, POLLERR, POLLHUP, S_IFMT, SIGPIPE, Siginfo, Timespec,
};
use syslet_sys::{arch, descriptor};

use super::HOLDS_AT_ONCE;
use super::op::{Parked, Way, hold_off_handlers};
use crate::call::{
    Answer, Attempt, Call, Clockwork, Progress, ask, child_of, descriptor_argument, interest,
    make_as_waiter, needs_descriptors, note_traced,
};
use crate::complete::Holder;
use crate::crew::{Crew, Engine, Job, Withdrawable};
use crate::sync::Ordering;

/// Rounds in a row that find nothing after which the descriptor is asked itself: if it says that it is
/// ready, and is not, the call gets a thread. If not, others have taken what there was.
const VAIN: u8 = 8;
/// Parts of a transfer that are made in a row where one thread makes the calls of all: then it is asked anew whether
/// the call is ready, after the others. A part of a pipe is 64 KiB.
const IN_A_ROW: usize = 16;

/// What became of trying a call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    /// It has its answer.
    Over(isize),
    /// It must wait again.
    Waits,
    /// It cannot be tried: a thread must make it.
    NeedsThread,
}

/// What the descriptor of a call names by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    ItsFile,
    Another,
    /// Its file is held, and the kernel does not say whether it is that.
    PerhapsAnother,
}

impl Engine {
    /// The poll of `call` said `events`.
    pub(super) fn ready(&'static self, call: &Arc<Parked>, events: u32) {
        // If not: a cancel or the time was first.
        if call.claim_by_event() {
            self.go_on(call, events);
        }
    }

    /// Goes on with a call whose poll said `events`. Duty: the caller is the owner.
    pub(super) fn go_on(&'static self, call: &Arc<Parked>, events: u32) {
        if call.way == Way::Poll {
            return self.answer_poll(call, events);
        }
        // Where the program was told that it may close the number at any time it may do so after a look at it, too.
        let is_apart = HOLDS_AT_ONCE.load(Ordering::Relaxed)
            && call.kept_at().is_some()
            && !needs_program_table(call);
        if is_apart || self.named_by(call) != Names::ItsFile {
            // The program closed it while its call waited: what the number names is not meant.
            return match self.watching_keeper() {
                Some(keeper) if call.kept_at().is_some() => keeper.go_on(call),
                _ => call.finish(&self.park, -EBADF),
            };
        }
        match attempt(call, None) {
            Went::Over(answer) => call.finish(&self.park, answer),
            Went::Waits => self.let_go(call, false),
            Went::NeedsThread => self.give_thread(call),
        }
    }

    /// A thread makes the owned call, which was ready. When the thread comes to it others may have taken
    /// what there was (of many calls that accept one connection each is told), or the number may name
    /// another file.
    pub(super) fn give_thread(&'static self, call: &Arc<Parked>) {
        self.queue_parked(call, |engine, crew, call| {
            if !engine.names_its_file(call) {
                call.finish(&engine.park, -EBADF);
            } else if call.done() == 0 && !says_ready(&call.call()) {
                engine.let_go(call, false);
            } else {
                engine.make_parked(crew, call);
            }
        });
    }

    /// Lets the owned call wait for a thread, which does `make` with it: one that sleeps until the call is over,
    /// or a crew thread. Until one comes a cancel ends it, and its time.
    fn queue_parked(
        &'static self,
        call: &Arc<Parked>,
        make: fn(&'static Self, &'static Crew, &Arc<Parked>),
    ) {
        let outer = call.outer();
        call.queue();
        if !outer.as_deref().unwrap_or(call.slot()).tell_helper() {
            let made = Arc::clone(call);
            let run = move |crew: &'static Crew| {
                if made.claim_queued() {
                    make(self, crew, &made);
                }
            };
            self.enqueue(Job::withdrawable(Arc::clone(call) as Arc<dyn Withdrawable>, run));
        }
        call.end_queued_if_cancelled(self);
        if call.is_timed() && call.deadline() <= call.clock.now() {
            // Its time may have come while it was being tried.
            self.expire(call);
        }
    }

    /// Makes a call that waits for a thread, on one that has nothing better to do than to wait for it; false: it
    /// waits for something else.
    ///
    /// **Blocking**: until it ends.
    pub(super) fn make_queued_here(&self, call: &Parked) -> bool {
        // Looked at first: mostly it waits for an event.
        let claimed = call.is_wanted() && call.claim_queued();
        if claimed {
            let end = call.is_timed().then(|| call.deadline());
            let answer = match self.names_its_file(call) {
                false => -EBADF,
                // SAFETY: the duties of `submit`: the call may be made until it ends.
                true => unsafe { make_as_waiter(&call.call(), call.done(), end) },
            };
            let _busy = hold_off_handlers();
            self.job_withdrawn();
            call.finish(&self.park, answer);
        }
        claimed
    }

    /// The event is the answer.
    fn answer_poll(&'static self, call: &Arc<Parked>, events: u32) {
        let entry = call.call().args()[0] as *mut u16; // struct pollfd, at any address
        // SAFETY: the call's memory, under the duties of `submit`.
        let asked = unsafe { entry.wrapping_add(2).read_unaligned() };
        let found = events & (u32::from(asked) | POLLERR | POLLHUP);
        if found == 0 {
            return self.let_go(call, false);
        }
        // SAFETY: as above; the kernel would write there.
        unsafe { entry.wrapping_add(3).write_unaligned(found as u16) };
        call.finish(&self.park, 1);
    }

    /// What the descriptor names by now.
    fn named_by(&self, call: &Parked) -> Names {
        let Some((number, _)) = interest(&call.call()).filter(|_| call.file != 0) else {
            return Names::ItsFile;
        };
        let place = call.kept_at();
        match place.and_then(|place| self.park.keeper.is_held(number, place)) {
            Some(true) => return Names::ItsFile,
            Some(false) => return Names::Another,
            None => {}
        }
        match descriptor::stat(number) {
            Ok(stat) if !call.is_of(&stat) => Names::Another,
            // What has no type shares its inode.
            Ok(stat) if stat.mode & S_IFMT == 0 && place.is_some() => Names::PerhapsAnother,
            Ok(_) => Names::ItsFile,
            Err(_) => Names::Another,
        }
    }

    /// False if the descriptor is known to name another file by now, or none.
    fn names_its_file(&self, call: &Parked) -> bool {
        self.named_by(call) != Names::Another
    }

    /// A crew thread makes the call, waiting in the kernel. Duty: the caller is the owner.
    pub(super) fn go_away(&'static self, call: &Arc<Parked>) {
        self.queue_parked(call, |engine, crew, call| {
            if engine.names_its_file(call) {
                engine.make_parked(crew, call);
            } else {
                call.finish(&engine.park, -EBADF); // closed while it waited for a thread
            }
        });
    }

    fn make_parked(&'static self, crew: &'static Crew, call: &Arc<Parked>) {
        let answer = crew.lend_slot(call.slot(), || make_away(crew, call));
        call.finish(&self.park, answer);
    }
}

/// False if the descriptor that `call` waits for is not ready, as it says itself.
fn says_ready(call: &Call) -> bool {
    interest(call).is_none_or(|(number, events)| descriptor::poll(number, events as u16, 0) != 0)
}

/// True if the call must be gone on with where the program's descriptors are: because it brings new
/// ones, sends some, is made by a thread, or is answered there.
pub(super) fn needs_program_table(call: &Parked) -> bool {
    match call.way {
        Way::Thread
        | Way::Poll
        | Way::Several
        | Way::Connect
        | Way::Child
        | Way::Sleep
        | Way::Disk => true,
        Way::Nowait | Way::Message | Way::Zero => needs_descriptors(&call.call()),
    }
}

/// Tries the call without waiting, until it is over or must wait; on `held`, if its file is known by
/// another number here. Duty: the caller is the owner.
pub(super) fn attempt(call: &Parked, held: Option<i32>) -> Went {
    let mut parts = 0;
    loop {
        let mut now = call.call();
        if let Some(held) = held {
            now.0[1 + descriptor_argument(&now)] = held as usize;
        }
        if call.way == Way::Several {
            // SAFETY: the duties of `submit`: the call may be made until it ends.
            return match unsafe { ask(&now) } {
                0 if call.in_vain(true) < VAIN => Went::Waits,
                0 => Went::NeedsThread,
                answer => Went::Over(answer),
            };
        }
        if call.way == Way::Connect {
            if !says_ready(&now) {
                return Went::Waits;
            }
            let Call([nr, args @ ..]) = now;
            // SAFETY: as above. It says what has become of it.
            return Went::Over(unsafe { arch::syscall(nr, args) });
        }
        let attempt = match call.way {
            Way::Nowait => Attempt::nowait(&now),
            Way::Message => Attempt::message(&now),
            Way::Zero => Attempt::zero(&now),
            Way::Child => Attempt::child(&now),
            Way::Thread | Way::Sleep | Way::Poll | Way::Several | Way::Connect | Way::Disk => None,
        };
        let Some(attempt) = attempt else { return Went::NeedsThread };
        if call.done() > 0
            && !Progress::writes(&now)
            && descriptor::has_but_an_error(now.args()[0] as i32)
        {
            // What was received is the answer; the error is that of the next receive.
            return Went::Over(0);
        }
        // SAFETY: the duties of `submit`: the call may be made until it ends.
        let answer = without_sigpipe(&now, || unsafe { attempt.make() });
        match attempt.read(&now, answer) {
            Answer::WouldWait if call.in_vain(true) < VAIN => return Went::Waits,
            Answer::WouldWait if !says_ready(&now) => {
                call.in_vain(false);
                return Went::Waits;
            }
            Answer::WouldWait | Answer::NoTwin => return Went::NeedsThread,
            Answer::Final => {}
        }
        call.in_vain(false);
        match Progress::of(&call.call(), answer) {
            Progress::Over => return Went::Over(answer),
            Progress::Rest(rest) => {
                call.add_done(answer as usize);
                call.set_rest(&rest);
                parts += 1;
                if held.is_some() && parts == IN_A_ROW {
                    return Went::Waits;
                }
            }
            Progress::Vectors => {
                call.add_done(answer as usize);
                return Went::NeedsThread;
            }
        }
    }
}

/// Asks for the child that `call` waits for by its number. If it is told of though it has not ended, we trace it. Duty:
/// the caller is the owner.
pub(super) fn look(call: &Call) -> Option<isize> {
    let attempt = Attempt::child(call)?;
    // SAFETY: the duties of `submit`: the call may be made until it ends.
    let answer = unsafe { attempt.make() };
    if attempt.read(call, answer) == Answer::WouldWait {
        return None;
    }
    if answer >= 0 && kernel::kill(child_of(call), 0) == 0 {
        note_traced(child_of(call));
    }
    Some(answer)
}

/// Makes a write whose SIGPIPE has no receiver: the answer says it.
pub(crate) fn without_sigpipe(call: &Call, make: impl FnOnce() -> isize) -> isize {
    const SIGPIPE_BIT: u64 = 1 << (SIGPIPE - 1);
    if !Progress::writes(call) {
        return make();
    }
    // On our own threads it is blocked already; on one that helps its own call on it may be wanted,
    // and this need not be its call.
    let mask = kernel::signal_mask();
    let open = mask & SIGPIPE_BIT == 0;
    if open {
        kernel::set_signal_mask(mask | SIGPIPE_BIT);
    }
    let before = kernel::pending_signals() & SIGPIPE_BIT;
    let answer = make();
    if answer == -EPIPE && before == 0 {
        let mut info = Siginfo::queued(0, 0, 0, 0, 0);
        kernel::wait_signal(SIGPIPE_BIT, &mut info, Some(&Timespec::default()));
    }
    if open {
        kernel::set_signal_mask(mask);
    }
    answer
}

/// On a crew thread.
fn make_away(crew: &'static Crew, call: &Parked) -> isize {
    if call.slot().cancel_asked() {
        return -ECANCELED;
    }
    let clock = if call.is_timed() { Clockwork::until(call.deadline()) } else { Clockwork::none() };
    let now = call.call();
    // SAFETY: the duties of `submit`: the call may be made until it ends.
    unsafe { clock.make_rest(crew, now, call.done()) }
}
