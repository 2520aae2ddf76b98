//! Programs whose main thread ends by pthread_exit(3): they end with the last thread that is not the library's.
//!
//! The program is a child that a thread without frames of Rust's forks: that is the main thread there, and
//! ends by returning from its first function.

use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::proc;
use crate::runner::{ALL, Scenario};
use crate::sys::{self, Forked};
use crate::work::{attach, away_reads, away_threadlet, finish_all, hand_off};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("a_program_without_main_ends_though_the_crew_lives", ALL, idle),
    Scenario::new("a_program_ends_whose_main_was_attached_to_its_end", ALL, attached),
    Scenario::new("a_program_without_main_lives_as_long_as_its_threads", ALL, other_thread),
    Scenario::new("threads_that_follow_each_other_keep_the_program_alive", ALL, relay),
    Scenario::new("a_closure_that_is_away_keeps_the_program_alive", ALL, closure),
    Scenario::new("a_signal_ends_a_program_that_has_only_a_closure", ALL, signalled),
    Scenario::new("a_crew_made_after_the_end_of_main_ends_with_the_last_thread", ALL, late_crew),
    Scenario::new("a_main_thread_that_has_ended_differs_from_nobody", ALL, ended_identity),
    Scenario::new("functions_of_atexit_find_the_descriptors_of_the_program", ALL, at_exit),
];

/// Longer than the library takes to see that no thread is left.
const LONG: Duration = Duration::from_millis(600);

static PROGRAM: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);
static CHILD: AtomicI32 = AtomicI32::new(0);

extern "C-unwind" fn forks(_: *mut libc::c_void) -> *mut libc::c_void {
    let program = PROGRAM.lock().expect("nobody panics with it").take();
    match sys::fork_here() {
        Some(child) => CHILD.store(child.0, Ordering::SeqCst),
        None => program.expect("`start` has left it")(),
    }
    std::ptr::null_mut()
}

/// Starts a process whose main thread runs `program` and ends.
fn start(program: impl FnOnce() + Send + 'static) -> Forked {
    *PROGRAM.lock().expect("nobody panics with it") = Some(Box::new(program));
    assert!(sys::join(sys::bare_thread(forks)), "the thread that forks ends");
    Forked(CHILD.load(Ordering::SeqCst))
}

/// The main thread of `process` has ended, but not the process.
fn wait_for_end_of_main(process: i32) {
    sys::eventually("the main thread has ended", || {
        proc::process_field(process, "State").is_some_and(|state| state.starts_with('Z'))
    });
}

/// The program has a crew.
fn work() {
    let guard = attach();
    finish_all(away_reads(2));
    hand_off();
    drop(guard);
}

fn idle() {
    assert_eq!(start(work).end(), 0);
    // The same in a child of a process that has an engine.
    work();
    assert_eq!(start(work).end(), 0);
}

fn attached() {
    let program = || {
        std::mem::forget(attach());
        hand_off();
    };
    assert_eq!(start(program).end(), 0);
}

fn other_thread() {
    let words = sys::shared_words();
    let program = start(move || {
        work();
        let other = thread::spawn(move || {
            wait_for_end_of_main(sys::getpid());
            thread::sleep(LONG); // what is promised is that nothing happens meanwhile
            words[0].store(1, Ordering::SeqCst);
        });
        drop(other);
    });
    assert_eq!(program.end(), 0);
    assert_eq!(words[0].load(Ordering::SeqCst), 1, "the thread came to its end");
}

/// The kernel takes namespaces, root and working directory from a thread when it ends. That is no other sandbox.
fn ended_identity() {
    let words = sys::shared_words();
    let program = start(move || {
        work();
        drop(thread::spawn(move || {
            wait_for_end_of_main(sys::getpid());
            let agrees = matches!(syslet::check_identity(), Ok(Ok(())));
            words[0].store(1 + u32::from(agrees), Ordering::SeqCst);
        }));
    });
    assert_eq!(program.end(), 0);
    assert_eq!(words[0].load(Ordering::SeqCst), 2, "checked, and found alike");
}

/// Each thread makes the next one and ends.
fn pass_on(left: u32, word: &'static AtomicU32) {
    if left == 0 {
        word.store(1, Ordering::SeqCst);
        return;
    }
    thread::sleep(LONG / RUNNERS);
    drop(thread::spawn(move || pass_on(left - 1, word)));
}

const RUNNERS: u32 = 300;

fn relay() {
    let words = sys::shared_words();
    let program = start(move || {
        work();
        drop(thread::spawn(move || pass_on(RUNNERS, &words[0])));
    });
    assert_eq!(program.end(), 0);
    assert_eq!(words[0].load(Ordering::SeqCst), 1, "the last one came to its end");
}

fn closure() {
    let words = sys::shared_words();
    let (reader, writer) = sys::pipe();
    let program = start(move || {
        work();
        let closure = syslet::threadlet(move || {
            let byte = sys::read_byte(reader.as_raw_fd()).unwrap_or(99);
            words[0].store(u32::from(byte), Ordering::SeqCst);
        });
        closure.detach();
    });
    wait_for_end_of_main(program.0);
    assert!(!sys::wait_process(program.0 as u32, LONG), "it waits for the closure");
    assert!(sys::write_byte(writer.as_raw_fd(), 7));
    assert_eq!(program.end(), 0);
    assert_eq!(words[0].load(Ordering::SeqCst), 7);
}

fn signalled() {
    let program = start(|| {
        work();
        std::mem::forget(away_threadlet());
    });
    wait_for_end_of_main(program.0);
    sys::kill(program.0, libc::SIGTERM);
    assert_eq!(program.end(), -libc::SIGTERM);
}

fn late_crew() {
    let words = sys::shared_words();
    let program = start(move || {
        let other = thread::spawn(move || {
            wait_for_end_of_main(sys::getpid());
            work();
            words[0].store(1, Ordering::SeqCst);
        });
        drop(other);
    });
    assert_eq!(program.end(), 0);
    assert_eq!(words[0].load(Ordering::SeqCst), 1);
}

static WRITER: AtomicI32 = AtomicI32::new(-1);

extern "C" fn write_at_exit() {
    sys::write_byte(WRITER.load(Ordering::SeqCst), 5);
}

fn at_exit() {
    let (reader, writer) = sys::pipe();
    let program = start(move || {
        WRITER.store(writer.as_raw_fd(), Ordering::SeqCst);
        std::mem::forget(writer);
        sys::at_exit(write_at_exit);
        work();
    });
    assert_eq!(program.end(), 0);
    assert_eq!(sys::read_byte(reader.as_raw_fd()), Some(5));
}
