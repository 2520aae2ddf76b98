//! What is owed, and what was told.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use syslet_kevent::{Event, Kind, Queue, Source};

use super::watched::All;

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

/// How many queues watch what happens.
pub(super) const QUEUES: usize = 2;

/// One of the queues.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) queue: &'a Queue,
    pub(super) number: usize,
}

/// How often something has happened, and how often each queue has told of it.
#[derive(Default)]
struct Counted {
    happened: AtomicU64,
    told: [AtomicU64; QUEUES],
}

impl Counted {
    fn values(&self) -> (u64, [u64; QUEUES]) {
        let told = self.told.each_ref().map(|count| count.load(Ordering::SeqCst));
        (self.happened.load(Ordering::SeqCst), told)
    }

    fn is_settled(&self) -> bool {
        let (happened, told) = self.values();
        told.iter().all(|&count| count == happened)
    }

    fn check(&self, what: &str) {
        let (happened, told) = self.values();
        assert_eq!([happened; QUEUES], told, "{what}, and what the queues have told of them");
    }
}

/// A directory of its own, which goes with this.
struct Folder {
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
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The number of events that nobody counts.
pub(super) const UNCOUNTED: u64 = u64::MAX;

pub(super) struct Board {
    pub(super) all: All,
    /// Kinds and ids of what will be told, once.
    owed: Mutex<HashSet<(u32, u64)>>,
    struck: AtomicU64,
    signal: i32,
    signals: Counted,
    folder: Folder,
    /// Files that have come or gone.
    files: Counted,
    /// Events of what is known here.
    pub(super) told: AtomicU64,
    pub(super) over: AtomicBool,
}

impl Board {
    pub(super) fn new(signal: i32, name: &str) -> Self {
        Self {
            all: All::default(),
            owed: Mutex::default(),
            struck: AtomicU64::new(0),
            signal,
            signals: Counted::default(),
            folder: Folder::new(name),
            files: Counted::default(),
            told: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// To be told exactly once from now on.
    pub(super) fn owe(&self, kind: Kind, id: u64) {
        assert!(self.owed.lock().unwrap().insert((kind as u32, id)), "numbers are not used again");
    }

    /// Never to be told: it was taken back in time.
    pub(super) fn forgive(&self, kind: Kind, id: u64) {
        let was_owed = self.owed.lock().unwrap().remove(&(kind as u32, id));
        assert!(was_owed, "{kind:?} {id} was told, and then there was one to remove");
    }

    /// What was told once.
    pub(super) fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }

    /// The source of the signal.
    pub(super) fn of_signal(&self) -> Source {
        Source::signal(self.signal as u32)
    }

    /// Has a thread send a signal to itself: so nobody else is interrupted, and none is merged with another.
    pub(super) fn send_signal(&self) {
        self.signals.happened.fetch_add(1, Ordering::SeqCst);
        // SAFETY: it has a handler.
        assert_eq!(unsafe { libc::raise(self.signal) }, 0);
    }

    /// The directory, which stays open.
    pub(super) fn folder(&self) -> &File {
        &self.folder.open
    }

    pub(super) fn folder_path(&self) -> &Path {
        &self.folder.path
    }

    /// Has a file of this number come and go.
    pub(super) fn move_file(&self, number: u64) {
        let path = self.folder.path.join(number.to_string());
        self.files.happened.fetch_add(2, Ordering::SeqCst);
        drop(File::create(&path).expect("there is room"));
        fs::remove_file(&path).expect("it is there");
    }

    /// An event of that side's queue.
    pub(super) fn handle(&self, event: &Event, side: Side<'_>) {
        let count = || {
            assert!(event.error().is_none() && event.count() > 0, "nothing has come: {event:?}");
            u64::from(event.count())
        };
        match event.kind() {
            Some(Kind::Socket | Kind::Pipe | Kind::Poll) => {
                // By its number of ours: the descriptor's may be another's by now.
                let Some(watched) = self.all.get(event.user_data) else { return };
                assert!(event.error().is_none(), "it is open, and broken: {event:?}");
                watched.told(side.number);
            }
            Some(Kind::Inode) if event.user_data == UNCOUNTED => return,
            Some(Kind::Signal) => {
                self.signals.told[side.number].fetch_add(count(), Ordering::SeqCst);
            }
            Some(Kind::Inode) => {
                self.files.told[side.number].fetch_add(count(), Ordering::SeqCst);
            }
            _ => {
                let struck = self.owed.lock().unwrap().remove(&(event.kind, event.id));
                assert!(struck, "it was told before, or has not happened: {event:?}");
                self.struck.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.told.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn is_settled(&self) -> bool {
        let nothing_owed = self.owed.lock().unwrap().is_empty();
        nothing_owed && self.signals.is_settled() && self.files.is_settled()
    }

    pub(super) fn check(&self) {
        let owed = self.owed.lock().unwrap();
        assert!(owed.is_empty(), "{} were never told: {:?} ...", owed.len(), owed.iter().next());
        self.signals.check("signals");
        self.files.check("files that came or went");
    }
}
