//! The home: the kernel thread that the guest was born on, parked.
//!
//! It runs on a small stack of its own (the guest uses the thread's), with every signal blocked, and sleeps in
//! `rt_sigtimedwait` for those that the guest lets through. The kernel looks for a thread that *wants* a
//! signal, and one that waits for it does; so signals for the process, and those sent to the guest's thread by
//! its old id (`pthread_kill`), come to the home, which passes them to the kernel thread that carries the
//! guest. Crew threads that are asleep in a call are left alone.
//!
//! The home keeps the guest's thread pointer but uses no thread-locals.

#![allow(unsafe_code, reason = "runs on a stack of its own, below the context switch")]

use std::io;

use syslet_sys::arch::{Errand, Verdict};
use syslet_sys::uapi::{SIGCANCEL, SIGSETXID, SIGURG, Siginfo, Timespec};
use syslet_sys::{call, futex};

use super::guest::Guest;
use super::identity::Ids;
use super::mapping::Mapping;
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Stack of a parked home: its loop is shallow.
const HOME_STACK: usize = 64 << 10;

/// A signal on its way from the home to the carrier. The state has a tag and, above it, a number that
/// counts the uses of the place.
#[derive(Debug)]
struct Letter {
    /// Written by the home while the tag is `FREE`.
    info: std::cell::UnsafeCell<Siginfo>,
    state: AtomicU32,
}

/// Tags of a letter.
mod tag {
    /// None there.
    pub(super) const FREE: u32 = 0;
    /// Sent; whoever changes this delivers it.
    pub(super) const SENT: u32 = 1;
    /// The guest was not there any more: to be sent again.
    pub(super) const RETURNED: u32 = 2;
    /// Not sent, because the guest is coming home.
    pub(super) const KEPT: u32 = 3;
    pub(super) const MASK: u32 = 3;
    /// One use more.
    pub(super) const USE: u32 = 4;
}

/// Signals that can be on their way at once. More come without their information.
pub(super) const LETTERS: usize = 32;

impl Letter {
    fn new() -> Self {
        Self {
            info: std::cell::UnsafeCell::new(Siginfo::queued(0, 0, 0, 0, 0)),
            state: AtomicU32::new(tag::FREE),
        }
    }

    fn tag(&self) -> u32 {
        self.state.load(Ordering::Acquire) & tag::MASK
    }

    /// Changes the tag. By the home, or by who has changed it from `SENT`.
    fn set(&self, tag: u32) {
        let used = self.state.load(Ordering::Relaxed) & !tag::MASK;
        self.state.store(used | tag, Ordering::Release);
    }

    /// On the thread that it was sent to: takes the signal out (`here`), or returns it.
    fn receive(&self, here: bool) -> Option<Siginfo> {
        let state = self.state.load(Ordering::Acquire);
        if state & tag::MASK != tag::SENT {
            return None;
        }
        // SAFETY: a copy that is not used unless nobody has changed the state, and so the letter.
        let info = unsafe { self.info.get().read_volatile() };
        let next = (state & !tag::MASK) | if here { tag::FREE } else { tag::RETURNED };
        self.state
            .compare_exchange(state, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
            .then_some(info)
    }
}

/// What the home is asked to do.
mod command {
    /// Go on with the guest's context.
    pub(super) const GO_ON: u32 = 1;
    /// Take over the ids that are written down.
    pub(super) const TAKE_IDS: u32 = 2;
    /// The set of wanted signals has changed.
    pub(super) const LOOK: u32 = 4;
}

/// How long a home waits without a look at its commands: one that came just before it began to wait has its signal
/// pending, unless somebody has set the action of SIGURG to its default in between, which takes it away.
const LOOK_AGAIN: Timespec = Timespec { sec: 1, nsec: 0 };

/// Signals that a home takes whatever its guest blocks: our own poke, and glibc's two.
const ALWAYS: u64 = 1 << (SIGURG - 1) | 1 << (SIGCANCEL - 1) | 1 << (SIGSETXID - 1);

/// The part of a guest's record that its home reads.
#[derive(Debug)]
pub(super) struct Home {
    tid: AtomicI32,
    /// Commands, one bit each.
    commands: AtomicU32,
    /// 1: the signal for the command to go on was sent.
    told: AtomicU32,
    /// Held by the carrier that has ids taken over.
    ids_lock: AtomicU32,
    /// Signal mask to go on with.
    mask: AtomicU64,
    /// Signals that the guest lets through, which the home waits for in its stead.
    wanted: AtomicU64,
    /// Ids to take over, and the answer. Written by the carrier's signal handler, under the lock,
    /// before it commands.
    ids: std::cell::UnsafeCell<Ids>,
    answer: AtomicU32,
    /// Changes of ids that glibc itself has told the home of.
    answered: AtomicU32,
    /// `answered` when the carrier's handler began.
    answered_then: AtomicU32,
    letters: [Letter; LETTERS],
    stack: Mapping,
}

// SAFETY: `ids` is written before `command` is stored with release and read after it was loaded
// with acquire; one carrier at a time asks, and waits for the answer. A letter is written by the home
// before its state is stored with release, and used by the one who then changes the state.
unsafe impl Sync for Home {}

impl Home {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            tid: AtomicI32::new(0),
            commands: AtomicU32::new(0),
            told: AtomicU32::new(0),
            ids_lock: AtomicU32::new(0),
            mask: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            ids: std::cell::UnsafeCell::new(Ids::none()),
            answer: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            answered_then: AtomicU32::new(0),
            letters: std::array::from_fn(|_| Letter::new()),
            stack: Mapping::new(HOME_STACK)?,
        })
    }

    /// Top of the stack that the home parks on.
    pub(super) fn stack_top(&self) -> usize {
        self.stack.top()
    }

    /// The home's kernel thread.
    pub(super) fn tid(&self) -> i32 {
        self.tid.load(Ordering::Acquire)
    }

    /// The running kernel thread is about to be the home of a guest that blocks `mask`.
    pub(super) fn prepare(&self, mask: u64) {
        if self.commands.swap(0, Ordering::AcqRel) & command::TAKE_IDS != 0 {
            // By a carrier of the guest that had this record before, whose home has gone on. It waits.
            self.answer_ids(DONE);
        }
        self.told.store(0, Ordering::Relaxed);
        self.wanted.store(!mask | ALWAYS, Ordering::Relaxed);
        self.tid.store(call::gettid(), Ordering::Release);
    }

    /// The guest blocks `mask` now.
    pub(super) fn remask(&self, pid: i32, mask: u64) {
        self.wanted.store(!mask | ALWAYS, Ordering::Relaxed);
        self.command(pid, command::LOOK);
    }

    /// Lets the home go on with the guest's context, under `mask`.
    pub(super) fn go_on(&self, pid: i32, mask: u64) {
        self.mask.store(mask, Ordering::Relaxed);
        self.command(pid, command::GO_ON);
        // Release: pairs with the acquire of `all_told`. The home, which may have read the command with an earlier
        // signal, goes on after this, so that the one just sent is found by it and not by the program.
        self.told.store(1, Ordering::Release);
        futex::wake(&self.told, 1);
    }

    /// On the home, told to go on: waits until whoever did has sent its signal.
    fn all_told(&self) {
        while self.told.load(Ordering::Acquire) == 0 {
            futex::wait(&self.told, 0, None);
        }
    }

    fn command(&self, pid: i32, command: u32) {
        // Before: the record may have another home once this one has read the command.
        let home = self.tid();
        // Release: what the command is about.
        self.commands.fetch_or(command, Ordering::Release);
        poke(pid, home);
    }

    /// Changes of ids that glibc itself has told the home of so far.
    pub(super) fn answered(&self) -> u32 {
        self.answered.load(Ordering::Acquire)
    }

    /// Makes the home change its ids, and waits until it has. From a signal handler of the carrier;
    /// `still` says whether it is that yet. True unless the home could not follow.
    ///
    /// **Blocking**: until the home, which does nothing else, has answered, or the guest has gone.
    pub(super) fn take_ids(
        &self,
        pid: i32,
        ids: &Ids,
        answered: u32,
        still: impl Fn() -> bool,
    ) -> bool {
        // An old and a new carrier may both be here, for the same change.
        while self.ids_lock.swap(1, Ordering::Acquire) != 0 {
            call::sched_yield();
        }
        self.answered_then.store(answered, Ordering::Relaxed);
        let answer = if still() { self.ask_ids(pid, ids, still) } else { DONE };
        self.ids_lock.store(0, Ordering::Release);
        answer != FAILED
    }

    fn ask_ids(&self, pid: i32, ids: &Ids, still: impl Fn() -> bool) -> u32 {
        // SAFETY: the lock is held, and no earlier command is outstanding; see `Sync`.
        unsafe { *self.ids.get() = *ids };
        self.answer.store(ASKED, Ordering::Relaxed);
        self.command(pid, command::TAKE_IDS);
        loop {
            let answer = self.answer.load(Ordering::Acquire);
            if answer != ASKED {
                return answer;
            }
            futex::wait(&self.answer, ASKED, Some(&ANSWER_TIME));
            // The guest has gone, and so may have its home: take the command back.
            if !still()
                && self.commands.fetch_and(!command::TAKE_IDS, Ordering::AcqRel) & command::TAKE_IDS
                    != 0
            {
                return DONE;
            }
        }
    }

    fn obey_ids(&self) {
        // If glibc has told the home itself since, another thread changes the ids, perhaps for the
        // second time, and these are old. glibc leaves the home out only if its own guest does.
        let told = self.answered() != self.answered_then.load(Ordering::Relaxed);
        // SAFETY: see `Sync`: the command was loaded with acquire.
        let done = told || unsafe { &*self.ids.get() }.take_over();
        self.answer_ids(if done { DONE } else { FAILED });
    }

    fn answer_ids(&self, answer: u32) {
        self.answer.store(answer, Ordering::Release);
        futex::wake(&self.answer, 1);
    }
}

/// Parks the home kernel thread until the guest comes back. Runs on the home's own stack; its data is the guest whose
/// context was just saved on this kernel thread.
#[derive(Debug)]
pub(super) struct Park;

impl Errand for Park {
    unsafe fn run(data: *mut u8) -> Verdict {
        // SAFETY: the duty of this errand; records are never freed.
        let guest = unsafe { &*data.cast::<Guest>() };
        let home = &guest.home;
        call::set_signal_mask(!0);
        super::transfer::hand_to_crew(guest);
        let pid = call::getpid();
        while !home.serve_one(guest, pid) {}
        home.all_told();
        home.take_letters_home(pid);
        call::set_signal_mask(home.mask.load(Ordering::Relaxed));
        Verdict::stay(0)
    }
}

impl Home {
    /// Waits for one signal and deals with it. True: the guest comes home.
    fn serve_one(&self, guest: &Guest, pid: i32) -> bool {
        let mut info = Siginfo::queued(0, 0, 0, 0, 0);
        // Acquire: pairs with the release in `command`.
        if self.commands.load(Ordering::Acquire) != 0 {
            // Its signal and no other: the kernel gives those with lower numbers first, and if they come faster than
            // they are passed on, or go round because the letters are used up and the guest is coming home, it would
            // never be this one's turn. And not for long: whoever sets the action of SIGURG to its default takes it
            // from all threads that have it pending.
            let urgent = super::signals::bit(SIGURG);
            let signal = call::wait_signal(urgent, &mut info, Some(&ANSWER_TIME)) as i32;
            return self.poked(guest, pid, (signal == SIGURG).then_some(&info));
        }
        // Signals that the guest blocks are left for others, who may be waiting for them.
        let wanted = self.wanted.load(Ordering::Relaxed);
        let signal = call::wait_signal(wanted, &mut info, Some(&LOOK_AGAIN)) as i32;
        if signal == SIGURG {
            return self.poked(guest, pid, Some(&info));
        }
        if signal < 0 {
            self.look_after_letters(guest, pid); // what said that one was returned may have been taken away
        }
        if signal == SIGSETXID {
            self.answered.fetch_add(1, Ordering::AcqRel);
            super::signals::answer_setxid(signal, &info);
        } else if signal > 0 {
            self.forward(guest, pid, &info);
        }
        false
    }

    /// The signal by which commands and answers are announced, which may be the program's too. What is announced
    /// while such a one of the program's is pending comes with that, because there is only one at a time. `None`: it
    /// has not come. True: the guest comes home.
    fn poked(&self, guest: &Guest, pid: i32, info: Option<&Siginfo>) -> bool {
        self.look_after_letters(guest, pid);
        // A command is there before its signal is sent.
        // Acquire: pairs with the release in `command`.
        let commands = self.commands.swap(0, Ordering::Acquire);
        if commands & command::TAKE_IDS != 0 {
            self.obey_ids();
        }
        let comes_home = commands & command::GO_ON != 0;
        match info.filter(|info| !is_poke(info, pid)) {
            None => {}
            Some(info) if comes_home => self.keep(pid, info),
            Some(info) => self.forward(guest, pid, info),
        }
        comes_home
    }

    /// Leaves a signal for the guest, which is coming home.
    fn keep(&self, pid: i32, info: &Siginfo) {
        match self.write(info) {
            Some(at) => self.letters[at].set(tag::KEPT),
            None => _ = call::queue_to_thread(pid, self.tid(), info),
        }
    }

    /// Puts a signal into a free letter, if there is one.
    fn write(&self, info: &Siginfo) -> Option<usize> {
        let at = self.letters.iter().position(|letter| letter.tag() == tag::FREE)?;
        let letter = &self.letters[at];
        // SAFETY: the letter is free, so it is the home's.
        unsafe { *letter.info.get() = *info };
        let used = letter.state.load(Ordering::Relaxed) & !tag::MASK;
        letter.state.store(used.wrapping_add(tag::USE), Ordering::Relaxed);
        Some(at)
    }

    /// Passes a signal on to the kernel thread that carries the guest.
    ///
    /// A thread may queue a signal that names another sender to itself only. So the carrier is told by
    /// a signal of ours where to find it, and queues it to itself, if it still carries the guest.
    fn forward(&self, guest: &Guest, pid: i32, info: &Siginfo) {
        let Some(at) = self.write(info) else {
            // Without its information rather than not at all.
            call::tgkill(pid, self.carrier_tid(guest).unwrap_or(self.tid()), info.signo);
            return;
        };
        self.send_letter(guest, pid, at);
    }

    /// Kernel thread that carries the guest; `None` if the guest is coming home.
    ///
    /// A crew thread that was woken to carry the guest comes within microseconds.
    fn carrier_tid(&self, guest: &Guest) -> Option<i32> {
        loop {
            if let Some(crew) = guest.carrier_now() {
                return Some(crew.tid());
            }
            if self.commands.load(Ordering::Acquire) & command::GO_ON != 0 {
                return None;
            }
            call::sched_yield();
        }
    }

    fn send_letter(&self, guest: &Guest, pid: i32, at: usize) {
        let letter = &self.letters[at];
        let Some(tid) = self.carrier_tid(guest) else {
            letter.set(tag::KEPT);
            return;
        };
        // SAFETY: the letter is the home's until it is sent.
        let signal = unsafe { (*letter.info.get()).signo };
        letter.set(tag::SENT);
        // Numbers and no pointer: others can send such a signal too.
        let value = guest.index * LETTERS + at;
        let uid = call::user_ids()[0];
        let poke = Siginfo::queued(SIGSETXID, super::signals::LETTER_CODE, pid, uid, value);
        if call::queue_to_thread(pid, tid, &poke) < 0 {
            // The queue is full: without its information rather than not at all.
            letter.set(tag::FREE);
            call::tgkill(pid, tid, signal);
        }
    }

    /// Sends what was returned again.
    fn look_after_letters(&self, guest: &Guest, pid: i32) {
        for at in (0..LETTERS).filter(|at| self.letters[*at].tag() == tag::RETURNED) {
            self.send_letter(guest, pid, at);
        }
    }

    /// On the thread that a letter was sent to, in its signal handler. `here`: it carries the guest. The
    /// signal, if it is queued to the running thread now.
    pub(super) fn receive(&self, pid: i32, at: usize, here: bool) -> Option<Siginfo> {
        let home = self.tid();
        let info = self.letters.get(at)?.receive(here)?;
        if here {
            call::queue_to_thread(pid, call::gettid(), &info);
            return Some(info);
        }
        poke(pid, home);
        None
    }

    /// The guest is coming home: so do signals that have not reached it.
    fn take_letters_home(&self, pid: i32) {
        let (mut there, mut returned) = (0u32, false);
        for (at, letter) in self.letters.iter().enumerate() {
            let tag = letter.state.fetch_and(!tag::MASK, Ordering::AcqRel) & tag::MASK;
            there |= u32::from(tag != tag::FREE) << at;
            returned |= tag == tag::RETURNED;
        }
        // What is returned comes with a signal of ours, and one may be there for what was known already. They must
        // not be left for the program to find.
        let time = if returned { ANSWER_TIME } else { Timespec::default() };
        let mut urgent = Siginfo::queued(0, 0, 0, 0, 0);
        let found = call::wait_signal(1 << (SIGURG - 1), &mut urgent, Some(&time)) > 0;
        for at in (0..LETTERS).filter(|at| there & 1 << at != 0) {
            // SAFETY: nobody else has it: the state was changed here.
            let info = unsafe { *self.letters[at].info.get() };
            call::queue_to_thread(pid, call::gettid(), &info);
        }
        if found && !is_poke(&urgent, pid) {
            call::queue_to_thread(pid, call::gettid(), &urgent);
        }
    }
}

/// `si_code` of the signal that tells a home to look.
const POKE_CODE: i32 = -7_334;

/// Tells the home on kernel thread `home` to look at its commands and letters.
fn poke(pid: i32, home: i32) {
    // Signals up to 31 are never lost for want of memory; their information may be, and is passed on to the guest as
    // a signal of the program's then, which finds it as harmless as SIGURG is. Blocked, it is taken by `park`.
    let poke = Siginfo::queued(SIGURG, POKE_CODE, pid, 0, 0);
    if call::queue_to_thread(pid, home, &poke) < 0 {
        call::tgkill(pid, home, SIGURG);
    }
}

/// True for a [`poke`].
fn is_poke(info: &Siginfo, pid: i32) -> bool {
    info.code == POKE_CODE && info.pid == pid
}

/// Answers of a home that is asked to take ids over.
const ASKED: u32 = 0;
const DONE: u32 = 1;
const FAILED: u32 = 2;

/// How long a home waits for the signal that follows an answer at once. (It is there already if it
/// came together with the command to go on.)
const ANSWER_TIME: Timespec = Timespec { sec: 0, nsec: 2_000_000 };

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::sync::AtomicBool;

    #[test]
    fn who_asks_for_ids_is_answered_though_the_record_has_another_guest() {
        let home = Arc::new(Home::new().expect("memory is there"));
        let has_gone = Arc::new(AtomicBool::new(false));
        let (done, is_done) = channel();
        let asks = {
            let (home, has_gone) = (Arc::clone(&home), Arc::clone(&has_gone));
            std::thread::spawn(move || {
                let still = || !has_gone.load(Ordering::SeqCst);
                let followed = home.take_ids(call::getpid(), &Ids::none(), 0, still);
                done.send(followed).unwrap();
            })
        };
        while home.commands.load(Ordering::SeqCst) & command::TAKE_IDS == 0 {
            std::thread::yield_now();
        }
        home.prepare(0);
        has_gone.store(true, Ordering::SeqCst);
        let followed = is_done.recv_timeout(Duration::from_secs(10));
        assert_eq!(followed, Ok(true), "it waits for a home that is not there");
        asks.join().unwrap();
    }
}
