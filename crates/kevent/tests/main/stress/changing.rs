//! What the changers do.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syslet::Call;
use syslet_kevent::{Event, Happened, Key, Kind, Queue, Source};

use super::board::{Board, Dice, Side, UNCOUNTED};
use super::place::Place;

/// Sources of each changer at a time, and how many of them are eventfds, at most: all of these have one inode.
const PLACES: usize = 24;
const ANONYMOUS: usize = 16;
/// Timers that a changer may take back or set anew.
const TIMERS: usize = 8;

/// A thread that changes things.
pub(super) struct Changer<'a> {
    /// The queue that is tested, and another that watches some of the same.
    sides: [Side<'a>; 2],
    board: &'a Board,
    serial: &'a AtomicU64,
    dice: Dice,
    pub(super) places: Vec<Place>,
    timers: Vec<u64>,
    /// The directory, once more.
    folder: Option<File>,
}

impl<'a> Changer<'a> {
    pub(super) fn new(
        sides: [Side<'a>; 2],
        board: &'a Board,
        serial: &'a AtomicU64,
        dice: Dice,
    ) -> Self {
        Self { sides, board, serial, dice, places: Vec::new(), timers: Vec::new(), folder: None }
    }

    fn number(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::SeqCst)
    }

    fn queue(&self) -> &'a Queue {
        self.sides[0].queue
    }

    fn roll_side(&mut self) -> Side<'a> {
        self.sides[self.dice.roll(2) as usize]
    }

    pub(super) fn change(&mut self) {
        if self.places.len() < PLACES {
            let anonymous = self.places.iter().filter(|place| place.is_anonymous()).count();
            let is_anonymous = anonymous < ANONYMOUS && self.dice.roll(3) == 0;
            self.places.push(Place::new(self.board, self.serial, &mut self.dice, is_anonymous));
        }
        match self.dice.roll(24) {
            0 => self.close(),
            1 => self.set_timer(),
            2 => self.change_timer(),
            3 => self.post(),
            4 => self.call(),
            5 => self.board.send_signal(),
            6 => self.board.move_file(self.number()),
            7 => self.modify_what_is_counted(),
            8 => self.change_folder(),
            roll => self.change_place(roll),
        }
    }

    fn change_place(&mut self, roll: u64) {
        let (board, side) = (self.board, self.roll_side());
        let at = self.dice.roll(self.places.len() as u64) as usize;
        let place = &mut self.places[at];
        match roll {
            9..=11 => place.put(side, board),
            12 | 13 => place.renew(side, board),
            14 => place.remove(side),
            15 => place.make_ready(side),
            _ => place.watched.write(),
        }
    }

    fn close(&mut self) {
        let at = self.dice.roll(self.places.len() as u64) as usize;
        let mut place = self.places.swap_remove(at);
        self.board.all.remove(place.user_data);
        // Removed first, or only closed: then it breaks, sooner or later, and nobody is there to be told.
        for side in self.sides {
            if self.dice.roll(2) == 0 {
                place.remove(side);
            }
        }
    }

    fn set_timer(&mut self) {
        let (id, after) = (self.number(), Duration::from_micros(self.dice.roll(3000) + 1));
        self.board.owe(Kind::Timer, id);
        if let Some(event) = self.queue().add(Source::after(id, after)).expect("there are threads")
        {
            self.board.handle(&event, self.sides[0]);
        }
        if self.timers.len() == TIMERS {
            self.timers.remove(0);
        }
        self.timers.push(id);
    }

    /// Takes a timer back or sets it anew, if it has not been told.
    fn change_timer(&mut self) {
        if self.timers.is_empty() {
            return;
        }
        let at = self.dice.roll(self.timers.len() as u64) as usize;
        let id = self.timers[at];
        let answer = if self.dice.roll(2) == 0 {
            let after = Duration::from_micros(self.dice.roll(1000) + 1);
            self.queue().modify(Source::after(id, after))
        } else {
            self.timers.swap_remove(at);
            let removed = self.queue().remove(Key { kind: Kind::Timer, id });
            removed.inspect(|()| self.board.forgive(Kind::Timer, id))
        };
        if let Err(error) = answer {
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        }
    }

    /// What is counted goes on to be.
    fn modify_what_is_counted(&mut self) {
        let (side, user_data) = (self.roll_side(), self.number());
        let source = if self.dice.roll(2) == 0 {
            self.board.of_signal()
        } else {
            Source::directory(self.board.folder(), Happened::CREATE | Happened::REMOVE)
        };
        side.queue.modify(source.user_data(user_data)).expect("it is there");
    }

    /// Watches the directory under another number, or ends that.
    fn change_folder(&mut self) {
        let asked = [Happened::CREATE, Happened::REMOVE][self.dice.roll(2) as usize];
        let of = |folder: &File| Source::directory(folder, asked).user_data(UNCOUNTED);
        let Some(folder) = self.folder.take() else {
            let folder = File::open(self.board.folder_path()).expect("it is there");
            if let Err(error) = self.queue().add(of(&folder)) {
                // Of one that was only closed, and had the number.
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            }
            self.folder = Some(folder);
            return;
        };
        if self.dice.roll(2) == 0 {
            self.queue().remove(of(&folder).key()).expect("it is there");
        }
    }

    fn post(&self) {
        let id = self.number();
        self.board.owe(Kind::User, id);
        self.queue().post(Event { id, kind: Kind::User as u32, ..Event::default() });
    }

    /// A call or a closure, whose answer is its number.
    fn call(&mut self) {
        let id = self.number();
        self.board.owe(Kind::Completion, id);
        let sent = if self.dice.roll(2) == 0 {
            // SAFETY: no memory.
            unsafe { self.queue().submit(id, 0, Call::new(libc::SYS_getppid as usize, [])) }
        } else {
            self.queue().threadlet(id, 0, move || id as isize)
        };
        sent.expect("there are threads");
    }
}
