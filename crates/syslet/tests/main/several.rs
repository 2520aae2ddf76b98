//! Waiting for several descriptors needs no thread, and answers as plain calls do.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::fs::File;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use syslet::{Call, CancelOutcome, Pending, stats};

use crate::parked_without_aio::{deny_taking, strays, use_up_aio};
use crate::util::calls::{Words, go, limit, number_call, open_descriptors, pending, plain};
use crate::util::child::Child;
use crate::util::parking::{let_others_act, parked, skip_without_pidfd_getfd};
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually, late};

/// `struct pollfd` of many descriptors, and the call that waits for them.
struct Polls(&'static Words);

impl Polls {
    fn of(entries: &[(RawFd, i16)]) -> Self {
        let word =
            |(fd, events): &(RawFd, i16)| u64::from(*fd as u32) | u64::from(*events as u16) << 32;
        Self(Words::leak(entries.iter().map(word)))
    }

    fn call(&self, millis: i32) -> Call {
        let args = [self.0.address(), self.0.len(), millis as usize];
        number_call(libc::SYS_poll, args)
    }

    /// What is ready of entry `at`.
    fn found(&self, at: usize) -> i16 {
        (self.0.get(at) >> 48) as i16
    }
}

/// A set of `select`, and a place for its time limit.
struct Select {
    reads: &'static Words,
    writes: &'static Words,
    time: &'static Words,
}

impl Select {
    fn of(reads: &[RawFd], writes: &[RawFd], time: Duration) -> Self {
        let set = |numbers: &[RawFd]| {
            let mut words = [0u64; 16];
            numbers.iter().for_each(|fd| words[*fd as usize / 64] |= 1 << (fd % 64));
            Words::leak(words)
        };
        let time = [time.as_secs(), u64::from(time.subsec_micros())];
        Self { reads: set(reads), writes: set(writes), time: Words::leak(time) }
    }

    fn call(&self) -> Call {
        let (reads, writes, time) =
            (self.reads.address(), self.writes.address(), self.time.address());
        number_call(libc::SYS_select, [1024, reads, writes, 0, time])
    }

    fn names(set: &Words) -> Vec<RawFd> {
        (0..1024).filter(|fd| set.get(*fd as usize / 64) & (1 << (fd % 64)) != 0).collect()
    }

    fn left(&self) -> Duration {
        Duration::from_secs(self.time.get(0)) + Duration::from_micros(self.time.get(1))
    }
}

const LONG: i32 = 60_000;

#[test]
fn a_poll_of_many_names_what_is_ready() {
    attached(|| {
        let pipes: Vec<_> = (0..300).map(|_| Pipe::new()).collect();
        for n in [0, 299, 17] {
            let entries: Vec<_> =
                pipes.iter().map(|pipe| (pipe.read_end(), libc::POLLIN)).collect();
            let polls = Polls::of(&entries);
            let wait = parked(polls.call(LONG));
            assert!(!wait.is_done());
            pipes[n].put(1);
            assert_eq!(wait.wait().raw(), 1);
            for at in 0..pipes.len() {
                assert_eq!(polls.found(at), if at == n { libc::POLLIN } else { 0 }, "of {at}");
            }
            pipes[n].get();
        }
    });
}

#[test]
fn a_poll_names_descriptors_twice_not_at_all_and_gone_ones() {
    attached(|| {
        let (one, other) = (Pipe::new(), Pipe::new());
        let polls = Polls::of(&[
            (one.read_end(), libc::POLLIN),
            (-1, libc::POLLIN),
            (other.read_end(), libc::POLLIN),
            (one.read_end(), libc::POLLIN | libc::POLLPRI),
        ]);
        let wait = parked(polls.call(LONG));
        one.put(1);
        assert_eq!(wait.wait().raw(), 2);
        let found: Vec<_> = (0..4).map(|at| polls.found(at)).collect();
        assert_eq!(found, [libc::POLLIN, 0, 0, libc::POLLIN]);
        // One that is none is an answer.
        let polls = Polls::of(&[(other.read_end(), libc::POLLIN), (987_654, libc::POLLIN)]);
        assert_eq!(go(polls.call(LONG)).wait().raw(), 1);
        assert_eq!((polls.found(0), polls.found(1)), (0, libc::POLLNVAL));
        // What hangs up is ready, whatever was asked for.
        let (mine, theirs) = UnixStream::pair().expect("sockets can be made");
        let polls = Polls::of(&[(one.write_end(), 0), (mine.as_raw_fd(), 0)]);
        let wait = parked(polls.call(LONG));
        // Not closed: a child of another test may have a copy.
        theirs.shutdown(Shutdown::Both).expect("it is connected");
        assert_eq!(wait.wait().raw(), 1);
        assert_eq!((polls.found(0), polls.found(1)), (0, libc::POLLHUP));
    });
}

#[test]
fn a_poll_of_many_ends_in_time() {
    attached(|| {
        let (one, other) = (Pipe::new(), Pipe::new());
        let polls = Polls::of(&[(one.read_end(), libc::POLLIN), (other.read_end(), libc::POLLIN)]);
        let begun = Instant::now();
        let wait = parked(polls.call(120));
        assert_eq!(wait.wait().raw(), 0);
        assert!(begun.elapsed() >= Duration::from_millis(120));
        assert_eq!((polls.found(0), polls.found(1)), (0, 0));
        // None waits for nothing: a sleep.
        let begun = Instant::now();
        assert_eq!(go(Polls::of(&[]).call(50)).wait().raw(), 0);
        assert!(begun.elapsed() >= Duration::from_millis(50));
    });
}

#[test]
fn select_names_what_is_ready_and_the_time_that_is_left() {
    attached(|| {
        let pipes: Vec<_> = (0..20).map(|_| Pipe::new()).collect();
        let reads: Vec<_> = pipes.iter().map(Pipe::read_end).collect();
        let select = Select::of(&reads, &[], Duration::from_secs(50));
        let wait = parked(select.call());
        pipes[7].put(1);
        assert_eq!(wait.wait().raw(), 1);
        assert_eq!(Select::names(select.reads), [reads[7]]);
        assert!(select.left() < Duration::from_secs(50) && select.left() > Duration::from_secs(1));
        // What is ready at once: a pipe that has room, and the other that is full still.
        let select = Select::of(&reads[..5], &[pipes[3].write_end()], Duration::from_secs(50));
        assert_eq!(go(select.call()).wait().raw(), 1);
        assert_eq!(Select::names(select.reads), []);
        assert_eq!(Select::names(select.writes), [pipes[3].write_end()]);
        // Time.
        let select = Select::of(&reads[..5], &[], Duration::from_millis(80));
        let begun = Instant::now();
        assert_eq!(parked(select.call()).wait().raw(), 0);
        assert!(begun.elapsed() >= Duration::from_millis(80));
        assert_eq!((Select::names(select.reads), select.left()), (vec![], Duration::ZERO));
        // A descriptor that is none.
        let select = Select::of(&[1023], &[], Duration::from_secs(50));
        assert_eq!(go(select.call()).wait().errno(), Some(libc::EBADF));
    });
}

#[test]
fn a_wait_for_many_can_be_cancelled() {
    attached(|| {
        let (one, other) = (Pipe::new(), Pipe::new());
        let polls = Polls::of(&[(one.read_end(), libc::POLLIN), (other.read_end(), libc::POLLIN)]);
        let wait = parked(polls.call(LONG));
        assert_eq!(wait.cancel(), CancelOutcome::Asked);
        assert!(wait.wait().is_cancelled());
        let select = Select::of(&[one.read_end()], &[], Duration::from_secs(50));
        let wait = parked(select.call());
        assert_eq!(wait.cancel(), CancelOutcome::Asked);
        assert!(wait.wait().is_cancelled());
        assert_eq!(Select::names(select.reads), [one.read_end()], "as it was");
    });
}

#[test]
fn a_thousand_waits_for_many_leave_no_descriptor_and_need_no_thread() {
    let path = "several::a_thousand_waits_for_many_leave_no_descriptor_and_need_no_thread";
    let ended = Child::new().run(path, expect_no_descriptor_and_no_thread);
    ended.expect("this is the parent").expect_done();
}

#[test]
fn waits_for_many_need_no_thread_where_files_are_sent() {
    let path = "several::waits_for_many_need_no_thread_where_files_are_sent";
    let ended = Child::new().run(path, || {
        deny_taking();
        expect_no_descriptor_and_no_thread();
    });
    ended.expect("this is the parent").expect_done();
}

fn expect_no_descriptor_and_no_thread() {
    attached(|| {
        let pipes: Vec<_> = (0..50).map(|_| Pipe::new()).collect();
        let entries: Vec<_> = pipes.iter().map(|pipe| (pipe.read_end(), libc::POLLIN)).collect();
        let before = open_descriptors();
        let waits: Vec<_> = (0..1000)
            .map(|_| {
                let polls = Polls::of(&entries);
                (parked(polls.call(LONG)), polls)
            })
            .collect();
        assert_eq!(open_descriptors(), before);
        let crew = stats().crew;
        assert!(crew < 100, "{crew} crew threads for calls that are parked");
        pipes[49].put(1);
        for (wait, polls) in waits {
            assert_eq!((wait.wait().raw(), polls.found(49)), (1, libc::POLLIN));
        }
        assert!(eventually(|| stats().parked == 0));
        assert_eq!(open_descriptors(), before);
    });
}

/// A number that is another file's while a wait for it and others goes on: asked again are the numbers.
fn expect_to_follow_a_number() {
    let (one, other, quiet) = (Pipe::new(), Pipe::new(), Pipe::new());
    // SAFETY: no memory.
    let number = unsafe { libc::dup(one.read_end()) };
    let polls = Polls::of(&[(number, libc::POLLIN), (quiet.read_end(), libc::POLLIN)]);
    let wait = parked(polls.call(LONG));
    // SAFETY: the number is this test's.
    assert_eq!(unsafe { libc::dup2(other.read_end(), number) }, number);
    // The old file, which is open still, is ready: nothing is found under the number.
    one.put(1);
    let_others_act();
    one.get();
    let_others_act();
    assert!(!wait.is_done());
    other.put(1);
    let answer = wait.wait_deadline(late()).expect("it is told of the new file");
    assert_eq!((answer.raw(), polls.found(0), polls.found(1)), (1, libc::POLLIN, 0));
    // SAFETY: the number is this test's.
    unsafe { libc::close(number) };
}

#[test]
fn a_wait_for_many_that_was_told_in_vain_asks_for_what_the_numbers_mean() {
    if skip_without_pidfd_getfd() {
        return; // a thread waits in the kernel, for the old file
    }
    attached(expect_to_follow_a_number);
}

#[test]
fn without_kernel_aio_a_wait_for_many_needs_no_thread() {
    let path = "several::without_kernel_aio_a_wait_for_many_needs_no_thread";
    let ended = Child::new().run(path, || {
        attached(|| {
            expect_no_thread_without_kernel_aio();
            if !skip_without_pidfd_getfd() {
                expect_to_follow_a_number();
                assert!(eventually(|| stats().held == 0));
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_kernel_aio_a_wait_for_many_needs_no_thread_where_files_are_sent() {
    let path = "several::without_kernel_aio_a_wait_for_many_needs_no_thread_where_files_are_sent";
    let ended = Child::new().run(path, || {
        deny_taking();
        attached(expect_no_thread_without_kernel_aio);
    });
    ended.expect("this is the parent").expect_done();
}

fn expect_no_thread_without_kernel_aio() {
    use_up_aio();
    let pipes: Vec<_> = (0..20).map(|_| Pipe::new()).collect();
    let entries: Vec<_> = pipes.iter().map(|pipe| (pipe.read_end(), libc::POLLIN)).collect();
    let (before, crew) = (open_descriptors(), stats().crew);
    for (round, pipe) in pipes.iter().enumerate().take(3) {
        let wait = |millis| {
            let polls = Polls::of(&entries);
            (parked(polls.call(millis)), polls)
        };
        let waits: Vec<_> = (0..200).map(|_| wait(LONG)).collect();
        let (in_time, _) = wait(20);
        let (cancelled, _) = wait(LONG);
        assert!(stats().crew <= crew + strays(), "what is parked has no thread");
        assert_eq!(open_descriptors(), before);
        assert_eq!(in_time.wait().raw(), 0);
        assert_eq!(cancelled.cancel(), CancelOutcome::Asked);
        assert!(cancelled.wait().is_cancelled());
        pipe.put(1);
        for (wait, polls) in waits {
            assert_eq!((wait.wait().raw(), polls.found(round)), (1, libc::POLLIN));
        }
        pipe.get();
        assert!(eventually(|| stats().parked == 0 && stats().held == 0));
    }
}

/// Forks while so many threads have files sent by waits for several, which `submit` makes, and cancel them. All must be
/// `well` in each child.
fn fork_while_files_are_sent(senders: usize, submit: fn(Call) -> Pending, well: fn() -> bool) {
    let over = Arc::new(AtomicBool::new(false));
    let sender = |_| {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            let (one, other) = (Pipe::new(), Pipe::new());
            let entries = [(one.read_end(), libc::POLLIN), (other.read_end(), libc::POLLIN)];
            let polls = Polls::of(&entries);
            while !over.load(Ordering::Relaxed) {
                let wait = submit(polls.call(LONG));
                wait.cancel();
                wait.wait();
            }
        })
    };
    let senders: Vec<_> = (0..senders).map(sender).collect();
    assert!(eventually(|| stats().parked_in_all > 100));
    for _ in 0..300 {
        // SAFETY: the child makes system calls only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!well())) };
        }
        let mut status = -1;
        // SAFETY: the kernel writes the status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "all is well in the child");
    }
    over.store(true, Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().expect("it has sent"));
}

#[test]
fn a_child_that_is_forked_while_files_are_sent_has_no_socket_of_ours() {
    let path = "several::a_child_that_is_forked_while_files_are_sent_has_no_socket_of_ours";
    let ended = Child::new().run(path, || {
        deny_taking();
        let submit = |call| pending(go(call));
        fork_while_files_are_sent(4, submit, || !(0..256).any(is_datagram_socket));
    });
    ended.expect("this is the parent").expect_done();
}

/// What the program's handlers take before a fork, and another thread holds while it waits for something.
static PROGRAMS_LOCK: Lock = Lock(std::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

struct Lock(std::cell::UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a mutex is for several threads.
unsafe impl Sync for Lock {}

extern "C" fn take_lock() {
    // SAFETY: it is initialised.
    assert_eq!(unsafe { libc::pthread_mutex_lock(PROGRAMS_LOCK.0.get()) }, 0);
}

extern "C" fn let_lock_go() {
    // SAFETY: the running thread has it, or is the child's only one.
    assert_eq!(unsafe { libc::pthread_mutex_unlock(PROGRAMS_LOCK.0.get()) }, 0);
}

#[test]
fn a_fork_may_wait_for_a_lock_of_who_sends_files() {
    let path = "several::a_fork_may_wait_for_a_lock_of_who_sends_files";
    let ended = Child::new().run(path, || {
        deny_taking();
        let (take, let_go): (unsafe extern "C" fn(), unsafe extern "C" fn()) =
            (take_lock, let_lock_go);
        // Before the library's own: so they run behind that before a fork.
        // SAFETY: handlers that may run in any thread.
        let set = unsafe { libc::pthread_atfork(Some(take), Some(let_go), Some(let_go)) };
        assert_eq!(set, 0);
        let submit = |call| {
            take_lock();
            let wait = pending(go(call));
            let_lock_go();
            wait
        };
        fork_while_files_are_sent(1, submit, || true);
    });
    ended.expect("this is the parent").expect_done();
}

fn is_datagram_socket(number: RawFd) -> bool {
    let (mut kind, mut len) = (0, size_of::<i32>() as u32);
    let at = (&raw mut kind).cast();
    // SAFETY: the kernel writes one number, and its length.
    let answer =
        unsafe { libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_TYPE, at, &raw mut len) };
    answer == 0 && kind == libc::SOCK_DGRAM
}

#[test]
fn without_a_number_to_spare_a_thread_waits() {
    let path = "several::without_a_number_to_spare_a_thread_waits";
    let ended = Child::new().run(path, || {
        attached(|| {
            let (one, other) = (Pipe::new(), Pipe::new());
            let entries = [(one.read_end(), libc::POLLIN), (other.read_end(), libc::POLLIN)];
            parked(Polls::of(&entries).call(1)).wait();
            limit(libc::RLIMIT_NOFILE, 3);
            let polls = Polls::of(&entries);
            let wait = pending(go(polls.call(LONG)));
            other.put(1);
            assert_eq!(wait.wait().raw(), 1);
            assert_eq!((polls.found(0), polls.found(1)), (0, libc::POLLIN));
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn plain_calls_give_the_same_answers() {
    attached(|| {
        let pipes: Vec<_> = (0..6).map(|_| Pipe::new()).collect();
        pipes[1].put(1);
        for mask in 0..64 {
            let chosen = |n: &usize| mask & (1 << n) != 0;
            let entries: Vec<_> = (0..6)
                .filter(chosen)
                .map(|n| {
                    let write = n % 3 == 2;
                    let fd = if write { pipes[n].write_end() } else { pipes[n].read_end() };
                    (fd, if write { libc::POLLOUT } else { libc::POLLIN })
                })
                .collect();
            let (ours, plainly) = (Polls::of(&entries), Polls::of(&entries));
            let ret = go(ours.call(1)).wait();
            let args = [plainly.0.address(), plainly.0.len(), 1, 0, 0, 0];
            assert_eq!(ret.raw(), plain(libc::SYS_poll as usize, args), "{mask:b}");
            assert!((0..entries.len()).all(|at| ours.found(at) == plainly.found(at)), "{mask:b}");
        }
    });
}

#[test]
fn a_time_limit_that_cannot_be_written_is_one_all_the_same() {
    attached(|| {
        // Where the program's constants are: the kernel leaves it as it is.
        static LIMIT: [u64; 2] = [0, 20_000];
        let time = LIMIT.as_ptr() as usize;
        let pipes = [Pipe::new(), Pipe::new()];
        for count in [1, 2] {
            let polls = Polls::of(&pipes.each_ref().map(|pipe| (pipe.read_end(), libc::POLLIN)));
            let args = [polls.0.address(), count, time, 0, 8];
            let wait = parked(number_call(libc::SYS_ppoll, args));
            assert_eq!(wait.wait().raw(), 0);
        }
        let reads = pipes.each_ref().map(Pipe::read_end);
        let select = Select::of(&reads, &[], Duration::ZERO);
        let args = [1024, select.reads.address(), 0, 0, time];
        let wait = parked(number_call(libc::SYS_select, args));
        assert_eq!(wait.wait().raw(), 0);
        assert_eq!(Select::names(select.reads), []);
    });
}

#[test]
fn a_wait_for_many_takes_no_number_of_the_programs() {
    if skip_without_pidfd_getfd() {
        return; // the socket by which files are sent has one
    }
    let path = "several::a_wait_for_many_takes_no_number_of_the_programs";
    let ended = Child::new().run(path, || {
        attached(|| {
            // Fewer than the first ring has room for: what is read to make the second one has a number too.
            const ROUNDS: usize = 800;
            let (one, other) = (Pipe::new(), Pipe::new());
            let entries = [(one.read_end(), libc::POLLIN), (other.read_end(), libc::POLLIN)];
            let polls = Polls::of(&entries);
            parked(polls.call(1)).wait(); // what is made once is there
            let next = || File::open("/dev/null").expect("it is there").as_raw_fd();
            let free = next();
            let over = Arc::new(AtomicBool::new(false));
            let looks = {
                let over = Arc::clone(&over);
                thread::spawn(move || {
                    // The lowest number that is free, each time.
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(next(), free, "somebody has the number");
                    }
                })
            };
            for _ in 0..ROUNDS {
                let wait = pending(go(polls.call(LONG)));
                assert_eq!(wait.cancel(), CancelOutcome::Asked);
                assert!(wait.wait().is_cancelled());
            }
            over.store(true, Ordering::Relaxed);
            looks.join().expect("nobody took it");
        });
    });
    ended.expect("this is the parent").expect_done();
}
