//! A call goes on with the file that it named, whatever the program does to the number.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use syslet::{hold_files_at_once, stats};

use crate::container::{deny, sandbox};
use crate::util::calls::{
    Landing, Words, accepted, close, go, limit, number_call, pending, poll_call, read_call, send,
    sleep_call,
};
use crate::util::child::Child;
use crate::util::message::Message;
use crate::util::parking::{accept_call, eventually_held, parked, skip_without_pidfd_getfd};
use crate::util::pipe::Pipe;
use crate::util::queue::{next, queue};
use crate::util::withheld::{PAGE, Withheld};
use crate::util::{attached, eventually, late, skip, within};

/// Closes all descriptors from 3 on.
fn close_all() {
    // SAFETY: numbers. This process uses none of them any more.
    assert_eq!(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
}

/// A thread with a descriptor table of its own, where these stay open; it writes a byte to each when
/// told to.
fn writer_elsewhere(writers: Vec<RawFd>) -> (impl FnOnce(), thread::JoinHandle<()>) {
    let (start, wait) = channel();
    let (copied, ready) = channel();
    let thread = thread::spawn(move || {
        let top = u32::MAX - 1;
        const UNSHARE: u32 = 2;
        // SAFETY: numbers; nothing is open up there.
        let own = unsafe { libc::syscall(libc::SYS_close_range, top, top, UNSHARE) };
        assert_eq!(own, 0);
        copied.send(()).expect("the test waits");
        wait.recv().expect("the test tells");
        for writer in writers {
            // SAFETY: one byte, live.
            assert_eq!(unsafe { libc::write(writer, [7u8].as_ptr().cast(), 1) }, 1);
        }
    });
    ready.recv().expect("the thread has its table");
    (move || start.send(()).expect("the thread waits"), thread)
}

/// Parks a thousand calls and closes all descriptors when `is_held` has said that their files are.
fn calls_outlive_their_descriptors(is_held: fn() -> bool) {
    limit(libc::RLIMIT_NOFILE, 8192);
    attached(move || {
        let pipes: Vec<_> = (0..1000).map(|_| Pipe::new()).collect();
        let landings: Vec<_> = pipes.iter().map(|_| Landing::leak()).collect();
        let (write, thread) = writer_elsewhere(pipes.iter().map(Pipe::write_end).collect());
        let reads: Vec<_> = pipes
            .iter()
            .zip(&landings)
            .map(|(pipe, landing)| parked(read_call(pipe.read_end(), landing)))
            .collect();
        if !is_held() {
            return;
        }
        std::mem::forget(pipes);
        close_all();
        write();
        for (read, landing) in reads.into_iter().zip(landings) {
            let answer = read.wait_deadline(late()).expect("it ends").raw();
            assert_eq!((answer, landing.byte()), (1, 7));
        }
        assert!(eventually(|| stats().held == 0), "{} are held still", stats().held);
        // And all goes on.
        let pipe = Pipe::new();
        let read = parked(read_call(pipe.read_end(), Landing::leak()));
        pipe.put(1);
        assert_eq!(read.wait().raw(), 1);
        thread.join().expect("it has written");
    });
}

#[test]
fn closing_every_descriptor_loses_no_call() {
    if skip_without_pidfd_getfd() {
        return;
    }
    let path = "parked_files::closing_every_descriptor_loses_no_call";
    let ended =
        Child::new().run(path, || calls_outlive_their_descriptors(|| eventually_held(1000)));
    ended.expect("this is the parent").expect_done();
}

#[test]
fn closing_every_descriptor_at_once_loses_no_call_where_files_are_held_at_once() {
    let path =
        "parked_files::closing_every_descriptor_at_once_loses_no_call_where_files_are_held_at_once";
    let ended = Child::new().run(path, || {
        hold_files_at_once(true);
        calls_outlive_their_descriptors(|| {
            assert_eq!(stats().held, 1000, "files are held");
            true
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_file_that_is_held_at_once_is_the_programs_alone_when_its_calls_answer_is_known() {
    let path = "parked_files::a_file_that_is_held_at_once_is_the_programs_alone_when_its_calls_answer_is_known";
    let ended = Child::new().run(path, || {
        hold_files_at_once(true);
        attached(|| {
            for round in 0..1000 {
                let (mine, peer) = UnixStream::pair().expect("a pair");
                let read = parked(read_call(mine.as_raw_fd(), Landing::leak()));
                assert_eq!(stats().held, 1, "its file is held");
                (&peer).write_all(&[7]).expect("there is room");
                assert_eq!(read.wait().raw(), 1);
                drop(mine);
                let mut end = [0];
                peer.set_nonblocking(true).expect("ours");
                assert_eq!((&peer).read(&mut end).ok(), Some(0), "closed, in round {round}");
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_file_is_held_at_once_though_the_calls_memory_must_be_fetched() {
    /// How long a guest is left asleep in its attempt, if nobody takes its place: longer than that takes.
    const ASLEEP: Duration = Duration::from_millis(200);
    let path = "parked_files::a_file_is_held_at_once_though_the_calls_memory_must_be_fetched";
    let ended = Child::new().run(path, || {
        let Some(withheld) = Withheld::new(1) else { return };
        hold_files_at_once(true);
        attached(move || {
            let (reader, mut writer) = pipe().expect("a pipe can be made");
            let landing = Landing::leak();
            let readv =
                number_call(libc::SYS_readv, [reader.as_raw_fd() as usize, withheld.address(0), 1]);
            let mut page = [0; PAGE]; // struct iovec
            page[..8].copy_from_slice(&landing.address().to_ne_bytes());
            page[8] = 1;
            let before = stats().total.handed_off;
            let lets_in = thread::spawn(move || {
                assert_eq!(withheld.next_touched(), 0);
                within(ASLEEP, || stats().total.handed_off > before);
                withheld.let_in_with(0, &page);
            });
            let read = pending(go(readv));
            assert_eq!(stats().held, 1, "its file is held");
            drop(reader);
            writer.write_all(&[7]).expect("it has a reader");
            let answer = read.wait_deadline(late()).expect("it ends").raw();
            assert_eq!((answer, landing.byte()), (1, 7));
            lets_in.join().expect("it has let it in");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn an_epoll_that_many_wait_for_can_be_added_to_though_files_are_held_at_once() {
    /// More than the epolls that the kernel has watch one (path_limits, fs/eventpoll.c).
    const WAITS: usize = 600;
    const ROUNDS: usize = 20;
    let path =
        "parked_files::an_epoll_that_many_wait_for_can_be_added_to_though_files_are_held_at_once";
    let ended = Child::new().run(path, || {
        limit(libc::RLIMIT_NOFILE, 4096);
        hold_files_at_once(true);
        attached(|| {
            // SAFETY: numbers.
            let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
            let wait = || {
                let event = Words::leak([0, 0]).address();
                let forever = -1_isize as usize;
                let call = [epoll as usize, event, 1, forever];
                parked(number_call(libc::SYS_epoll_wait, call))
            };
            let waits: Vec<_> = (0..WAITS).map(|_| wait()).collect();
            assert_eq!(stats().held, WAITS, "the epoll is held");
            let change = |operation, pipe: &Pipe, once| {
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32 | once, u64: 7 };
                // SAFETY: live.
                let done =
                    unsafe { libc::epoll_ctl(epoll, operation, pipe.read_end(), &raw mut event) };
                assert_eq!(done, 0, "{:?}", std::io::Error::last_os_error());
            };
            let once = libc::EPOLLONESHOT as u32;
            // All are told, one is answered, and the others wait again.
            for answered in 1..=ROUNDS {
                let pipe = Pipe::new();
                change(libc::EPOLL_CTL_ADD, &pipe, once);
                pipe.put(1);
                let done = || waits.iter().filter(|wait| wait.is_done()).count();
                assert!(eventually(|| done() == answered));
                change(libc::EPOLL_CTL_DEL, &pipe, 0);
            }
            let pipe = Pipe::new();
            change(libc::EPOLL_CTL_ADD, &pipe, 0);
            pipe.put(1);
            for wait in waits {
                assert_eq!(wait.wait_deadline(late()).expect("it ends").raw(), 1);
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn where_files_cannot_be_held_every_call_has_one_answer_all_the_same() {
    if sandbox().is_none() {
        return skip("files can be held");
    }
    let path = "parked_files::where_files_cannot_be_held_every_call_has_one_answer_all_the_same";
    let ended = Child::new().run(path, || {
        const CALLS: usize = 1000;
        limit(libc::RLIMIT_NOFILE, 8192);
        attached(|| {
            let pipes: Vec<_> = (0..CALLS).map(|_| Pipe::new()).collect();
            let (write, thread) = writer_elsewhere(pipes.iter().map(Pipe::write_end).collect());
            let queue = queue(CALLS).always_queue(true);
            for (number, pipe) in pipes.iter().enumerate() {
                let _ = send(&queue, number as u64, read_call(pipe.read_end(), Landing::leak()));
            }
            assert!(eventually(|| stats().parked == CALLS), "{} are parked", stats().parked);
            std::mem::forget(pipes);
            close_all();
            write();
            let mut answered = vec![false; CALLS];
            for _ in 0..CALLS {
                let one = next(&queue);
                assert_eq!(one.res, -(libc::EBADF as isize), "its number is closed");
                let twice = std::mem::replace(&mut answered[one.user_data as usize], true);
                assert!(!twice, "{} is answered twice", one.user_data);
            }
            assert!(queue.pop().is_none());
            thread.join().expect("it has written");
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn where_files_cannot_be_held_a_closed_descriptor_is_the_answer() {
    if sandbox().is_none() {
        return skip("files can be held");
    }
    let path = "parked_files::where_files_cannot_be_held_a_closed_descriptor_is_the_answer";
    let ended = Child::new().run(path, || {
        attached(|| {
            let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
            let read = parked(read_call(mine.as_raw_fd(), Landing::leak()));
            // Beyond the time after which files are held where they can be.
            assert!(pending(go(sleep_call(Duration::from_millis(100)))).wait().raw() == 0);
            // One is if it found no room in a ring: another test uses all up.
            let held = stats().held;
            drop(mine);
            // Whatever this says: the other end becomes ready, or is at its end.
            let _ = (&theirs).write(&[1]);
            let answer = read.wait_deadline(late()).expect("it ends");
            match held {
                0 => assert_eq!(answer.errno(), Some(libc::EBADF)),
                _ => assert_eq!((held, answer.raw()), (1, 1)),
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn descriptor_that_is_used_again_is_not_read_by_the_call_before() {
    number_changes_hands(Duration::ZERO);
}

#[test]
fn descriptor_that_was_used_again_before_files_are_held_is_not_read_either() {
    // Longer than what has to be parked for to have its file held.
    number_changes_hands(Duration::from_millis(150));
}

fn number_changes_hands(before: Duration) {
    attached(move || {
        let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
        let landing = Landing::leak();
        let number = mine.as_raw_fd();
        let read = parked(read_call(number, landing));
        // Another file takes the number, with something to read.
        let (other, mut writer) = UnixStream::pair().expect("a pair can be made");
        writer.write_all(b"not yours").expect("there is room");
        // SAFETY: both are open, and `mine` goes on owning its number.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        assert_eq!(go(sleep_call(before)).wait().raw(), 0);
        (&theirs).write_all(b"y").expect("there is room");
        let answer = read.wait_deadline(late()).expect("it ends").raw();
        // With its file held it goes on; else it says that there is no such file any more.
        match answer {
            1 => assert_eq!(landing.byte(), b'y'),
            error => assert_eq!(error, -(libc::EBADF as isize)),
        }
        let mut left = [0; 9];
        (&other).read_exact(&mut left).expect("all is there");
        assert_eq!(&left, b"not yours");
    });
}

/// Reads a counter whose number has come to be another's when `is_held` has said that its file is held.
fn counter_changes_hands(is_held: fn() -> bool) {
    attached(move || {
        let counter = |value| {
            // SAFETY: numbers.
            let number = unsafe { libc::eventfd(value, 0) };
            assert!(number >= 0);
            number
        };
        // All of these are one inode to the kernel.
        let (mine, other) = (counter(0), counter(5));
        // SAFETY: ours.
        let kept = unsafe { libc::dup(mine) };
        let value: &'static mut u64 = Box::leak(Box::new(0));
        let address = std::ptr::from_mut(value) as usize;
        let read = parked(number_call(libc::SYS_read, [mine as usize, address, 8]));
        if !is_held() {
            return;
        }
        // SAFETY: ours.
        assert_eq!(unsafe { libc::dup2(other, mine) }, mine);
        // SAFETY: live.
        let written = unsafe { libc::write(kept, std::ptr::from_ref(&7u64).cast(), 8) };
        assert_eq!(written, 8);
        assert_eq!(read.wait_deadline(late()).expect("it ends").raw(), 8);
        // SAFETY: leaked; the call has ended.
        assert_eq!(unsafe { *(address as *const u64) }, 7);
        let mut left = 0u64;
        // SAFETY: live.
        let got = unsafe { libc::read(other, std::ptr::from_mut(&mut left).cast(), 8) };
        assert_eq!((got, left), (8, 5));
    });
}

#[test]
fn counters_that_change_numbers_are_told_apart_once_held() {
    let path = "parked_files::counters_that_change_numbers_are_told_apart_once_held";
    let ended = Child::new().run(path, || counter_changes_hands(|| eventually_held(1)));
    ended.expect("this is the parent").expect_done();
}

#[test]
fn counters_that_change_numbers_are_told_apart_where_files_are_held_at_once() {
    let path =
        "parked_files::counters_that_change_numbers_are_told_apart_where_files_are_held_at_once";
    let ended = Child::new().run(path, || {
        // As in Podman's default profile.
        deny(&[(libc::SYS_kcmp, libc::EPERM)]);
        hold_files_at_once(true);
        counter_changes_hands(|| {
            assert_eq!(stats().held, 1, "its file is held");
            true
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn messages_whose_number_is_closed_bring_no_descriptors_to_another_table() {
    if skip_without_pidfd_getfd() {
        return;
    }
    let path =
        "parked_files::messages_whose_number_is_closed_bring_no_descriptors_to_another_table";
    let ended = Child::new().run(path, || {
        attached(|| {
            for (message, answer) in
                [(Message::leak(), -(libc::EBADF as isize)), (Message::plain(), 1)]
            {
                let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
                let receive = parked(message.receiving(mine.as_raw_fd()));
                if !eventually_held(1) {
                    return;
                }
                drop(mine);
                let pipe = Pipe::new();
                // Once the call is over the socket may be gone.
                assert_eq!(Message::with(pipe.write_end()).send(theirs.as_raw_fd()), 1);
                assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), answer);
                assert!(eventually(|| stats().held == 0));
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn where_files_cannot_be_compared_calls_whose_file_is_held_end_well() {
    let path = "parked_files::where_files_cannot_be_compared_calls_whose_file_is_held_end_well";
    let ended = Child::new().run(path, || {
        // As in Podman's default profile.
        deny(&[(libc::SYS_kcmp, libc::EPERM)]);
        attached(|| {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let address = listener.local_addr().expect("it is bound");
            let accept = parked(accept_call(listener.as_raw_fd()));
            let (mine, theirs) = UnixStream::pair().expect("a pair can be made");
            let got = Message::leak();
            let receive = parked(got.receiving(mine.as_raw_fd()));
            let (gone, its_writer) = UnixStream::pair().expect("a pair can be made");
            let landing = Landing::leak();
            let read = parked(read_call(gone.as_raw_fd(), landing));
            if !eventually_held(3) {
                return;
            }
            let client = std::net::TcpStream::connect(address).expect("somebody listens");
            drop(accepted(accept.wait_deadline(late()).expect("it ends").raw()));
            drop(client);
            let pipe = Pipe::new();
            assert_eq!(Message::with(pipe.write_end()).send(theirs.as_raw_fd()), 1);
            assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), 1);
            got.expect_end_of(&pipe);
            // A number that is another file's by now is told all the same.
            let other = Pipe::new();
            other.put(b'n');
            // SAFETY: both are open, and `gone` goes on owning its number.
            assert_eq!(unsafe { libc::dup2(other.read_end(), gone.as_raw_fd()) }, gone.as_raw_fd());
            (&its_writer).write_all(b"y").expect("there is room");
            assert_eq!(read.wait_deadline(late()).expect("it ends").raw(), 1);
            assert_eq!((landing.byte(), other.get()), (b'y', b'n'));
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_message_queue_keeps_its_notification_while_it_is_waited_for() {
    // SAFETY: a static string, and no attributes.
    let queue = unsafe {
        let (name, flags) = (c"/syslet-test-notified", libc::O_RDWR | libc::O_CREAT);
        libc::mq_open(name.as_ptr(), flags, 0o600, std::ptr::null_mut::<libc::mq_attr>())
    };
    if queue < 0 {
        return skip("message queues cannot be made here");
    }
    // SAFETY: a static string.
    assert_eq!(unsafe { libc::mq_unlink(c"/syslet-test-notified".as_ptr()) }, 0);
    attached(move || {
        // SAFETY: zeroes are one.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_NONE;
        // SAFETY: live.
        let notify = || unsafe { libc::mq_notify(queue, &raw const event) };
        // What is made once is there: the keeper's table is a copy at first, which is closed.
        let pipe = Pipe::new();
        let first = parked(read_call(pipe.read_end(), Landing::leak()));
        pipe.put(1);
        assert_eq!(first.wait().raw(), 1);
        assert_eq!(notify(), 0);
        // Longer than what has to be parked for to have its file held.
        assert_eq!(parked(poll_call(queue, 150)).wait().raw(), 0);
        let again = notify();
        let why = std::io::Error::last_os_error().raw_os_error();
        assert_eq!((again, why), (-1, Some(libc::EBUSY)), "it is not registered any more");
    });
    close(queue);
}

/// It may bring a descriptor, to the table of whoever reads.
#[test]
fn a_read_of_a_userfaultfd_is_not_parked() {
    const USER_MODE_ONLY: i32 = 1;
    const API: libc::Ioctl = 0xc018_aa3f; // UFFDIO_API, linux/userfaultfd.h
    let path = "parked_files::a_read_of_a_userfaultfd_is_not_parked";
    let ended = Child::new().run(path, || {
        // SAFETY: numbers.
        let faults =
            unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | USER_MODE_ONLY) };
        if faults < 0 {
            return skip("userfaultfd is forbidden here");
        }
        let mut api = [0xaa_u64, 0, 0];
        // SAFETY: struct uffdio_api, live.
        assert_eq!(unsafe { libc::ioctl(faults as i32, API, api.as_mut_ptr()) }, 0);
        attached(move || {
            let event: &'static mut [u64; 4] = Box::leak(Box::new([0; 4]));
            let address = event.as_mut_ptr() as usize;
            let read = number_call(libc::SYS_read, [faults as usize, address, 32]);
            let read = pending(go(read));
            assert!(eventually(|| stats().outstanding == 1));
            assert_eq!(stats().parked_in_all, 0);
            let _ = read.cancel();
            assert!(read.wait().is_cancelled());
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// The ring has the file, and what the poll says is the answer.
#[test]
fn a_poll_goes_on_when_its_number_is_closed() {
    let path = "parked_files::a_poll_goes_on_when_its_number_is_closed";
    let ended = Child::new().run(path, || {
        hold_files_at_once(true);
        attached(|| {
            let (mine, mut theirs) = UnixStream::pair().expect("a pair can be made");
            // SAFETY: ours.
            let kept = unsafe { libc::dup(mine.as_raw_fd()) };
            let poll = parked(poll_call(mine.as_raw_fd(), usize::MAX));
            assert_eq!(stats().held, 0, "it needs none");
            drop(mine);
            theirs.write_all(b"!").expect("somebody has the other end");
            assert_eq!(poll.wait_deadline(late()).expect("it ends").raw(), 1);
            close(kept);
        });
    });
    ended.expect("this is the parent").expect_done();
}
