//! Going on with a parked call: its event came.

#![allow(unsafe_code, reason = "makes the call again, under the duties of `submit`")]

use std::sync::Arc;

use syslet_sys::call as kernel;
use syslet_sys::descriptor;
use syslet_sys::uapi::{EBADF, ECANCELED, EPIPE, POLLERR, POLLHUP, SIGPIPE, Siginfo, Timespec};

use super::op::{Parked, Way};
use crate::call::{Answer, Attempt, Call, Clockwork, Progress, interest, read_transfer};
use crate::complete::Holder;
use crate::crew::{Crew, Engine, Job};

/// Rounds in a row that find nothing after which a call gets a thread: its descriptor says that it is
/// ready, and it is not.
const VAIN: u8 = 8;

impl Engine {
    /// The poll of `call` said `events`.
    pub(super) fn ready(&'static self, call: &Arc<Parked>, events: u32) {
        if !call.claim_by_event() {
            return; // a cancel or the time was first, and took the poll back
        }
        match call.way {
            Way::Poll => self.answer_poll(call, events),
            _ if !names_its_file(call) => call.finish(&self.park, -EBADF),
            Way::Thread => self.go_away(call),
            Way::Nowait | Way::Message | Way::Zero => self.try_again(call),
            Way::Sleep | Way::Child => {}
        }
    }

    /// The event is the answer.
    fn answer_poll(&'static self, call: &Arc<Parked>, events: u32) {
        let entry = call.call().args()[0] as *mut [u16; 4]; // struct pollfd
        // SAFETY: the call's memory, under the duties of `submit`.
        let asked = u32::from(unsafe { (*entry)[2] });
        let found = events & (asked | POLLERR | POLLHUP);
        if found == 0 {
            return self.let_go(call, false);
        }
        // SAFETY: as above; the kernel would write there.
        unsafe { (*entry)[3] = found as u16 };
        call.finish(&self.park, 1);
    }

    /// Tries the call without waiting; waits again if it must.
    fn try_again(&'static self, call: &Arc<Parked>) {
        let now = call.call();
        let attempt = match call.way {
            Way::Nowait => Attempt::nowait(&now),
            Way::Message => Attempt::message(&now),
            _ => Attempt::zero(&now),
        };
        let Some(attempt) = attempt else { return self.go_away(call) };
        // SAFETY: the duties of `submit`: the call may be made until it ends.
        let answer = without_sigpipe(&now, || unsafe { attempt.make() });
        let meaning = if call.way == Way::Zero && answer == 0 {
            Answer::WouldWait
        } else {
            read_transfer(answer)
        };
        match meaning {
            Answer::WouldWait if call.in_vain(true) < VAIN => self.let_go(call, false),
            Answer::WouldWait | Answer::NoTwin => self.go_away(call),
            Answer::Final => self.went_on(call, answer),
        }
    }

    /// The call answered: it is over, or a write has written a part.
    fn went_on(&'static self, call: &Arc<Parked>, answer: isize) {
        call.in_vain(false);
        match Progress::of(&call.call(), answer) {
            Progress::Over => call.finish(&self.park, answer),
            Progress::Rest(rest) => {
                call.add_done(answer as usize);
                call.set_call(rest);
                self.let_go(call, false);
            }
            Progress::Vectors => {
                call.add_done(answer as usize);
                self.go_away(call);
            }
        }
    }

    /// A crew thread makes the call, waiting in the kernel. Duty: the caller is the owner.
    pub(super) fn go_away(&'static self, call: &Arc<Parked>) {
        let call = Arc::clone(call);
        self.enqueue(Job::new(move |crew| {
            let answer = crew.lend_slot(call.slot(), || make_away(crew, &call));
            call.finish(&self.park, answer);
        }));
    }
}

/// Makes a write whose SIGPIPE has no receiver: the answer says it.
fn without_sigpipe(call: &Call, make: impl FnOnce() -> isize) -> isize {
    const SIGPIPE_BIT: u64 = 1 << (SIGPIPE - 1);
    if !Progress::writes(call) {
        return make();
    }
    // On the ring's thread it is blocked already; on one that helps its own call on it may be wanted,
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

/// False if the descriptor names another file by now, or none: the program closed it while its call
/// waited, which must not touch what is not meant.
fn names_its_file(call: &Parked) -> bool {
    match interest(&call.call()) {
        Some((descriptor, _)) if call.file != 0 => {
            descriptor::stat(descriptor).is_ok_and(|stat| stat.ino == call.file)
        }
        _ => true,
    }
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
