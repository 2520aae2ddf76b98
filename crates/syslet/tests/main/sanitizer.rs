//! AddressSanitizer sees what guests and crew threads do: it finds errors that are made on purpose, where
//! the code has moved to another kernel thread. Only where the suite is built with it (`--cfg asan`).
//!
//! # Safety
//!
//! The functions of this file have undefined behaviour. They run in a process of their own.

#![allow(unsafe_code, reason = "errors made on purpose, for a checker to find")]

use std::hint::black_box;

use syslet::threadlet;

use crate::util::child::Child;
use crate::util::pipe::Pipe;
use crate::util::{attached, hand_off};

/// Reads a byte that was freed.
fn use_after_free() {
    let bytes = black_box(vec![1u8; 64]);
    let first = bytes.as_ptr();
    drop(bytes);
    // SAFETY: none: see the header.
    black_box(unsafe { first.read_volatile() });
}

/// Reads behind the end of an array on the running stack.
fn overrun_on_stack() {
    let bytes = black_box([1u8; 64]);
    let end = black_box(64);
    // SAFETY: none: see the header.
    black_box(unsafe { bytes.as_ptr().add(end).read_volatile() });
}

/// Expects that `body` ends by a report of `error`.
fn reports(path: &str, error: &str, body: fn()) {
    let ended = Child::new().run(path, body).expect("this is the parent");
    let report = format!("ERROR: AddressSanitizer: {error}");
    assert!(ended.code != Some(0) && ended.stderr.contains(&report), "not found: {ended:#?}");
}

/// The same on a guest, after a handoff.
fn on_guest(error: fn()) {
    attached(move || {
        hand_off();
        error();
    });
}

/// The same in a closure whose guest has gone on.
fn in_closure(error: fn()) {
    attached(move || {
        let pipe = Pipe::new();
        let other = pipe.clone();
        let away = threadlet(move || {
            other.get();
            error();
        });
        pipe.put(0);
        away.join();
    });
}

#[test]
fn use_after_free_on_a_guest_is_found() {
    let path = "sanitizer::use_after_free_on_a_guest_is_found";
    reports(path, "heap-use-after-free", || on_guest(use_after_free));
}

#[test]
fn use_after_free_in_a_closure_is_found() {
    let path = "sanitizer::use_after_free_in_a_closure_is_found";
    reports(path, "heap-use-after-free", || in_closure(use_after_free));
}

#[test]
fn overrun_of_a_guests_stack_is_found() {
    let path = "sanitizer::overrun_of_a_guests_stack_is_found";
    reports(path, "stack-buffer-overflow", || on_guest(overrun_on_stack));
}

#[test]
fn overrun_of_a_crew_threads_stack_is_found() {
    let path = "sanitizer::overrun_of_a_crew_threads_stack_is_found";
    reports(path, "stack-buffer-overflow", || in_closure(overrun_on_stack));
}
