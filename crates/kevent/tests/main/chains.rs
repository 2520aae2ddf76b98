#![allow(unsafe_code, reason = "chains of system calls")]

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, channel};

use syslet::{Arg, Chain, ChainResult, Completion, StepId, When};
use syslet_kevent::{Event, Kind, Queue};

use crate::util::{one, queue, within_short};

/// A chain that reads from a pipe, and makes and closes an eventfd if there was something; and the steps.
fn reading(from: &std::io::PipeReader) -> (Chain, [StepId; 3]) {
    // What a chain may write to at any time is leaked.
    let place: &'static mut [u8; 8] = Box::leak(Box::default());
    let mut chain = Chain::new();
    let args = [from.as_raw_fd() as usize, place.as_mut_ptr() as usize, place.len()];
    let read = chain.push(libc::SYS_read as usize, args.map(Arg::Value));
    chain.stop_on(read, When::NonPositive);
    let eventfd = chain.push(libc::SYS_eventfd2 as usize, [5.into(), 0.into()]);
    let close = chain.push(libc::SYS_close as usize, [Arg::Result(eventfd)]);
    (chain, [read, eventfd, close])
}

/// Submits it; where its answers come.
fn send(queue: &Queue, id: u64, chain: Chain) -> Receiver<ChainResult> {
    let (tell, told) = channel();
    let ended = move |result: ChainResult| {
        let last = result.last().map_or(-1, |(_, ret)| ret.raw());
        tell.send(result).expect("the test waits");
        last
    };
    // SAFETY: the memory is leaked, the descriptors are its own or stay open.
    unsafe { queue.submit_chain(id, 10 * id, chain, ended) }.expect("its calls may run anywhere");
    told
}

fn check(event: &Event, id: u64, result: i64) {
    assert_eq!((event.kind(), event.id), (Some(Kind::Completion), id));
    assert_eq!((event.user_data, event.result()), (10 * id, result), "{event:?}");
}

fn the_end_of_chains_comes_to_the_queue() {
    let (queue, (from, mut to)) = (queue(), std::io::pipe().unwrap());
    let (chain, [read, eventfd, close]) = reading(&from);
    let told = send(&queue, 1, chain);
    assert_eq!(within_short(&queue), [], "it waits");
    to.write_all(b"four").unwrap();
    check(&one(&queue), 1, 0);
    let result = told.recv().unwrap();
    let raw = |step| result.ret(step).map(syslet::Ret::raw);
    assert_eq!((raw(read), raw(close)), (Some(4), Some(0)));
    assert!(raw(eventfd).is_some_and(|made| made > 0));
    // What ends at once is told in the same way.
    let mut chain = Chain::new();
    chain.push(libc::SYS_getppid as usize, []);
    let panics = |_| std::panic::resume_unwind(Box::new("as is tested, without a word"));
    // SAFETY: no memory.
    unsafe { queue.submit_chain(2, 20, chain.clone(), panics) }.unwrap();
    check(&one(&queue), 2, Completion::PANICKED as i64);
    let told = send(&queue, 3, chain);
    check(&one(&queue), 3, i64::from(std::os::unix::process::parent_id()));
    assert!(told.recv().unwrap().last().is_some());
    assert_eq!(within_short(&queue), []);
}

#[test]
fn the_end_of_chains_of_a_guest_comes_to_the_queue() {
    let _ = syslet::with_attached(the_end_of_chains_comes_to_the_queue);
}

#[test]
fn the_end_of_chains_of_the_pool_comes_to_the_queue() {
    the_end_of_chains_comes_to_the_queue();
}

#[test]
fn a_chain_is_cancelled_by_its_id() {
    let (queue, (from, to)) = (queue(), std::io::pipe().unwrap());
    let [one_told, other_told] = [1, 2].map(|id| send(&queue, id, reading(&from).0));
    // Each has begun, or the cancel finds it before: both are told.
    assert_eq!((queue.cancel(7), queue.cancel(1)), (0, 1));
    check(&one(&queue), 1, -i64::from(libc::ECANCELED));
    assert!(one_told.recv().unwrap().cancelled().is_some());
    assert_eq!(queue.cancel(1), 0, "it is over");
    drop(to);
    check(&one(&queue), 2, 0);
    assert!(other_told.recv().unwrap().stopped().is_some(), "the end of the pipe");
    assert_eq!(within_short(&queue), []);
}

/// Whoever lets go of a chain last tells of it: no end is lost or told twice.
#[test]
fn a_chain_that_is_cancelled_while_it_ends_is_told_once() {
    let queue = queue();
    for id in 1..300 {
        let (from, mut to) = std::io::pipe().unwrap();
        let told = send(&queue, id, reading(&from).0);
        std::thread::scope(|scope| {
            scope.spawn(|| to.write_all(b"!").unwrap());
            scope.spawn(|| queue.cancel(id));
            scope.spawn(|| queue.cancel(id));
        });
        let event = one(&queue);
        let result = told.recv().unwrap();
        let expected = if result.cancelled().is_some() { -i64::from(libc::ECANCELED) } else { 0 };
        check(&event, id, expected);
        assert!(queue.is_empty());
    }
}

#[test]
fn a_chain_with_a_step_that_is_refused_is_not_run() {
    let (queue, mut chain) = (queue(), Chain::new());
    let (mut from, to) = std::io::pipe().unwrap();
    let write = [to.as_raw_fd() as usize, c"!".as_ptr() as usize, 1];
    chain.push(libc::SYS_write as usize, write.map(Arg::Value));
    chain.push(libc::SYS_gettid as usize, []);
    // SAFETY: the byte is static; and it is refused.
    let sent = unsafe { queue.submit_chain(1, 0, chain, |_| panic!("it is run")) };
    assert!(sent.is_err_and(|why| why.to_string().contains("gettid")));
    assert_eq!(within_short(&queue), []);
    drop(to);
    assert_eq!(from.read(&mut [0]).unwrap(), 0, "a step before it was made");
}
