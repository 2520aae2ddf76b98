#![allow(unsafe_code, reason = "system calls with memory of its own")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use syslet::Call;
use syslet_kevent::{Flags, Happened, Kind, Source};

use crate::util::child::status;
use crate::util::{LONG, errno, one, queue, within_short};

#[test]
fn the_end_of_a_child_is_told_with_its_status_and_the_child_is_left() {
    let queue = queue();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "read x; exit 7"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = child.id() as i32;
    assert_eq!(queue.add(Source::child(pid).user_data(3)).unwrap(), None);
    assert_eq!(errno(queue.add(Source::child(pid))), libc::EEXIST);
    drop(child.stdin.take());
    let event = one(&queue);
    assert_eq!((event.kind(), event.id, event.user_data), (Some(Kind::Child), pid as u64, 3));
    assert_eq!(event.data, [7, libc::CLD_EXITED as u32]);
    assert_eq!(queue.sources(), 0);
    // It has ended already.
    let event = queue.add(Source::child(pid)).unwrap().expect("at once");
    assert_eq!(event.data[0], 7);
    assert_eq!(child.wait().unwrap().code(), Some(7), "it was left to be waited for");
    assert_eq!(errno(queue.add(Source::child(pid))), libc::ECHILD);
}

#[test]
fn a_child_that_is_removed_is_not_told() {
    let queue = queue();
    let mut child = Command::new("/bin/cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let source = Source::child(child.id() as i32);
    queue.add(source).unwrap();
    queue.remove(source.key()).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(within_short(&queue), []);
}

#[test]
fn a_directory_tells_what_comes_and_goes() {
    let folder = std::env::temp_dir().join(format!("syslet-kevent-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let queue = queue();
    let directory = File::open(&folder).unwrap();
    let both = Happened::CREATE | Happened::REMOVE;
    assert_eq!(queue.add(Source::directory(&directory, both)).unwrap(), None);
    File::create(folder.join("one")).unwrap();
    assert_eq!(one(&queue).happened(), Happened::CREATE);
    fs::remove_file(folder.join("one")).unwrap();
    assert_eq!(one(&queue).happened(), Happened::REMOVE);
    // A second source, of which the first knows nothing; it asks for less.
    let again = File::open(&folder).unwrap();
    queue.add(Source::directory(&again, Happened::REMOVE).user_data(2)).unwrap();
    File::create(folder.join("two")).unwrap();
    assert_eq!(one(&queue).user_data, 0);
    queue.remove(Source::directory(&directory, both).key()).unwrap();
    fs::remove_file(folder.join("two")).unwrap();
    assert_eq!(one(&queue).user_data, 2);
    // The directory itself goes: what was told of it, and then that there is none any more.
    drop((again, directory));
    fs::remove_dir(&folder).unwrap();
    let mut event = one(&queue);
    while event.error().is_none() {
        event = one(&queue);
    }
    assert_eq!(event.error().unwrap().raw_os_error(), Some(libc::ENOENT));
    assert_eq!(queue.sources(), 0);
}

/// A directory goes on being told of when its number is closed, until the number is added as another's.
#[test]
fn a_number_that_is_another_directorys_is_added_anew() {
    let folder = |name: &str| {
        let path = std::env::temp_dir().join(format!("syslet-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    };
    let (old, new) = (folder("old"), folder("new"));
    let [directory, another] = [&old, &new].map(|path| File::open(path).unwrap());
    let source = Source::directory(&directory, Happened::CREATE);
    let queue = queue();
    assert_eq!(queue.add(source.user_data(1)).unwrap(), None);
    // SAFETY: the number is ours.
    let same = unsafe { libc::dup2(another.as_raw_fd(), directory.as_raw_fd()) };
    assert_eq!(same, directory.as_raw_fd());
    File::create(old.join("one")).unwrap();
    assert_eq!(one(&queue).user_data, 1);
    assert_eq!(queue.add(source.user_data(2)).unwrap(), None);
    let broken = one(&queue);
    assert_eq!((broken.user_data, broken.error().is_some()), (1, true));
    assert_eq!(errno(queue.add(source)), libc::EEXIST);
    File::create(old.join("two")).unwrap();
    File::create(new.join("three")).unwrap();
    let event = one(&queue);
    assert_eq!((event.user_data, event.count()), (2, 1));
    assert_eq!((within_short(&queue), queue.sources()), (vec![], 1));
    [old, new].into_iter().for_each(|path| fs::remove_dir_all(path).unwrap());
}

#[test]
fn answers_of_calls_and_closures_come_to_the_queue() {
    let queue = queue();
    let mut pipe = [0; 2];
    // SAFETY: two numbers.
    assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
    let bytes: &'static mut [u8; 8] = Box::leak(Box::default());
    let at = bytes.as_mut_ptr() as usize;
    let read = Call::new(libc::SYS_read as usize, [pipe[0] as usize, at, 8]);
    // SAFETY: the bytes are leaked.
    unsafe { queue.submit(1, 100, read) }.unwrap();
    queue
        .threadlet(2, 200, || {
            std::thread::sleep(Duration::from_millis(5));
            -77
        })
        .unwrap();
    let event = one(&queue);
    assert_eq!((event.kind(), event.id, event.user_data), (Some(Kind::Completion), 2, 200));
    assert_eq!(event.result(), -77);
    // SAFETY: five bytes.
    assert_eq!(unsafe { libc::write(pipe[1], b"hello".as_ptr().cast(), 5) }, 5);
    let event = one(&queue);
    assert_eq!((event.id, event.user_data, event.result()), (1, 100, 5));
    // SAFETY: the bytes are leaked.
    unsafe { queue.submit(1, 100, read) }.unwrap();
    assert_eq!((queue.cancel(7), queue.cancel(1)), (0, 1));
    let event = one(&queue);
    assert_eq!((event.id, event.user_data, event.result()), (1, 100, -i64::from(libc::ECANCELED)));
    assert_eq!(queue.cancel(1), 0, "it is over");
    // What ends at once is told too.
    // SAFETY: no memory.
    unsafe { queue.submit(3, 300, Call::new(libc::SYS_getppid as usize, [])) }.unwrap();
    assert_eq!((one(&queue).id, within_short(&queue).len()), (3, 0));
    let refused = Call::new(libc::SYS_exit as usize, [0]);
    // SAFETY: it is refused.
    assert!(unsafe { queue.submit(4, 400, refused) }.is_err());
    for number in pipe {
        // SAFETY: ours.
        unsafe { libc::close(number) };
    }
}

#[test]
fn a_forked_child_has_no_queue_and_can_make_its_own() {
    let queue = queue();
    queue.add(Source::user(1).with(Flags::NONE)).unwrap();
    let (reads, writes) = std::io::pipe().unwrap();
    queue.add(Source::pipe(std::os::fd::AsRawFd::as_raw_fd(&reads), Happened::RECV)).unwrap();
    // SAFETY: the child makes and waits, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let dead = queue.is_dead()
            && queue.get_events(1, 1, None).is_ok_and(|events| events.is_empty())
            && queue.add(Source::user(2)).is_err()
            && !queue.make_ready(Source::user(1).key())
            && queue.cancel(1) == 0
            && queue.threadlet(1, 1, || 0).is_err();
        let own = syslet_kevent::Queue::new().unwrap();
        own.add(Source::after(1, Duration::from_millis(1))).unwrap();
        let works = one(&own).id == 1;
        drop(own);
        drop(queue);
        // SAFETY: ends the child.
        unsafe { libc::_exit(if dead && works { 0 } else { 1 }) };
    }
    assert_eq!(status(pid), 0);
    std::io::Write::write_all(&mut &writes, b"x").unwrap();
    assert_eq!(one(&queue).happened(), Happened::RECV, "the parent's goes on");
}

/// A call that makes a descriptor, and whose answer nobody fetches.
fn duplicates(queue: &syslet_kevent::Queue, file: &impl AsRawFd) {
    let call = Call::new(libc::SYS_dup as usize, [file.as_raw_fd() as usize]);
    // SAFETY: no memory.
    unsafe { queue.submit(1, 0, call) }.unwrap();
}

#[test]
fn descriptors_that_nobody_has_fetched_are_closed_with_the_queue() {
    // Made at once, and while the queue was waited for; one of them was fetched.
    let (queue, (mut from, to)) = (queue(), std::io::pipe().unwrap());
    (0..3).for_each(|_| duplicates(&queue, &to));
    let fetched = one(&queue).result();
    // SAFETY: it is ours.
    let fetched = unsafe { OwnedFd::from_raw_fd(fetched as i32) };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accept = [listener.as_raw_fd() as usize, 0, 0, libc::SOCK_CLOEXEC as usize];
    // SAFETY: no memory.
    unsafe { queue.submit(2, 0, Call::new(libc::SYS_accept4 as usize, accept)) }.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let limit = Instant::now() + LONG;
    while queue.len() < 3 {
        assert!(Instant::now() < limit);
        std::thread::yield_now();
    }
    // And two that are told in memory.
    let pair: &'static mut [i32; 2] = Box::leak(Box::default());
    let call = Call::new(libc::SYS_pipe2 as usize, [pair.as_mut_ptr() as usize, 0]);
    // SAFETY: the memory is leaked.
    unsafe { queue.submit(3, 0, call) }.unwrap();
    while queue.len() < 4 {
        assert!(Instant::now() < limit);
        std::thread::yield_now();
    }
    let link = |number: i32| fs::read_link(format!("/proc/self/fd/{number}")).ok();
    let before = pair.map(link);
    assert!(before.iter().all(Option::is_some));
    drop((queue, to));
    assert_eq!(client.read(&mut [0]).expect("it is closed"), 0);
    assert!(pair.map(link).iter().zip(before).all(|(after, before)| *after != before));
    let mut written = File::from(fetched);
    written.write_all(b"!").unwrap();
    drop(written);
    assert_eq!(from.read_to_end(&mut Vec::new()).expect("nobody can write"), 1);
}
