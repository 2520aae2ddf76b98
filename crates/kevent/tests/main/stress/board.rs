//! What is owed, and what was told.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use syslet_kevent::{Event, Kind};

/// A small generator: what a thread does is decided by its number and the time it has.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// The reader's side of a socket or pipe that is watched; how much was written and read; how often there was cause to
/// tell something, and how often something was told.
pub(super) struct Watched {
    pub(super) mine: File,
    pub(super) theirs: Mutex<File>,
    pub(super) written: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) causes: AtomicU64,
    pub(super) told: AtomicU64,
}

impl Watched {
    pub(super) fn new(mine: File, theirs: File) -> Self {
        let [written, read, causes, told] = [const { AtomicU64::new(0) }; 4];
        Self { mine, theirs: Mutex::new(theirs), written, read, causes, told }
    }

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

    /// Something is about to be done that may be told of.
    pub(super) fn cause(&self) {
        self.causes.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn write(&self) {
        let mut theirs = self.theirs.lock().unwrap();
        self.cause();
        match theirs.write(b"some") {
            Ok(count) => drop(self.written.fetch_add(count as u64, Ordering::SeqCst)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// A directory of its own, which goes with this.
pub(super) struct Folder {
    path: PathBuf,
    open: File,
}

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("syslet-stress-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path); // of a run with the same number that has died
        fs::create_dir(&path).expect("it is new");
        let open = File::open(&path).expect("it is there");
        Self { path, open }
    }

    pub(super) fn open(&self) -> &File {
        &self.open
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

pub(super) struct Board {
    /// By the number that their events carry.
    pub(super) watched: Mutex<HashMap<u64, Arc<Watched>>>,
    /// Kinds and ids of what will be told, once.
    owed: Mutex<HashSet<(u32, u64)>>,
    struck: AtomicU64,
    pub(super) signal: i32,
    /// Signals that were sent, and told of; files that have come or gone, and told of.
    sent: AtomicU64,
    counted: AtomicU64,
    pub(super) folder: Folder,
    moved: AtomicU64,
    seen: AtomicU64,
    /// Events of what is known here.
    pub(super) told: AtomicU64,
    pub(super) over: AtomicBool,
}

impl Board {
    pub(super) fn new(signal: i32, name: &str) -> Self {
        let [struck, sent, counted, moved, seen, told] = [const { AtomicU64::new(0) }; 6];
        Self {
            watched: Mutex::default(),
            owed: Mutex::default(),
            struck,
            signal,
            sent,
            counted,
            folder: Folder::new(name),
            moved,
            seen,
            told,
            over: AtomicBool::new(false),
        }
    }

    /// To be told exactly once from now on.
    pub(super) fn owe(&self, kind: Kind, id: u64) {
        assert!(self.owed.lock().unwrap().insert((kind as u32, id)), "numbers are not used again");
    }

    /// What was told once.
    pub(super) fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }

    /// Has a thread send a signal to itself: so nobody else is interrupted, and none is merged with another.
    pub(super) fn send_signal(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        // SAFETY: it has a handler.
        assert_eq!(unsafe { libc::raise(self.signal) }, 0);
    }

    /// Has a file of this number come and go.
    pub(super) fn move_file(&self, number: u64) {
        let path = self.folder.path.join(number.to_string());
        self.moved.fetch_add(2, Ordering::SeqCst);
        drop(File::create(&path).expect("there is room"));
        fs::remove_file(&path).expect("it is there");
    }

    pub(super) fn handle(&self, event: &Event) {
        match event.kind() {
            Some(Kind::Socket | Kind::Pipe) => {
                // By its number of ours: the descriptor's may be another's by now.
                let watched = self.watched.lock().unwrap().get(&event.user_data).cloned();
                let Some(watched) = watched else { return };
                assert!(event.error().is_none(), "it is open, and broken: {event:?}");
                watched.told.fetch_add(1, Ordering::SeqCst);
                watched.read_all();
            }
            Some(Kind::Signal) => {
                assert!(event.count() > 0, "nothing has come: {event:?}");
                self.counted.fetch_add(event.count().into(), Ordering::SeqCst);
            }
            Some(Kind::Inode) => {
                assert!(event.error().is_none() && event.count() > 0, "{event:?}");
                self.seen.fetch_add(event.count().into(), Ordering::SeqCst);
            }
            _ => {
                let struck = self.owed.lock().unwrap().remove(&(event.kind, event.id));
                assert!(struck, "it was told before, or has not happened: {event:?}");
                self.struck.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.told.fetch_add(1, Ordering::SeqCst);
    }

    fn counts(&self) -> [u64; 4] {
        [&self.sent, &self.counted, &self.moved, &self.seen]
            .map(|count| count.load(Ordering::SeqCst))
    }

    pub(super) fn is_settled(&self) -> bool {
        let [sent, counted, moved, seen] = self.counts();
        self.owed.lock().unwrap().is_empty() && sent == counted && moved == seen
    }

    pub(super) fn check(&self) {
        let owed = self.owed.lock().unwrap();
        assert!(owed.is_empty(), "{} were never told: {:?} ...", owed.len(), owed.iter().next());
        let [sent, counted, moved, seen] = self.counts();
        assert_eq!((sent, moved), (counted, seen), "signals, and files that came or went");
    }
}
