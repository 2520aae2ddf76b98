//! Where crew threads run out, work queues, or is handed back, and nothing hangs.

use std::os::fd::AsRawFd;
use std::sync::mpsc::channel;
use std::time::Duration;

use syslet::{AttachError, CancelOutcome, Chain, SubmitError, stats, threadlet, try_threadlet};

use crate::util::calls::{
    self, Landing, address_space, go, number_call, pending, read_call, taking_call, try_go,
};
use crate::util::chain;
use crate::util::child::Child;
use crate::util::pipe::{Pipe, file_with};
use crate::util::{LIMIT, Way, attached, bounded, eventually, settings, way};

/// Keeps crew threads asleep until released.
struct Occupied {
    pipe: Pipe,
    held: Vec<syslet::Pending>,
}

impl Occupied {
    /// Takes all crew threads but the one that carries the guest, and checks that none is left.
    fn all(limit: usize) -> Self {
        let pipe = Pipe::new();
        let count = if way() == Way::Pool { limit } else { limit - 1 };
        let mut held = Vec::new();
        let full = eventually(|| {
            match try_go(taking_call(pipe.read_end())) {
                Ok(submitted) => held.push(pending(submitted)),
                Err(error) => return error.is_busy() && held.len() == count,
            }
            assert!(held.len() <= count, "the limit is {limit}");
            false
        });
        assert!(full, "{} of {count} crew threads are to be had", held.len());
        Self { pipe, held }
    }

    fn release(self) {
        self.held.iter().for_each(|_| self.pipe.put(1));
        self.held.into_iter().for_each(|away| assert_eq!(away.wait().raw(), 1));
    }
}

#[test]
fn threadlet_that_waits_for_its_caller_does_not_hang_it() {
    let path = "limits::threadlet_that_waits_for_its_caller_does_not_hang_it";
    let ended = Child::new().var("SYSLET_MAX_CREW", 3).run(path, || {
        attached(|| {
            const ROUNDS: u64 = 50;
            let queued = || stats().guest.map(|guest| guest.queued);
            let before = queued();
            for _ in 0..ROUNDS {
                let occupied = Occupied::all(3);
                let (send, receive) = channel();
                let away = threadlet(move || receive.recv().expect("the sender lives"));
                assert!(!away.was_inline());
                send.send(1).expect("the receiver lives");
                occupied.release();
                assert_eq!(away.join(), 1);
            }
            // Nearly each: where a call of the round before is still ending, a call that occupies may be queued
            // in its place. The pool counts none.
            let counted = queued().zip(before).map(|(now, before)| now - before);
            assert!(counted.is_none_or(|counted| counted > ROUNDS / 2), "counted: {counted:?}");
            assert!(stats().crew <= 3, "the limit is kept: {:?}", stats());
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_crew_threads_calls_queue_or_come_back() {
    let path = "limits::without_crew_threads_calls_queue_or_come_back";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        attached(|| {
            let occupied = Occupied::all(2);
            let error = try_threadlet(|| 5).expect_err("no crew thread is left");
            assert!(error.is_busy());
            assert_eq!(error.into_inner()(), 5, "the closure comes back");
            let again = syslet::Builder::new().elsewhere().name("x").try_launch(|| 6);
            assert!(again.is_err_and(|error| error.is_busy()));

            let pipe = Pipe::new();
            let call = taking_call(pipe.read_end());
            match try_go(call) {
                Err(SubmitError::Busy(back)) => assert_eq!(back, call),
                other => panic!("{other:?}"),
            }
            let queued = pending(go(call)); // may wait for somebody: never in place
            pipe.put(1);
            occupied.release();
            assert_eq!(queued.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_crew_threads_calls_of_other_threads_queue_or_come_back() {
    let path = "limits::without_crew_threads_calls_of_other_threads_queue_or_come_back";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        attached(|| {
            let occupied = Occupied::all(2);
            let pipe = Pipe::new();
            let call = taking_call(pipe.read_end());
            // A thread that is not attached.
            let queued = std::thread::spawn(move || {
                match try_go(call) {
                    Err(SubmitError::Busy(back)) => assert_eq!(back, call),
                    other => panic!("{other:?}"),
                }
                let mut chain = Chain::new();
                chain::add(&mut chain, call);
                let error = calls::try_go_chain(chain).expect_err("no crew thread is left");
                assert!(error.is_busy());
                // Who does not ask for that is not held up, however many there are.
                (0..1_000).map(|_| pending(go(call))).collect::<Vec<_>>()
            });
            let queued = queued.join().expect("it does not panic");
            assert!(queued.iter().all(|call| !call.is_done()));
            queued[1..].iter().for_each(|call| assert_eq!(call.cancel(), CancelOutcome::NotBegun));
            occupied.release();
            pipe.put(1);
            let answers: Vec<_> = queued.into_iter().map(|call| call.wait().raw()).collect();
            assert_eq!(answers[0], 1);
            assert!(answers[1..].iter().all(|answer| *answer == -libc::ECANCELED as isize));
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_crew_threads_chains_queue_or_come_back() {
    let path = "limits::without_crew_threads_chains_queue_or_come_back";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        attached(|| {
            let (pipe, file) = (Pipe::new(), file_with(b""));
            let occupied = Occupied::all(2);
            let mut may_wait = Chain::new();
            let sync = number_call(libc::SYS_fsync, [file.as_raw_fd() as usize]);
            let synced = chain::add(&mut may_wait, sync);
            let read = chain::add(&mut may_wait, read_call(pipe.read_end(), Landing::leak()));
            let error = calls::try_go_chain(may_wait).expect_err("no crew thread is left");
            assert!(error.is_busy());
            let queued = chain::pending(calls::go_chain(error.into_inner()));
            assert!(!queued.is_done());
            if way() != Way::Pool {
                assert_eq!(stats().guest.map(|guest| guest.queued), Some(1));
                // What waits for a disk only is made in place.
                let mut disk = Chain::new();
                let synced = [0; 2].map(|_| chain::add(&mut disk, sync));
                let submitted = calls::go_chain(disk);
                assert!(submitted.is_done());
                assert_eq!(chain::answers(&submitted.wait(), synced), [Some(0), Some(0)]);
                assert_eq!(stats().guest.map(|guest| guest.in_place), Some(1));
            }
            pipe.put(1);
            occupied.release();
            assert_eq!(chain::answers(&queued.wait(), [synced, read]), [Some(0), Some(1)]);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn without_crew_threads_disk_calls_are_made_in_place() {
    let path = "limits::without_crew_threads_disk_calls_are_made_in_place";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        if crate::util::skip_in_pool("in place") {
            return;
        }
        attached(|| {
            let file = file_with(b"");
            let sync = number_call(libc::SYS_fsync, [file.as_raw_fd() as usize]);
            let occupied = Occupied::all(2);
            for n in 1..=10 {
                let submitted = go(sync);
                assert!(submitted.is_done());
                assert_eq!(submitted.wait().raw(), 0);
                assert_eq!(stats().guest.expect("a guest").in_place, n);
            }
            assert_eq!(stats().guest.expect("a guest").queued, 0);
            occupied.release();
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn queue_is_served_in_order_when_threads_come_back() {
    let path = "limits::queue_is_served_in_order_when_threads_come_back";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        attached(|| {
            let occupied = Occupied::all(2);
            let (send, receive) = channel();
            let away: Vec<_> = (0..100)
                .map(|n| {
                    let send = send.clone();
                    threadlet(move || send.send(n).expect("the receiver lives"))
                })
                .collect();
            occupied.release();
            away.into_iter().for_each(|threadlet| threadlet.join());
            let mut order: Vec<_> = receive.try_iter().collect();
            order.sort_unstable();
            assert_eq!(order, (0..100).collect::<Vec<_>>());
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn queue_is_served_when_the_limit_is_raised() {
    let path = "limits::queue_is_served_when_the_limit_is_raised";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        bounded(LIMIT, || {
            let guard = crate::util::attach();
            let occupied = Occupied::all(2);
            let pipe = Pipe::new();
            let queued = [0; 3].map(|_| {
                let (begun, other) = (Pipe::new(), pipe.clone());
                let told = begun.clone();
                let away = threadlet(move || {
                    told.put(1);
                    other.get()
                });
                (begun, away)
            });
            // Each needs a thread of its own: none ends before all have begun, nor do those that sleep.
            drop(settings().max_crew(8).attach().expect("the limit can be raised"));
            queued.iter().for_each(|(begun, _)| assert_eq!(begun.get(), 1));
            queued.iter().for_each(|_| pipe.put(5));
            queued.into_iter().for_each(|(_, away)| assert_eq!(away.join(), 5));
            occupied.release();
            drop(guard);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn no_crew_for_one_more_guest_is_an_error() {
    let path = "limits::no_crew_for_one_more_guest_is_an_error";
    let ended = Child::new().var("SYSLET_MAX_CREW", 2).run(path, || {
        if way() == Way::Pool {
            return crate::util::skip("guests need no crew threads in pool mode");
        }
        attached(|| {
            let error = bounded(LIMIT, || settings().attach().map(drop));
            assert!(matches!(error, Err(AttachError::NoCrew)), "{error:?}");
            assert_eq!(threadlet(|| 1).join(), 1);
        });
        // All are free again.
        attached(|| assert_eq!(threadlet(|| 2).join(), 2));
    });
    ended.expect("this is the parent").expect_done();
}

/// Lets the process map so many bytes more.
fn allow(bytes: u64) -> u64 {
    calls::limit(libc::RLIMIT_AS, address_space() + bytes)
}

#[test]
fn stack_that_cannot_be_had_is_an_error_of_attach() {
    let path = "limits::stack_that_cannot_be_had_is_an_error_of_attach";
    let ended = Child::new().run(path, || {
        if way() == Way::Pool {
            return crate::util::skip("attaching makes no threads in pool mode");
        }
        bounded(LIMIT, || {
            allow(256 << 20);
            let error = settings().stack_size(1 << 30).attach();
            match error {
                Err(AttachError::Io(_, _) | AttachError::NoCrew) => {}
                other => panic!("{other:?}"),
            }
            assert!(stats().spawn_failures > 0, "counted");
            assert!(!syslet::is_attached());
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn closure_for_which_no_thread_can_be_made_does_not_hang() {
    let path = "limits::closure_for_which_no_thread_can_be_made_does_not_hang";
    let ended = Child::new().run(path, || {
        // The engine is there, with a stack size that cannot be had, and without crew.
        bounded(LIMIT, || {
            allow(256 << 20);
            let _ = settings().stack_size(1 << 30).attach().map(drop);
        });
        // Run in place, or refused with a panic: but not left for ever.
        let ran = bounded(Duration::from_secs(20), || {
            std::panic::catch_unwind(|| threadlet(|| 7).join()).unwrap_or(7)
        });
        assert_eq!(ran, 7);
        // The same of a scope, which waits for its closures.
        let ran = bounded(Duration::from_secs(20), || {
            std::panic::catch_unwind(|| syslet::scope(|scope| scope.threadlet(|| 7).join()))
                .unwrap_or(7)
        });
        assert_eq!(ran, 7);
        let pipe = Pipe::new();
        pipe.put(1);
        let call = read_call(pipe.read_end(), Landing::leak());
        assert_eq!(bounded(Duration::from_secs(20), move || go(call).wait().raw()), 1);
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn threads_that_cannot_be_made_are_done_without() {
    let path = "limits::threads_that_cannot_be_made_are_done_without";
    let ended = Child::new().run(path, || {
        attached(|| {
            // What there is must be enough from now on. A thread that is being made now would find no
            // memory half-way: std ends the program then.
            assert_eq!(threadlet(|| 1).join(), 1);
            let ready = if way() == Way::Pool { 1 } else { 4 };
            assert!(eventually(|| stats().crew >= ready), "{:?}", stats());
            let hard = allow(1 << 20);
            let occupied = Occupied::some();
            assert!(eventually(|| stats().spawn_failures > 0), "counted: {:?}", stats());
            let (send, receive) = channel();
            let away = threadlet(move || receive.recv().expect("the sender lives"));
            send.send(4).expect("the receiver lives");
            occupied.release();
            assert_eq!(away.join(), 4);
            calls::limit(libc::RLIMIT_AS, hard);
        });
        // An old failure is not the answer to a new attach.
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| attached(|| assert_eq!(threadlet(|| 2).join(), 2))))
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("attaching works again"));
    });
    ended.expect("this is the parent").expect_done();
}

/// Attaches, and has all three crew threads that there may be asleep, so none is being made. A fourth is
/// from now on when it is needed.
fn three_that_sleep() -> (syslet::AttachGuard, Occupied) {
    calls::keep_heap();
    let settings = || settings().stack_size(256 << 10);
    let guard = settings().attach().expect("three threads can be made");
    let occupied = Occupied::all(3);
    assert!(eventually(|| stats().crew == 3), "{:?}", stats());
    drop(settings().max_crew(4).attach().expect("it is attached, and the limit is raised"));
    (guard, occupied)
}

#[test]
fn thread_for_which_there_is_only_half_the_memory_is_not_made() {
    /// Less than the alternate signal stack, which std maps when the thread runs, and panics without.
    const STEP: usize = 8 << 10;
    let path = "limits::thread_for_which_there_is_only_half_the_memory_is_not_made";
    let ended = Child::new().var("SYSLET_MAX_CREW", 3).run(path, || {
        bounded(LIMIT, || {
            let (guard, occupied) = three_that_sleep();
            // Each attempt to make one has a little more memory than the one before.
            let mut closures = Vec::new();
            while stats().crew < 4 && closures.len() < 100 {
                let failed = stats().spawn_failures;
                let hard = allow((closures.len() * STEP) as u64);
                closures.push(syslet::Builder::new().elsewhere().launch(|| 7));
                let over = eventually(|| stats().spawn_failures > failed || stats().crew == 4);
                calls::limit(libc::RLIMIT_AS, hard);
                assert!(over, "{:?}", stats());
            }
            let refused = closures.len() - 1;
            assert!((32..99).contains(&refused), "{refused} attempts have failed");
            closures.into_iter().for_each(|closure| assert_eq!(closure.join(), 7));
            occupied.release();
            drop(guard);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn work_that_found_no_thread_finds_one_when_there_can_be_one() {
    let path = "limits::work_that_found_no_thread_finds_one_when_there_can_be_one";
    let ended = Child::new().var("SYSLET_MAX_CREW", 3).run(path, || {
        bounded(LIMIT, || {
            let (guard, occupied) = three_that_sleep();
            let failed = stats().spawn_failures;
            let hard = allow(0);
            let closure = syslet::Builder::new().elsewhere().launch(|| 7);
            let over = eventually(|| stats().spawn_failures > failed);
            calls::limit(libc::RLIMIT_AS, hard);
            assert!(over, "{:?}", stats());
            // All that there are sleep until it is over.
            assert_eq!(closure.join(), 7);
            occupied.release();
            drop(guard);
        });
    });
    ended.expect("this is the parent").expect_done();
}

impl Occupied {
    /// Submits calls that sleep until one has to be queued or a thread could not be made.
    fn some() -> Self {
        let pipe = Pipe::new();
        let mut held = Vec::new();
        while held.len() < 64 && stats().spawn_failures == 0 {
            held.push(pending(go(taking_call(pipe.read_end()))));
        }
        Self { pipe, held }
    }
}
