//! Work that goes away: what waits on empty sockets and pipes, by `submit` and as threadlets.

#![allow(unsafe_code, reason = "submits raw calls")]

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use syslet::{
    Arg, Attach, AttachGuard, Call, Chain, Mode as Working, Pending, PendingChain, Placement,
    Submitted, SubmittedChain, Unsupported, submit, submit_chain,
};

use crate::container::scheduling_is_denied;
use crate::runner::Mode;
use crate::sys;

/// Attaches the calling thread as the way of working says.
#[track_caller]
pub(crate) fn attach() -> AttachGuard {
    let guard = settings().attach().expect("the thread can be attached");
    let right = match guard.mode() {
        Working::Pool(Unsupported::Refused(name, libc::EPERM)) => {
            scheduling_is_denied() && name.starts_with("sched_set")
        }
        Working::Pool(Unsupported::Forced) => Mode::current() == Mode::Pool,
        mode => Mode::current() != Mode::Pool && matches!(mode, Working::Attached(_)),
    };
    assert!(right, "{:?}", guard.mode());
    let attached = matches!(guard.mode(), Working::Attached(_));
    assert_eq!(syslet::is_attached(), attached, "the thread is what the guard says");
    guard
}

/// How to attach in this way of working.
pub(crate) fn settings() -> Attach {
    match Mode::current() {
        Mode::Pinned => Attach::new().placement(Placement::Pinned(sys::affinity(0)[0])),
        Mode::Follow | Mode::Pool => Attach::new(),
    }
}

/// Makes a call whose pointers stay valid for good.
pub(crate) fn make(nr: libc::c_long, args: [usize; 6]) -> Submitted {
    // SAFETY: callers pass numbers, or pointers to leaked memory.
    let submitted = unsafe { submit(Call::new(nr as usize, args)) };
    submitted.expect("the call may be submitted")
}

/// As [`make`] for a call without pointers that may be refused.
pub(crate) fn try_make(call: Call) -> Result<Submitted, syslet::SubmitError<Call>> {
    // SAFETY: callers pass calls that must be refused, and so are not made.
    unsafe { submit(call) }
}

/// A receive that is away. It looks at all bytes that it asks for, which cannot be done in parts: so it is
/// not parked, but has a thread.
///
/// Dropped, it closes its writer, so that the receive comes to an end, but leaves its reader open for good:
/// the receive may not have begun yet, and would find another file under the number.
#[derive(Debug)]
pub(crate) struct AwayRead {
    pending: Pending,
    writer: OwnedFd,
    reader: RawFd,
    buffer: &'static std::sync::atomic::AtomicU8,
}

impl AwayRead {
    /// Submits a receive from an empty socket.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::try_new().expect("a receive from an empty socket goes away")
    }

    /// As [`new`](Self::new); `None` if a signal broke the call off before it went away.
    #[track_caller]
    pub(crate) fn try_new() -> Option<Self> {
        let (reader, writer) = sys::sockets();
        let buffer: &'static _ = Box::leak(Box::new(std::sync::atomic::AtomicU8::new(0)));
        let address = std::ptr::from_ref(buffer) as usize;
        let fd = reader.as_raw_fd() as usize;
        let flags = (libc::MSG_WAITALL | libc::MSG_PEEK) as usize;
        match make(libc::SYS_recvfrom, [fd, address, 1, flags, 0, 0]) {
            Submitted::Pending(pending) => {
                Some(Self { pending, writer, reader: reader.into_raw_fd(), buffer })
            }
            Submitted::Done(ret) if ret.errno() == Some(libc::EINTR) => None,
            Submitted::Done(ret) => panic!("a receive from an empty socket said {ret:?}"),
        }
    }

    pub(crate) fn pending(self) -> Pending {
        self.pending
    }

    /// Sends `byte` and checks that the read gets it.
    #[track_caller]
    pub(crate) fn finish(self, byte: u8) {
        assert!(!self.pending.is_done(), "the read ended before anything was written");
        assert!(sys::write_byte(self.writer.as_raw_fd(), byte));
        let deadline = Instant::now() + sys::PATIENCE;
        let ret = self.pending.wait_deadline(deadline).expect("the read ends");
        assert_eq!(ret.raw(), 1, "what the read answered");
        assert_eq!(self.buffer.load(std::sync::atomic::Ordering::SeqCst), byte);
        // SAFETY: this read's own, and the call is over.
        drop(unsafe { OwnedFd::from_raw_fd(self.reader) });
    }
}

/// One handoff, the read brought to its end. (A call for which no crew thread was left at once is queued:
/// that is none.)
#[track_caller]
pub(crate) fn hand_off() {
    let handed_off = || syslet::stats().guest.map(|guest| guest.handed_off);
    for _ in 0..100 {
        let before = handed_off();
        AwayRead::new().finish(7);
        if before.is_none() || handed_off() > before {
            return;
        }
    }
    panic!("a call that sleeps is not handed off");
}

/// Several reads that are away.
pub(crate) fn away_reads(count: usize) -> Vec<AwayRead> {
    (0..count).map(|_| AwayRead::new()).collect()
}

/// A chain that is away, in a read of an empty pipe, and the ends of the pipe.
#[track_caller]
pub(crate) fn away_chain() -> (PendingChain, [OwnedFd; 2]) {
    let (reader, writer) = sys::pipe();
    let buffer = std::ptr::from_mut(Box::leak(Box::new(0u8))) as usize;
    let mut chain = Chain::new();
    let read = [reader.as_raw_fd() as usize, buffer, 1].map(Arg::Value);
    chain.push(libc::SYS_read as usize, read);
    chain.push(libc::SYS_read as usize, read);
    // SAFETY: the buffer is leaked.
    match unsafe { submit_chain(chain) }.expect("the chain may be submitted") {
        SubmittedChain::Pending(pending) => (pending, [reader, writer]),
        SubmittedChain::Done(result) => panic!("a read of an empty pipe is over: {result:?}"),
    }
}

/// Ends the reads and checks each.
#[track_caller]
pub(crate) fn finish_all(reads: Vec<AwayRead>) {
    for (at, read) in reads.into_iter().enumerate() {
        read.finish(at as u8 | 1);
    }
}

/// A sleep of `time`, submitted: its answer, how long it took, and whether it ended inline.
pub(crate) fn submit_sleep(time: Duration) -> (isize, Duration, bool) {
    let began = Instant::now();
    let request: &'static _ = Box::leak(Box::new(sys::timespec(time)));
    let address = std::ptr::from_ref(request) as usize;
    let submitted = make(libc::SYS_nanosleep, [address, 0, 0, 0, 0, 0]);
    let inline = submitted.is_done();
    (submitted.wait().raw(), began.elapsed(), inline)
}

/// A `poll` of nothing for `time`, submitted: its answer, how long it took, and whether it ended
/// inline.
pub(crate) fn submit_poll(time: Duration) -> (isize, Duration, bool) {
    let began = Instant::now();
    let submitted = make(libc::SYS_poll, [0, 0, time.as_millis() as usize, 0, 0, 0]);
    let inline = submitted.is_done();
    (submitted.wait().raw(), began.elapsed(), inline)
}

/// A threadlet that waits for a byte from a pipe, and the pipe's write end.
pub(crate) fn away_threadlet() -> (syslet::Threadlet<Option<u8>>, OwnedFd) {
    let (reader, writer) = sys::pipe();
    (syslet::threadlet(move || sys::read_byte(reader.as_raw_fd())), writer)
}

/// Reads one byte by a submitted call, wherever that runs; `None` at the end of the file.
pub(crate) fn read_now(fd: i32) -> Option<u8> {
    let buffer = Box::leak(Box::new([0u8; 16])).as_ptr() as usize;
    loop {
        let ret = make(libc::SYS_read, [fd as usize, buffer, 1, 0, 0, 0]).wait();
        if ret.errno() != Some(libc::EINTR) {
            // SAFETY: leaked above, and the call is over.
            return (ret.raw() == 1).then(|| unsafe { (buffer as *const u8).read() });
        }
    }
}
