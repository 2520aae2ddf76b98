//! Beginning requests, on the program's thread.

#![allow(unsafe_code, reason = "makes the program's calls; see lib.rs")]

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use syslet::{Call, Pending, SubmitError, Submitted, hand_over, submit};
use syslet_dropin::flags::{self, STREAM, status_flags};
use syslet_dropin::report::Way;
use syslet_dropin::writes::{Write, try_now};
use syslet_sys::{arch, descriptor};

use crate::REPORT;
use crate::block::{Asked, Block};
use crate::desk::{self, Lane};
use crate::event::{self, Place};
use crate::held::Held;
use crate::list::Group;
use crate::request::{Request, What};
use crate::sigpipe::without_sigpipe;
use crate::sync::Sync;

/// Most requests that are outstanding at a time: their memory is what bounds them. Tests have fewer.
static MOST: AtomicUsize = AtomicUsize::new(1 << 20);
/// Largest `aio_reqprio`: the kernel's and glibc's AIO_PRIO_DELTA_MAX.
const PRIORITIES: c_int = 20;
/// Where the addresses of programs end, with pages of four levels: the kernel's TASK_SIZE_MAX.
const ADDRESSES: usize = (1 << 47) - 4096;

/// Requests outstanding.
pub(crate) static OUTSTANDING: AtomicUsize = AtomicUsize::new(0);

/// Why nothing was begun: an error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) c_int);

/// Begins a read.
pub(crate) fn read(block: Block, group: Option<&Arc<Group>>) -> Result<(), Refused> {
    transfer(block, What::Read, group)
}

/// Begins a write.
pub(crate) fn write(block: Block, group: Option<&Arc<Group>>) -> Result<(), Refused> {
    transfer(block, What::Write, group)
}

/// A request of a list that cannot be made: it is begun, and fails.
pub(crate) fn fail(block: Block, errno: c_int, group: Option<&Arc<Group>>) -> Result<(), Refused> {
    check(block)?;
    let event = block.asked().event;
    block.settle(-errno as isize);
    event::tell_here(&event);
    if let Some(group) = group {
        group.ended(true, Place::Program);
    }
    Ok(())
}

/// Takes what a test says of [`MOST`].
pub(crate) fn take_setting() {
    let most = std::env::var("SYSLET_TEST_AIO_MOST").ok();
    if let Some(most) = most.and_then(|most| most.parse().ok()) {
        MOST.store(most, Ordering::Relaxed);
    }
}

fn are_too_many() -> bool {
    OUTSTANDING.load(Ordering::Relaxed) >= MOST.load(Ordering::Relaxed)
}

fn check(block: Block) -> Result<(), Refused> {
    if !(0..=PRIORITIES).contains(&block.priority()) {
        block.refuse(libc::EINVAL);
        return Err(Refused(libc::EINVAL));
    }
    if are_too_many() {
        block.refuse(libc::EAGAIN);
        return Err(Refused(libc::EAGAIN));
    }
    Ok(())
}

fn transfer(block: Block, what: What, group: Option<&Arc<Group>>) -> Result<(), Refused> {
    check(block)?;
    let _held = Held::new();
    let asked = block.asked();
    let begun = REPORT.begin();
    let new = |is_stream| Request::new(block, what, asked, is_stream, begun, group.cloned());
    block.open();
    let lane = if what == What::Write { Lane::Writes } else { Lane::Reads };
    if desk::is_used(lane, asked.descriptor)
        && let Some(is_stream) = order(asked.descriptor, lane)
    {
        // Behind those that are under way.
        let request = new(is_stream);
        if desk::enter_in_order(&request) {
            start(&request);
        }
        return Ok(());
    }
    match begin_call(what, &asked) {
        Ok(answer) if answer == -(libc::ESPIPE as isize) => {
            let request = new(true);
            if desk::enter_in_order(&request) {
                start(&request);
            }
        }
        Ok(part) if what.is_short_write(&asked, part) => {
            let request = new(false);
            desk::enter(&request);
            request.goes_on(part);
        }
        Ok(answer) => {
            let ended = event::with_bad_signal(&asked.event, answer);
            block.settle(ended);
            REPORT.end(begun, what.kind(), Way::Inline, answer as i64);
            event::tell_here(&asked.event);
            if let Some(group) = group {
                group.ended(ended < 0, Place::Program);
            }
        }
        Err(pending) => {
            let request = new(is_stream(asked.descriptor));
            desk::enter(&request);
            request.follow_as_file(pending);
        }
    }
    Ok(())
}

/// Makes a transfer, or as much of it as does not wait.
fn begin_call(what: What, asked: &Asked) -> Result<isize, Pending> {
    let (call, descriptor) = (&what.call(asked), asked.descriptor);
    if asked.buffer.checked_add(asked.len).is_none_or(|end| end > ADDRESSES) {
        // The kernel says what is wrong before it does anything. A vector would be cut to size.
        let mut words = [0; 6];
        words.copy_from_slice(call.args());
        // SAFETY: clause *call*.
        return Ok(unsafe { arch::syscall(call.nr(), words) });
    }
    // O_DIRECT waits for the device also if it is asked not to. Flags that are old and lack it cost that wait.
    let flags = status_flags(descriptor);
    if is_direct(flags)
        && is_direct(descriptor::status_flags(descriptor) as c_int)
        && !syslet::is_attached()
    {
        // SAFETY: clause *call*.
        return accepted(unsafe { hand_over(*call) });
    }
    if what == What::Write
        && let Some(answer) = write_now(asked, flags)
    {
        return Ok(answer);
    }
    // SAFETY: clause *call*.
    accepted(unsafe { submit(*call) })
}

fn is_direct(flags: c_int) -> bool {
    flags >= 0 && flags & libc::O_DIRECT != 0
}

/// A buffered write on the spot, if that is wise. Not behind one that is under way, for which it might wait.
fn write_now(asked: &Asked, flags: c_int) -> Option<isize> {
    let descriptor = asked.descriptor;
    if flags < 0
        || flags & STREAM != 0
        || asked.offset < 0
        || syslet::is_attached()
        || desk::is_used(Lane::Writes, descriptor)
        || !is_within_limit(asked, flags)
    {
        return None;
    }
    let write = Write {
        descriptor,
        address: asked.buffer,
        len: asked.len,
        position: asked.offset as u64,
        rw_flags: 0,
        flags,
    };
    // SAFETY: clause *call*.
    unsafe { try_now(&write) }
}

/// Who writes behind RLIMIT_FSIZE gets SIGXFSZ, which would end the program; the C library's threads block it.
fn is_within_limit(asked: &Asked, flags: c_int) -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes the structure, which is live.
    if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } != 0 {
        return false;
    }
    let end = asked.offset as u64 + asked.len as u64;
    let appends = flags & libc::O_APPEND != 0; // to who knows where
    limit.rlim_cur == libc::RLIM_INFINITY || (!appends && end <= limit.rlim_cur)
}

/// The answer, or what is to be waited for. Nothing that is asked for here is refused: reads, writes and syncs may be
/// made on any thread.
pub(crate) fn accepted(submitted: Result<Submitted, SubmitError<Call>>) -> Result<isize, Pending> {
    match submitted.expect("a transfer may be made on any thread") {
        Submitted::Done(ret) => Ok(ret.raw()),
        Submitted::Pending(pending) => Err(pending),
    }
}

/// Whether what is in this lane takes effect in the order in which it is asked for: none, if it does not; else
/// whether that is because the descriptor has no position.
fn order(descriptor: c_int, lane: Lane) -> Option<bool> {
    let flags = descriptor::status_flags(descriptor);
    if flags < 0 {
        return None;
    }
    let appends = lane == Lane::Writes && flags as c_int & libc::O_APPEND != 0;
    let is_stream = is_stream(descriptor);
    (appends || is_stream).then_some(is_stream)
}

/// True if a descriptor has no position. An eventfd may be sought in, but not read from at a position.
fn is_stream(descriptor: c_int) -> bool {
    flags::is_stream(descriptor) || !descriptor::is_seekable(descriptor)
}

/// Begins a sync: after all that was asked for before on this descriptor.
pub(crate) fn sync(block: Block, sync: Sync) -> Result<(), Refused> {
    let asked = block.asked();
    if descriptor::status_flags(asked.descriptor) < 0 {
        return Err(Refused(libc::EBADF));
    }
    if are_too_many() {
        return Err(Refused(libc::EAGAIN));
    }
    let _held = Held::new();
    block.open();
    let request = Request::new(block, What::Sync(sync), asked, false, REPORT.begin(), None);
    if desk::enter_behind(&request) {
        start(&request);
    }
    Ok(())
}

/// Has the engine make a request that is on the desk. On the program's thread.
fn start(request: &Arc<Request>) {
    match make(request) {
        Ok(answer) => request.came(answer, Place::Program),
        Err(pending) => request.follow(pending),
    }
}

/// Has a crew thread begin a request whose turn has come. If it ends there, so does what waited for it: a sync behind a
/// sync, say, without another hop.
pub(crate) fn start_later(request: Arc<Request>) {
    event::later(move || {
        let mut turn = Some(request);
        while let Some(request) = turn.take() {
            match make(&request) {
                Ok(answer) => {
                    let mut next = request.answered(answer, Place::Elsewhere).into_iter();
                    turn = next.next();
                    next.for_each(start_later);
                }
                Err(pending) => request.follow(pending),
            }
        }
    });
}

fn make(request: &Request) -> Result<isize, Pending> {
    let call = request.call();
    accepted(if request.is_stream() {
        // SAFETY: clause *call*.
        let begin = || unsafe { hand_over(call) };
        if request.what == What::Write { without_sigpipe(begin) } else { begin() }
    } else {
        // On a crew thread this is the plain call, which is what is wanted: it has its thread already.
        // SAFETY: clause *call*.
        unsafe { submit(call) }
    })
}
