//! Locks, queues, semaphores and futexes: free, they are had on the spot; held, the call goes away and ends when they
//! are let go; cancelled, it has taken nothing.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

use syslet::{Call, CancelOutcome};

use crate::util::calls::{Block, Words, go, number_call, pending, plain};
use crate::util::child::Child;
use crate::util::parking::let_others_act;
use crate::util::temp::Folder;
use crate::util::{Way, attached, bounded, way};

/// What a call waits for, which is taken at first.
struct Case {
    call: Call,
    answer: isize,
    /// Lets it go.
    free: Box<dyn Fn()>,
    /// The same without waiting: it tells whether there is something to be had.
    probe: Call,
}

type Kind = (&'static str, fn() -> Case);

const KINDS: [Kind; 8] = [
    ("flock", flock),
    ("F_OFD_SETLKW", record_lock),
    ("semop", || semaphore(libc::SYS_semop)),
    ("semtimedop", || semaphore(libc::SYS_semtimedop)),
    ("msgsnd", send),
    ("msgrcv", receive),
    ("mq_timedsend", send_posix),
    ("mq_timedreceive", receive_posix),
];

fn must(call: Call) {
    let answer = make(call);
    assert!(answer >= 0, "{call:?}: {answer}");
}

fn make(call: Call) -> isize {
    let mut args = [0; 6];
    args.copy_from_slice(call.args());
    plain(call.nr(), args)
}

/// So many open descriptions of one file.
fn opened<const N: usize>() -> [usize; N] {
    let folder = Folder::new();
    let path = folder.at("file");
    File::create(&path).expect("it can be made");
    let open = || File::options().read(true).write(true).open(&path).expect("it is there");
    [(); N].map(|()| {
        let file = open();
        let number = file.as_raw_fd() as usize;
        std::mem::forget(file); // until the process ends
        number
    })
}

fn flock() -> Case {
    let [mine, other, third] = opened();
    let (lock, free, try_to) =
        (libc::LOCK_EX as usize, libc::LOCK_UN as usize, (libc::LOCK_EX | libc::LOCK_NB) as usize);
    must(number_call(libc::SYS_flock, [mine, lock]));
    Case {
        call: number_call(libc::SYS_flock, [other, lock]),
        answer: 0,
        free: Box::new(move || must(number_call(libc::SYS_flock, [mine, free]))),
        probe: number_call(libc::SYS_flock, [third, try_to]),
    }
}

fn record_lock() -> Case {
    let [mine, other, third] = opened();
    // struct flock of the whole file: type and whence, start, length, process.
    let set = |fd, command: i32, kind: i32| {
        let lock = Words::leak([kind as u64, 0, 0, 0]).address();
        number_call(libc::SYS_fcntl, [fd, command as usize, lock])
    };
    must(set(mine, libc::F_OFD_SETLK, libc::F_WRLCK));
    Case {
        call: set(other, libc::F_OFD_SETLKW, libc::F_WRLCK),
        answer: 0,
        free: Box::new(move || must(set(mine, libc::F_OFD_SETLK, libc::F_UNLCK))),
        probe: set(third, libc::F_OFD_SETLK, libc::F_WRLCK),
    }
}

/// Removed when the process ends.
static IPC: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

extern "C" fn remove_ipc() {
    for (at, id) in IPC.iter().enumerate() {
        let id = id.load(Ordering::Relaxed) as i32 - 1;
        if at < 2 {
            // SAFETY: numbers.
            unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
        } else {
            // SAFETY: numbers.
            unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }
}

/// A semaphore set or queue: with the number 0 to 1 or 2 to 3.
fn made(at: usize, id: i32) -> usize {
    assert!(id >= 0, "{}", std::io::Error::last_os_error());
    IPC[at].store(id as u32 + 1, Ordering::Relaxed);
    id as usize
}

fn semaphore(nr: i64) -> Case {
    // SAFETY: numbers.
    let id = unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) };
    let id = made(usize::from(nr == libc::SYS_semtimedop), id);
    // struct sembuf: semaphore, change, flags. The second one is had at any time: both are taken, or none.
    let word = |sem: u64, change: i16, flags: i32| {
        sem | u64::from(change as u16) << 16 | (flags as u64) << 32
    };
    let operations = |words: &[u64]| {
        let mut bytes: Vec<u8> = Vec::new();
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()[..6]));
        Block::with(&bytes).address()
    };
    let no_wait = libc::IPC_NOWAIT;
    let plus = operations(&[word(0, 1, no_wait)]);
    let second = operations(&[word(1, 2, no_wait)]);
    must(number_call(libc::SYS_semop, [id, second, 1]));
    let take = operations(&[word(1, -1, 0), word(0, -1, 0)]);
    let try_to = operations(&[word(1, -1, no_wait), word(0, -1, no_wait)]);
    Case {
        call: number_call(nr, [id, take, 2, 0]),
        answer: 0,
        free: Box::new(move || must(number_call(libc::SYS_semop, [id, plus, 1]))),
        probe: number_call(libc::SYS_semop, [id, try_to, 2]),
    }
}

/// Of a message of the older queues.
const LONG: usize = 4000;

fn queue(at: usize) -> usize {
    // SAFETY: numbers.
    made(at, unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) })
}

fn sending(id: usize, flags: i32) -> Call {
    let message = Block::with(&1u64.to_ne_bytes()).address();
    number_call(libc::SYS_msgsnd, [id, message, LONG, flags as usize])
}

fn receiving(id: usize, flags: i32) -> Call {
    let message = Block::leak().address();
    number_call(libc::SYS_msgrcv, [id, message, LONG, 0, flags as usize])
}

fn send() -> Case {
    let id = queue(2);
    while make(sending(id, libc::IPC_NOWAIT)) == 0 {}
    Case {
        call: sending(id, 0),
        answer: 0,
        free: Box::new(move || must(receiving(id, libc::IPC_NOWAIT))),
        probe: sending(id, libc::IPC_NOWAIT),
    }
}

fn receive() -> Case {
    let id = queue(3);
    Case {
        call: receiving(id, 0),
        answer: LONG as isize,
        free: Box::new(move || must(sending(id, libc::IPC_NOWAIT))),
        probe: receiving(id, libc::IPC_NOWAIT),
    }
}

/// A POSIX queue of one message of eight bytes, without a name.
fn posix_queue() -> usize {
    let name = std::ffi::CString::new(format!("/syslet-test-{}", std::process::id()));
    let name = name.expect("no NUL");
    // SAFETY: all zeros is one.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    (attributes.mq_maxmsg, attributes.mq_msgsize) = (1, 8);
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    // SAFETY: live.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw mut attributes) };
    assert!(queue >= 0, "mq_open: {}", std::io::Error::last_os_error());
    // SAFETY: live.
    assert_eq!(unsafe { libc::mq_unlink(name.as_ptr()) }, 0);
    queue as usize
}

/// With no limit, or with one that is over.
fn posix(nr: i64, queue: usize, limited: bool) -> Call {
    let (message, past) = (Block::leak().address(), Words::leak([0, 0]).address());
    number_call(nr, [queue, message, 8, 0, if limited { past } else { 0 }])
}

fn send_posix() -> Case {
    let queue = posix_queue();
    must(posix(libc::SYS_mq_timedsend, queue, true));
    Case {
        call: posix(libc::SYS_mq_timedsend, queue, false),
        answer: 0,
        free: Box::new(move || must(posix(libc::SYS_mq_timedreceive, queue, true))),
        probe: posix(libc::SYS_mq_timedsend, queue, true),
    }
}

fn receive_posix() -> Case {
    let queue = posix_queue();
    Case {
        call: posix(libc::SYS_mq_timedreceive, queue, false),
        answer: 8,
        free: Box::new(move || must(posix(libc::SYS_mq_timedsend, queue, true))),
        probe: posix(libc::SYS_mq_timedreceive, queue, true),
    }
}

fn each(path: &str, body: fn()) {
    Child::new().run(path, body).expect("this is the parent").expect_done();
}

#[test]
fn what_is_free_is_had_without_a_thread() {
    each("waiting_for_others::what_is_free_is_had_without_a_thread", || {
        crate::util::calls::at_exit(remove_ipc);
        bounded(crate::util::LIMIT, || {
            for (name, new) in KINDS {
                let Case { call, answer, free, probe } = new();
                free();
                let submitted = go(call);
                assert!(submitted.is_done(), "{name} has gone to a thread");
                assert_eq!(submitted.wait().raw(), answer, "{name}");
                assert_ne!(make(probe), answer, "{name} is taken");
            }
            // No thread was wanted, so none was made.
            assert_eq!(syslet::stats().crew, 0);
        });
    });
}

#[test]
fn what_is_held_is_waited_for_away() {
    each("waiting_for_others::what_is_held_is_waited_for_away", || {
        crate::util::calls::at_exit(remove_ipc);
        attached(|| {
            for (name, new) in KINDS {
                let Case { call, answer, free, probe } = new();
                let waits = pending(go(call));
                assert!(!waits.is_done(), "{name}");
                free();
                assert_eq!(waits.wait().raw(), answer, "{name}");
                assert_ne!(make(probe), answer, "{name} is taken");
            }
        });
    });
}

#[test]
fn what_is_cancelled_has_taken_nothing() {
    each("waiting_for_others::what_is_cancelled_has_taken_nothing", || {
        crate::util::calls::at_exit(remove_ipc);
        attached(|| {
            for (name, new) in KINDS {
                let Case { call, answer, free, probe } = new();
                let waits = pending(go(call));
                assert_ne!(waits.cancel(), CancelOutcome::TooLate, "{name}");
                assert!(waits.wait().is_cancelled(), "{name}");
                free();
                let_others_act();
                assert_eq!(make(probe), answer, "{name} is to be had");
            }
        });
    });
}

/// A word for futexes, and the calls that wait while it is 0.
fn word() -> (&'static AtomicU32, [Call; 2]) {
    let word: &'static AtomicU32 = Box::leak(Box::new(AtomicU32::new(0)));
    let at = std::ptr::from_ref(word) as usize;
    let wait = number_call(libc::SYS_futex, [at, libc::FUTEX_WAIT as usize, 0, 0, 0, 0]);
    let some = [at, libc::FUTEX_WAIT_BITSET as usize, 0, 0, 0, 1];
    (word, [wait, number_call(libc::SYS_futex, some)])
}

#[test]
fn futexes_are_looked_at_and_waited_for() {
    attached(|| {
        let (value, calls) = word();
        let at = std::ptr::from_ref(value) as usize;
        for call in calls {
            value.store(1, Ordering::SeqCst);
            let looked = go(call);
            assert!(way() != Way::Pool || looked.is_done(), "it has gone to a thread");
            assert_eq!(looked.wait().errno(), Some(libc::EAGAIN));
            value.store(0, Ordering::SeqCst);
            let waits = pending(go(call));
            let wake = number_call(libc::SYS_futex, [at, libc::FUTEX_WAKE as usize, 1, 0, 0, 0]);
            assert!(crate::util::eventually(|| make(wake) == 1), "it sleeps there");
            assert_eq!(waits.wait().raw(), 0);
            let waits = pending(go(call));
            assert_ne!(waits.cancel(), CancelOutcome::TooLate);
            assert!(waits.wait().is_cancelled());
            assert_eq!(make(wake), 0, "nobody sleeps there");
        }
    });
}

#[test]
fn faults_of_limits_are_found_though_nothing_is_waited_for() {
    attached(|| {
        let queue = posix_queue();
        let bad = Words::leak([0, 2_000_000_000]).address();
        let message = Block::leak().address();
        let send = number_call(libc::SYS_mq_timedsend, [queue, message, 8, 0, bad]);
        assert_eq!(go(send).wait().errno(), Some(libc::EINVAL));
        assert_ne!(make(posix(libc::SYS_mq_timedreceive, queue, true)), 8, "nothing was sent");
        let (_, [wait, _]) = word();
        let args = [wait.args()[0], libc::FUTEX_WAIT as usize, 1, bad];
        let answer = go(number_call(libc::SYS_futex, args)).wait().errno();
        assert_eq!(answer, Some(libc::EINVAL));
    });
}

#[test]
fn any_child_is_waited_for_once() {
    each("waiting_for_others::any_child_is_waited_for_once", || {
        attached(|| {
            let mut children: Vec<_> = (0..2)
                .map(|_| std::process::Command::new("true").spawn().expect("it is there"))
                .collect();
            let ids: Vec<_> = children.iter().map(|child| child.id() as u64).collect();
            for id in &ids {
                let look = (libc::WEXITED | libc::WNOWAIT) as usize;
                let args = [libc::P_PID as usize, *id as usize, 0, look, 0];
                must(number_call(libc::SYS_waitid, args)); // both have ended
            }
            let ended = |which: libc::idtype_t, options: i32| {
                let info = Words::leak([0; 16]);
                let args = [which as usize, 0, info.address(), options as usize, 0];
                assert_eq!(go(number_call(libc::SYS_waitid, args)).wait().raw(), 0);
                info.get(2) & u64::from(u32::MAX)
            };
            let mut found = [0; 2].map(|_| ended(libc::P_ALL, libc::WEXITED));
            found.sort_unstable();
            assert_eq!(found.to_vec(), ids, "each child once");
            assert!(children.iter_mut().all(|child| child.wait().is_err()), "and both are gone");
        });
    });
}
