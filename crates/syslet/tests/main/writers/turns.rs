//! When a turn is taken and given back.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::{future::Future, pin::pin, thread};

use super::*;
use crate::util::calls::{memory_file, pending, replace_descriptor};
use crate::util::chain::answers;
use crate::util::skip_in_pool;

/// A write of eight bytes that are there.
fn small_call(number: i32) -> Call {
    static BYTES: [u8; 8] = *b"the size";
    let args = [number as usize, BYTES.as_ptr().addr(), BYTES.len(), 0];
    Call::new(libc::SYS_pwrite64 as usize, args)
}

/// As many blocked writes as may be, of a file.
fn blocked(file: &OwnedFd, pages: &Withheld) -> Vec<PendingChain> {
    let away = (0..BOUND)
        .map(|page| {
            be_protected(); // or it would be made in place
            blocked_chain(file.as_raw_fd(), pages, page)
        })
        .collect();
    pages.await_touched(0..BOUND);
    away
}

/// Those in line may need a crew thread, and the crew this guest. (The bound holds for who does not want to wait.)
#[test]
fn without_crew_threads_a_write_is_made_in_place_though_its_file_is_full() {
    if skip_in_pool("writes in place") {
        return;
    }
    let path = "writers::turns::\
                without_crew_threads_a_write_is_made_in_place_though_its_file_is_full";
    let child = Child::new().var("SYSLET_MAX_CREW", BOUND + 1);
    let ended = child.run(path, || {
        bounded_writers(BOUND, |pages| {
            let file = memory_file();
            // The last thread carries this guest.
            let away = blocked(&file, &pages);
            assert!(try_go(small_call(file.as_raw_fd())).is_err_and(|why| why.is_busy()));
            let Submitted::Done(ret) = go(small_call(file.as_raw_fd())) else {
                panic!("it waits for a thread")
            };
            assert_eq!(ret.raw(), 8);
            let mut chain = Chain::new();
            let write = add(&mut chain, small_call(file.as_raw_fd()));
            let SubmittedChain::Done(result) = go_chain(chain) else {
                panic!("it waits for a thread")
            };
            assert_eq!(answers(&result, [write]), [Some(8)]);
            pages.let_in();
            away.into_iter().for_each(|away| drop(finish(away)));
            outstanding(0);
        })
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_number_that_was_a_full_files_is_asked_about_anew_and_not_queued() {
    if skip_in_pool("writes of a guest") {
        return;
    }
    let path = "writers::turns::a_number_that_was_a_full_files_is_asked_about_anew_and_not_queued";
    alone(path, || {
        bounded_writers(BOUND, |pages| {
            let (file, copy, other) = (memory_file(), memory_file(), memory_file());
            replace_descriptor(copy.as_raw_fd(), file.as_raw_fd());
            assert_eq!(go(small_call(copy.as_raw_fd())).wait().raw(), 8);
            let away = blocked(&file, &pages);
            // Remembered as the number of the full one.
            replace_descriptor(copy.as_raw_fd(), other.as_raw_fd());
            be_protected();
            assert!(matches!(try_go(small_call(copy.as_raw_fd())), Ok(Submitted::Done(_))));
            pages.let_in();
            away.into_iter().for_each(|away| drop(finish(away)));
        })
    });
}

/// A waker that has its thread wait for another's answer.
struct Asks(Mutex<(Sender<()>, Receiver<bool>)>);

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        let ends = self.0.lock().expect("one is woken at a time");
        ends.0.send(()).expect("the test listens");
        assert!(
            ends.1.recv().expect("the test answers"),
            "there is room, who hears of the end finds"
        );
    }
}

/// What `future` wakes asks whether `holds` does, on this thread; returns then.
fn while_it_tells<F: Future>(future: F, end: impl FnOnce(), holds: impl FnOnce() -> bool) {
    let (tell, told) = channel();
    let (answer, answered) = channel();
    let waker = Waker::from(Arc::new(Asks(Mutex::new((tell, answered)))));
    let mut future = pin!(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    end();
    told.recv().expect("it ends");
    let right = holds();
    answer.send(right).expect("the waker waits");
    assert!(right, "its turn is held while it is told of");
    while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        thread::yield_now();
    }
}

#[test]
fn who_hears_of_the_end_of_a_write_finds_its_room() {
    if skip_in_pool("writes of a guest") {
        return;
    }
    let path = "writers::turns::who_hears_of_the_end_of_a_write_finds_its_room";
    alone(path, || {
        bounded_writers(BOUND, |pages| {
            let file = memory_file();
            let number = file.as_raw_fd();
            let finds_room = || {
                be_protected();
                try_go(small_call(number)).is_ok()
            };
            // A write that was taken from the guest.
            syslet::set_limits(Limits::new().writers_per_descriptor(1));
            be_protected();
            let away = pending(go(page_call(&file, &pages, 0)));
            pages.await_touched(0..1);
            assert!(try_go(small_call(number)).is_err_and(|why| why.is_busy()));
            while_it_tells(away, || pages.let_in_with(0, &[1; PAGE]), finds_room);
        })
    });
}

/// A waker that looks how many calls are outstanding.
#[derive(Default)]
struct Looks(Mutex<Vec<usize>>);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        self.0.lock().expect("nobody panics").push(stats().outstanding);
    }
}

#[test]
fn the_next_in_line_is_outstanding_before_it_is_told_that_its_turn_is_free() {
    let path = "writers::turns::\
                the_next_in_line_is_outstanding_before_it_is_told_that_its_turn_is_free";
    const CREW: usize = 2;
    let ended = Child::new().var("SYSLET_MAX_CREW", CREW).run(path, || {
        syslet::set_limits(Limits::new().writers_per_descriptor(1));
        let (pipe, file) = (Pipe::new(), memory_file());
        let submit = |call| {
            let mut chain = Chain::new();
            add(&mut chain, call);
            chain::pending(go_chain(chain))
        };
        // The crew sleeps. A write has its turn, but no thread; the next one waits for its turn.
        let sleep: Vec<_> = (0..CREW).map(|_| submit(taking_call(pipe.read_end()))).collect();
        outstanding(CREW);
        let mut has_turn = pin!(submit(small_call(file.as_raw_fd())));
        let in_line = submit(small_call(file.as_raw_fd()));
        outstanding(CREW + 1);
        let looks = Arc::new(Looks::default());
        let waker = Waker::from(Arc::clone(&looks));
        assert!(has_turn.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(has_turn.cancel(), CancelOutcome::NotBegun);
        assert_eq!(*looks.0.lock().expect("nobody panics"), [CREW + 1]);
        sleep.iter().for_each(|_| pipe.put(1));
        drop(finish(in_line));
        sleep.into_iter().for_each(|sleep| drop(finish(sleep)));
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn chains_that_nobody_protects_take_no_thread_to_find_their_file_full() {
    let path = "writers::turns::chains_that_nobody_protects_take_no_thread_to_find_their_file_full";
    alone(path, || {
        bounded_writers(1, |pages| {
            let file = memory_file();
            let number = file.as_raw_fd();
            // A thread that is not attached.
            let away = thread::scope(|scope| {
                let submits = || {
                    let one = |_| blocked_chain(number, &pages, 0);
                    (0..500).map(one).collect::<Vec<_>>()
                };
                scope.spawn(submits).join().expect("nothing waits")
            });
            assert!(eventually(|| stats().outstanding == BOUND), "{}", stats().outstanding);
            let crew = stats().crew;
            assert!(crew <= 16, "{crew} threads for {BOUND} writes at a time");
            pages.let_in();
            away.into_iter().for_each(|away| drop(finish(away)));
            outstanding(0);
        })
    });
}
