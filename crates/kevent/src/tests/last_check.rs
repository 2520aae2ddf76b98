use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{pair, wait_until, with_ring};
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

/// The keeper has other descriptors: what it would see there is not so.
#[test]
fn what_is_looked_at_before_it_is_told_is_not_looked_at_by_the_keeper() {
    for is_read in [true, false] {
        let queue = with_ring(8);
        // Nor is it by the clock's thread, which would move it to the ring while it holds.
        queue.core.lock().nudging = true;
        let [(gone, mut to_gone), (mut mine, mut theirs), (last, mut to_last)] =
            [pair(), pair(), pair()];
        let checked = Flags::ET | Flags::LAST_CHECK;
        queue.add(Source::recv(&gone).with(checked)).unwrap();
        queue.add(Source::recv(&mine).with(checked).user_data(1)).unwrap();
        queue.add(Source::recv(&last).with(Flags::ET).user_data(2)).unwrap();
        for (at, to) in [&mut to_gone, &mut theirs].into_iter().enumerate() {
            to.write_all(b"!").unwrap();
            wait_until("it is told", || queue.len() > at);
        }
        if is_read {
            mine.read_exact(&mut [0]).unwrap();
        }
        // What stands in front of it goes, and the keeper comes by.
        queue.remove(Source::recv(&gone).key()).unwrap();
        to_last.write_all(b"!").unwrap();
        wait_until("it is told", || queue.len() > 1);
        let told = queue.get_events(1, 8, None).unwrap();
        let told: Vec<_> = told.iter().map(|event| event.user_data).collect();
        assert_eq!(told, if is_read { vec![2] } else { vec![1, 2] });
    }
}
