//! The inline path does not allocate.
//!
//! # Safety
//!
//! The allocator hands everything to the system's own, unchanged.

#![allow(unsafe_code, reason = "an allocator that counts; see the header")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use syslet::{Chain, CompletionQueue, threadlet};

use crate::util::calls::{Landing, go, go_chain, pread_call, send, taking_call};
use crate::util::chain;
use crate::util::child::Child;
use crate::util::pipe::{Pipe, file_with};
use crate::util::{LIMIT, attached, bounded, eventually, skip_in_pool};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator; counting changes nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's duties.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's duties.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `once`, which says whether it was inline, until 100 in a row were inline and allocated
/// nothing. (The crew allocates in the background now and then, so one such row is proof. On a busy machine
/// a longer one does not come about.)
fn inline_allocates_nothing(what: &str, mut once: impl FnMut() -> bool) {
    let mut least = None;
    for _ in 0..5000 {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        if (0..100).all(|_| once()) {
            let made = ALLOCATIONS.load(Ordering::Relaxed) - before;
            if made == 0 {
                return;
            }
            least = Some(least.unwrap_or(made).min(made));
        }
    }
    panic!("{what}: allocations in 100 inline ones, at least: {least:?}");
}

#[test]
fn inline_threadlets_and_calls_allocate_nothing() {
    let path = "allocation::inline_threadlets_and_calls_allocate_nothing";
    let ended = Child::new().run(path, || {
        if skip_in_pool("inline") {
            return;
        }
        attached(|| {
            inline_allocates_nothing("nothing", || threadlet(|| ()).was_inline());
            inline_allocates_nothing("a word", || {
                let away = threadlet(|| 5u64);
                away.was_inline() && away.join() == 5
            });
            inline_allocates_nothing("64 bytes", || {
                let bytes = [3u8; 64];
                let away = threadlet(move || bytes);
                away.was_inline() && away.join() == bytes
            });
            let file = file_with(b"x");
            let landing = Landing::leak();
            let call = pread_call(file.as_raw_fd(), landing, 0);
            inline_allocates_nothing("a call", || {
                let submitted = go(call);
                submitted.is_done() && submitted.wait().raw() == 1
            });
            let fails = pread_call(-1, landing, 0);
            inline_allocates_nothing("a call that fails", || go(fails).is_done());
            let mut chain = Chain::new();
            for _ in 0..3 {
                chain::add(&mut chain, call);
            }
            let mut chain = Some(chain);
            inline_allocates_nothing("a chain that is submitted again", || {
                let submitted = go_chain(chain.take().expect("it came back"));
                let inline = submitted.is_done();
                chain = Some(submitted.wait().into_chain());
                inline
            });
            inline_allocates_nothing("a chain whose memory is used again", || {
                let mut next = chain.take().expect("it came back");
                next.clear();
                let read = chain::add(&mut next, call);
                let submitted = go_chain(next);
                let inline = submitted.is_done();
                let result = submitted.wait();
                let right = result.ret(read).is_some_and(|ret| ret.raw() == 1);
                chain = Some(result.into_chain());
                inline && right
            });
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn who_completes_to_a_full_queue_allocates_nothing() {
    let path = "allocation::who_completes_to_a_full_queue_allocates_nothing";
    let ended = Child::new().run(path, || {
        // A thread that is not attached: its calls are made by crew threads that allocate nothing of
        // their own when a call ends. (One whose guest was taken makes a new slot.)
        bounded(LIMIT, || {
            const AWAY: usize = 32;
            let queue = CompletionQueue::new(2).expect("a queue can be made");
            let mut least = u64::MAX;
            for _ in 0..50 {
                let pipe = Pipe::new();
                for number in 0..AWAY {
                    let _ = send(&queue, number as u64, taking_call(pipe.read_end()));
                }
                let asleep = || syslet::stats().crew >= AWAY && takers_asleep() >= AWAY;
                assert!(eventually(asleep), "all are away");
                let before = ALLOCATIONS.load(Ordering::Relaxed);
                (0..AWAY).for_each(|_| pipe.put(1));
                assert!(eventually(|| queue.len() == AWAY));
                least = least.min(ALLOCATIONS.load(Ordering::Relaxed) - before);
                assert_eq!(std::iter::from_fn(|| queue.pop()).count(), AWAY);
            }
            assert!(queue.stats().overflowed > 0, "nothing has overflowed");
            assert_eq!(least, 0, "allocations while {AWAY} completions came");
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Crew threads that sleep in the call that takes a byte out of a pipe.
fn takers_asleep() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let number = format!("{} ", libc::SYS_splice);
    let takes = |task: std::io::Result<std::fs::DirEntry>| {
        let call = std::fs::read_to_string(task.ok()?.path().join("syscall")).ok()?;
        call.starts_with(&number).then_some(())
    };
    tasks.filter_map(takes).count()
}
