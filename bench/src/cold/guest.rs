//! A guest that submits its reads: those that are cold keep a crew thread each.
//!
//! It learns of their ends as an executor would, by wakers.
//!
//! # Safety
//!
//! A read goes to memory that is leaked (clause *memory*).

#![allow(unsafe_code, reason = "makes system calls by number, as the library's users do")]

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use syslet::{Call, Pending, Submitted};

use super::file::{Buffers, ColdFile, check};
use super::{BLOCK, Reader};
use crate::error::Trouble;

/// Reads that have ended, and the thread that wants to know.
#[derive(Debug)]
struct Ended {
    reads: Mutex<Vec<(usize, Instant)>>,
    guest: Thread,
}

/// Says that one read has ended.
#[derive(Debug)]
struct Bell {
    slot: usize,
    ended: Arc<Ended>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let now = Instant::now();
        let mut reads = self.ended.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.push((self.slot, now));
        drop(reads);
        self.ended.guest.unpark();
    }
}

/// The calling thread, which is attached.
#[derive(Debug)]
pub(super) struct Guest {
    fd: usize,
    buffers: Buffers,
    ended: Arc<Ended>,
    wakers: Vec<Waker>,
    away: Vec<Option<Pending>>,
}

impl Guest {
    pub(super) fn new(file: &ColdFile, buffers: Buffers, depth: usize) -> Self {
        let ended = Arc::new(Ended { reads: Mutex::default(), guest: thread::current() });
        let bell = |slot| Waker::from(Arc::new(Bell { slot, ended: Arc::clone(&ended) }));
        Self {
            fd: file.fd() as usize,
            buffers,
            wakers: (0..depth).map(bell).collect(),
            away: (0..depth).map(|_| None).collect(),
            ended,
        }
    }

    /// Asks whether the read is over; if not, its bell will ring.
    fn is_over(&mut self, slot: usize) -> Result<bool, Trouble> {
        let mut context = Context::from_waker(&self.wakers[slot]);
        let pending = self.away[slot].as_mut().expect("a read that is away has its handle");
        match Pin::new(pending).poll(&mut context) {
            Poll::Pending => Ok(false),
            Poll::Ready(ret) => {
                self.away[slot] = None;
                check(ret.raw()).map(|()| true)
            }
        }
    }
}

impl Reader for Guest {
    fn hand_over(&mut self, slot: usize, offset: u64) -> Result<bool, Trouble> {
        let args = [self.fd, self.buffers.address(slot), BLOCK, offset as usize];
        // SAFETY: clause *memory*.
        let submitted = unsafe { syslet::submit(Call::new(libc::SYS_pread64 as usize, args)) };
        match submitted.map_err(|error| Trouble::Refused("cold", error.to_string()))? {
            Submitted::Done(ret) => check(ret.raw()).map(|()| true),
            Submitted::Pending(pending) => {
                self.away[slot] = Some(pending);
                self.is_over(slot)
            }
        }
    }

    fn collect(&mut self, ended: &mut Vec<(usize, Instant)>) -> Result<(), Trouble> {
        while ended.is_empty() {
            let reads = &self.ended.reads;
            let mut rung =
                std::mem::take(&mut *reads.lock().unwrap_or_else(PoisonError::into_inner));
            if rung.is_empty() {
                thread::park();
            }
            for (slot, at) in rung.drain(..) {
                if self.is_over(slot)? {
                    ended.push((slot, at));
                }
            }
        }
        Ok(())
    }
}
