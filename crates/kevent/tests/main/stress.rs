//! Threads add, modify, remove, make ready, write to and close what a queue watches, at random, while others fetch.
//! What must come out: all that was written to sockets that are watched in the end is read; each timer has fired
//! once; each event that was posted was fetched once; and no socket that is open is told to be broken. For 2 s, or
//! longer: `SYSLET_STRESS_SECONDS=60 cargo test -p syslet-kevent --test main stress -- --nocapture`.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use syslet_kevent::{Event, Flags, Key, Kind, Queue, Source};

use crate::util::queue;

/// Threads that change things, and that fetch.
const CHANGERS: u64 = 5;
const FETCHERS: u64 = 3;
/// Sources of each changer at a time.
const PLACES: usize = 24;

/// A connection that is watched: its reader's side, and how much was written and read.
struct Watched {
    mine: UnixStream,
    theirs: Mutex<Option<UnixStream>>,
    written: AtomicU64,
    read: AtomicU64,
}

#[derive(Default)]
struct Board {
    sockets: Mutex<HashMap<u64, Arc<Watched>>>,
    posted: AtomicU64,
    fetched_posts: AtomicU64,
    fired: Mutex<HashMap<u64, u32>>,
    over: AtomicBool,
}

/// A small generator: what a thread does is decided by its number and the time it has.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn length() -> Duration {
    let seconds = std::env::var("SYSLET_STRESS_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(2))
}

impl Watched {
    fn read_all(&self) {
        let mut bytes = [0; 512];
        loop {
            match (&self.mine).read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => drop(self.read.fetch_add(count as u64, Ordering::SeqCst)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn write(&self) {
        if let Some(theirs) = &*self.theirs.lock().unwrap() {
            match { theirs }.write(b"some") {
                Ok(count) => drop(self.written.fetch_add(count as u64, Ordering::SeqCst)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}

fn handle(board: &Board, event: &Event) {
    match event.kind() {
        Some(Kind::Socket) => {
            // By its number of ours: the descriptor's may be another's by now.
            let watched = board.sockets.lock().unwrap().get(&event.user_data).cloned();
            if let Some(watched) = watched {
                assert!(event.error().is_none(), "it is open, and broken: {event:?}");
                watched.read_all();
            }
        }
        Some(Kind::Timer) => *board.fired.lock().unwrap().entry(event.id).or_default() += 1,
        _ if event.user_data == u64::MAX => {
            board.fetched_posts.fetch_add(1, Ordering::SeqCst);
        }
        _ => {}
    }
}

fn fetch(queue: &Queue, board: &Board, dice: &mut Dice) {
    let deadline = Instant::now() + Duration::from_millis(dice.roll(20));
    let max = 1 + dice.roll(40) as usize;
    if dice.roll(8) == 0 {
        // One that puts a part back.
        let mut batch = queue.batch(max);
        let mut left = batch.len() / 2;
        let mut events = Vec::new();
        batch.each(|event| events.push(*event));
        while left > 0 && !events.is_empty() {
            left -= 1;
            let last = events.pop().expect("it was just looked at");
            queue.hand_on(&[last]);
        }
        events.iter().for_each(|event| handle(board, event));
        return;
    }
    match queue.get_events(1 + dice.roll(2) as usize, max, Some(deadline)) {
        Ok(events) => events.iter().for_each(|event| handle(board, event)),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
    }
}

/// What a changer has.
struct Place {
    user_data: u64,
    watched: Arc<Watched>,
    key: Key,
    flags: Flags,
    added: bool,
}

fn new_place(board: &Board, serial: &AtomicU64, dice: &mut Dice) -> Place {
    let (mine, theirs) = crate::util::pair();
    let flags = match dice.roll(3) {
        0 => Flags::NONE,
        1 => Flags::ET,
        _ => Flags::ET | Flags::ALWAYS_QUEUE,
    };
    let key = Source::recv(&mine).key();
    let theirs = Mutex::new(Some(theirs));
    let (written, read) = (AtomicU64::new(0), AtomicU64::new(0));
    let watched = Arc::new(Watched { mine, theirs, written, read });
    let user_data = serial.fetch_add(1, Ordering::SeqCst);
    board.sockets.lock().unwrap().insert(user_data, Arc::clone(&watched));
    Place { user_data, watched, key, flags, added: false }
}

fn source(place: &Place) -> Source {
    Source::recv(&place.watched.mine).with(place.flags).user_data(place.user_data)
}

fn change(
    queue: &Queue,
    board: &Board,
    serial: &AtomicU64,
    places: &mut Vec<Place>,
    dice: &mut Dice,
) {
    if places.len() < PLACES {
        places.push(new_place(board, serial, dice));
    }
    let at = dice.roll(places.len() as u64) as usize;
    let place = &mut places[at];
    match dice.roll(12) {
        0..=4 => place.watched.write(),
        5 | 6 if !place.added => {
            match queue.add(source(place)) {
                Ok(Some(event)) => handle(board, &event),
                Ok(None) => {}
                Err(error) => panic!("{error}"),
            }
            place.added = true;
        }
        5 | 6 => queue.modify(source(place)).expect("it is there"),
        7 if place.added => {
            queue.remove(place.key).expect("it is there");
            place.added = false;
        }
        8 => {
            let place = places.swap_remove(at);
            board.sockets.lock().unwrap().remove(&place.user_data);
            // Removed first, or only closed: then it breaks, sooner or later, and nobody is there to be told.
            if place.added && dice.roll(2) == 0 {
                let removed = queue.remove(place.key);
                assert!(removed.is_ok(), "{removed:?}");
            }
        }
        9 => {
            let id = serial.fetch_add(1, Ordering::SeqCst);
            let after = Duration::from_micros(dice.roll(3000) + 1);
            if queue.add(Source::after(id, after)).expect("there are threads").is_some() {
                *board.fired.lock().unwrap().entry(id).or_default() += 1;
            }
            board.fired.lock().unwrap().entry(id).or_default();
        }
        10 => drop(queue.make_ready(place.key)),
        _ => {
            board.posted.fetch_add(1, Ordering::SeqCst);
            let (kind, user_data) = (Kind::User as u32, u64::MAX);
            queue.post(Event { kind, user_data, ..Event::default() });
        }
    }
}

#[test]
fn eight_threads_lose_and_duplicate_nothing() {
    let (queue, board, serial) = (queue(), Board::default(), AtomicU64::new(1));
    let end = Instant::now() + length();
    let places: Vec<Place> = std::thread::scope(|scope| {
        let (queue, board, serial) = (&queue, &board, &serial);
        let changers: Vec<_> = (0..CHANGERS)
            .map(|number| {
                scope.spawn(move || {
                    let (mut dice, mut places) = (Dice(0x9e37_79b9 + number), Vec::new());
                    while Instant::now() < end {
                        change(queue, board, serial, &mut places, &mut dice);
                    }
                    places
                })
            })
            .collect();
        for number in 0..FETCHERS {
            scope.spawn(move || {
                let mut dice = Dice(77 + number);
                while !board.over.load(Ordering::SeqCst) {
                    fetch(queue, board, &mut dice);
                }
            });
        }
        let mut places: Vec<Place> =
            changers.into_iter().flat_map(|changer| changer.join().expect("no panic")).collect();
        // What is not watched at the end is added, so that all that was written must be read.
        for place in places.iter_mut().filter(|place| !place.added) {
            if let Some(event) = queue.add(source(place)).expect("its number is free") {
                handle(board, &event);
            }
        }
        let until = Instant::now() + crate::util::LONG;
        while !settled(&places, board) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        board.over.store(true, Ordering::SeqCst);
        places
    });
    for place in &places {
        let [written, read] = [&place.watched.written, &place.watched.read];
        let (written, read) = (written.load(Ordering::SeqCst), read.load(Ordering::SeqCst));
        assert_eq!(written, read, "of the socket {:?}, {:?}", place.key, place.flags);
    }
    let posts = board.fetched_posts.load(Ordering::SeqCst);
    assert_eq!(posts, board.posted.load(Ordering::SeqCst));
    let fired = board.fired.lock().unwrap();
    let wrong: Vec<_> = fired.iter().filter(|(_, count)| **count != 1).collect();
    assert!(wrong.is_empty(), "of {} timers did not fire once: {wrong:?}", fired.len());
    eprintln!("{} sockets at the end, {posts} posts, {} timers", places.len(), fired.len());
}

fn settled(places: &[Place], board: &Board) -> bool {
    let read = |place: &Place| {
        let watched = &place.watched;
        watched.written.load(Ordering::SeqCst) == watched.read.load(Ordering::SeqCst)
    };
    let posts = board.fetched_posts.load(Ordering::SeqCst);
    places.iter().all(read)
        && posts == board.posted.load(Ordering::SeqCst)
        && board.fired.lock().unwrap().values().all(|count| *count > 0)
}
