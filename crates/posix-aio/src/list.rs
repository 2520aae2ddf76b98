//! Lists of requests: lio_listio(3).

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use syslet_sys::{futex, uapi};

use crate::begin::{self, Refused};
use crate::block::{Aiocb, Block, Event};
use crate::event::{self, Place};

/// The requests of a list.
#[derive(Debug)]
pub(crate) struct Group {
    /// Requests that are not over, and one as long as more are begun.
    left: AtomicU32,
    failed: AtomicBool,
    /// What is told when all are over.
    event: Event,
}

impl Group {
    /// One of them is over.
    pub(crate) fn ended(&self, failed: bool, place: Place) {
        if failed {
            self.failed.store(true, Ordering::Relaxed);
        }
        // AcqRel: who sees 0 sees what failed.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            futex::wake(&self.left, i32::MAX as u32);
            event::tell(&self.event, place);
        }
    }

    /// Sleeps until all are over.
    ///
    /// # Errors
    ///
    /// EINTR after a signal handler; EIO if one has failed.
    fn wait(&self) -> Result<(), c_int> {
        loop {
            match self.left.load(Ordering::Acquire) {
                0 => break,
                left => {
                    if futex::wait(&self.left, left, None) == -uapi::EINTR {
                        return Err(libc::EINTR);
                    }
                }
            }
        }
        if self.failed.load(Ordering::Relaxed) { Err(libc::EIO) } else { Ok(()) }
    }
}

/// Begins all of a list; waits for them if `waits`, else tells `event` when they are over.
///
/// # Errors
///
/// An error number: of one that could not be begun, and those of waiting.
pub(crate) fn begin(
    waits: bool,
    blocks: &[*const Aiocb],
    event: Option<Event>,
) -> Result<(), c_int> {
    let event = if waits { Event::NONE } else { event.unwrap_or(Event::NONE) };
    let group = Arc::new(Group { left: AtomicU32::new(1), failed: AtomicBool::new(false), event });
    let mut begun = 0;
    let mut refused = Ok(());
    for block in blocks {
        match begin_one(block, &group) {
            Some(Ok(())) => begun += 1,
            Some(Err(Refused(errno))) => refused = Err(errno),
            None => {}
        }
    }
    group.ended(false, Place::Program);
    if !waits || begun == 0 {
        return refused;
    }
    group.wait()?;
    refused.map_err(|_| libc::EIO)
}

/// Begins one, if there is something to do.
#[allow(unsafe_code, reason = "the program's list; see lib.rs")]
fn begin_one(block: &*const Aiocb, group: &Arc<Group>) -> Option<Result<(), Refused>> {
    // SAFETY: clause *block*.
    let block = unsafe { Block::new(*block) };
    if block.is_null() || block.operation() == libc::LIO_NOP {
        return None;
    }
    group.left.fetch_add(1, Ordering::Relaxed);
    let begun = match block.operation() {
        libc::LIO_READ => begin::read(block, Some(group)),
        libc::LIO_WRITE => begin::write(block, Some(group)),
        _ => begin::fail(block, libc::EINVAL, Some(group)),
    };
    if begun.is_err() {
        group.left.fetch_sub(1, Ordering::Relaxed);
    }
    Some(begun)
}
