//! The keeper: a thread with a descriptor table of its own.
//!
//! The program's table is the program's: it may close everything there, and nothing of ours is in it.
//! What needs a descriptor all the same is done by this thread, in its own table:
//!
//! - it *holds* the files of calls that have been parked for a while, so that a call whose descriptor
//!   the program closes goes on with its file, as a call would that sleeps in the kernel;
//! - it *watches* what found no room in the rings, most of what is held from the start, and children, with an epoll.
//!
//! It takes files by `pidfd_getfd(2)`, which Linux (5.6) allows within a process always and Docker's
//! default profile forbids: there files are not held, and a call whose descriptor was closed ends with
//! `EBADF`; and the files of sources, of calls that find no room in the rings and of sets are sent to it (`mail.rs`).
//!
//! Nothing of the user's runs here, because it would see the wrong table: what is to be told is given to the clock's
//! thread ([`Delivery`]).

mod table;

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use syslet_sys::uapi::{
    EAGAIN, EBADF, S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK, SIGSETXID, Siginfo, Stat, Timespec,
};
use syslet_sys::{call as kernel, descriptor, futex};

use self::table::Table;
use super::gathering::Gathering;
use super::mail::{self, Address};
use super::nap::Nap;
use super::op::Parked;
use super::rest::Rest;
use super::source::{Begun, Ended, Named, Nudged, Order, WatchId};
use super::{TRY_AGAIN, drives};
use crate::complete::{Holder, Untold};
use crate::crew::{Engine, KNOCK_CODE, on_own_thread, start_thread};
use crate::sync::{AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering, lock};

/// What the keeper is asked for.
#[derive(Debug)]
enum Request {
    /// Watch this descriptor of the program's, whose file was sent with this ticket (0: it is to be taken), and say
    /// whether that could be done.
    Watch(Arc<Parked>, i32, u32, u64, Arc<AtomicU32>),
    /// Hold the file of this call, which is at this descriptor of the program's, or was sent with this ticket.
    Hold(Arc<Parked>, i32, u64, Arc<AtomicU32>),
    /// Watch all these descriptors of the program's for a call, by one poll there, and say whether that could be done.
    Set(Arc<Parked>, Interests, PollIn, Arc<AtomicU32>),
    /// Watch this child.
    Child(Arc<Parked>, i32),
    /// The descriptor of this call, whose owner asks, names another file by now: go on with the one
    /// that is held.
    GoOn(Arc<Parked>),
    /// The call that was kept here is over. Exactly one for each that is kept.
    Release(u32, Arc<Reply>),
    /// Begin these watches; true: of inodes.
    Gather(Arc<Gathering<Order, Begun>>, bool),
    /// Say whether these numbers still mean the files of these watches.
    Compare(Arc<Gathering<Named, bool>>),
    /// End these watches of readiness, whose files were sent with these tickets.
    Leave(Vec<(Ended, u64)>),
    /// End this watch of an inode.
    LeaveInode(WatchId),
    /// Take these signals, and tell them.
    Signals(u64, fn(u32), Arc<AtomicU32>),
}

/// Descriptors of the program's and what each is waited for, in parcels: the files of one were sent with its ticket (0:
/// they are to be taken).
type Interests = Vec<(u64, Vec<(i32, u32)>)>;

/// Where the poll of a set is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PollIn {
    /// A ring that has been made and has room.
    Ring,
    /// The keeper's epoll.
    Epoll,
}

/// What is to be done where the program's table is.
#[derive(Debug)]
pub(super) enum Delivery {
    /// The owned call is over, with this answer.
    Finish(Arc<Parked>, isize),
    /// The owned call is to be gone on with; its poll said this.
    Ready(Arc<Parked>, u32),
    /// The owned call cannot be tried, or not be watched: it needs a thread.
    Thread(Arc<Parked>),
    /// It was completed by a thread that drives the ring, or the keeper's, which tells nobody of it.
    Tell(Arc<dyn Holder>, Untold),
    /// A surface wants something done.
    Nudge(Arc<dyn Nudged>),
}

/// Answers.
const DONE: u32 = 1;
const NOT_DONE: u32 = 2;
/// A thread does it, which may have to wait.
const BEGUN: u32 = 3;
/// How long one waits for such a thread. If it need not wait that takes some tens of microseconds, more where the CPUs
/// are busy: the program's own close, after this, is to be the last. And else the program has closed the file already.
const BOUND: Duration = Duration::from_millis(500);

/// The answer to who wants a file let go of.
#[derive(Debug)]
pub(super) struct Reply(AtomicU32);

impl Reply {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(0)))
    }

    /// It is closed.
    pub(super) fn done(&self) {
        answer(&self.0, DONE);
    }

    /// A thread closes it.
    pub(super) fn begun(&self) {
        answer(&self.0, BEGUN);
    }

    fn wait(&self) {
        if wait_for(&self.0) != BEGUN {
            return;
        }
        let until = Instant::now() + BOUND;
        // Acquire: pairs with the release in `answer`.
        while self.0.load(Ordering::Acquire) == BEGUN {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            let rest = Timespec::from_nanos(rest.as_nanos() as u64);
            futex::wait(&self.0, BEGUN, Some(&rest));
        }
    }
}

/// The desk of the keeper: where it is asked.
#[derive(Debug)]
pub(super) struct Keeper {
    requests: Mutex<VecDeque<Request>>,
    /// Calls that were parked lately, with their descriptors.
    newcomers: Mutex<Vec<(Arc<Parked>, i32)>>,
    /// 1: the keeper looks at the newcomers soon, without being told.
    attentive: AtomicU32,
    rest: Rest,
    nap: Nap,
    tid: AtomicU32,
    /// 0: not started; 1: works; 2: cannot take files; 3: cannot be made.
    state: AtomicU32,
    /// Held while it is started; inside, until when it is not, because that has just failed.
    starting: Mutex<Option<Instant>>,
    /// Of the inbox, where files cannot be taken.
    address: OnceLock<Address>,
    /// Files held now.
    held: AtomicI64,
    /// The device of processes, where they look like files (Linux 6.9).
    processes: AtomicU64,
}

/// Major numbers of terminals: consoles, `/dev/tty`, pseudo-terminals, serial lines. admin-guide/devices.txt.
pub(super) const TERMINALS: [u32; 13] =
    [4, 5, 136, 137, 138, 139, 140, 141, 142, 143, 166, 188, 204];

const NOT_STARTED: u32 = 0;
const WORKS: u32 = 1;
const TAKES_NOTHING: u32 = 2;
const IMPOSSIBLE: u32 = 3;

impl Keeper {
    pub(super) fn new() -> Self {
        Self {
            requests: Mutex::new(VecDeque::new()),
            newcomers: Mutex::new(Vec::new()),
            attentive: AtomicU32::new(0),
            rest: Rest::new(),
            nap: Nap::new(),
            tid: AtomicU32::new(0),
            state: AtomicU32::new(NOT_STARTED),
            starting: Mutex::new(None),
            address: OnceLock::new(),
            held: AtomicI64::new(0),
            processes: AtomicU64::new(u64::MAX),
        }
    }

    /// Files held now.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed).max(0) as usize
    }

    fn ask(&self, request: Request) {
        lock(&self.requests).push_back(request);
        self.knock();
    }

    /// The caller waits, or has asked for something: that is no time for a nap.
    pub(super) fn attend(&self) {
        if self.nap.attend() {
            futex::wake(self.nap.word(), 1);
        }
    }

    /// Has the keeper look at the requests.
    fn knock(&self) {
        if self.rest.is_to_wake() {
            self.wake();
        }
        self.attend();
    }

    /// The caller has taken back that it rests.
    fn wake(&self) {
        let pid = kernel::getpid();
        let info = Siginfo::queued(SIGSETXID, KNOCK_CODE, pid, 0, 0);
        let tid = self.tid.load(Ordering::Relaxed) as i32;
        // Full signal queue (RLIMIT_SIGPENDING): it empties as the receivers run.
        while kernel::queue_to_thread(pid, tid, &info) == -EAGAIN {
            std::thread::yield_now();
        }
    }

    /// A call was parked on `descriptor`, in a ring: its file is to be held if it stays.
    pub(super) fn notice(&self, call: &Arc<Parked>, descriptor: i32) {
        lock(&self.newcomers).push((Arc::clone(call), descriptor));
        // Looked at first, because nearly always it is. The lock orders the two: if the keeper took the newcomers
        // before this one came, its 0 is seen here.
        let attentive = self.attentive.load(Ordering::SeqCst) == 1;
        if !attentive && self.attentive.swap(1, Ordering::SeqCst) == 0 {
            self.knock();
        }
    }

    /// A call is over: if it is the last newcomer, as it is where one call follows the other, it is one no
    /// more, and its memory can be used again at once.
    pub(super) fn unnotice(&self, call: &Parked) {
        let last = {
            let mut newcomers = lock(&self.newcomers);
            let same =
                newcomers.last().is_some_and(|(last, _)| std::ptr::eq(&raw const **last, call));
            if same { newcomers.pop() } else { None }
        };
        drop(last);
    }

    /// The call that was kept in `place` is over.
    ///
    /// **Blocking**: until its file is let go. After its answer is known nothing of the call's may be
    /// seen any more: who closes a socket then must be the last who had it open. If the program has closed it before,
    /// and it lingers, at most [`BOUND`].
    pub(super) fn release(&self, place: u32) {
        let reply = Reply::new();
        self.ask(Request::Release(place, Arc::clone(&reply)));
        reply.wait();
    }

    /// Whether `number` of the program names the file that is held at `place`; `None`: the kernel does not say.
    pub(super) fn is_held(&self, number: i32, place: u32) -> Option<bool> {
        descriptor::same_file(number, self.tid.load(Ordering::Relaxed) as i32, place as i32)
    }

    /// True if the keeper may have the file behind `stat` for a while. When it closes its number the kernel says so to
    /// the file system or the driver (`flush`), as of a close of the program's: a message queue forgets its
    /// notification then, and a server is asked. Sockets, pipes, terminals, processes and what has no type take no
    /// notice.
    pub(super) fn may_take(&self, stat: &Stat) -> bool {
        match stat.mode & S_IFMT {
            0 | S_IFSOCK | S_IFIFO => true,
            S_IFCHR => TERMINALS.contains(&stat.major()),
            _ => stat.dev == self.processes.load(Ordering::Relaxed),
        }
    }

    /// The ticket of the file of `call`, which is sent; 0: nothing was sent, because the keeper takes it itself or has
    /// it. `None`: it cannot be sent.
    fn ticket_of(&self, call: &Parked, descriptor: i32) -> Option<u64> {
        let Some(address) = self.address().filter(|_| call.kept_at().is_none()) else {
            return Some(0);
        };
        let is_its = |stat: &Stat| self.may_take(stat) && call.is_of(stat);
        let may_be_sent =
            may_send() && descriptor::stat(descriptor).is_ok_and(|stat| is_its(&stat));
        if may_be_sent { mail::send(address, &[descriptor]).ok() } else { None }
    }

    /// Begins watches; the gathering is told.
    pub(super) fn gather(&self, gathering: &Arc<Gathering<Order, Begun>>, inodes: bool) {
        self.ask(Request::Gather(Arc::clone(gathering), inodes));
    }

    /// Looks whether numbers still mean the files of their watches; the gathering is told.
    pub(super) fn compare(&self, gathering: &Arc<Gathering<Named, bool>>) {
        self.ask(Request::Compare(Arc::clone(gathering)));
    }

    /// Ends watches of readiness, soon: nobody waits for it. Until then an event of theirs is told to nobody. Most
    /// numbers are closed by then, and there is nothing left to be done; a program whose connections are short would
    /// have the keeper woken for each.
    pub(super) fn leave(&self, watches: Vec<(Ended, u64)>) {
        // What was sent fills the inbox until it is claimed; and others wait for what is passed on.
        let is_urgent = watches.iter().any(|(ended, ticket)| ended.unsaid != 0 || *ticket != 0);
        lock(&self.requests).push_back(Request::Leave(watches));
        if is_urgent {
            self.knock();
        } else if self.rest.is_to_wake_some_day() {
            self.wake();
        }
    }

    /// Where files are to be sent to; none: it takes them by itself.
    pub(super) fn address(&self) -> Option<&Address> {
        self.address.get()
    }

    /// The running thread is the keeper's.
    pub(super) fn is_here(&self) -> bool {
        self.tid.load(Ordering::Relaxed) == kernel::gettid() as u32
    }

    /// Ends a watch of an inode.
    pub(super) fn leave_inode(&self, watch: WatchId) {
        self.ask(Request::LeaveInode(watch));
    }

    /// Takes signals from now on, and calls `each` with their numbers.
    ///
    /// **Blocking**: until those that are not named any more are not taken.
    pub(super) fn take_signals(&self, mask: u64, each: fn(u32)) {
        let reply = Arc::new(AtomicU32::new(0));
        self.ask(Request::Signals(mask, each, Arc::clone(&reply)));
        wait_for(&reply);
    }

    /// Goes on with the held file of a call. Duty: the caller is its owner, and no more afterwards.
    pub(super) fn go_on(&self, call: &Arc<Parked>) {
        self.ask(Request::GoOn(Arc::clone(call)));
    }
}

impl Engine {
    /// The keeper, with its thread; none if there can be none, or (`taking`) if it cannot take files.
    pub(super) fn keeper(&'static self, taking: bool) -> Option<&'static Keeper> {
        let keeper = &self.park.keeper;
        if keeper.state.load(Ordering::Acquire) == NOT_STARTED {
            self.start_keeper(keeper);
        }
        match keeper.state.load(Ordering::Acquire) {
            WORKS => Some(keeper),
            TAKES_NOTHING if !taking => Some(keeper),
            _ => None,
        }
    }

    /// The keeper, if it can have files watched that stay the program's.
    pub(super) fn watching_keeper(&'static self) -> Option<&'static Keeper> {
        let keeper = self.keeper(false)?;
        let takes = keeper.state.load(Ordering::Acquire) == WORKS;
        (takes || keeper.address().is_some()).then_some(keeper)
    }

    #[cold]
    fn start_keeper(&'static self, keeper: &'static Keeper) {
        let mut starting = lock(&keeper.starting);
        let just_failed = starting.is_some_and(|until| until > Instant::now());
        if keeper.state.load(Ordering::Acquire) != NOT_STARTED || just_failed {
            return;
        }
        // What the keeper delivers is done by the first clock's thread, in the program's table: a thread
        // that the keeper made would share the keeper's.
        let _ = self.clock(super::Clock::Monotonic);
        let run = move || {
            if let Some(table) = Table::new(self, keeper) {
                table.run();
            }
        };
        if start_thread(b"syslet-keeper\0\0\0", None, run).is_err() {
            // Another call may find it possible.
            *starting = Some(Instant::now() + TRY_AGAIN);
            return;
        }
        while keeper.state.load(Ordering::Acquire) == NOT_STARTED {
            futex::wait(&keeper.state, NOT_STARTED, None);
        }
    }

    /// Has the keeper watch `descriptor` for `call`. False: it cannot.
    ///
    /// **Blocking**: until the keeper has taken the file; from then on the program may close it.
    pub(super) fn watch(&'static self, call: &Arc<Parked>, descriptor: i32, events: u32) -> bool {
        let Some(keeper) = self.watching_keeper() else { return false };
        let Some(ticket) = keeper.ticket_of(call, descriptor) else { return false };
        let reply = Arc::new(AtomicU32::new(0));
        let (held, told) = (Arc::clone(call), Arc::clone(&reply));
        keeper.ask(Request::Watch(held, descriptor, events, ticket, told));
        wait_for(&reply) == DONE
    }

    /// Has the keeper hold the file of `call`, if it can. Before the call is let go: until then nobody else can end it.
    ///
    /// **Blocking**: until the keeper has taken the file; from then on the program may close it.
    pub(super) fn hold(&'static self, call: &Arc<Parked>, descriptor: i32) {
        let Some(keeper) = self.watching_keeper() else { return };
        let Some(ticket) = keeper.ticket_of(call, descriptor) else { return };
        let reply = Arc::new(AtomicU32::new(0));
        keeper.ask(Request::Hold(Arc::clone(call), descriptor, ticket, Arc::clone(&reply)));
        wait_for(&reply);
    }

    /// Has the keeper let the owned call wait for all of `interests`: by an epoll in its table, which is polled where
    /// `place` says. False: it cannot, and the caller is the owner still.
    ///
    /// **Blocking**: until the keeper has taken the files; from then on the program may close them.
    pub(super) fn watch_set(
        &'static self,
        call: &Arc<Parked>,
        interests: &[(i32, u32)],
        place: PollIn,
    ) -> bool {
        let Some(keeper) = self.watching_keeper() else { return false };
        let interests = match keeper.address() {
            None => vec![(0, interests.to_vec())],
            Some(_) if !may_send() => return false,
            Some(address) => {
                // What was closed since the call was tried is not one of those that it would wait for.
                let is_open = |number| descriptor::stat(number).err() != Some(-EBADF);
                let open: Vec<_> =
                    interests.iter().copied().filter(|(number, _)| is_open(*number)).collect();
                let parcel = |some: &[(i32, u32)]| {
                    let numbers: Vec<_> = some.iter().map(|(number, _)| *number).collect();
                    // One that did not go is found to be lost, and there is no set.
                    (mail::send(address, &numbers).unwrap_or(mail::LOST), some.to_vec())
                };
                open.chunks(mail::MOST).map(parcel).collect()
            }
        };
        let reply = Arc::new(AtomicU32::new(0));
        keeper.ask(Request::Set(Arc::clone(call), interests, place, Arc::clone(&reply)));
        wait_for(&reply) == DONE
    }

    /// Has the keeper watch child `pid` for `call`. False: it cannot.
    pub(super) fn watch_child(&'static self, call: &Arc<Parked>, pid: i32) -> bool {
        let Some(keeper) = self.keeper(false) else { return false };
        keeper.ask(Request::Child(Arc::clone(call), pid));
        true
    }
}

/// True if the running thread may send files of the program's. For that a socket is among the program's descriptors for
/// a moment, and a program that closes everything just then, and has another file by that number, would have that one
/// closed by us. So it is done only while a thread of the program's waits for it, never at a moment of our own.
fn may_send() -> bool {
    // A thread that drives a ring goes on with calls of others.
    !on_own_thread() && !drives()
}

fn answer(reply: &AtomicU32, answer: u32) {
    reply.store(answer, Ordering::Release);
    futex::wake(reply, 1);
}

fn wait_for(reply: &AtomicU32) -> u32 {
    loop {
        match reply.load(Ordering::Acquire) {
            0 => futex::wait(reply, 0, None),
            answer => return answer,
        };
    }
}
