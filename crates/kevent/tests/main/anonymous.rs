#![allow(unsafe_code, reason = "makes anonymous files, and gives a number to another")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use syslet_kevent::{Event, Flags, Queue, Source};

use crate::container::docker;
use crate::util::child::{in_child, status};
use crate::util::ring::Ringed;
use crate::util::{LONG, one, queue, within_short};

const POLLIN: u16 = libc::POLLIN as u16;

pub(crate) fn own(number: libc::c_int) -> OwnedFd {
    assert!(number >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it was just made.
    unsafe { OwnedFd::from_raw_fd(number) }
}

pub(crate) fn eventfd(count: u32) -> OwnedFd {
    // SAFETY: no memory.
    own(unsafe { libc::eventfd(count, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// One that has expired.
fn timerfd() -> OwnedFd {
    // SAFETY: no memory.
    let timer = own(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) });
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let at = libc::timespec { tv_sec: 0, tv_nsec: 1 };
    let at = libc::itimerspec { it_interval: zero, it_value: at };
    let (number, nowhere) = (timer.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: reads the time, which is live.
    let set =
        unsafe { libc::timerfd_settime(number, libc::TFD_TIMER_ABSTIME, &raw const at, nowhere) };
    assert_eq!(set, 0);
    timer
}

/// One in which an eventfd is ready, which is kept.
fn epoll() -> OwnedFd {
    // SAFETY: no memory.
    let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    let ready = eventfd(1);
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    let (to, number) = (epoll.as_raw_fd(), ready.as_raw_fd());
    // SAFETY: reads the event, which is live.
    let added = unsafe { libc::epoll_ctl(to, libc::EPOLL_CTL_ADD, number, &raw mut event) };
    assert_eq!(added, 0);
    // Open for as long as the process is.
    std::mem::forget(ready);
    epoll
}

/// Of each kind one that is ready.
const KINDS: [fn() -> OwnedFd; 3] = [|| eventfd(1), timerfd, epoll];

/// The number of `old`, which is closed, is that of `new` from now on.
pub(crate) fn replace(old: &OwnedFd, new: &OwnedFd) {
    // SAFETY: the number is ours.
    let answer = unsafe { libc::dup2(new.as_raw_fd(), old.as_raw_fd()) };
    assert_eq!(answer, old.as_raw_fd());
}

pub(crate) fn poll(number: RawFd, flags: Flags) -> Source {
    Source::poll(number, POLLIN).with(flags)
}

pub(crate) fn is_broken(event: &Event) -> bool {
    event.error().and_then(|error| error.raw_os_error()) == Some(libc::EBADF)
}

/// A queue whose level-triggered source was told of, and is looked at again when somebody fetches.
fn told_of(file: &OwnedFd) -> Queue {
    let queue = queue();
    let told = queue.add(poll(file.as_raw_fd(), Flags::NONE)).unwrap();
    assert!(told.is_some_and(|event| event.error().is_none()), "it is ready");
    assert_eq!(one(&queue).error().map(|error| error.kind()), None, "it is still");
    queue
}

/// No stranger that `kind` makes is told of.
pub(crate) fn check_strangers(kind: fn() -> OwnedFd) {
    for is_open_elsewhere in [false, true] {
        let (old, stranger) = (kind(), kind());
        let twin = is_open_elsewhere.then(|| old.try_clone().unwrap());
        let queue = told_of(&old);
        replace(&old, &stranger);
        // The first event since: not even one.
        assert!(is_broken(&one(&queue)));
        assert_eq!((within_short(&queue), queue.sources()), (vec![], 0));
        drop(twin);
    }
}

/// An edge-triggered source of `old`, which is not ready, ends when its number is the stranger's.
pub(crate) fn check_edge_triggered(old: OwnedFd, stranger: OwnedFd) {
    let queue = queue();
    assert_eq!(queue.add(poll(old.as_raw_fd(), Flags::ET)).unwrap(), None);
    replace(&old, &stranger);
    assert!(is_broken(&one(&queue)));
    assert_eq!(queue.sources(), 0);
}

#[test]
fn a_stranger_of_the_same_kind_is_not_told_of() {
    KINDS.into_iter().for_each(check_strangers);
}

/// As programs do it: closed, and opened again.
#[test]
fn an_eventfd_that_was_opened_again_is_another() {
    let pid = in_child(|| {
        let old = eventfd(1);
        let (queue, number) = (told_of(&old), old.as_raw_fd());
        drop(old);
        let stranger = eventfd(1);
        // Nobody else opens anything here.
        stranger.as_raw_fd() == number && is_broken(&one(&queue)) && queue.sources() == 0
    });
    assert_eq!(status(pid), 0);
}

#[test]
fn a_stranger_of_the_same_kind_is_not_told_of_where_files_cannot_be_taken() {
    let pid = in_child(|| {
        docker();
        let (old, stranger) = (eventfd(1), eventfd(1));
        let queue = told_of(&old);
        replace(&old, &stranger);
        is_broken(&one(&queue)) && queue.sources() == 0
    });
    assert_eq!(status(pid), 0);
}

#[test]
fn an_edge_triggered_source_ends_though_its_number_is_one_of_the_same_kind() {
    check_edge_triggered(eventfd(0), eventfd(1));
}

#[test]
fn a_number_of_the_same_kind_that_is_added_anew_breaks_the_old_source() {
    let (old, stranger) = (eventfd(0), eventfd(1));
    let (queue, source) = (queue(), poll(old.as_raw_fd(), Flags::ET));
    assert_eq!(queue.add(source.user_data(1)).unwrap(), None);
    let twice = queue.add(source).expect_err("it is there").raw_os_error();
    assert_eq!(twice, Some(libc::EEXIST));
    replace(&old, &stranger);
    let told = queue.add(source.user_data(2)).unwrap().expect("the new one is ready");
    assert_eq!((told.user_data, told.error().is_none()), (2, true));
    let event = one(&queue);
    assert_eq!((event.user_data, is_broken(&event)), (1, true));
    assert_eq!(queue.sources(), 1);
}

#[test]
fn what_is_looked_at_last_is_broken_if_its_number_is_one_of_the_same_kind() {
    let (old, stranger) = (eventfd(0), eventfd(1));
    let queue = queue();
    assert_eq!(queue.add(poll(old.as_raw_fd(), Flags::ET | Flags::LAST_CHECK)).unwrap(), None);
    assert!(queue.make_ready(poll(old.as_raw_fd(), Flags::ET).key()));
    replace(&old, &stranger);
    assert!(is_broken(&one(&queue)));
    assert_eq!(queue.sources(), 0);
}

/// Two watches, of two files with one number: each is told of its own, and goes alone.
#[test]
fn a_stranger_that_is_watched_too_is_told_to_who_watches_it() {
    let (old, stranger) = (eventfd(1), eventfd(0));
    let twin = old.try_clone().unwrap();
    let (first, second) = (told_of(&old), queue());
    replace(&old, &stranger);
    assert_eq!(second.add(poll(old.as_raw_fd(), Flags::ET)).unwrap(), None);
    // The stranger becomes ready: of the first queue it is none of its business.
    // SAFETY: reads the number, which is live.
    let wrote = unsafe { libc::eventfd_write(stranger.as_raw_fd(), 1) };
    assert_eq!(wrote, 0);
    assert!(is_broken(&one(&first)));
    assert_eq!(one(&second).happened(), u32::from(POLLIN));
    drop(twin);
}

#[test]
fn removing_a_source_leaves_the_watch_of_a_stranger_with_its_number() {
    let (old, stranger) = (eventfd(0), eventfd(0));
    let (first, second) = (queue(), queue());
    let source = poll(old.as_raw_fd(), Flags::ET);
    assert_eq!(first.add(source).unwrap(), None);
    let twin = old.try_clone().unwrap();
    replace(&old, &stranger);
    assert_eq!(second.add(source).unwrap(), None);
    // If the rounds were faster it is none any more.
    let _ = first.remove(source.key());
    // What the keeper is asked is done in turn: after this it has heard of the removal.
    let other = eventfd(0);
    assert_eq!(first.add(poll(other.as_raw_fd(), Flags::ET)).unwrap(), None);
    // SAFETY: no memory but the number's.
    assert_eq!(unsafe { libc::eventfd_write(stranger.as_raw_fd(), 1) }, 0);
    let told = second.get_events(1, 1, Some(Instant::now() + LONG)).unwrap();
    assert_eq!(told.first().map(Event::happened), Some(u32::from(POLLIN)));
    drop(twin);
}

fn write_to(eventfd: &OwnedFd) {
    // SAFETY: no memory but the number's.
    assert_eq!(unsafe { libc::eventfd_write(eventfd.as_raw_fd(), 1) }, 0);
}

/// What the keeper is asked is done in turn: after this it has heard of what was removed.
fn wait_for_keeper(queue: &Queue) {
    let other = eventfd(0);
    assert_eq!(queue.add(poll(other.as_raw_fd(), Flags::ET)).unwrap(), None);
    let _ = queue.remove(poll(other.as_raw_fd(), Flags::ET).key());
}

/// Until a thread sleeps in a futex.
fn wait_for_sleep(tid: libc::pid_t) {
    let limit = Instant::now() + LONG;
    let call = format!("{} ", libc::SYS_futex);
    while !std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"))
        .is_ok_and(|now| now.starts_with(&call))
    {
        assert!(Instant::now() < limit, "it sleeps in time");
        std::thread::yield_now();
    }
}

/// What `wait` hands out to a thread that sleeps in it until another file has the number of a source and something
/// comes to the old one.
fn looked_at_last(queue: &Queue, wait: impl FnOnce() -> Event + Send) -> Event {
    let (old, stranger) = (eventfd(0), eventfd(1));
    let twin = old.try_clone().unwrap();
    let source = poll(old.as_raw_fd(), Flags::ET | Flags::LAST_CHECK);
    assert_eq!(queue.add(source).unwrap(), None);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waits = scope.spawn(move || {
            // SAFETY: no memory.
            tell.send(unsafe { libc::gettid() }).unwrap();
            wait()
        });
        wait_for_sleep(told.recv().unwrap());
        replace(&old, &stranger);
        write_to(&twin);
        // What another thread puts in has the ring filled by that, which must not wait for an answer.
        let limit = Instant::now() + LONG;
        while queue.is_empty() && !waits.is_finished() {
            assert!(Instant::now() < limit, "it is told in time");
            std::thread::yield_now();
        }
        queue.post(Event::default());
        waits.join().unwrap()
    })
}

#[test]
fn what_is_looked_at_last_by_a_thread_that_has_waited_is_broken_too() {
    for _ in 0..20 {
        let queue = queue();
        assert!(is_broken(&looked_at_last(&queue, || one(&queue))));
        assert_eq!(queue.sources(), 0);
    }
}

#[test]
fn what_is_looked_at_last_before_it_lands_in_a_ring_is_broken_too() {
    for _ in 0..20 {
        let ring = Ringed::new(4);
        let queue = &ring.queue;
        let event = looked_at_last(queue, || {
            assert_ne!(queue.wait(1, 0, Some(Instant::now() + LONG)).unwrap(), 0);
            ring.at(0)
        });
        assert!(is_broken(&event), "{event:?}");
    }
}

#[test]
fn a_file_that_was_copied_to_the_number_of_another_is_told_when_that_is_removed() {
    let (old, file) = (eventfd(0), eventfd(0));
    let queue = queue();
    let removed = poll(old.as_raw_fd(), Flags::ET);
    assert_eq!(queue.add(removed).unwrap(), None);
    assert_eq!(queue.add(poll(file.as_raw_fd(), Flags::ET)).unwrap(), None);
    replace(&old, &file);
    // If the rounds were faster it is none any more, and told so.
    let _ = queue.remove(removed.key());
    wait_for_keeper(&queue);
    while !queue.get_events(0, 8, None).unwrap().is_empty() {}
    write_to(&file);
    let event = one(&queue);
    assert_eq!((event.id, is_broken(&event)), (file.as_raw_fd() as u64, false));
}

/// Which have one inode, too.
#[test]
fn a_fifo_that_was_copied_to_the_number_of_another_is_told_when_that_is_removed() {
    let path = std::env::temp_dir().join(format!("syslet-anonymous-{}", std::process::id()));
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: reads the name, which is live.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let open = || std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let (old, file, mut writes) = (OwnedFd::from(open()), OwnedFd::from(open()), open());
    let queue = queue();
    for fifo in [&old, &file] {
        assert_eq!(queue.add(poll(fifo.as_raw_fd(), Flags::ET)).unwrap(), None);
    }
    replace(&old, &file);
    queue.remove(poll(old.as_raw_fd(), Flags::ET).key()).unwrap();
    wait_for_keeper(&queue);
    std::io::Write::write_all(&mut writes, b"!").unwrap();
    assert_eq!(one(&queue).id, file.as_raw_fd() as u64);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_is_watched_by_its_own_number_too_is_a_stranger() {
    for flags in [Flags::NONE, Flags::ET] {
        let (old, file) = (eventfd(1), eventfd(1));
        let queue = told_of(&old);
        let number = old.as_raw_fd() as u64;
        queue.add(poll(file.as_raw_fd(), flags)).unwrap();
        replace(&old, &file);
        loop {
            let event = one(&queue);
            if event.id == number {
                break assert!(is_broken(&event));
            }
            assert!(!is_broken(&event));
        }
        assert_eq!(queue.sources(), 1);
    }
}

const CHECKED: fn(RawFd) -> Source = |number| poll(number, Flags::ET | Flags::LAST_CHECK);

/// So many eventfds that are looked at last, of which the queue was told in turn.
fn told_in_turn(queue: &Queue, count: usize) -> Vec<OwnedFd> {
    let before = queue.len();
    let told = |at: usize| {
        let file = eventfd(0);
        assert_eq!(queue.add(CHECKED(file.as_raw_fd())).unwrap(), None);
        write_to(&file);
        let limit = Instant::now() + LONG;
        while queue.len() <= before + at {
            assert!(Instant::now() < limit, "it is told in time");
            std::thread::yield_now();
        }
        file
    };
    (0..count).map(told).collect()
}

fn read_dry(eventfd: &OwnedFd) {
    let mut count = 0;
    // SAFETY: writes the count.
    assert_eq!(unsafe { libc::eventfd_read(eventfd.as_raw_fd(), &mut count) }, 0);
}

/// Until it has been written to; then it is empty.
pub(crate) fn wait_for_eventfd(eventfd: &OwnedFd) {
    let (fd, events, mut count) = (eventfd.as_raw_fd(), libc::POLLIN, 0);
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry, which is live.
    let polled = unsafe { libc::poll(&raw mut entry, 1, LONG.as_millis() as i32) };
    assert_eq!(polled, 1, "it is told in time");
    // SAFETY: writes the count.
    assert_eq!(unsafe { libc::eventfd_read(fd, &mut count) }, 0);
}

/// All ways to ask for one event without waiting for it.
const FETCHES: [fn(&Queue) -> Option<u64>; 4] = [
    |queue| queue.get_events(0, 1, None).unwrap().first().map(|event| event.id),
    |queue| {
        let mut id = None;
        assert!(queue.fetch_each(0, 1, None, |event| id = Some(event.id)).unwrap() < 2);
        id
    },
    |queue| {
        let mut id = None;
        queue.batch(1).each(|event| id = Some(event.id));
        id
    },
    |queue| match queue.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(event) => event.map(|event| event.id),
        Poll::Pending => None,
    },
];

#[test]
fn what_stands_behind_what_is_not_told_is_found_by_who_does_not_wait() {
    let remove: fn(&Queue, &OwnedFd) =
        |queue, file| queue.remove(CHECKED(file.as_raw_fd()).key()).unwrap();
    let read: fn(&Queue, &OwnedFd) = |_, file| read_dry(file);
    for fetch in FETCHES {
        for hide in [remove, read] {
            let queue = queue();
            let files = told_in_turn(&queue, 3);
            files[..2].iter().for_each(|file| hide(&queue, file));
            assert_eq!(fetch(&queue), Some(files[2].as_raw_fd() as u64));
            assert_eq!(fetch(&queue), None);
        }
    }
}

#[test]
fn what_is_told_by_an_eventfd_is_all_found_until_nothing_is_left() {
    let (queue, told) = (queue(), eventfd(0));
    queue.attach_eventfd(told.try_clone().unwrap()).unwrap();
    let files = told_in_turn(&queue, 4);
    [&files[0], &files[2]].into_iter().for_each(read_dry);
    wait_for_eventfd(&told);
    let fetch = || queue.get_events(0, 1, None).unwrap().first().map(|event| event.id);
    let all: Vec<_> = std::iter::from_fn(fetch).collect();
    assert_eq!(all, [&files[1], &files[3]].map(|file| file.as_raw_fd() as u64));
}

/// What was asked for the ring is so for the time in which there was no room.
#[test]
fn what_waits_for_room_in_a_ring_is_looked_at_when_there_is() {
    let ring = Ringed::new(2);
    ring.queue.post(Event::default());
    let files = told_in_turn(&ring.queue, 1);
    assert_eq!(ring.queue.wait(1, 0, Some(Instant::now())).unwrap(), 1);
    replace(&files[0], &eventfd(1));
    assert_eq!(ring.queue.commit(1, ring.look().over).unwrap(), 1);
    assert_eq!(ring.look().kidx, 0, "it has landed");
    assert!(is_broken(&ring.at(1)));
}
