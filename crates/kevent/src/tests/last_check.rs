use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::{Flags, Queue, Source};

/// It is asked about for one take: another thread may have taken it out meanwhile, and its number be another's since.
#[test]
fn what_the_keeper_has_said_is_for_the_turn_and_the_take_that_it_was_asked_for() {
    // SAFETY: no memory.
    let number = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) };
    assert!(number >= 0);
    // SAFETY: it was just made.
    let file = unsafe { OwnedFd::from_raw_fd(number) };
    let queue = Queue::new().unwrap();
    let source = Source::poll(file.as_raw_fd(), libc::POLLIN as u16);
    queue.add(source.with(Flags::ET | Flags::LAST_CHECK)).unwrap();
    assert!(queue.make_ready(source.key()));
    let mut doubts = queue.core.lock().find_doubtful(1);
    doubts.ask();
    assert_eq!(queue.get_events(0, 1, None).unwrap().len(), 1, "another thread asks too");
    assert!(queue.make_ready(source.key()));
    let mut state = queue.core.lock();
    doubts.settle();
    assert_eq!(state.take(1, |_| ()), 0, "it has come again since");
    doubts.end();
    let mut doubts = state.find_doubtful(1);
    drop(state);
    doubts.ask();
    let mut state = queue.core.lock();
    doubts.settle();
    doubts.end();
    assert_eq!(state.take(1, |_| ()), 0, "the lock may have been let go since");
    doubts.settle();
    assert_eq!(state.take(1, |_| ()), 1);
}
