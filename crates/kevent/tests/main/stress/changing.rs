//! What the changers do.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syslet::Call;
use syslet_kevent::{Event, Flags, Happened, Kind, Queue, Source};

use super::board::{Board, Dice, Watched};

/// Sources of each changer at a time.
const PLACES: usize = 24;

/// Something that is watched now and then.
pub(super) struct Place {
    user_data: u64,
    watched: Arc<Watched>,
    kind: Kind,
    flags: Flags,
    added: bool,
}

fn ends(kind: Kind) -> [File; 2] {
    if kind == Kind::Socket {
        let (mine, theirs) = crate::util::pair();
        return [mine, theirs].map(|end| File::from(OwnedFd::from(end)));
    }
    let (mine, theirs) = std::io::pipe().expect("there are pipes");
    let ends = [OwnedFd::from(mine), OwnedFd::from(theirs)];
    for end in &ends {
        // SAFETY: no memory.
        unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    }
    ends.map(File::from)
}

impl Place {
    fn new(board: &Board, serial: &AtomicU64, dice: &mut Dice) -> Self {
        let kind = if dice.roll(3) == 0 { Kind::Pipe } else { Kind::Socket };
        let flags = match dice.roll(3) {
            0 => Flags::NONE,
            1 => Flags::ET,
            _ => Flags::ET | Flags::ALWAYS_QUEUE,
        };
        let [mine, theirs] = ends(kind);
        let watched = Arc::new(Watched::new(mine, theirs));
        let user_data = serial.fetch_add(1, Ordering::SeqCst);
        board.watched.lock().unwrap().insert(user_data, Arc::clone(&watched));
        Self { user_data, watched, kind, flags, added: false }
    }

    fn source(&self) -> Source {
        let number = self.watched.mine.as_raw_fd();
        let source = match self.kind {
            Kind::Pipe => Source::pipe(number, Happened::RECV),
            _ => Source::socket(number, Happened::RECV),
        };
        source.with(self.flags).user_data(self.user_data)
    }

    fn add(&mut self, queue: &Queue, board: &Board) {
        self.watched.cause();
        match queue.add(self.source()) {
            Ok(Some(event)) => board.handle(&event),
            Ok(None) => {}
            Err(error) => panic!("{error}"),
        }
        self.added = true;
    }

    /// Has it be watched.
    pub(super) fn settle(&mut self, queue: &Queue, board: &Board) {
        if !self.added {
            self.add(queue, board);
        }
    }

    pub(super) fn is_read(&self) -> bool {
        let [written, read] = [&self.watched.written, &self.watched.read];
        written.load(Ordering::SeqCst) == read.load(Ordering::SeqCst)
    }

    pub(super) fn check(&self) {
        let Watched { written, read, causes, told, .. } = &*self.watched;
        let [written, read, causes, told] =
            [written, read, causes, told].map(|count| count.load(Ordering::SeqCst));
        let (kind, flags) = (self.kind, self.flags);
        assert_eq!(written, read, "bytes of a {kind:?}, {flags:?}");
        // Without ET what lasts is told as often as it is asked.
        let is_bounded = flags.contains(Flags::ET);
        assert!(!is_bounded || told <= causes, "{kind:?}, {flags:?}: {told} events of {causes}");
    }
}

/// A thread that changes things.
pub(super) struct Changer<'a> {
    queue: &'a Queue,
    board: &'a Board,
    serial: &'a AtomicU64,
    dice: Dice,
    pub(super) places: Vec<Place>,
}

impl<'a> Changer<'a> {
    pub(super) fn new(
        queue: &'a Queue,
        board: &'a Board,
        serial: &'a AtomicU64,
        dice: Dice,
    ) -> Self {
        Self { queue, board, serial, dice, places: Vec::new() }
    }

    fn number(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn change(&mut self) {
        if self.places.len() < PLACES {
            self.places.push(Place::new(self.board, self.serial, &mut self.dice));
        }
        let at = self.dice.roll(self.places.len() as u64) as usize;
        match self.dice.roll(16) {
            8 => self.close(at),
            9 => self.set_timer(),
            11 => self.post(),
            12 => self.call(),
            13 => self.board.send_signal(),
            14 => self.board.move_file(self.number()),
            roll => self.change_place(at, roll),
        }
    }

    fn change_place(&mut self, at: usize, roll: u64) {
        let (queue, board, place) = (self.queue, self.board, &mut self.places[at]);
        match roll {
            5 | 6 if !place.added => place.add(queue, board),
            5 | 6 => {
                place.watched.cause();
                queue.modify(place.source()).expect("it is there");
            }
            7 if place.added => {
                queue.remove(place.source().key()).expect("it is there");
                place.added = false;
            }
            10 => {
                place.watched.cause();
                queue.make_ready(place.source().key());
            }
            _ => place.watched.write(),
        }
    }

    fn close(&mut self, at: usize) {
        let place = self.places.swap_remove(at);
        self.board.watched.lock().unwrap().remove(&place.user_data);
        // Removed first, or only closed: then it breaks, sooner or later, and nobody is there to be told.
        if place.added && self.dice.roll(2) == 0 {
            self.queue.remove(place.source().key()).expect("it is there");
        }
    }

    fn set_timer(&mut self) {
        let (id, after) = (self.number(), Duration::from_micros(self.dice.roll(3000) + 1));
        self.board.owe(Kind::Timer, id);
        if let Some(event) = self.queue.add(Source::after(id, after)).expect("there are threads") {
            self.board.handle(&event);
        }
    }

    fn post(&self) {
        let id = self.number();
        self.board.owe(Kind::User, id);
        self.queue.post(Event { id, kind: Kind::User as u32, ..Event::default() });
    }

    /// A call or a closure, whose answer is its number.
    fn call(&mut self) {
        let id = self.number();
        self.board.owe(Kind::Completion, id);
        let sent = if self.dice.roll(2) == 0 {
            // SAFETY: no memory.
            unsafe { self.queue.submit(id, 0, Call::new(libc::SYS_getppid as usize, [])) }
        } else {
            self.queue.threadlet(id, 0, move || id as isize)
        };
        sent.expect("there are threads");
    }
}
