//! What is read from when a queue tells of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use syslet_kevent::{Happened, Kind, Source};

use super::board::QUEUES;

/// Of a queue: how often a source was added, and how often something was told.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) added: AtomicU64,
    pub(super) told: AtomicU64,
}

/// The reader's side of a socket or pipe, or an eventfd; how much was written and read; and how often there was cause
/// to tell something.
pub(super) struct Watched {
    kind: Kind,
    mine: File,
    theirs: Mutex<File>,
    written: AtomicU64,
    read: AtomicU64,
    pub(super) causes: AtomicU64,
    pub(super) tallies: [Tally; QUEUES],
}

/// Both ends; of an eventfd two numbers.
fn ends(kind: Kind) -> [File; 2] {
    match kind {
        Kind::Socket => {
            let (mine, theirs) = crate::util::pair();
            [mine, theirs].map(|end| File::from(OwnedFd::from(end)))
        }
        Kind::Pipe => {
            let mut numbers = [-1; 2];
            // SAFETY: room for two numbers.
            let made =
                unsafe { libc::pipe2(numbers.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) };
            assert_eq!(made, 0, "there are pipes");
            // SAFETY: they are new.
            numbers.map(|number| unsafe { File::from_raw_fd(number) })
        }
        _ => {
            // SAFETY: no memory.
            let number = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
            // SAFETY: it is new.
            let mine = unsafe { File::from_raw_fd(number) };
            let theirs = mine.try_clone().expect("there are numbers");
            [mine, theirs]
        }
    }
}

impl Watched {
    pub(super) fn new(kind: Kind) -> Self {
        let [mine, theirs] = ends(kind);
        let [written, read, causes] = [const { AtomicU64::new(0) }; 3];
        let tallies = Default::default();
        Self { kind, mine, theirs: Mutex::new(theirs), written, read, causes, tallies }
    }

    pub(super) fn number(&self) -> RawFd {
        self.mine.as_raw_fd()
    }

    /// Its readiness to be read.
    pub(super) fn source(&self) -> Source {
        match self.kind {
            Kind::Socket => Source::socket(self.number(), Happened::RECV),
            Kind::Pipe => Source::pipe(self.number(), Happened::RECV),
            _ => Source::poll(self.number(), libc::POLLIN as u16),
        }
    }

    /// A queue has told of it.
    pub(super) fn told(&self, queue: usize) {
        self.tallies[queue].told.fetch_add(1, Ordering::SeqCst);
        self.read_all();
    }

    /// What so many bytes from it stand for: an eventfd is read as a count.
    fn worth(&self, bytes: &[u8]) -> u64 {
        if self.kind != Kind::Poll {
            return bytes.len() as u64;
        }
        u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }

    fn read_all(&self) {
        let mut bytes = [0; 512];
        loop {
            match (&self.mine).read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => {
                    let worth = self.worth(&bytes[..count]);
                    self.read.fetch_add(worth, Ordering::SeqCst);
                }
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
        let bytes = 3u64.to_ne_bytes();
        let mut theirs = self.theirs.lock().unwrap();
        self.cause();
        match theirs.write(&bytes) {
            Ok(count) => {
                self.written.fetch_add(self.worth(&bytes[..count]), Ordering::SeqCst);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    pub(super) fn is_read(&self) -> bool {
        self.written.load(Ordering::SeqCst) == self.read.load(Ordering::SeqCst)
    }
}

/// All that is open, by the number that its events carry.
#[derive(Default)]
pub(super) struct All(Mutex<HashMap<u64, Arc<Watched>>>);

impl All {
    pub(super) fn get(&self, user_data: u64) -> Option<Arc<Watched>> {
        self.0.lock().unwrap().get(&user_data).cloned()
    }

    pub(super) fn insert(&self, user_data: u64, watched: &Arc<Watched>) {
        self.0.lock().unwrap().insert(user_data, Arc::clone(watched));
    }

    pub(super) fn remove(&self, user_data: u64) {
        self.0.lock().unwrap().remove(&user_data);
    }
}
