//! The bound on writers of a file, and who waits for his turn.

mod bound;
mod everywhere;
mod property;
mod turns;

use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use syslet::{
    Call, CancelOutcome, Chain, ChainResult, Limits, PendingChain, StepId, Submitted,
    SubmittedChain, stats,
};

use crate::util::calls::{Counter, go, go_chain, taking_call, try_go, try_go_chain};
use crate::util::chain::{self, add, count};
use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::withheld::{PAGE, Withheld};
use crate::util::{Way, attached, eventually, late, way};

/// Most writes of a file that are away.
pub(super) const BOUND: usize = 3;
/// Writes that come.
pub(super) const MANY: usize = 10;
pub(super) const ECANCELED: isize = -libc::ECANCELED as isize;

/// Runs the body of a test in a process of its own.
pub(super) fn alone(path: &str, body: fn()) {
    Child::new().run(path, body).expect("this is the parent").expect_done();
}

/// Runs `body`, attached, with a bound on writers and so many pages that are not there.
pub(super) fn bounded_writers(pages: usize, body: fn(Withheld)) {
    let Some(pages) = Withheld::new(pages) else { return };
    attached(move || {
        syslet::set_limits(Limits::new().writers_per_descriptor(BOUND));
        body(pages);
    });
}

/// A write of a page to its place in the file.
pub(super) fn page_call(file: &OwnedFd, pages: &Withheld, page: usize) -> Call {
    let args = [file.as_raw_fd() as usize, pages.address(page), PAGE, page * PAGE];
    Call::new(libc::SYS_pwrite64 as usize, args)
}

/// Lets these pages in, as vectors of eight bytes each.
pub(super) fn let_vectors_in(pages: &Withheld, which: Range<usize>) {
    static BYTES: [u8; 8] = *b"a vector";
    let mut vector = [0; PAGE];
    vector[..8].copy_from_slice(&BYTES.as_ptr().addr().to_ne_bytes());
    vector[8..16].copy_from_slice(&BYTES.len().to_ne_bytes());
    which.for_each(|page| pages.let_in_with(page, &vector));
}

/// A chain that counts, makes `call` and counts again.
pub(super) fn counted(call: Call, counters: &[Counter; 2]) -> (Chain, [StepId; 3]) {
    let mut chain = Chain::new();
    let before = count(&mut chain, &counters[0]);
    let write = add(&mut chain, call);
    let after = count(&mut chain, &counters[1]);
    (chain, [before, write, after])
}

pub(super) fn finish(away: PendingChain) -> ChainResult {
    away.wait_deadline(late()).expect("a chain was lost")
}

/// What came of a cancel that may come too late.
pub(super) fn ask(outcome: CancelOutcome) {
    assert!([CancelOutcome::Asked, CancelOutcome::NotBegun].contains(&outcome), "{outcome:?}");
}

pub(super) fn outstanding(count: usize) {
    assert!(eventually(|| stats().outstanding == count), "{} are away", stats().outstanding);
}

pub(super) fn finish_any(submitted: SubmittedChain) -> ChainResult {
    match submitted {
        SubmittedChain::Done(result) => result,
        SubmittedChain::Pending(away) => finish(away),
    }
}

/// A chain that writes what a vector says that is not there.
pub(super) fn blocked_chain(file: i32, pages: &Withheld, page: usize) -> PendingChain {
    let mut chain = Chain::new();
    add(&mut chain, vector_call(file, pages.address(page)));
    chain::pending(go_chain(chain))
}

/// As many writes of the file are away as may be.
pub(super) fn full(file: i32, pages: &Withheld) {
    // Who is not refused touches a page that is not there.
    let call = || vector_call(file, pages.address(0));
    // On a thread that is not attached it would be tried, and wait.
    if way() != Way::Pool {
        assert!(try_go(call()).is_err_and(|why| why.is_busy()));
    }
    let mut chain = Chain::new();
    add(&mut chain, call());
    assert!(try_go_chain(chain).is_err_and(|why| why.is_busy()));
    outstanding(BOUND);
}

/// A write of one vector to the beginning.
pub(super) fn vector_call(file: i32, vector: usize) -> Call {
    Call::new(libc::SYS_pwritev as usize, [file as usize, vector, 1, 0])
}

/// Returns when a crew thread is spoken for by this guest: what it calls next is protected.
pub(super) fn be_protected() {
    if way() == Way::Pool {
        return;
    }
    let pipe = Pipe::new();
    assert!(eventually(|| {
        pipe.put(1);
        match go(taking_call(pipe.read_end())) {
            Submitted::Done(ret) => ret.raw() == 1,
            // Queued, or handed off by chance, and its thread is the guest's no more.
            Submitted::Pending(away) => {
                assert_eq!(away.wait_deadline(late()).expect("there is a byte").raw(), 1);
                false
            }
        }
    }));
}
