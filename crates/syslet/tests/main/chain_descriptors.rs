//! What a chain has opened is closed if nobody takes it over.

use std::os::fd::AsRawFd;

use syslet::{Arg, Chain, When};
use syslet_testfs::{Answer, TestFs};

use crate::util::calls::{
    Block, Counter, Landing, close as close_now, go_chain, is_open, open_descriptors, read_call,
};
use crate::util::chain::{NamedFile, add, close, count, open, pending, step};
use crate::util::child::Child;
use crate::util::pipe::{Pipe, file_with};
use crate::util::temp::Folder;
use crate::util::{LIMIT, attached, eventually, skip, within};

/// Runs `body` in a process of its own, in which nobody else opens and closes descriptors.
fn alone(path: &str, body: fn()) {
    let ended = Child::new().run(path, body);
    ended.expect("this is the parent").expect_done();
}

/// True once as many descriptors are open as `before`.
fn all_closed(before: usize) -> bool {
    eventually(|| open_descriptors() == before)
}

#[test]
fn dropped_chain_runs_on_and_its_descriptors_are_closed() {
    alone("chain_descriptors::dropped_chain_runs_on_and_its_descriptors_are_closed", || {
        attached(|| {
            let (pipe, counter, file) = (Pipe::new(), Counter::new(), NamedFile::with(b""));
            let pair = Block::leak();
            let before = open_descriptors();
            let mut chain = Chain::new();
            let open = file.open(&mut chain);
            // Two pairs, one after the other in the same memory; the first half of the first is closed.
            step(&mut chain, libc::SYS_pipe2, [pair.address().into(), 0.into()]);
            step(&mut chain, libc::SYS_close, [Arg::At(pair.address())]);
            step(&mut chain, libc::SYS_dup, [open.into()]);
            step(&mut chain, libc::SYS_pipe2, [pair.address().into(), 0.into()]);
            step(&mut chain, libc::SYS_fcntl, [open.into(), (libc::F_DUPFD as usize).into()]);
            count(&mut chain, &counter);
            add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
            file.open(&mut chain);
            count(&mut chain, &counter);
            let away = pending(go_chain(chain));
            assert!(eventually(|| counter.take() == 1));
            assert_eq!(open_descriptors(), before + 6);
            drop(away);
            assert_eq!(open_descriptors(), before + 6, "the chain needs them");
            pipe.put(1);
            assert!(eventually(|| counter.take() == 1), "it did not run on");
            assert!(all_closed(before), "{} are left", open_descriptors() - before);
        });
    });
}

#[test]
fn result_that_is_dropped_with_its_handle_closes_descriptors() {
    alone("chain_descriptors::result_that_is_dropped_with_its_handle_closes_descriptors", || {
        attached(|| {
            let (pipe, file) = (Pipe::new(), NamedFile::with(b""));
            let before = open_descriptors();
            for cancel in [false, true] {
                let mut chain = Chain::new();
                file.open(&mut chain);
                add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
                let away = pending(go_chain(chain));
                assert!(eventually(|| open_descriptors() == before + 1));
                if cancel {
                    let _ = away.cancel();
                } else {
                    pipe.put(1);
                }
                assert!(eventually(|| away.is_done()));
                assert_eq!(open_descriptors(), before + 1, "the handle may still be asked");
                drop(away);
                assert_eq!(open_descriptors(), before);
            }
        });
    });
}

#[test]
fn result_hands_descriptors_over() {
    alone("chain_descriptors::result_hands_descriptors_over", || {
        attached(|| {
            let (pipe, file) = (Pipe::new(), NamedFile::with(b""));
            for cancel in [false, true] {
                let before = open_descriptors();
                let mut chain = Chain::new();
                let open = file.open(&mut chain);
                add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
                let away = pending(go_chain(chain));
                assert!(eventually(|| open_descriptors() == before + 1));
                if cancel {
                    let _ = away.cancel();
                } else {
                    pipe.put(1);
                }
                let result = away.wait();
                assert_eq!(result.cancelled().is_some(), cancel);
                let fd = result.ret(open).expect("it was made").raw() as i32;
                drop(result);
                assert!(is_open(fd), "it is the caller's");
                close_now(fd);
            }
        });
    });
}

#[test]
fn descriptors_that_the_chain_has_closed_are_not_closed_again() {
    alone("chain_descriptors::descriptors_that_the_chain_has_closed_are_not_closed_again", || {
        attached(|| {
            let (pipe, counter, file) = (Pipe::new(), Counter::new(), NamedFile::with(b""));
            let (pair, zeroes) = (Block::leak(), file_with(&[0; 8]));
            let mut chain = Chain::new();
            // A number that is made, closed and made again is closed in the end.
            let first = file.open(&mut chain);
            close(&mut chain, first);
            let second = file.open(&mut chain);
            let third = file.open(&mut chain);
            close(&mut chain, third);
            // Replaced, by one whose number was chosen.
            let fourth = file.open(&mut chain);
            step(&mut chain, libc::SYS_dup2, [second.into(), fourth.into()]);
            let fifth = step(&mut chain, libc::SYS_pipe2, [pair.address().into(), 0.into()]);
            let range = [fourth.into(), 1000.into(), 0.into()];
            step(&mut chain, libc::SYS_close_range, range);
            // Closed by a number in memory that is overwritten later.
            let other = Block::leak();
            step(&mut chain, libc::SYS_pipe2, [other.address().into(), 0.into()]);
            step(&mut chain, libc::SYS_close, [Arg::At(other.address())]);
            let zeroes = (zeroes.as_raw_fd() as usize).into();
            step(&mut chain, libc::SYS_pread64, [zeroes, other.address().into(), 8.into()]);
            count(&mut chain, &counter);
            add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
            chain.stop_on(fifth, When::Negative);
            let away = pending(go_chain(chain));
            assert!(eventually(|| counter.take() == 1));
            // The program takes the numbers that the chain no longer has.
            let ours: Vec<_> = (0..4).map(|_| file_with(b"ours")).collect();
            let before = open_descriptors();
            drop(away);
            pipe.put(1);
            assert!(eventually(|| syslet::stats().outstanding == 0));
            assert_eq!(open_descriptors(), before - 2, "two were the chain's");
            assert!(ours.iter().all(|file| file.metadata().is_ok_and(|meta| meta.len() == 4)));
        });
    });
}

#[test]
fn descriptors_of_chosen_numbers_stay() {
    alone("chain_descriptors::descriptors_of_chosen_numbers_stay", || {
        attached(|| {
            let (pipe, file) = (Pipe::new(), NamedFile::with(b""));
            let mut chain = Chain::new();
            let made = file.open(&mut chain);
            step(&mut chain, libc::SYS_dup2, [made.into(), 300.into()]);
            step(&mut chain, libc::SYS_fcntl, [300.into(), (libc::F_GETFD as usize).into()]);
            add(&mut chain, read_call(pipe.read_end(), Landing::leak()));
            drop(pending(go_chain(chain)));
            pipe.put(1);
            assert!(eventually(|| syslet::stats().outstanding == 0));
            assert!(is_open(300));
            close_now(300);
        });
    });
}

#[test]
fn a_close_that_was_cancelled_before_it_was_made_has_closed_nothing() {
    alone(
        "chain_descriptors::a_close_that_was_cancelled_before_it_was_made_has_closed_nothing",
        || {
            attached(|| {
                let folder = Folder::new();
                let file = syslet_testfs::File { name: "file".to_owned(), size: 4096 };
                let mounted = match TestFs::mount(folder.at(""), vec![file], |_| Answer::NOW) {
                    Ok(mounted) => mounted,
                    Err(why) => return skip(&format!("FUSE cannot be used here: {why}")),
                };
                let name = mounted.path().join("file");
                let name = Block::with(name.to_str().expect("the path is text").as_bytes());
                let before = open_descriptors();
                for cancel in [false, true] {
                    mounted.hold();
                    let mut chain = Chain::new();
                    let open = open(&mut chain, name.address());
                    // A read that has begun is not broken off: this server hears nothing of a cancel.
                    let read = [open.into(), Landing::leak().address().into(), 1.into()];
                    step(&mut chain, libc::SYS_read, read);
                    let close = close(&mut chain, open);
                    let away = pending(go_chain(chain));
                    assert!(within(LIMIT / 6, || mounted.held() == 1), "it does not read");
                    if cancel {
                        let _ = away.cancel();
                    }
                    drop(away);
                    mounted.let_go();
                    assert!(
                        all_closed(before),
                        "left open after step {close:?}, cancelled: {cancel}"
                    );
                }
            });
        },
    );
}
