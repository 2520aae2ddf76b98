//! Record locks that another process or open file description holds, and futexes of which one of several is waited
//! for: free, they are had on the spot; else the call goes away, is cancelled there, and outlives signals.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use syslet::{CancelOutcome, Pending, Submitted};

use crate::proc::threads;
use crate::runner::{ALL, Mode, Scenario, skip};
use crate::sys;
use crate::work::{attach, make};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("record_locks_that_others_hold_are_waited_for_away", ALL, held),
    Scenario::new("cancelled_waits_for_record_locks_have_taken_nothing", ALL, cancelled),
    Scenario::new("signals_do_not_break_waits_for_record_locks_off", ALL, interrupted),
    Scenario::new("one_of_several_futexes_is_waited_for_away", ALL, futexes),
    Scenario::new("cancelled_waits_for_several_futexes_are_over", ALL, cancelled_futexes),
    Scenario::new("limits_of_waits_for_several_futexes_outlive_signals", ALL, interrupted_futexes),
];

fn leak<T>(value: T) -> usize {
    std::ptr::from_mut(Box::leak(Box::new(value))) as usize
}

/// A call that has gone away.
#[track_caller]
fn away(submitted: Submitted) -> Pending {
    match submitted {
        Submitted::Pending(pending) => pending,
        Submitted::Done(ret) => panic!("it is to wait, and says {ret:?}"),
    }
}

/// What was to be had at once: nobody had to wait for a thread.
#[track_caller]
fn at_once(submitted: Submitted) -> isize {
    // A guest's call may be preempted while it is made.
    assert!(Mode::current() != Mode::Pool || submitted.is_done(), "it has gone to a thread");
    submitted.wait().raw()
}

#[track_caller]
fn answer(pending: Pending) -> isize {
    pending.wait_deadline(Instant::now() + sys::PATIENCE).expect("it ends").raw()
}

/// The thread that sleeps in call `nr`, when there is one.
#[track_caller]
fn sleeper(nr: i64) -> i32 {
    let mut found = None;
    let sleeps = |tid: &i32| {
        let call = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"));
        call.is_ok_and(|call| call.starts_with(&format!("{nr} ")))
    };
    sys::eventually("a thread sleeps in the call", || {
        found = threads().into_iter().find(sleeps);
        found.is_some()
    });
    found.expect("it was found")
}

/// Signals that were handled.
static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

/// Breaks call `nr` off, which sleeps in a thread, some times.
#[track_caller]
fn interrupt(nr: i64, pending: &Pending) {
    sys::handle_interrupting(libc::SIGUSR1, count);
    for _ in 0..5 {
        let before = HANDLED.load(Ordering::SeqCst);
        let (process, thread) = (sys::getpid(), sleeper(nr));
        let sent = match sys::blocks(thread, libc::SIGUSR1) {
            false => sys::kill_thread(process, thread, libc::SIGUSR1),
            true => sys::kill(process, libc::SIGUSR1), // a thread that has no guest's call
        };
        assert!(sent, "it is sent");
        sys::eventually("it is handled", || HANDLED.load(Ordering::SeqCst) > before);
        sleeper(nr);
        assert!(!pending.is_done(), "the call was broken off");
    }
}

/// Makes a call about the lock of a whole file.
fn lock_plainly(file: &impl AsRawFd, command: i32, kind: i32) -> bool {
    sys::number_call(libc::SYS_fcntl, arguments(file, command, kind)) == 0
}

fn lock(file: &impl AsRawFd, command: i32) -> Submitted {
    let [number, command, lock, _] = arguments(file, command, libc::F_WRLCK);
    make(libc::SYS_fcntl, [number, command, lock, 0, 0, 0])
}

fn arguments(file: &impl AsRawFd, command: i32, kind: i32) -> [usize; 4] {
    // struct flock: type and whence, start, length, process.
    [file.as_raw_fd() as usize, command as usize, leak([kind as u64, 0, 0, 0]), 0]
}

/// Another open file description of a file.
fn opened_again(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path).expect("it is there")
}

/// A process that holds the lock of a file, for itself or its open file description.
struct Holder {
    child: sys::Forked,
    orders: OwnedFd,
    answers: OwnedFd,
}

const TRY: u8 = b't';
const FREE: u8 = b'f';

impl Holder {
    /// `command` is how it locks: `F_SETLK` or `F_OFD_SETLK`.
    fn of(file: &File, command: i32) -> Self {
        let ((orders, order), (answer, answers)) = (sys::pipe(), sys::pipe());
        let child = sys::fork(|| {
            // Else it would keep itself alive.
            sys::number_call(libc::SYS_close, [order.as_raw_fd() as usize, 0, 0, 0]);
            let file = opened_again(file);
            while let Some(order) = sys::read_byte(orders.as_raw_fd()) {
                let kind = if order == TRY { libc::F_WRLCK } else { libc::F_UNLCK };
                let had = lock_plainly(&file, command, kind);
                sys::write_byte(answers.as_raw_fd(), had.into());
            }
            0
        });
        let holder = Self { child, orders: order, answers: answer };
        assert!(holder.does(TRY), "nobody else has it");
        holder
    }

    /// Whether it had the lock, or let it go.
    fn does(&self, order: u8) -> bool {
        sys::write_byte(self.orders.as_raw_fd(), order);
        sys::read_byte(self.answers.as_raw_fd()) == Some(1)
    }

    fn end(self) {
        drop(self.orders);
        assert_eq!(self.child.end(), 0, "the other process has failed");
    }
}

/// Does `each` with a file, who holds its lock, and the command by which it is waited for.
fn with_each(each: impl Fn(&File, &Holder, i32)) {
    for theirs in [libc::F_SETLK, libc::F_OFD_SETLK] {
        for mine in [libc::F_SETLKW, libc::F_OFD_SETLKW] {
            let file = sys::unnamed_file();
            let holder = Holder::of(&file, theirs);
            let guard = attach();
            each(&file, &holder, mine);
            drop(guard);
            holder.end();
        }
    }
}

/// Lets go of a lock that was had by `command`.
fn let_go(file: &File, command: i32) {
    let command = if command == libc::F_SETLKW { libc::F_SETLK } else { libc::F_OFD_SETLK };
    assert!(lock_plainly(file, command, libc::F_UNLCK));
}

fn held() {
    with_each(|file, holder, command| {
        let waits = away(lock(file, command));
        sleeper(libc::SYS_fcntl);
        assert!(!waits.is_done());
        assert!(holder.does(FREE));
        assert_eq!(answer(waits), 0);
        assert!(!holder.does(TRY), "it is ours");
        let_go(file, command);
        assert_eq!(at_once(lock(file, command)), 0, "nobody has it");
        assert!(!holder.does(TRY), "it is ours");
    });
}

fn cancelled() {
    with_each(|file, holder, command| {
        for asleep in [false, true] {
            let waits = away(lock(file, command));
            if asleep {
                sleeper(libc::SYS_fcntl);
            }
            assert_ne!(waits.cancel(), CancelOutcome::TooLate);
            assert_eq!(answer(waits), -(libc::ECANCELED as isize));
            // Those that wait have an arrow, and the file its number.
            let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata().expect("it is open"));
            let locks = std::fs::read_to_string("/proc/locks").expect("/proc is mounted");
            let waits = |line: &str| line.contains("->") && line.contains(&format!(":{inode} "));
            assert!(!locks.lines().any(waits), "{locks}");
            assert!(holder.does(FREE) && holder.does(TRY), "it is to be had");
        }
    });
}

fn interrupted() {
    with_each(|file, holder, command| {
        let waits = away(lock(file, command));
        interrupt(libc::SYS_fcntl, &waits);
        assert!(holder.does(FREE));
        assert_eq!(answer(waits), 0);
        assert!(!holder.does(TRY), "it is ours");
    });
}

/// Two words, and the waiters for both while they are 0: two of struct futex_waitv.
fn words() -> ([&'static AtomicU32; 2], usize) {
    const FUTEX_32: u64 = 2;
    let words = [(); 2].map(|()| &*Box::leak(Box::new(AtomicU32::new(0))));
    let waiters = leak(words.map(|word| [0, std::ptr::from_ref(word) as u64, FUTEX_32]));
    let changed = sys::number_call(libc::SYS_futex_waitv, [0, 0, 0, 0]);
    if changed < 0 && sys::errno() == libc::ENOSYS {
        skip("this kernel has no futex_waitv");
    }
    (words, waiters)
}

/// Waits for both until this point in time, if there is one.
fn wait_for_both(waiters: usize, until: usize) -> Submitted {
    let clock = libc::CLOCK_MONOTONIC as usize;
    make(libc::SYS_futex_waitv, [waiters, 2, 0, until, clock, 0])
}

/// Threads that were woken.
fn wake(word: &AtomicU32) -> isize {
    let address = std::ptr::from_ref(word) as usize;
    sys::number_call(libc::SYS_futex, [address, libc::FUTEX_WAKE as usize, 1, 0])
}

/// The time by CLOCK_MONOTONIC.
fn monotonic() -> Duration {
    let time = [const { AtomicU64::new(0) }; 2]; // struct timespec
    let clock = libc::CLOCK_MONOTONIC as usize;
    sys::number_call(libc::SYS_clock_gettime, [clock, time.as_ptr() as usize, 0, 0]);
    let [seconds, nanos] = time.map(AtomicU64::into_inner);
    Duration::new(seconds, nanos as u32)
}

fn futexes() {
    let (words, waiters) = words();
    let _guard = attach();
    for (at, word) in words.into_iter().enumerate() {
        word.store(1, Ordering::SeqCst);
        assert_eq!(at_once(wait_for_both(waiters, 0)), -(libc::EAGAIN as isize));
        word.store(0, Ordering::SeqCst);
        let waits = away(wait_for_both(waiters, 0));
        sleeper(libc::SYS_futex_waitv);
        assert!(!waits.is_done());
        assert_eq!(wake(word), 1);
        assert_eq!(answer(waits), at as isize, "which of them it was");
    }
}

fn cancelled_futexes() {
    let (words, waiters) = words();
    let _guard = attach();
    for asleep in [false, true] {
        let waits = away(wait_for_both(waiters, 0));
        if asleep {
            sleeper(libc::SYS_futex_waitv);
        }
        assert_ne!(waits.cancel(), CancelOutcome::TooLate);
        assert_eq!(answer(waits), -(libc::ECANCELED as isize));
        assert_eq!(words.map(wake), [0, 0], "nobody waits");
    }
}

fn interrupted_futexes() {
    let (words, waiters) = words();
    let _guard = attach();
    let waits = away(wait_for_both(waiters, 0));
    interrupt(libc::SYS_futex_waitv, &waits);
    assert_eq!(wake(words[1]), 1);
    assert_eq!(answer(waits), 1);
    let now = monotonic();
    let limit = Duration::from_millis(500);
    let until = leak(sys::timespec(now + limit));
    let waits = away(wait_for_both(waiters, until));
    interrupt(libc::SYS_futex_waitv, &waits);
    assert_eq!(answer(waits), -(libc::ETIMEDOUT as isize));
    assert!(monotonic() >= now + limit, "it has ended early");
    let over = wait_for_both(waiters, until).wait();
    assert_eq!(over.errno(), Some(libc::ETIMEDOUT), "the time is over");
}
