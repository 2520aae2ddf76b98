//! Calls whose answer is told where it comes in.

#![allow(unsafe_code, reason = "makes system calls")]

use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use syslet::Call;
use syslet_dropin::call::{Started, start};

const PATIENCE: Duration = Duration::from_secs(60);

fn read_one(from: &impl AsRawFd) -> (Call, &'static mut [u8; 1]) {
    let buffer = Box::leak(Box::new([0u8; 1])); // the call may outlive the test
    let args = [from.as_raw_fd() as usize, buffer.as_mut_ptr() as usize, 1];
    (Call::new(libc::SYS_read as usize, args), buffer)
}

#[test]
fn an_answer_that_is_there_is_told_to_nobody_else() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"x").expect("there is room");
    let (call, buffer) = read_one(&reader);
    // SAFETY: the buffer is leaked, the pipe lives on.
    let started = unsafe { start(call, || |_| panic!("told although it was there")) };
    assert!(matches!(started, Started::Done(ret) if ret.raw() == 1), "{started:?}");
    assert_eq!(buffer, b"x");
}

#[test]
fn an_answer_that_comes_late_is_told_once() {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let (call, buffer) = read_one(&reader);
    let (tell, told) = channel();
    // SAFETY: the buffer is leaked, the pipe lives on.
    let started =
        unsafe { start(call, || move |ret: syslet::Ret| tell.send(ret.raw()).unwrap_or(())) };
    assert!(matches!(started, Started::Pending(_)), "{started:?}");
    writer.write_all(b"x").expect("there is room");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
    let gone = Err(RecvTimeoutError::Disconnected);
    assert_eq!(told.recv_timeout(PATIENCE), gone, "the function is gone");
    assert_eq!(buffer, b"x");
}

#[test]
fn a_cancelled_call_says_so() {
    let (reader, _writer) = std::io::pipe().expect("a pipe");
    let (call, _) = read_one(&reader);
    let (tell, told) = channel();
    // SAFETY: the buffer is leaked, the pipe lives on.
    let started =
        unsafe { start(call, || move |ret: syslet::Ret| tell.send(ret.raw()).unwrap_or(())) };
    let Started::Pending(late) = started else { panic!("nothing to read") };
    late.cancel();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(-(libc::ECANCELED as isize)));
}
