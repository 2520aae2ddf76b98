//! A thread that waits for its own parked call takes the events of others meanwhile, and runs no code of theirs: it may
//! hold what that waits for.

use std::fs;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use syslet::{hold_files_at_once, stats};

use crate::util::calls::{Landing, read_call};
use crate::util::child::Child;
use crate::util::parking::parked;
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually};

/// Rounds: in how many of them the waiting thread is the one that takes the other's event is up to the scheduler.
/// Without the remedy it is one of the first ten, nearly always.
const ROUNDS: usize = 400;
/// What the writer waits for before it writes, so that the reader is about to wait: less than a wait takes events for.
const A_MOMENT: Duration = Duration::from_micros(30);

/// A waker that notes on which thread it runs.
#[derive(Default)]
struct Notes(Mutex<Vec<ThreadId>>);

impl Notes {
    fn all(&self) -> Vec<ThreadId> {
        self.0.lock().expect("nobody panics").clone()
    }
}

impl Wake for Notes {
    fn wake(self: Arc<Self>) {
        self.0.lock().expect("nobody panics").push(thread::current().id());
    }
}

#[test]
fn a_thread_that_waits_for_its_call_runs_no_waker_of_another() {
    attached(|| {
        let (theirs, mine) = (Pipe::new(), Pipe::new());
        let round = Arc::new(AtomicUsize::new(0));
        let writer = {
            let (theirs, mine, round) = (theirs.clone(), mine.clone(), Arc::clone(&round));
            thread::spawn(move || {
                for number in 1..=ROUNDS {
                    while round.load(Ordering::SeqCst) < number {
                        thread::yield_now();
                    }
                    let begun = Instant::now();
                    while begun.elapsed() < A_MOMENT {}
                    theirs.put(1);
                    assert!(eventually(|| theirs.filled() == 0), "it is read by somebody");
                    mine.put(1);
                }
            })
        };
        for number in 1..=ROUNDS {
            let notes = Arc::new(Notes::default());
            let waker = Waker::from(Arc::clone(&notes));
            let mut other = parked(read_call(theirs.read_end(), Landing::leak()));
            assert!(Pin::new(&mut other).poll(&mut Context::from_waker(&waker)).is_pending());
            let own = parked(read_call(mine.read_end(), Landing::leak()));
            round.store(number, Ordering::SeqCst);
            assert_eq!(own.wait().raw(), 1);
            assert!(eventually(|| notes.all().len() == 1), "woken once");
            assert_ne!(notes.all()[0], thread::current().id(), "in round {number}");
            assert_eq!(other.wait().raw(), 1);
        }
        writer.join().expect("it has written");
    });
}

/// A waker that notes what a descriptor means where it runs.
struct Sees {
    number: i32,
    seen: Mutex<Vec<Option<PathBuf>>>,
}

impl Sees {
    fn file(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/thread-self/fd/{}", self.number)).ok()
    }
}

impl Wake for Sees {
    fn wake(self: Arc<Self>) {
        let file = self.file();
        self.seen.lock().expect("nobody panics").push(file);
    }
}

#[test]
fn a_waker_of_a_call_whose_file_is_held_at_once_sees_the_programs_descriptors() {
    let path =
        "parked_wakers::a_waker_of_a_call_whose_file_is_held_at_once_sees_the_programs_descriptors";
    let ended = Child::new().run(path, || {
        hold_files_at_once(true);
        attached(|| {
            let pipe = Pipe::new();
            let sees = Arc::new(Sees { number: pipe.write_end(), seen: Mutex::default() });
            let waker = Waker::from(Arc::clone(&sees));
            let mut read = parked(read_call(pipe.read_end(), Landing::leak()));
            assert_eq!(stats().held, 1, "its file is held");
            assert!(Pin::new(&mut read).poll(&mut Context::from_waker(&waker)).is_pending());
            pipe.put(1);
            assert!(eventually(|| !sees.seen.lock().expect("nobody panics").is_empty()), "woken");
            assert!(sees.file().is_some());
            assert_eq!(*sees.seen.lock().expect("nobody panics"), [sees.file()]);
            assert_eq!(read.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}
