//! The kernel's own asynchronous I/O, of which only the polls are used: a poll that is armed by one
//! call, holds its file by itself, and reports into memory. A context is not a descriptor.
//!
//! `io_setup(2)`, `io_submit(2)`; `IOCB_CMD_POLL` since Linux 4.18.

#![allow(unsafe_code, reason = "system calls that keep addresses")]

use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch::syscall;
use crate::uapi::{IOCB_POLL, IoEvent, Iocb, Timespec, nr};

/// A context: the address of its ring in this memory, 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context(usize);

impl Context {
    /// Makes a context for `capacity` polls at a time; the kernel rounds up.
    ///
    /// # Errors
    ///
    /// `-errno`: `EAGAIN` beyond `fs.aio-max-nr`, `ENOSYS` or `EPERM` where it is forbidden.
    pub fn new(capacity: u32) -> Result<Self, isize> {
        let mut context = 0usize;
        let args = [capacity as usize, &raw mut context as usize, 0, 0, 0, 0];
        // SAFETY: the kernel maps its ring where nothing is, and writes the word, which is live.
        let answer = unsafe { syscall(nr::IO_SETUP, args) };
        if answer < 0 { Err(answer) } else { Ok(Self(context)) }
    }

    /// Ends the context.
    ///
    /// **Blocking**: until what was armed in it has ended.
    pub fn destroy(self) {
        // SAFETY: reads and writes no memory of the program's; the kernel unmaps its own ring.
        unsafe { syscall(nr::IO_DESTROY, [self.0, 0, 0, 0, 0, 0]) };
    }

    /// Arms the poll that `iocb` describes. Once: it must be armed again after its event.
    ///
    /// # Errors
    ///
    /// `-errno`: `EAGAIN` if the context is full, `EBADF`, `EPERM`/`EINVAL` for what cannot be polled.
    ///
    /// # Safety
    ///
    /// `iocb` stays where it is, unchanged, until its event was taken.
    pub unsafe fn arm(self, iocb: *const Iocb) -> Result<(), isize> {
        let one = [iocb];
        let args = [self.0, 1, one.as_ptr() as usize, 0, 0, 0];
        // SAFETY: the kernel reads the array and the block; the rest is the caller's duty.
        let answer = unsafe { syscall(nr::IO_SUBMIT, args) };
        if answer == 1 { Ok(()) } else { Err(answer) }
    }

    /// Takes back the poll of `iocb`. Its event comes in any case.
    ///
    /// # Safety
    ///
    /// `iocb` was armed here, or is at least readable.
    pub unsafe fn disarm(self, iocb: *const Iocb) {
        let mut unused = IoEvent::default();
        let args = [self.0, iocb as usize, &raw mut unused as usize, 0, 0, 0];
        // SAFETY: the kernel reads the block's key and may write the event, both live.
        unsafe { syscall(nr::IO_CANCEL, args) };
    }

    /// Takes events, at least `least` of them unless the time is over; returns how many, or
    /// `-errno`.
    ///
    /// **Blocking**: as said.
    pub fn events(self, least: usize, events: &mut [IoEvent], timeout: Option<&Timespec>) -> isize {
        let timeout = timeout.map_or(0, |t| t as *const Timespec as usize);
        let args = [self.0, least, events.len(), events.as_mut_ptr() as usize, timeout, 0];
        // SAFETY: the kernel writes at most as many events as there is room for.
        unsafe { syscall(nr::IO_GETEVENTS, args) }
    }
}

/// What the kernel maps at a context's address (fs/aio.c: `struct aio_ring`).
#[repr(C)]
#[derive(Debug)]
struct Ring {
    id: u32,
    /// Room for events.
    len: u32,
    /// Where the next event is taken.
    head: AtomicU32,
    /// Where the next event is put.
    tail: AtomicU32,
    magic: u32,
    compat_features: u32,
    incompat_features: u32,
    header_length: u32,
}

const RING_MAGIC: u32 = 0xa10a_10a1;

impl Context {
    /// Takes the next event from the ring's memory, without a system call; none if there is none, or
    /// if the ring is not one that we know.
    ///
    /// # Safety
    ///
    /// Nobody else takes events of this context meanwhile, be it by this or by
    /// [`events`](Self::events).
    pub unsafe fn pop(self) -> Option<IoEvent> {
        let ring = self.0 as *const Ring;
        // SAFETY: the context's ring, mapped for as long as the context lives, which is for good.
        let ring = unsafe { &*ring };
        if ring.magic != RING_MAGIC || ring.incompat_features != 0 {
            return None;
        }
        let head = ring.head.load(Ordering::Relaxed);
        // Acquire: pairs with the kernel's barrier between the event and the tail.
        if head == ring.tail.load(Ordering::Acquire) {
            return None;
        }
        let events = (self.0 + ring.header_length as usize) as *const IoEvent;
        // SAFETY: within the ring, which has `len` events.
        let event = unsafe { events.add((head % ring.len) as usize) };
        // SAFETY: it was written before the tail passed it.
        let event = unsafe { event.read() };
        // Release: the event is read before the kernel may put another one there.
        ring.head.store((head + 1) % ring.len, Ordering::Release);
        Some(event)
    }
}

impl Iocb {
    /// A poll of `descriptor` for `events` (`POLLIN` ...), whose event will carry `data`.
    pub const fn poll(descriptor: i32, events: u32, data: u64) -> Self {
        Self {
            data,
            key: 0,
            rw_flags: 0,
            opcode: IOCB_POLL,
            priority: 0,
            descriptor: descriptor as u32,
            buf: events as u64,
            nbytes: 0,
            offset: 0,
            reserved: 0,
            flags: 0,
            resfd: 0,
        }
    }
}
