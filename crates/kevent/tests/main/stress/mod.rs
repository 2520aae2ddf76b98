//! Threads add, modify, remove, make ready, write to and close what a queue watches, at random, while others fetch,
//! from the queue or from a ring. What must come out:
//!
//! - all that was written to sockets, pipes and eventfds that are watched in the end is read, whichever of two queues
//!   is told; of those that are told of changes there are no more events than causes, and of those of one shot no more
//!   than they were added; when all is read nothing more is told of any; and none that is open is told to be broken;
//! - each timer, each event that was posted, each call and closure is told exactly once: each has a number of its own,
//!   which is struck off; a timer that was removed in time is not told;
//! - each signal, and each file that came to a directory or went, is counted exactly once by each of the queues, though
//!   their sources are modified all the time and the directory is watched under other numbers too.
//!
//! For 2 s, or longer: `SYSLET_STRESS_SECONDS=60 cargo test -p syslet-kevent --test main stress -- --nocapture`.

#![allow(unsafe_code, reason = "calls that touch no memory, signals, a ring")]

mod board;
mod changing;
mod fetching;
mod place;
mod racing;
mod watched;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syslet_kevent::{Happened, Queue, Source};

use self::board::{Board, Dice, Side};
use self::changing::Changer;
use self::fetching::Reader;
use self::place::Place;
use crate::util::{queue, ring::Ringed};

/// Threads that change things, and that fetch from the queue that is tested; one more fetches from another, which
/// watches some of the same.
const CHANGERS: u64 = 5;
const FETCHERS: u64 = 3;
/// Places of the ring: few, so that it is full again and again.
const RING: u32 = 16;

fn length() -> Duration {
    let seconds = std::env::var("SYSLET_STRESS_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(2))
}

/// A signal of this suite's alone, which each thread sends to itself.
fn signal(ringed: bool) -> i32 {
    extern "C" fn ignore(_: libc::c_int) {}
    let number = libc::SIGRTMIN() + 7 + i32::from(ringed);
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(number, ignore as *const () as usize) };
    number
}

/// Says that all is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs the threads; `reader` is who reads the ring.
fn stress(queue: &Queue, reader: Option<&Mutex<Reader<'_>>>) {
    let signal = signal(reader.is_some());
    let board = &Board::new(signal, if reader.is_some() { "ring" } else { "queue" });
    let second = &crate::util::queue();
    let sides = [Side { queue, number: 0 }, Side { queue: second, number: 1 }];
    for side in sides {
        side.queue.add(board.of_signal()).expect("it is a signal");
        let folder = Source::directory(board.folder(), Happened::CREATE | Happened::REMOVE);
        side.queue.add(folder).expect("it is a directory");
    }
    let fetch = |side: Side<'_>, dice: &mut Dice| match reader.filter(|_| side.number == 0) {
        Some(reader) => fetching::from_ring(side, reader, board, dice),
        None => fetching::from_queue(side, board, dice),
    };
    let (serial, end) = (&AtomicU64::new(1), Instant::now() + length());
    let places: Vec<Place> = std::thread::scope(|scope| {
        let _over = Over(&board.over); // also after a panic, or the others would go on for ever
        let changers: Vec<_> = (0..CHANGERS)
            .map(|number| {
                let dice = Dice::new(0x9e37_79b9 + number);
                scope.spawn(move || {
                    let mut changer = Changer::new(sides, board, serial, dice);
                    while Instant::now() < end {
                        changer.change();
                    }
                    changer.places
                })
            })
            .collect();
        for number in 0..=FETCHERS {
            let mut dice = Dice::new(77 + number);
            let side = sides[usize::from(number == FETCHERS)];
            scope.spawn(move || {
                while !board.over.load(Ordering::SeqCst) {
                    fetch(side, &mut dice);
                }
            });
        }
        let mut places: Vec<Place> =
            changers.into_iter().flat_map(|changer| changer.join().expect("no panic")).collect();
        // What is not watched at the end is added, so that all that was written must be read.
        for place in &mut places {
            sides.iter().for_each(|&side| place.settle(side, board));
        }
        let until = Instant::now() + crate::util::LONG;
        let is_read = |place: &Place| place.watched.is_read();
        while !(board.is_settled() && places.iter().all(is_read)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        places
    });
    // All is read. What is still on its way is told, and then nothing more of what is open.
    let told = || board.told.load(Ordering::SeqCst);
    let (mut known, mut since, until) =
        (told(), Instant::now(), Instant::now() + crate::util::LONG);
    while since.elapsed() < crate::util::SHORT && Instant::now() < until {
        sides.iter().for_each(|&side| fetch(side, &mut Dice::new(1)));
        if told() != known {
            (known, since) = (told(), Instant::now());
        }
    }
    assert!(
        since.elapsed() >= crate::util::SHORT,
        "there is no end of what is told, though nothing happens"
    );
    places.iter().for_each(Place::check);
    board.check();
    eprintln!("{} places at the end, {} things told once", places.len(), board.struck());
}

#[test]
fn eight_threads_lose_and_duplicate_nothing() {
    stress(&queue(), None);
}

#[test]
fn eight_threads_with_a_ring_lose_and_duplicate_nothing() {
    let ring = Ringed::new(RING);
    stress(&ring.queue, Some(&Mutex::new(Reader::new(&ring))));
}
