//! `fork`: parent and child both go on working.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::runner::{ALL, GUESTS, Scenario};
use crate::sys::{self, PATIENCE};
use crate::work::{attach, away_chain, away_reads, away_threadlet, finish_all, hand_off};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("parent_and_child_work_after_a_guest_forked", ALL, by_guest),
    Scenario::new("parent_and_child_work_after_an_unattached_thread_forked", ALL, by_other),
    Scenario::new("parent_and_child_work_after_a_threadlet_forked", ALL, by_threadlet),
    Scenario::new("a_child_forked_in_a_threadlet_works_there", ALL, in_threadlet),
    Scenario::new("a_child_forked_inline_returns_from_the_threadlet", GUESTS, returns_inline),
    Scenario::new(
        "a_child_forked_inline_in_an_inline_threadlet_returns_from_both",
        GUESTS,
        returns_inline_in_a_child,
    ),
    Scenario::new("a_child_forked_by_an_away_threadlet_ends", ALL, returns_away),
    Scenario::new("handles_of_the_parent_do_not_hang_in_the_child", ALL, handles),
    Scenario::new("operations_of_the_parent_are_cancelled_in_the_child", ALL, operations),
    Scenario::new("a_scope_of_the_parent_ends_in_the_child", ALL, scopes),
    Scenario::new("a_queue_of_the_parent_is_dead_in_the_child", ALL, queues),
    Scenario::new("a_guard_of_the_parent_does_no_harm_in_the_child", ALL, guards),
    Scenario::new("grandchildren_work", ALL, grandchildren),
    Scenario::new("forks_while_threads_attach_and_calls_go_away", ALL, storm),
    Scenario::new("forks_while_another_thread_starts_the_engine", ALL, starting),
    Scenario::new("a_child_has_the_signal_stack_and_rseq_of_its_thread", ALL, own_thread),
    Scenario::new("a_child_of_a_guest_is_not_called_a_crew_thread", GUESTS, name),
    Scenario::new(
        "a_thread_made_in_an_inline_threadlet_has_the_guests_signal_mask",
        GUESTS,
        open_mask,
    ),
    Scenario::new("a_handoff_in_an_inherited_guest_needs_no_parent", GUESTS, orphan),
];

/// What a process must be able to do.
fn work(rounds: usize) {
    for _ in 0..rounds {
        let guard = attach();
        hand_off();
        let reads = away_reads(2);
        let thread = thread::spawn(|| {
            let _guard = attach();
            hand_off();
            assert!(sys::rseq_cpu().is_some());
        });
        thread.join().expect("a thread of the process ends well");
        finish_all(reads);
        drop(guard);
        assert_eq!(syslet::threadlet(|| 42).join(), 42);
    }
    let none = syslet::drain(Instant::now() + PATIENCE);
    assert_eq!(none, Ok(()), "nothing is outstanding");
}

fn child_works() -> i32 {
    assert!(!syslet::is_attached(), "a child starts unattached");
    work(5);
    0
}

fn by_guest() {
    for _ in 0..10 {
        let guard = attach();
        let reads = away_reads(3);
        let child = sys::fork(child_works);
        hand_off();
        assert_eq!(child.end(), 0, "the child");
        finish_all(reads);
        drop(guard);
        work(2);
    }
}

fn by_other() {
    for _ in 0..10 {
        let guard = attach();
        let reads = away_reads(3);
        let child = thread::spawn(|| sys::fork(child_works)).join().expect("ends well");
        hand_off();
        assert_eq!(child.end(), 0, "the child");
        finish_all(reads);
        drop(guard);
        work(2);
    }
}

fn by_threadlet() {
    for _ in 0..10 {
        let guard = attach();
        let reads = away_reads(3);
        let child =
            syslet::threadlet(|| sys::fork(|| thread::spawn(child_works).join().unwrap_or(101)));
        assert_eq!(child.join().end(), 0, "the child");
        let (reader, writer) = sys::pipe();
        let away = syslet::threadlet(move || {
            use std::os::fd::AsRawFd;
            assert_eq!(sys::read_byte(reader.as_raw_fd()), Some(1));
            sys::fork(|| thread::spawn(child_works).join().unwrap_or(101))
        });
        use std::os::fd::AsRawFd;
        assert!(sys::write_byte(writer.as_raw_fd(), 1));
        assert_eq!(away.join().end(), 0, "the child of an away threadlet");
        finish_all(reads);
        drop(guard);
        work(1);
    }
}

/// A child that has the crew thread's thread-locals, and is not to return from the closure.
fn works_there(registers: bool) -> i32 {
    let rseq = sys::rseq_cpu() >= Some(0);
    assert!(rseq || !registers, "rseq is not registered for the child's only thread");
    child_works()
}

fn in_threadlet() {
    use std::os::fd::AsRawFd;
    let registers = sys::rseq_cpu() >= Some(0);
    let _guard = attach();
    for _ in 0..3 {
        // If nobody goes on with the guest, rseq is registered for its thread-locals.
        let inline = syslet::threadlet(|| sys::fork(|| works_there(false)));
        assert_eq!(inline.join().end(), 0, "the child");
        let (reader, writer) = sys::pipe();
        let away = syslet::threadlet(move || {
            assert_eq!(sys::read_byte(reader.as_raw_fd()), Some(1));
            sys::fork(move || works_there(registers))
        });
        assert!(sys::write_byte(writer.as_raw_fd(), 1));
        assert_eq!(away.join().end(), 0, "the child of an away threadlet");
    }
}

fn returns_inline() {
    let registers = sys::rseq_cpu() >= Some(0);
    let guard = attach();
    for attaches in (0..20).map(|round| round % 2 == 1) {
        // The child may attach in the closure, and then again where that returns to.
        let threadlet = syslet::threadlet(move || match sys::fork_here() {
            None if attaches => {
                work(1);
                None
            }
            forked => forked,
        });
        let inline = threadlet.was_inline();
        match threadlet.join_catch() {
            // The parent; the child was forked by code that may have been handed off.
            Ok(Some(child)) if inline => assert_eq!(child.end(), 0, "the child"),
            Ok(Some(child)) => child.kill(),
            _ => {
                drop(guard);
                let rseq = sys::rseq_cpu() >= Some(0);
                assert!(rseq || !registers, "rseq is not registered where the closure returns to");
                // A process of which the closure's thread is none any more: others get its stack.
                let grandchild = sys::fork(move || has_rseq_from_here_on(registers));
                assert_eq!(grandchild.end(), 0, "the grandchild");
                sys::exit_now(child_works());
            }
        }
    }
}

/// Wherever a guest goes, its child has its rseq area.
fn has_rseq_from_here_on(registers: bool) -> i32 {
    let has_it = || sys::rseq_cpu() >= Some(0) || !registers;
    assert!(has_it(), "rseq is not registered");
    for _ in 0..5 {
        let guard = attach();
        for _ in 0..3 {
            hand_off();
            assert_eq!(sys::fork(move || i32::from(!has_it())).end(), 0, "in a guest's child");
        }
        drop(guard);
        assert!(has_it(), "rseq is not registered where the guest is at home");
    }
    child_works()
}

fn returns_inline_in_a_child() {
    let registers = sys::rseq_cpu() >= Some(0);
    let has_it = move || sys::rseq_cpu() >= Some(0) || !registers;
    let _guard = attach();
    for _ in 0..5 {
        // The child attaches in the closure, and is forked in another one there.
        let outer = syslet::threadlet(move || {
            let child = sys::fork_here();
            if child.is_none() {
                let guard = attach();
                let inner = syslet::threadlet(sys::fork_here);
                let inline = inner.was_inline();
                match inner.join_catch() {
                    Ok(Some(grandchild)) if inline => assert_eq!(grandchild.end(), 0),
                    Ok(Some(grandchild)) => grandchild.kill(),
                    _ => {
                        // No thread is made before it is off this stack, which the C library holds for that of a
                        // thread that is gone.
                        drop(guard);
                        return None;
                    }
                }
                drop(guard);
                sys::exit_now(0);
            }
            child
        });
        let inline = outer.was_inline();
        match outer.join_catch() {
            Ok(Some(child)) if inline => assert_eq!(child.end(), 0, "the child"),
            Ok(Some(child)) => child.kill(),
            _ => {
                assert!(has_it(), "rseq is not registered where both closures have returned");
                let last = sys::fork(move || has_rseq_from_here_on(registers));
                assert_eq!(last.end(), 0, "the last one");
                sys::exit_now(0);
            }
        }
    }
}

fn returns_away() {
    use std::os::fd::AsRawFd;
    let _guard = attach();
    for _ in 0..3 {
        let (reader, writer) = sys::pipe();
        let away = syslet::threadlet(move || {
            sys::read_byte(reader.as_raw_fd());
            sys::fork_here()
        });
        assert!(sys::write_byte(writer.as_raw_fd(), 1));
        // As for a child whose forking thread returns: nothing is left to run.
        let child = away.join().expect("the parent's side");
        child.end();
    }
}

fn handles() {
    let _guard = attach();
    let mut pending = away_reads(2);
    let (threadlet, writer) = away_threadlet();
    let (dropped, other_writer) = away_threadlet();
    let (chain, pipe) = away_chain();
    let (dropped_chain, other_pipe) = away_chain();
    let read = pending.pop().expect("two");
    let child = sys::fork(move || {
        let ret = read.pending().wait();
        assert!(ret.is_cancelled(), "{ret:?}");
        assert!(threadlet.is_finished());
        assert!(threadlet.join_catch().is_err());
        drop(dropped);
        assert!(chain.is_done());
        let result = chain.wait();
        assert!(result.cancelled().is_some() && result.last().is_none(), "{result:?}");
        drop(dropped_chain);
        let rest = pending.pop().expect("one").pending();
        assert_eq!(rest.cancel(), syslet::CancelOutcome::TooLate);
        drop(rest);
        assert_eq!(syslet::drain(Instant::now() + PATIENCE), Ok(()));
        child_works()
    });
    assert_eq!(child.end(), 0);
    drop((writer, other_writer, pipe, other_pipe));
    hand_off();
}

fn operations() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use syslet::{fs::File, net::recv, process, time::sleep};

    let _guard = attach();
    let (reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    let reader = File::from(std::os::fd::OwnedFd::from(reader));
    let (one, other) = UnixStream::pair().expect("a pair can be made");
    let reading = reader.read(vec![3; 10]);
    let (received, dropped) = (recv(&one, vec![4; 10]), recv(&one, vec![5; 10]));
    let sleeping = sleep(Duration::from_secs(3600));
    let child = sys::fork(move || {
        let (result, buf) = reading.wait();
        assert_eq!(result.expect_err("it has stayed").raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(buf, [3; 10]);
        let (result, buf) = futures_executor::block_on(received);
        assert_eq!(result.expect_err("it has stayed").raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(buf, [4; 10]);
        drop(dropped);
        assert_eq!(sleeping.cancel(), syslet::CancelOutcome::TooLate);
        sleeping.wait();
        // New ones are made here.
        let length = syslet::fs::metadata("/proc/self/exe").wait().expect("it is there").len();
        let read = syslet::fs::read("/proc/self/exe").wait().expect("it is there");
        assert_eq!(read.len() as u64, length);
        sleep(Duration::from_millis(1)).wait();
        let none = process::wait_pid(1).wait();
        assert!(none.is_err(), "not a child of ours");
        child_works()
    });
    assert_eq!(child.end(), 0);
    // The parent's own copies were moved into the closure, and live there no longer: its calls go on.
    (&other).write_all(b"x").expect("there is room");
    writer.write_all(b"x").expect("there is room");
    hand_off();
}

fn scopes() {
    use std::os::fd::AsRawFd;
    let guard = attach();
    let (reader, writer) = sys::pipe();
    let child = syslet::scope(|scope| {
        let away = scope.threadlet(|| sys::read_byte(reader.as_raw_fd()));
        let forked = sys::fork_here();
        if forked.is_some() {
            assert!(sys::write_byte(writer.as_raw_fd(), 1));
            assert_eq!(away.join(), Some(1));
        }
        forked
    });
    match child {
        Some(child) => assert_eq!(child.end(), 0, "the child leaves the scope"),
        None => {
            drop(guard);
            sys::exit_now(child_works());
        }
    }
}

fn queues() {
    use std::os::fd::AsRawFd;
    let guard = attach();
    let queue = syslet::CompletionQueue::new(2).expect("a queue can be made");
    let (reader, writer) = sys::pipe();
    let fd = reader.as_raw_fd();
    let away = |number| match queue
        .threadlet(number, move || sys::read_byte(fd).map_or(-1, isize::from))
    {
        syslet::Queued::Queued(id) => id,
        syslet::Queued::Done(ret) => panic!("the pipe is empty: {ret:?}"),
    };
    let ids = [1, 2, 3, 4].map(away);
    // Some are in the queue and some are away when it is forked.
    assert!(sys::write_byte(writer.as_raw_fd(), 7) && sys::write_byte(writer.as_raw_fd(), 7));
    assert_eq!(queue.wait_deadline(2, Instant::now() + PATIENCE), 2);
    match sys::fork_here() {
        None => {
            drop(guard);
            assert_eq!((queue.pop(), queue.peek(), queue.len()), (None, None, 0));
            assert_eq!(queue.wait(1), 0, "waiting ends at once");
            queue.post(5, 5);
            assert_eq!(queue.pop(), None);
            assert_eq!(queue.cancel(ids[3]), syslet::CancelOutcome::TooLate);
            assert_eq!((queue.cancel_all(4), queue.cancel_descriptor(fd)), (0, 0));
            let error = queue.try_threadlet(6, || 0).expect_err("it is the parent's");
            assert!(!error.is_busy());
            assert_eq!(error.into_inner()(), 0, "the closure is handed back");
            drop(queue);
            sys::exit_now(child_works());
        }
        Some(child) => {
            assert!(
                sys::write_byte(writer.as_raw_fd(), 7) && sys::write_byte(writer.as_raw_fd(), 7)
            );
            assert_eq!(queue.wait_deadline(4, Instant::now() + PATIENCE), 4);
            let mut all: Vec<_> =
                std::iter::from_fn(|| queue.pop()).map(|one| (one.user_data, one.res)).collect();
            all.sort_unstable();
            assert_eq!(all, [(1, 7), (2, 7), (3, 7), (4, 7)]);
            assert_eq!(child.end(), 0, "the child");
            drop(guard);
        }
    }
}

fn guards() {
    let guard = attach();
    let reads = away_reads(2);
    match sys::fork_here() {
        None => {
            assert!(!syslet::is_attached());
            assert!(guard.refresh().is_ok());
            let own = attach();
            hand_off();
            drop(guard); // the parent's: must not detach this process's
            if crate::runner::Mode::current() != crate::runner::Mode::Pool {
                assert!(syslet::is_attached(), "still attached by the child's own guard");
            }
            hand_off();
            drop(own);
            sys::exit_now(child_works());
        }
        Some(child) => {
            assert_eq!(child.end(), 0);
            finish_all(reads);
            drop(guard);
        }
    }
}

fn generations(left: usize) -> i32 {
    let guard = attach();
    let reads = away_reads(2);
    let child = (left > 0).then(|| sys::fork(move || generations(left - 1)));
    let ended = child.map_or(0, sys::Forked::end);
    finish_all(reads);
    drop(guard);
    work(1);
    ended
}

fn grandchildren() {
    assert_eq!(generations(6), 0);
}

fn storm() {
    const THREADS: usize = 4;
    // std locks a table where a thread of its own begins and ends. A child that is forked meanwhile has the table
    // locked for good, and can make no thread.
    let all = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let all = Arc::clone(&all);
            thread::spawn(move || {
                all.wait();
                let end = Instant::now() + Duration::from_secs(3);
                while Instant::now() < end {
                    let guard = attach();
                    let reads = away_reads(2);
                    if number % 2 == 0 {
                        let child = sys::fork(|| {
                            work(1);
                            0
                        });
                        assert_eq!(child.end(), 0, "a child");
                    }
                    finish_all(reads);
                    drop(guard);
                }
                all.wait();
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every thread ends well");
    }
}

fn starting() {
    for round in 0..60u32 {
        // A process without an engine, one thread of which starts it while the other forks.
        let child = sys::fork(move || {
            let starter = thread::spawn(|| drop(attach()));
            (0..round * 500).for_each(|_| std::hint::spin_loop());
            let child = sys::fork(|| {
                drop(attach());
                0
            });
            let end = child.end();
            starter.join().expect("ends well");
            end
        });
        assert_eq!(child.end(), 0, "round {round}");
    }
}

fn own_thread() {
    let (stack, rseq) = (sys::signal_stack(), sys::rseq_cpu() >= Some(0));
    let _guard = attach();
    hand_off();
    let child = sys::fork(move || {
        i32::from(sys::signal_stack() != stack) | i32::from(rseq && sys::rseq_cpu() < Some(0)) << 1
    });
    assert_eq!(child.end(), 0, "1: another signal stack, 2: rseq is not registered");
}

fn name() {
    let own = crate::proc::field(sys::gettid(), "Name");
    let _guard = attach();
    hand_off();
    let child = sys::fork(move || {
        let now = crate::proc::field(sys::gettid(), "Name");
        i32::from(now != own)
    });
    assert_eq!(child.end(), 0, "the child has another name than the program");
}

fn open_mask() {
    let expected = sys::signal_mask();
    let _guard = attach();
    let of_thread = || thread::spawn(sys::signal_mask).join().expect("ends well");
    assert_eq!(syslet::threadlet(of_thread).join(), expected, "by a guest's threadlet");
}

fn orphan() {
    // The parent dies while the child, forked by a guest, works.
    let words = sys::shared_words();
    let parent = sys::fork(move || {
        let _guard = attach();
        let _reads = away_reads(2);
        sys::fork(move || {
            words[0].store(1, std::sync::atomic::Ordering::SeqCst);
            let done = child_works();
            words[1].store(1, std::sync::atomic::Ordering::SeqCst);
            done
        });
        sys::wait_change(&words[0], 0);
        sys::exit_now(0)
    });
    assert_eq!(parent.end(), 0);
    assert!(sys::wait_change(&words[1], 0), "the child works on without its parent");
}
