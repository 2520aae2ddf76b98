//! A thread that is not attached has nobody to take over, and a hop to another thread costs ten times a
//! call: so what has a non-blocking twin is tried on the spot, and goes to the pool only if it would wait.

#![allow(unsafe_code, reason = "makes system calls, whose arguments are the caller's")]

use syslet_catalog::Twin;

use super::asking::ask;
use super::kinds::{Kind, has_no_twin, look};
use super::number::{Call, Ret};
use super::pending::Pending;
use super::route::{order, send_away};
use super::submit::Submitted;
use super::transfer::{Transfer, bytes, is_read_at};
use super::twin::{Answer, Attempt, read_transfer};
use crate::crew::{Settings, start};
use crate::park::Way;
use crate::sync::{AtomicU8, Ordering};

/// The answer of `call`, if it can be had without waiting, or what waits if only a part of it can.
///
/// # Safety
///
/// Those of `submit`.
pub(super) unsafe fn try_unattached(call: &Call) -> Option<Submitted> {
    let entry = syslet_catalog::lookup(call.nr() as u32)?;
    if entry.twin == Some(Twin::RwfNowait) {
        // SAFETY: the caller's duties.
        return unsafe { transfer(call) };
    }
    // SAFETY: as above.
    unsafe { ask(call, entry) }.map(done)
}

/// A transfer on storage.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn transfer(call: &Call) -> Option<Submitted> {
    let descriptor = call.args()[0];
    let writes = !Transfer::of(call)?.reads;
    if !writes && reads_may_lie() {
        return None;
    }
    let may_be_tried = |kind| match kind {
        Kind::StorageReads => !writes,
        Kind::StorageWithoutTwin | Kind::Device => false,
        _ => true,
    };
    // The number may name a file of another file system by now: to ask costs little beside a thread.
    if !may_be_tried(Kind::guess(descriptor)) && !may_be_tried(look(descriptor).ok()?.0) {
        return None;
    }
    let attempt = Attempt::nowait(call)?;
    // SAFETY: the caller's duties.
    let answer = unsafe { attempt.make() };
    match read_transfer(answer) {
        // SAFETY: as above.
        Answer::Final => unsafe { finished(call, answer) },
        Answer::WouldWait if is_read_at(call) => fetch(call),
        Answer::WouldWait => None,
        Answer::NoTwin => {
            has_no_twin(descriptor, writes);
            None
        }
    }
}

/// A cold read: io_uring makes it, if it is there. If not, it is from the next one on.
pub(super) fn fetch(call: &Call) -> Option<Submitted> {
    let engine = start(Settings::default()).ok()?;
    if !engine.park.disk.takes_reads() {
        engine.start_disk();
        return None;
    }
    let pending = engine.park(order(*call, Way::Disk, 0, 0), true).ok()?;
    Some(Submitted::Pending(Pending::new(pending)))
}

fn done(answer: isize) -> Submitted {
    Submitted::Done(Ret::new(answer))
}

/// The attempt has an answer. If it is short, that may be so, with a file, only because the rest was not in
/// memory.
///
/// # Safety
///
/// Those of `submit`.
unsafe fn finished(call: &Call, answer: isize) -> Option<Submitted> {
    if answer <= 0 {
        return Some(done(answer));
    }
    // SAFETY: the call has just read its vectors.
    let asked = unsafe { bytes(call) };
    if answer as usize >= asked {
        return Some(done(answer));
    }
    if is_read_at(call) {
        return None; // done again as a whole
    }
    let mut part = answer as usize;
    let transfer = Transfer::of(call)?;
    if transfer.has_position() {
        return Some(done(answer)); // a short write at a position is an answer
    }
    // Of a pipe or a socket, whose number may have been a file's, what is there is the answer.
    if transfer.reads && !Kind::is_storage_now(call.args()[0]) {
        return Some(done(answer));
    }
    if transfer.has_vectors {
        return Some(finish_away(*call, part)); // a thread finds the rest, or the end of the file
    }
    // The position has moved: only what is left may be done.
    loop {
        let mut rest = *call;
        rest.0[2] += part;
        rest.0[3] = asked - part;
        // SAFETY: the caller's duties.
        let more = unsafe { Attempt::nowait(&rest)?.make() };
        match read_transfer(more) {
            Answer::Final if more <= 0 => return Some(done(part as isize)), // the end of the file
            Answer::Final if part + more as usize >= asked => return Some(done(asked as isize)),
            Answer::Final => part += more as usize,
            Answer::WouldWait | Answer::NoTwin => return Some(finish_away(rest, part)),
        }
    }
}

/// A thread makes `call`, of which `part` is done.
fn finish_away(call: Call, part: usize) -> Submitted {
    let Ok(engine) = start(Settings::default()) else { return done(part as isize) };
    send_away(engine, call, part)
}

/// Linux 5.9 and 5.10: a read without waiting may answer 0 or too little before the end of the file.
fn reads_may_lie() -> bool {
    /// 0: nobody has looked; 1: they do not; 2: they may. Not a `OnceLock`, which a thread that is looking
    /// would leave half-done in a child that another forks.
    static LIE: AtomicU8 = AtomicU8::new(0);
    match LIE.load(Ordering::Relaxed) {
        0 => {
            let lie = kernel_is_one_of(&["5.9.", "5.10."]);
            LIE.store(if lie { 2 } else { 1 }, Ordering::Relaxed);
            lie
        }
        known => known == 2,
    }
}

/// True if the kernel's release begins with one of these, or is not known.
#[cold]
fn kernel_is_one_of(releases: &[&str]) -> bool {
    // SAFETY: all zeros is a value.
    let mut name: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: writes the structure, which is live.
    if unsafe { libc::uname(&mut name) } != 0 {
        return true;
    }
    // SAFETY: the kernel ends it with a NUL.
    let release = unsafe { std::ffi::CStr::from_ptr(name.release.as_ptr()) };
    let release = release.to_string_lossy();
    releases.iter().any(|one| release.starts_with(one))
}
