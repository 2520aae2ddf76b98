//! The bound on writers of a file holds for steps of chains and for what is left of a call, too.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Barrier};
use std::thread;

use syslet::{Call, CancelOutcome, Chain, Limits, SubmittedChain};

use super::*;
use crate::util::calls::{
    Counter, go, go_chain, memory_file, pending, replace_descriptor, taking_call, try_go_chain,
    write_call,
};
use crate::util::chain::{self, add, answers, count};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::withheld::{PAGE, Withheld};
use crate::util::{LIMIT, attach, bounded, eventually, late, skip_in_pool};

#[test]
fn chains_wait_for_their_turn_to_write_without_a_thread() {
    let path = "writers::everywhere::chains_wait_for_their_turn_to_write_without_a_thread";
    alone(path, || {
        bounded_writers(MANY, |pages| {
            let (file, other) = (memory_file(), memory_file());
            let counters = [Counter::new(), Counter::new()];
            let mut away = Vec::new();
            for page in 0..MANY {
                let call = vector_call(file.as_raw_fd(), pages.address(page));
                let (chain, steps) = counted(call, &counters);
                away.push((chain::pending(go_chain(chain)), steps));
                if page + 1 == BOUND {
                    pages.await_touched(0..BOUND);
                    full(file.as_raw_fd(), &pages); // those that come from here on find no room
                }
            }
            let mut begun = 0;
            assert!(eventually(|| {
                begun += counters[0].take();
                begun == MANY as u64
            }));
            outstanding(BOUND);
            // Others go on, whatever they write to.
            let (chain, steps) = counted(write_call(other.as_raw_fd(), b"other"), &counters);
            let others = answers(&finish_any(go_chain(chain)), steps);
            assert_eq!(others, [Some(8), Some(5), Some(8)]);
            // One in line is cancelled at once, and keeps the answers of the steps before.
            let (last, steps) = away.pop().expect("there are many");
            assert_eq!(last.cancel(), CancelOutcome::Asked);
            assert!(last.is_done());
            let result = finish(last);
            assert_eq!(answers(&result, steps), [Some(8), Some(ECANCELED), None]);
            assert_eq!(result.cancelled(), Some(steps[1]));
            let_vectors_in(&pages, 0..MANY);
            for (away, steps) in away {
                assert_eq!(answers(&finish(away), steps), [Some(8); 3]);
            }
            outstanding(0);
            // And the count is right again.
            for page in 0..MANY {
                let call = vector_call(file.as_raw_fd(), pages.address(page));
                let (chain, steps) = counted(call, &counters);
                assert_eq!(answers(&finish_any(go_chain(chain)), steps), [Some(8); 3]);
            }
        })
    });
}

#[test]
fn a_chain_that_is_away_gives_its_thread_back_to_wait_for_its_turn() {
    let path =
        "writers::everywhere::a_chain_that_is_away_gives_its_thread_back_to_wait_for_its_turn";
    alone(path, || {
        bounded_writers(MANY, |pages| {
            let file = memory_file();
            let (pipe, counter) = (Pipe::new(), Counter::new());
            let mut away = Vec::new();
            for page in 0..MANY {
                let mut chain = Chain::new();
                let take = add(&mut chain, taking_call(pipe.read_end()));
                let write = add(&mut chain, page_call(&file, &pages, page));
                let after = count(&mut chain, &counter);
                away.push((chain::pending(go_chain(chain)), [take, write, after]));
            }
            outstanding(MANY);
            (0..MANY).for_each(|_| pipe.put(1));
            outstanding(BOUND);
            // Those in line end at once by a cancel; the others sleep where nobody disturbs them.
            away.iter().for_each(|(away, _)| ask(away.cancel()));
            let done = away.iter().filter(|(away, _)| away.is_done()).count();
            assert_eq!(done, MANY - BOUND);
            pages.let_in();
            for (away, steps) in away {
                let [take, write, _] = answers(&finish(away), steps);
                assert_eq!(take, Some(1));
                assert!([Some(PAGE as isize), Some(ECANCELED)].contains(&write), "{write:?}");
            }
            outstanding(0);
        })
    });
}

#[test]
fn who_waits_for_a_chain_in_line_makes_it_there() {
    let path = "writers::everywhere::who_waits_for_a_chain_in_line_makes_it_there";
    alone(path, || {
        bounded_writers(BOUND, |pages| {
            let file = memory_file();
            // They wait for their own vectors, before they hold the file.
            let blocked: Vec<_> =
                (0..BOUND).map(|page| blocked_chain(file.as_raw_fd(), &pages, page)).collect();
            pages.await_touched(0..BOUND);
            full(file.as_raw_fd(), &pages);
            let counters = [Counter::new(), Counter::new()];
            let (chain, steps) = counted(write_call(file.as_raw_fd(), b"here"), &counters);
            let in_line = chain::pending(go_chain(chain));
            outstanding(BOUND);
            assert_eq!(answers(&in_line.wait(), steps), [Some(8), Some(4), Some(8)]);
            outstanding(BOUND);
            pages.let_in();
            blocked.into_iter().for_each(|blocked| drop(finish(blocked)));
            outstanding(0);
        })
    });
}

#[test]
fn a_number_that_was_a_pipes_is_counted_after_its_first_write() {
    let path = "writers::everywhere::a_number_that_was_a_pipes_is_counted_after_its_first_write";
    alone(path, || {
        bounded_writers(BOUND + 2, |pages| {
            let (file, pipe) = (memory_file(), Pipe::new());
            let number = pipe.write_end();
            let mut chain = Chain::new();
            let write = add(&mut chain, write_call(number, b"pipe"));
            assert_eq!(answers(&finish_any(go_chain(chain)), [write]), [Some(4)]);
            replace_descriptor(number, file.as_raw_fd());
            let mut away = Vec::new();
            for page in 0..BOUND + 2 {
                let mut chain = Chain::new();
                add(&mut chain, vector_call(number, pages.address(page)));
                be_protected();
                match try_go_chain(chain) {
                    Ok(submitted) => away.push(chain::pending(submitted)),
                    Err(why) if why.is_busy() => break,
                    Err(why) => panic!("{why}"),
                }
                pages.await_touched(page..page + 1);
            }
            assert!([BOUND, BOUND + 1].contains(&away.len()), "{} are away", away.len());
            pages.let_in();
            away.into_iter().for_each(|away| drop(finish(away)));
        })
    });
}

/// Threads that submit chains, and chains of each thread.
const THREADS: usize = 3;
const ROUNDS: usize = 50;
/// What becomes of the handles in a round: one is waited for, one cancelled, one dropped, one waited for with a limit.
const KINDS: usize = 4;
/// Pages that a thread's chains touch, two each.
const PAGES: usize = ROUNDS * KINDS * 2;

#[test]
fn chains_that_write_two_files_in_either_order_all_end() {
    let path = "writers::everywhere::chains_that_write_two_files_in_either_order_all_end";
    alone(path, either_order);
}

#[test]
fn chains_that_write_two_files_in_either_order_all_end_with_four_crew_threads() {
    let path = "writers::everywhere::\
                chains_that_write_two_files_in_either_order_all_end_with_four_crew_threads";
    let ended = Child::new().var("SYSLET_MAX_CREW", 4).run(path, either_order);
    ended.expect("this is the parent").expect_done();
}

/// Each write sleeps for a while with the only turn of its file, and its chain needs that of the other then.
fn either_order() {
    let Some(pages) = Withheld::new(THREADS * PAGES) else { return };
    let pages = Arc::new(pages);
    let server = Arc::clone(&pages);
    thread::spawn(move || {
        let mut there = HashSet::new();
        loop {
            let page = server.next_touched();
            if there.insert(page) {
                let_vectors_in(&server, page..page + 1);
            }
        }
    });
    bounded(LIMIT, move || {
        syslet::set_limits(Limits::new().writers_per_descriptor(1));
        let shared = Arc::new(([memory_file(), memory_file()], Counter::new()));
        // Who attaches needs two crew threads that nothing else has.
        let attached = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let (shared, pages) = (Arc::clone(&shared), Arc::clone(&pages));
                let attached = Arc::clone(&attached);
                thread::spawn(move || {
                    // One of them is not.
                    let _guard = (number > 0).then(attach);
                    attached.wait();
                    rounds(&shared.0, &shared.1, &pages, number * PAGES)
                })
            })
            .collect();
        let made: u64 = threads.into_iter().map(|thread| thread.join().expect("ends well")).sum();
        let mut counted = 0;
        assert!(eventually(|| {
            counted += shared.1.take();
            counted == made
        }));
        outstanding(0);
        // And the count is right again.
        for file in &shared.0 {
            let mut chain = Chain::new();
            let write = add(&mut chain, write_call(file.as_raw_fd(), b"end"));
            let submitted = try_go_chain(chain).expect("no write is away");
            assert_eq!(answers(&finish_any(submitted), [write]), [Some(3)]);
        }
    });
}

/// Submits chains that write to two files and count, and says how many count.
fn rounds(files: &[OwnedFd; 2], counter: &Counter, pages: &Withheld, mut page: usize) -> u64 {
    let mut made = 0;
    for _ in 0..ROUNDS {
        let begun: Vec<_> = (0..KINDS)
            .map(|kind| {
                let mut chain = Chain::new();
                let writes = [kind & 1, !kind & 1].map(|file| {
                    page += 1;
                    let call = vector_call(files[file].as_raw_fd(), pages.address(page - 1));
                    add(&mut chain, call)
                });
                let steps = [writes[0], writes[1], count(&mut chain, counter)];
                (go_chain(chain), steps)
            })
            .collect();
        for (kind, (submitted, steps)) in begun.into_iter().enumerate() {
            let result = match (kind, submitted) {
                (_, SubmittedChain::Done(result)) => result,
                (0, SubmittedChain::Pending(away)) => away.wait(),
                (1, SubmittedChain::Pending(away)) => {
                    away.cancel();
                    finish(away)
                }
                (2, SubmittedChain::Pending(away)) => {
                    drop(away);
                    made += 1;
                    continue;
                }
                (_, SubmittedChain::Pending(away)) => finish(away),
            };
            let answers = answers(&result, steps);
            if answers[2] == Some(8) {
                assert_eq!(answers, [Some(8); 3]);
                made += 1;
            } else {
                assert_eq!(kind, 1, "nobody has cancelled it: {answers:?}");
                assert!(result.cancelled().is_some(), "{answers:?}");
            }
        }
    }
    made
}

#[test]
fn an_attempt_that_went_away_waits_for_its_turn_to_write() {
    let path = "writers::everywhere::an_attempt_that_went_away_waits_for_its_turn_to_write";
    if skip_in_pool("an attempt that goes away") {
        return;
    }
    alone(path, || {
        bounded_writers(2 * MANY, |pages| {
            let (file, pipe) = (memory_file(), Pipe::new());
            let number = pipe.write_end();
            // It is taken for a pipe from here on, whose writes are tried.
            assert_eq!(go(write_call(number, b"pipe")).wait().raw(), 4);
            replace_descriptor(number, file.as_raw_fd());
            let write = |page| {
                be_protected(); // or the attempt, too, would be made in place
                let args = [number as usize, pages.address(page), 1];
                pending(go(Call::new(libc::SYS_writev as usize, args)))
            };
            let away: Vec<_> = (0..MANY).map(write).collect();
            outstanding(MANY);
            for page in 0..MANY {
                let mut vector = [0; PAGE];
                vector[..8].copy_from_slice(&pages.address(MANY + page).to_ne_bytes());
                vector[8..16].copy_from_slice(&PAGE.to_ne_bytes());
                pages.let_in_with(page, &vector);
            }
            outstanding(BOUND);
            away.iter().for_each(|away| ask(away.cancel()));
            let done = away.iter().filter(|away| away.is_done()).count();
            assert_eq!(done, MANY - BOUND);
            (MANY..2 * MANY).for_each(|page| pages.let_in_with(page, &[7; PAGE]));
            for away in away {
                let answer = away.wait_deadline(late()).expect("a write was lost").raw();
                assert!([PAGE as isize, ECANCELED].contains(&answer), "{answer}");
            }
            outstanding(0);
        })
    });
}
