//! Threads add, modify, remove, make ready, write to and close what a queue watches, at random, while others fetch,
//! from the queue or from a ring. What must come out:
//!
//! - all that was written to sockets and pipes that are watched in the end is read; of those that are told of changes
//!   there are no more events than causes; when all is read nothing more is told of any; and none that is open is told
//!   to be broken;
//! - each timer, each event that was posted, each call and closure is told exactly once: each has a number of its own,
//!   which is struck off;
//! - each signal, and each file that came to a directory or went, is counted exactly once.
//!
//! For 2 s, or longer: `SYSLET_STRESS_SECONDS=60 cargo test -p syslet-kevent --test main stress -- --nocapture`.

#![allow(unsafe_code, reason = "calls that touch no memory, signals, a ring")]

mod board;
mod changing;
mod fetching;
mod racing;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syslet_kevent::{Happened, Queue, Source};

use self::board::{Board, Dice};
use self::changing::{Changer, Place};
use self::fetching::Reader;
use crate::util::{queue, ring::Ringed};

/// Threads that change things, and that fetch.
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

/// Runs the threads; `reader` is who reads the ring.
fn stress(queue: &Queue, reader: Option<&Mutex<Reader<'_>>>) {
    let signal = signal(reader.is_some());
    let board = Board::new(signal, if reader.is_some() { "ring" } else { "queue" });
    queue.add(Source::signal(signal as u32)).expect("it is a signal");
    let folder = Source::directory(board.folder.open(), Happened::CREATE | Happened::REMOVE);
    queue.add(folder).expect("it is a directory");
    let (serial, end) = (AtomicU64::new(1), Instant::now() + length());
    let places: Vec<Place> = std::thread::scope(|scope| {
        let (board, serial) = (&board, &serial);
        let changers: Vec<_> = (0..CHANGERS)
            .map(|number| {
                let dice = Dice::new(0x9e37_79b9 + number);
                scope.spawn(move || {
                    let mut changer = Changer::new(queue, board, serial, dice);
                    while Instant::now() < end {
                        changer.change();
                    }
                    changer.places
                })
            })
            .collect();
        for number in 0..FETCHERS {
            let mut dice = Dice::new(77 + number);
            scope.spawn(move || {
                while !board.over.load(Ordering::SeqCst) {
                    match reader {
                        Some(reader) => fetching::from_ring(queue, reader, board, &mut dice),
                        None => fetching::from_queue(queue, board, &mut dice),
                    }
                }
            });
        }
        let mut places: Vec<Place> =
            changers.into_iter().flat_map(|changer| changer.join().expect("no panic")).collect();
        // What is not watched at the end is added, so that all that was written must be read.
        places.iter_mut().for_each(|place| place.settle(queue, board));
        let until = Instant::now() + crate::util::LONG;
        while !(board.is_settled() && places.iter().all(Place::is_read)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        board.over.store(true, Ordering::SeqCst);
        places
    });
    places.iter().for_each(Place::check);
    board.check();
    check_silence(queue, reader, &board);
    eprintln!("{} places at the end, {} things told once", places.len(), board.struck());
}

/// All is read: nothing more is told of what is open.
fn check_silence(queue: &Queue, reader: Option<&Mutex<Reader<'_>>>, board: &Board) {
    let told = board.told.load(Ordering::SeqCst);
    let end = Instant::now() + crate::util::SHORT;
    while Instant::now() < end {
        match reader {
            Some(reader) => fetching::from_ring(queue, reader, board, &mut Dice::new(1)),
            None => fetching::from_queue(queue, board, &mut Dice::new(1)),
        }
    }
    assert_eq!(board.told.load(Ordering::SeqCst), told, "something is told that has not happened");
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
