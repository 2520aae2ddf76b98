//! What a kernel says to requests of io_uring.

#![allow(unsafe_code, reason = "memory shared with the kernel")]

use std::alloc::{Layout, alloc_zeroed};
use std::sync::atomic::AtomicU32;

use syslet_sys::uapi::{EAGAIN, EINVAL, RingRequest};
use syslet_sys::uring::{Memory, Ring};

#[test]
fn a_kernel_says_what_it_does_not_know() {
    // SAFETY: not of size zero. Leaked: the kernel keeps it until the thread has ended.
    let memory = unsafe { alloc_zeroed(Layout::new::<Memory>()) }.cast();
    // SAFETY: zeroes, leaked.
    let Ok(mut ring) = (unsafe { Ring::new(memory) }) else {
        return syslet_testfs::skip("io_uring may not be used");
    };
    static WORD: AtomicU32 = AtomicU32::new(1);
    let wait = RingRequest::wait(&WORD, 2);
    let unknown = RingRequest { opcode: u8::MAX, ..wait };
    // SAFETY: the word is static.
    let answers = [unknown, wait].map(|request| unsafe { ring.answer(&request) });
    assert_eq!(answers[0], -EINVAL);
    assert!([-EAGAIN, -EINVAL].contains(&answers[1]), "{answers:?}");
}
