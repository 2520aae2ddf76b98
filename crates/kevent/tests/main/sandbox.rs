use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use syslet_kevent::{Flags, Happened, Source};

use crate::container::{check_docker, docker, sandbox};
use crate::util::child::{in_child, status};
use crate::util::{LONG, drain, one, pair, put, queue, within_short};

#[test]
fn the_suite_runs_behind_the_filter_that_it_was_asked_to_run_behind() {
    if sandbox().is_some() {
        check_docker();
    }
}

/// Behind the filter, in a process of its own, which has no keeper yet.
fn behind_the_filter(act: impl FnOnce() -> bool) {
    let pid = in_child(|| {
        docker();
        act()
    });
    assert_eq!(status(pid), 0);
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("it is there").count()
}

#[test]
fn sockets_are_told_where_files_cannot_be_taken() {
    behind_the_filter(|| {
        let queue = queue();
        // More than go into one message.
        let pairs: Vec<_> = (0..300).map(|_| pair()).collect();
        let before = open_descriptors();
        let sources: Vec<_> =
            pairs.iter().map(|(mine, _)| Source::recv(mine).with(Flags::ET)).collect();
        let added = queue.add_all(&sources);
        assert!(added.iter().all(|added| matches!(added, Ok(None))), "{added:?}");
        assert_eq!(open_descriptors(), before, "nothing of ours stays in the table");
        pairs.iter().for_each(|(_, theirs)| put(theirs));
        let mut told = Vec::new();
        while told.len() < pairs.len() {
            let got = queue.fetch(&mut told, 1, 512, Some(Instant::now() + LONG)).unwrap();
            assert!(got > 0, "{} of them were told", told.len());
        }
        let mut numbers: Vec<_> = told.iter().map(|event| event.id as i32).collect();
        numbers.sort_unstable();
        let mut all: Vec<_> = pairs.iter().map(|(mine, _)| mine.as_raw_fd()).collect();
        all.sort_unstable();
        assert_eq!(numbers, all);
        // Removed, and told no more; another source of the same file goes on.
        let (mine, theirs) = &pairs[0];
        let poll = Source::poll(mine.as_raw_fd(), libc::POLLIN as u16).with(Flags::ET);
        assert!(queue.add(poll).unwrap().is_some(), "it can be read");
        queue.remove(Source::recv(mine).key()).unwrap();
        drain(mine);
        put(theirs);
        // It may be told what was meant for the other one, too.
        let mut keys = vec![one(&queue).key()];
        keys.extend(within_short(&queue).iter().map(syslet_kevent::Event::key));
        keys.iter().all(|key| *key == Some(poll.key()))
    });
}

#[test]
fn closing_takes_effect_at_once_where_files_cannot_be_taken() {
    behind_the_filter(|| {
        let (queue, (mine, mut theirs)) = (queue(), pair());
        queue.add(Source::recv(&mine).with(Flags::ET)).unwrap();
        drop(OwnedFd::from(mine));
        theirs.set_nonblocking(false).unwrap();
        std::io::Read::read(&mut theirs, &mut [0]).unwrap() == 0 && one(&queue).error().is_some()
    });
}

#[test]
fn directories_and_pipes_are_told_where_files_cannot_be_taken() {
    behind_the_filter(|| {
        let queue = queue();
        let folder = std::env::temp_dir().join(format!("kevent-sandbox-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let open = std::fs::File::open(&folder).unwrap();
        queue.add(Source::directory(&open, Happened::CREATE)).unwrap();
        std::fs::create_dir(folder.join("entry")).unwrap();
        let told = one(&queue).happened() == Happened::CREATE;
        queue.remove(Source::directory(&open, Happened::CREATE).key()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let (from, to) = std::io::pipe().unwrap();
        queue.add(Source::pipe(from.as_raw_fd(), Happened::RECV)).unwrap();
        drop(to);
        told && one(&queue).happened() == Happened::RECV
    });
}

/// Its number is closed, so nobody's is the file's where the keeper is.
#[test]
fn what_was_not_told_is_not_told_to_another_where_files_cannot_be_taken() {
    behind_the_filter(|| {
        let (first, second, (mine, theirs)) = (queue(), queue(), pair());
        let (twin, events) = (mine.try_clone().unwrap(), (libc::POLLIN | libc::POLLRDHUP) as u16);
        let source = Source::recv(&mine).with(Flags::ET);
        first.add(source).unwrap();
        second.add(Source::poll(twin.as_raw_fd(), events).with(Flags::ET)).unwrap();
        put(&theirs);
        let limit = Instant::now() + LONG;
        while first.is_empty() && Instant::now() < limit {
            std::thread::yield_now();
        }
        drop(mine);
        first.remove(source.key()).unwrap();
        one(&second).happened() == libc::POLLIN as u32
    });
}
