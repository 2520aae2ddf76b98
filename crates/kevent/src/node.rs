//! A source in its queue: what the engine tells events.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use syslet::source::{Clock, Ended, File, NOWHERE, Named, Timed, Told, WatchId, Watched};

use crate::core::{Core, On, let_go};
use crate::event::{BROKEN, DONE, Event, Flags, Happened, Kind};
use crate::source::{Source, What};

/// See the module. `happened` and what follows it is changed under the lock of the queue's state.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) core: Weak<Core>,
    pub(crate) source: Source,
    /// The file that its descriptor meant.
    pub(crate) file: Option<File>,
    pub(crate) watch: OnceLock<WatchId>,
    /// A child's: what its wait is noted as among the completions.
    pub(crate) wait: OnceLock<u64>,
    /// Where it is among the sources that the sweep goes round. Changed under the lock of the queue's state.
    pub(crate) round: AtomicUsize,
    /// The heap's.
    place: AtomicU32,
    /// When the timer fires next.
    next: AtomicU64,
    pub(crate) happened: AtomicU32,
    /// The same as it was told, in the words of poll(2) or inotify(7).
    told: AtomicU32,
    pub(crate) count: AtomicU32,
    /// Milliseconds at which it fired; or the parts of a result.
    pub(crate) said: AtomicU64,
    /// It is among the ready.
    pub(crate) queued: AtomicBool,
    /// It is among the level-triggered ones that are to be looked at.
    pub(crate) looked_for: AtomicBool,
    /// How often it was put among the ready.
    turn: AtomicU32,
    /// Its number was found to be its file's still, for as long as the lock is held: see [`Doubts`](crate::doubts).
    pub(crate) vouched: AtomicBool,
    /// It is in the queue no more.
    pub(crate) gone: AtomicBool,
    /// The one that has taken its place, of those that [`keep`](Self::keeps). Set under the lock.
    heir: OnceLock<Arc<Node>>,
    /// The watch of a directory whose place it takes.
    pub(crate) instead_of: OnceLock<WatchId>,
    /// The error number that has ended it; 0: none has.
    pub(crate) error: AtomicI32,
}

impl Node {
    pub(crate) fn new(core: Weak<Core>, source: Source, file: Option<File>) -> Self {
        let next = match source.what {
            What::Timer(_, first, _) => first,
            _ => 0,
        };
        Self {
            core,
            source,
            file,
            watch: OnceLock::new(),
            wait: OnceLock::new(),
            round: AtomicUsize::new(usize::MAX),
            place: AtomicU32::new(NOWHERE),
            next: AtomicU64::new(next),
            happened: AtomicU32::new(0),
            told: AtomicU32::new(0),
            count: AtomicU32::new(0),
            said: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            looked_for: AtomicBool::new(false),
            turn: AtomicU32::new(0),
            vouched: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            heir: OnceLock::new(),
            instead_of: OnceLock::new(),
            error: AtomicI32::new(0),
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(crate) fn is(&self, flags: Flags) -> bool {
        self.source.flags.contains(flags)
    }

    /// It is about the readiness of a descriptor: which, and the events of poll(2).
    pub(crate) fn readiness(&self) -> Option<(i32, u32)> {
        match self.source.what {
            What::Ready(number, events) => Some((number, events)),
            _ => None,
        }
    }

    /// It is about the readiness of a file that only the keeper tells from others.
    pub(crate) fn is_alike(&self) -> bool {
        self.readiness().is_some() && self.file.is_some_and(|file| file.is_alike())
    }

    /// It is looked at last, and whether its number was closed only the keeper can say, which has not said it.
    pub(crate) fn is_to_be_asked_about(&self) -> bool {
        let is_said =
            || self.vouched.load(Ordering::Relaxed) || self.error.load(Ordering::Relaxed) != 0;
        self.is(Flags::LAST_CHECK) && self.is_alike() && !self.is_gone() && !is_said()
    }

    /// It is put among the ready. To who has the lock of the state.
    pub(crate) fn count_turn(&self) {
        self.turn.store(self.turn().wrapping_add(1), Ordering::Relaxed);
    }

    /// Tells the times that it was among the ready from each other.
    pub(crate) fn turn(&self) -> u32 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Of such a one, what is to be compared; nothing while it is not watched yet.
    pub(crate) fn to_be_compared(&self) -> Option<Named> {
        let (number, _) = self.readiness().filter(|_| self.is_alike())?;
        self.watch.get().map(|&watch| Named { watch, number })
    }

    /// Its watch, which is to be ended.
    pub(crate) fn ended(&self, watch: WatchId, number: i32, unsaid: u32) -> Ended {
        Ended { watch, number, file: self.file.unwrap_or_default(), unsaid }
    }

    /// What the events of poll(2) or inotify(7) are in the words of its kind.
    pub(crate) fn in_its_words(&self, events: u32) -> u32 {
        let asked = self.source.asked;
        match self.source.key.kind {
            Kind::Socket | Kind::Pipe => {
                let over = events & (libc::POLLERR | libc::POLLHUP) as u32 != 0;
                let reads = over || events & (libc::POLLIN | libc::POLLRDHUP) as u32 != 0;
                let writes = over || events & libc::POLLOUT as u32 != 0;
                let reads = if reads { Happened::RECV | Happened::ACCEPT } else { 0 };
                (reads | if writes { Happened::SEND } else { 0 }) & asked
            }
            Kind::Inode => crate::inode::happened(events) & asked,
            _ => events,
        }
    }

    /// What it was told and has not handed out, in the words of poll(2): to others of the same file, if it ends.
    pub(crate) fn unsaid(&self) -> u32 {
        self.told.load(Ordering::Relaxed)
    }

    /// Something has happened, in the words of poll(2), to who has the lock of the state.
    pub(crate) fn note(&self, events: u32, count: u32) {
        self.happened.fetch_or(self.in_its_words(events), Ordering::Relaxed);
        self.told.fetch_or(events, Ordering::Relaxed);
        let before = self.count.load(Ordering::Relaxed);
        self.count.store(before.saturating_add(count), Ordering::Relaxed);
        if self.source.key.kind == Kind::Timer || self.source.key.kind == Kind::PosixTimer {
            self.said.store(Clock::Monotonic.now() / 1_000_000, Ordering::Relaxed);
        }
    }

    /// Of what it is to tell only this holds, in the words of poll(2); false if that is nothing. To who has the lock of
    /// the state.
    pub(crate) fn keeps_to(&self, events: u32) -> bool {
        let told = self.happened.load(Ordering::Relaxed);
        let left = told & self.in_its_words(events);
        self.happened.store(left, Ordering::Relaxed);
        // Of who asks for nothing, and was made ready, there is nothing that could hold.
        left != 0 || told == 0
    }

    /// What had come to a source and was not handed out goes to the one that takes its place: it would not be found
    /// anew, as readiness and the end of a child are. A timer that is set anew has not fired, as timerfd_settime(2) has
    /// it.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self.source.key.kind, Kind::Signal | Kind::Inode | Kind::User)
    }

    /// `heir` takes its place, and what it has to tell; true if that is anything. To who has the lock of the state.
    pub(crate) fn bequeath(&self, heir: &Arc<Node>) -> bool {
        if !self.keeps() {
            return false;
        }
        let _ = self.heir.set(Arc::clone(heir));
        if let Some(watch) = self.watch.get() {
            let _ = heir.instead_of.set(*watch);
        }
        let (had, count) =
            (self.happened.swap(0, Ordering::Relaxed), self.count.swap(0, Ordering::Relaxed));
        let kept = heir.asks_for(had);
        heir.happened.store(kept, Ordering::Relaxed);
        // How often each of several things had happened nobody knows.
        let count = if kept == had { count } else { u32::from(kept != 0) };
        heir.count.store(count, Ordering::Relaxed);
        kept != 0
    }

    /// Of what has happened, in the words of its kind, what it is told.
    pub(crate) fn asks_for(&self, happened: u32) -> u32 {
        if self.source.key.kind == Kind::Signal { happened } else { happened & self.source.asked }
    }

    /// It, or the last of those that have taken its place.
    pub(crate) fn heir(self: &Arc<Self>) -> &Arc<Self> {
        let mut last = self;
        while let Some(heir) = last.heir.get() {
            last = heir;
        }
        last
    }

    /// Forgets what has happened, and how often, which is answered. To who has the lock of the state.
    pub(crate) fn collect_anew(&self) -> (u32, u32) {
        self.told.store(0, Ordering::Relaxed);
        (self.happened.swap(0, Ordering::Relaxed), self.count.swap(0, Ordering::Relaxed))
    }

    /// Its event, which is handed out: from here on it collects anew. To who has the lock of the state.
    pub(crate) fn event(&self) -> Event {
        let mut event = self.blank();
        event.state = DONE;
        let (happened, count) = self.collect_anew();
        let error = self.error.load(Ordering::Relaxed);
        let said = self.said.load(Ordering::Relaxed);
        event.data = match self.source.key.kind {
            Kind::Timer | Kind::PosixTimer => [said as u32, count],
            Kind::Signal => [count, 0],
            Kind::Child => [said as u32, (said >> 32) as u32],
            Kind::Inode => [happened, count],
            _ => [happened, 0],
        };
        if error != 0 {
            event.state |= BROKEN;
            event.data = [0, error.wrapping_neg() as u32];
        }
        event
    }

    /// An event of which nothing is said yet.
    pub(crate) fn blank(&self) -> Event {
        let Source { key, asked, flags, user_data, .. } = self.source;
        let (kind, flags) = (key.kind as u32, flags.bits());
        Event { id: key.id, kind, asked, flags, user_data, ..Event::default() }
    }

    /// Tells the queue.
    pub(crate) fn tell(self: &Arc<Self>, events: u32, count: u32, on: On) -> Told {
        let Some(core) = self.core.upgrade() else { return Told::Gone };
        let told = core.happen(self, events, count, on);
        if on == On::Keeper {
            let_go(core);
        }
        told
    }

    /// The source is none any more.
    pub(crate) fn breaks(self: &Arc<Self>, error: i32, on: On) {
        if let Some(core) = self.core.upgrade() {
            core.breaks(self, error, on);
            if on == On::Keeper {
                let_go(core);
            }
        }
    }
}

/// One that is known somewhere still has its heir, and that the next: they are dropped in turn, not each by the one
/// before it, for which there may be too many.
impl Drop for Node {
    fn drop(&mut self) {
        let mut next = self.heir.take();
        while let Some(heir) = next {
            next = Arc::into_inner(heir).and_then(|mut heir| heir.heir.take());
        }
    }
}

impl Watched for Node {
    fn ready(self: Arc<Self>, events: u32) -> Told {
        self.tell(events, 1, On::Keeper)
    }

    fn broken(self: Arc<Self>, error: i32) {
        self.breaks(error, On::Keeper);
    }
}

impl Timed for Node {
    fn place(&self) -> &AtomicU32 {
        &self.place
    }

    fn expire(self: Arc<Self>) -> Option<u64> {
        if self.is_gone() {
            return None;
        }
        let What::Timer(clock, _, period) = self.source.what else { return None };
        let due = self.next.load(Ordering::Relaxed);
        if period == 0 || self.is(Flags::ONESHOT) {
            let _ = self.tell(Happened::FIRED, 1, On::Clock);
            return None;
        }
        let times = clock.now().saturating_sub(due) / period + 1;
        let next = due.saturating_add(times.saturating_mul(period));
        self.next.store(next, Ordering::Relaxed);
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        let _ = self.tell(Happened::FIRED, times, On::Clock);
        Some(next)
    }

    fn is_over(&self) -> bool {
        self.is_gone()
    }
}
