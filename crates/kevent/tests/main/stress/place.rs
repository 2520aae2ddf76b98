//! Something that is watched now and then, by one queue or by both.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use syslet_kevent::{Flags, Kind, Source};

use super::board::{Board, Dice, QUEUES, Side};
use super::watched::Watched;

/// The ways in which sources are watched.
const WAYS: [Flags; 9] = [
    Flags::NONE,
    Flags::ET,
    Flags::from_bits(Flags::ET.bits() | Flags::ALWAYS_QUEUE.bits()),
    Flags::from_bits(Flags::ET.bits() | Flags::WAKEUP_ALL.bits()),
    Flags::from_bits(Flags::ET.bits() | Flags::LAST_CHECK.bits()),
    Flags::LAST_CHECK,
    Flags::ONESHOT,
    Flags::from_bits(Flags::ONESHOT.bits() | Flags::ALWAYS_QUEUE.bits()),
    Flags::from_bits(Flags::ONESHOT.bits() | Flags::LAST_CHECK.bits()),
];

/// How one queue watches it.
#[derive(Clone, Copy)]
struct Way {
    flags: Flags,
    /// It was added, and not removed since; of one shot: it may have ended by itself.
    added: bool,
}

impl Way {
    fn is(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }
}

pub(super) struct Place {
    pub(super) user_data: u64,
    pub(super) watched: Arc<Watched>,
    kind: Kind,
    /// By queue.
    ways: [Option<Way>; QUEUES],
}

/// What a change has answered, of a source that may have ended by itself.
fn unless_ended(way: Way, answer: io::Result<()>) {
    match answer {
        Ok(()) => {}
        Err(error) if way.is(Flags::ONESHOT) && error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => panic!("{:?}: {error}", way.flags),
    }
}

impl Place {
    /// `is_anonymous`: of an eventfd.
    pub(super) fn new(
        board: &Board,
        serial: &AtomicU64,
        dice: &mut Dice,
        is_anonymous: bool,
    ) -> Self {
        let kind = match dice.roll(3) {
            _ if is_anonymous => Kind::Poll,
            0 => Kind::Pipe,
            _ => Kind::Socket,
        };
        let mut way = || {
            let flags = WAYS[dice.roll(WAYS.len() as u64) as usize];
            Way { flags, added: false }
        };
        let ways = [Some(way()), Some(way())];
        let ways = match dice.roll(3) {
            0 => ways,
            _ => [ways[0], None],
        };
        let watched = Arc::new(Watched::new(kind));
        let user_data = serial.fetch_add(1, Ordering::SeqCst);
        board.all.insert(user_data, &watched);
        Self { user_data, watched, kind, ways }
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.kind == Kind::Poll
    }

    fn source(&self, way: Way) -> Source {
        self.watched.source().with(way.flags).user_data(self.user_data)
    }

    /// Adds it; if it is there already nothing changes.
    fn add(&mut self, side: Side<'_>, board: &Board) {
        let Some(way) = self.ways[side.number] else { return };
        self.watched.cause();
        match side.queue.add(self.source(way)) {
            Ok(answer) => {
                self.watched.tallies[side.number].added.fetch_add(1, Ordering::SeqCst);
                answer.iter().for_each(|event| board.handle(event, side));
            }
            // One shot that has not ended.
            Err(error) => {
                assert!(way.added && error.kind() == io::ErrorKind::AlreadyExists, "{error}")
            }
        }
        self.ways[side.number] = Some(Way { added: true, ..way });
    }

    /// Adds it, or modifies what was added.
    pub(super) fn put(&mut self, side: Side<'_>, board: &Board) {
        match self.ways[side.number] {
            Some(way) if way.added => {
                self.watched.cause();
                unless_ended(way, side.queue.modify(self.source(way)));
            }
            _ => self.add(side, board),
        }
    }

    /// Adds what may have ended by itself anew.
    pub(super) fn renew(&mut self, side: Side<'_>, board: &Board) {
        if self.ways[side.number].is_some_and(|way| way.is(Flags::ONESHOT)) {
            self.add(side, board);
        }
    }

    /// Has the queue watch it.
    pub(super) fn settle(&mut self, side: Side<'_>, board: &Board) {
        if self.ways[side.number].is_some_and(|way| way.is(Flags::ONESHOT) || !way.added) {
            self.add(side, board);
        }
    }

    pub(super) fn remove(&mut self, side: Side<'_>) {
        if let Some(way) = self.ways[side.number].filter(|way| way.added) {
            self.watched.cause(); // what it has not handed out is the other's
            unless_ended(way, side.queue.remove(self.source(way).key()));
            self.ways[side.number] = Some(Way { added: false, ..way });
        }
    }

    pub(super) fn make_ready(&self, side: Side<'_>) {
        if let Some(way) = self.ways[side.number] {
            self.watched.cause();
            side.queue.make_ready(self.source(way).key());
        }
    }

    pub(super) fn check(&self) {
        let kind = self.kind;
        assert!(
            self.watched.is_read(),
            "bytes of a {kind:?}, {:?}",
            self.ways.map(|way| way.map(|way| way.flags))
        );
        let causes = self.watched.causes.load(Ordering::SeqCst);
        for (way, tally) in self.ways.iter().zip(&self.watched.tallies) {
            let Some(way) = way else { continue };
            let told = tally.told.load(Ordering::SeqCst);
            let added = tally.added.load(Ordering::SeqCst);
            // Without either what lasts is told as often as it is asked.
            let most = match () {
                () if way.is(Flags::ONESHOT) => added,
                () if way.is(Flags::ET) => causes,
                () => u64::MAX,
            };
            assert!(told <= most, "{kind:?}, {:?}: {told} events of {most}", way.flags);
        }
    }
}
