#![allow(unsafe_code, reason = "signal masks and handlers")]

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use syslet_kevent::{Kind, Source};

use crate::util::child::{in_child, status};
use crate::util::{LONG, one, queue, within_short};

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn send(number: i32) {
    let pid = std::process::id() as libc::pid_t;
    // SAFETY: no memory.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}

fn handled(count: u32) {
    let until = Instant::now() + LONG;
    while HANDLED.load(Ordering::SeqCst) < count {
        assert!(Instant::now() < until, "the handler does not run");
        std::thread::yield_now();
    }
}

#[test]
fn a_signal_is_delivered_as_always_and_told() {
    let number = libc::SIGRTMIN() + 3;
    // SAFETY: a handler that counts.
    unsafe { libc::signal(number, handle as *const () as usize) };
    let (one_queue, other) = (queue(), queue());
    one_queue.add(Source::signal(number as u32).user_data(6)).unwrap();
    other.add(Source::signal(number as u32)).unwrap();
    send(number);
    let event = one(&one_queue);
    assert_eq!((event.kind(), event.id), (Some(Kind::Signal), number as u64));
    assert_eq!((event.user_data, event.data[0], event.count()), (6, 1, 1));
    assert_eq!(one(&other).data[0], 1);
    handled(1);
    // Only through the queue now, though the other source is still there.
    let only = Source::signal_only(number as u32);
    one_queue.add(only.user_data(7)).unwrap();
    send(number);
    let users = [one(&one_queue).user_data, one(&one_queue).user_data];
    assert!(users.contains(&6) && users.contains(&7), "both kinds are told: {users:?}");
    one(&other);
    assert_eq!(HANDLED.load(Ordering::SeqCst), 1, "no handler has run");
    one_queue.remove(only.key()).unwrap();
    send(number);
    one(&one_queue);
    handled(2);
    drop(one_queue);
    drop(other);
    // What was there before is there again.
    send(number);
    handled(3);
    assert_eq!(current(number).sa_sigaction, handle as *const () as usize);
}

fn current(number: i32) -> libc::sigaction {
    // SAFETY: zeroes are one.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: reads into the structure.
    unsafe { libc::sigaction(number, std::ptr::null(), &mut now) };
    now
}

/// Runs in a process of its own, where all threads can block a signal.
#[test]
fn a_signal_that_all_threads_block_comes_through_the_queue_only() {
    let number = libc::SIGUSR2;
    // SAFETY: the child blocks, waits and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: zeroes are a set.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is ours.
        unsafe { libc::sigaddset(&mut set, number) };
        // SAFETY: as above.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        let queue = queue();
        queue.add(Source::signal_only(number as u32)).unwrap();
        let mut told = 0;
        for _ in 0..3 {
            send(number);
            told += one(&queue).data[0];
        }
        let quiet = within_short(&queue).is_empty();
        // SAFETY: ends the child.
        unsafe { libc::_exit(if told == 3 && quiet { 0 } else { 1 }) };
    }
    assert_eq!(status(pid), 0);
}

#[test]
fn a_stop_signal_stops_and_is_told_each_time() {
    let (mut ready, mut says) = std::io::pipe().unwrap();
    let pid = in_child(move || {
        // A group of its own, with a parent outside: an orphaned one is not stopped.
        // SAFETY: no memory.
        unsafe { libc::setpgid(0, 0) };
        let queue = queue();
        queue.add(Source::signal(libc::SIGTSTP as u32)).unwrap();
        let mut told = 0;
        for _ in 0..2 {
            // The handler is there again, which it is not while the process goes on.
            let until = Instant::now() + LONG;
            while current(libc::SIGTSTP).sa_sigaction == libc::SIG_DFL {
                assert!(Instant::now() < until, "it is not there");
                std::thread::yield_now();
            }
            says.write_all(b"!").unwrap();
            told += one(&queue).data[0];
        }
        told == 2
    });
    for _ in 0..2 {
        ready.read_exact(&mut [0]).unwrap();
        // SAFETY: no memory.
        unsafe { libc::kill(pid, libc::SIGTSTP) };
        let status = status(pid);
        assert!(libc::WIFSTOPPED(status), "{status:#x}");
        assert_eq!(libc::WSTOPSIG(status), libc::SIGTSTP);
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
    }
    assert_eq!(status(pid), 0);
}

#[test]
fn who_ignores_its_children_need_not_wait_for_them() {
    let pid = in_child(|| {
        // SAFETY: no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let queue = queue();
        queue.add(Source::signal(libc::SIGCHLD as u32)).unwrap();
        in_child(|| true);
        let told = one(&queue).data[0] == 1;
        // SAFETY: no memory is written: the pointer is null.
        let waited = unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) };
        told && waited == -1
    });
    assert_eq!(status(pid), 0);
}

#[test]
fn a_source_that_is_modified_lets_no_signal_through() {
    let pid = in_child(|| {
        let queue = queue();
        // By default it ends the process.
        let source = Source::signal_only(libc::SIGUSR1 as u32);
        queue.add(source).unwrap();
        let begun = Instant::now();
        let modified = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !modified.load(Ordering::SeqCst) {
                    send(libc::SIGUSR1);
                }
            });
            while begun.elapsed() < Duration::from_secs(1) {
                queue.modify(source).unwrap();
            }
            modified.store(true, Ordering::SeqCst);
        });
        while !within_short(&queue).is_empty() {}
        send(libc::SIGUSR1);
        let is_told = one(&queue).count() == 1;
        // Afterwards nothing is held.
        queue.remove(source.key()).unwrap();
        is_told && current(libc::SIGUSR1).sa_sigaction == libc::SIG_DFL
    });
    assert_eq!(status(pid), 0);
}

extern "C" fn nothing(_: libc::c_int) {}

/// Installs a handler, without any flags; what was there before.
fn install(number: i32, handler: extern "C" fn(libc::c_int)) -> libc::sigaction {
    // SAFETY: zeroes are one.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = handler as *const () as usize;
    // SAFETY: reads the one and writes the other.
    assert_eq!(unsafe { libc::sigaction(number, &new, &mut old) }, 0);
    old
}

#[test]
fn a_handler_that_interrupts_calls_interrupts_them_still() {
    let number = libc::SIGRTMIN() + 5;
    install(number, nothing);
    let queue = queue();
    queue.add(Source::signal(number as u32)).unwrap();
    let (mut from, to) = std::io::pipe().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let reads = std::thread::spawn(move || {
        // SAFETY: no memory.
        tell.send(unsafe { libc::pthread_self() }).unwrap();
        from.read(&mut [0]).map_err(|error| error.kind())
    });
    let thread = told.recv().unwrap();
    let until = Instant::now() + LONG;
    // Until one comes while it reads.
    while !reads.is_finished() && Instant::now() < until {
        // SAFETY: it is joined below.
        unsafe { libc::pthread_kill(thread, number) };
        std::thread::yield_now();
    }
    drop(to); // ends a read that was made again
    assert_eq!(reads.join().unwrap(), Err(std::io::ErrorKind::Interrupted));
}

static BELOW: AtomicUsize = AtomicUsize::new(0);
static CHAINED: AtomicU32 = AtomicU32::new(0);

extern "C" fn chains(number: libc::c_int) {
    CHAINED.fetch_add(1, Ordering::SeqCst);
    type Full = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    // SAFETY: ours, which takes three arguments.
    let below: Full = unsafe { std::mem::transmute(BELOW.load(Ordering::SeqCst)) };
    below(number, std::ptr::null_mut(), std::ptr::null_mut());
}

#[test]
fn a_handler_that_calls_ours_is_called_once_though_ours_comes_again() {
    let number = libc::SIGRTMIN() + 6;
    install(number, nothing);
    let (source, queue) = (Source::signal(number as u32), queue());
    queue.add(source).unwrap();
    BELOW.store(install(number, chains).sa_sigaction, Ordering::SeqCst);
    for round in 1..=3 {
        queue.remove(source.key()).unwrap();
        queue.add(source).unwrap();
        send(number);
        assert_eq!(one(&queue).data[0], 1, "it is told once");
        let until = Instant::now() + LONG;
        while CHAINED.load(Ordering::SeqCst) < round && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(CHAINED.load(Ordering::SeqCst), round);
    }
}
