//! What goes on beside the guest needs nothing on the guest's stack.

use std::hint::black_box;

use syslet::{Pending, Threadlet, threadlet};

use crate::interruption::pester;
use crate::util::calls::{count_signals, go, pending, signals_seen, taking_call};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually, skip_in_pool};

/// More than what launches a closure has on the stack.
const BYTES: usize = 64 << 10;
const FILLED: u8 = 0xA5;

/// Runs `f` while that part of the stack is full of other things on which the frames of the function that was called
/// before were.
#[inline(never)]
fn over_filled_stack(f: impl FnOnce()) {
    let mut area = [FILLED; BYTES];
    black_box(&mut area);
    f();
    let kept = black_box(&mut area).iter().all(|&byte| byte == FILLED);
    assert!(kept, "something has written to the guest's stack");
}

#[inline(never)]
fn launch(pipe: &Pipe) -> Threadlet<[u64; 64]> {
    let (pipe, words) = (pipe.clone(), [7; 64]);
    threadlet(move || {
        let byte = pipe.get();
        words.map(|word| word + u64::from(byte))
    })
}

#[inline(never)]
fn submit(pipe: &Pipe) -> Pending {
    pending(go(taking_call(pipe.read_end())))
}

#[test]
fn closure_that_is_away_leaves_the_guests_stack_alone() {
    attached(|| {
        let pipe = Pipe::new();
        for _ in 0..20 {
            let away = launch(&pipe);
            over_filled_stack(|| {
                pipe.put(1);
                assert!(eventually(|| away.is_finished()));
            });
            assert_eq!(away.join(), [8; 64]);
        }
    });
}

#[test]
fn call_that_is_made_again_is_what_it_was() {
    if skip_in_pool("a guest is carried on while its call is interrupted") {
        return;
    }
    let path = "frames::call_that_is_made_again_is_what_it_was";
    let ended = Child::new().run(path, || {
        attached(|| {
            count_signals(libc::SIGUSR1);
            let pipe = Pipe::new();
            let away = submit(&pipe);
            over_filled_stack(|| {
                let enough = signals_seen() + 20;
                pester(|| signals_seen() > enough || away.is_done());
                assert!(!away.is_done(), "the call was broken off, or is another one");
                pipe.put(1);
            });
            assert_eq!(away.wait().raw(), 1);
        });
    });
    ended.expect("this is the parent").expect_done();
}
