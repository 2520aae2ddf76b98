//! The works that asynchronous I/O of the kernel, or of the C library, has functions for.
//!
//! # Safety
//!
//! As in `raw.rs`: clause *memory*. Control blocks lie in boxes of their owner, which waits for each before it goes
//! on, also if it fails.

#![allow(unsafe_code, reason = "aio(7), and the system calls of the kernel's AIO")]

use std::io;
use std::ptr;

use syslet_sys::arch;

use super::files::Targets;
use super::raw::{checked, whole};
use crate::options::CompareWork;

/// What both are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Read,
    Write,
    Sync,
}

impl Request {
    /// The steps of a work.
    fn of(work: CompareWork) -> &'static [Self] {
        match work {
            CompareWork::Write4k => &[Self::Write],
            CompareWork::Fsync => &[Self::Write, Self::Sync],
            _ => &[Self::Read],
        }
    }

    /// Where in the file it begins.
    fn place(self, targets: &Targets, work: CompareWork) -> u64 {
        match self {
            Self::Read => targets.read_at(work),
            Self::Write => targets.write_at(work),
            Self::Sync => 0,
        }
    }

    /// An answer that is not this request's.
    fn check(self, answer: isize, work: CompareWork) -> io::Result<()> {
        let moved = checked(answer)?;
        if self == Self::Sync { Ok(()) } else { whole(moved, work) }
    }
}

/// A request to the kernel: `struct iocb` of `linux/aio_abi.h`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Block {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    result_fd: u32,
}

/// An answer of the kernel: `struct io_event`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Event {
    data: u64,
    block: u64,
    result: i64,
    result2: i64,
}

/// A context of the kernel's AIO.
#[derive(Debug)]
pub(super) struct Kernel {
    context: usize,
    targets: &'static Targets,
    blocks: Box<[Block]>,
    events: Box<[Event]>,
    /// Answers that were in its ring, since that was last asked.
    in_ring: u64,
}

/// What the kernel has at a context's address: the beginning of `struct aio_ring`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct RingHead {
    id: u32,
    room: u32,
    head: u32,
    tail: u32,
    magic: u32,
}

/// Its magic number.
const AIO_RING_MAGIC: u32 = 0xa10a_10a1;

impl Kernel {
    pub(super) fn new(targets: &'static Targets, depth: usize) -> io::Result<Self> {
        let mut context = 0usize;
        let address = (&raw mut context).expose_provenance();
        // SAFETY: the kernel writes the word during the call.
        checked(unsafe {
            arch::syscall(libc::SYS_io_setup as usize, [depth, address, 0, 0, 0, 0])
        })?;
        let (blocks, events) = (vec![Block::default(); depth], vec![Event::default(); depth]);
        let (blocks, events) = (blocks.into(), events.into());
        Ok(Self { context, targets, blocks, events, in_ring: 0 })
    }

    /// Answers that were in its ring, since this was last asked.
    pub(super) fn in_ring(&mut self) -> u64 {
        std::mem::take(&mut self.in_ring)
    }

    /// How far its ring is filled, and how much room there is in it.
    fn tail(&self) -> (u32, u32) {
        let head = ptr::with_exposed_provenance::<RingHead>(self.context);
        // SAFETY: a context is the address of its ring, which is mapped until it is destroyed.
        let head = unsafe { head.read_volatile() };
        if head.magic == AIO_RING_MAGIC { (head.tail, head.room.max(1)) } else { (0, 1) }
    }

    /// Does the work once in each slot.
    pub(super) fn together(&mut self, work: CompareWork) -> io::Result<()> {
        for &request in Request::of(work) {
            self.step(request, work)?;
        }
        Ok(())
    }

    fn step(&mut self, request: Request, work: CompareWork) -> io::Result<()> {
        for (at, block) in self.blocks.iter_mut().enumerate() {
            let opcode = match request {
                Request::Read => 0,
                Request::Write => 1,
                Request::Sync => 2,
            };
            *block = Block { opcode, fd: self.targets.fd_of(work) as u32, ..Block::default() };
            if request != Request::Sync {
                block.buffer = self.targets.slot(at).memory as u64;
                block.bytes = work.bytes() as u64;
                block.offset = request.place(self.targets, work) as i64;
            }
        }
        let (before, room) = self.tail();
        let addresses: Vec<_> = self.blocks.iter().map(ptr::from_ref).collect();
        let (count, address) = (addresses.len(), addresses.as_ptr().expose_provenance());
        let args = [self.context, count, address, 0, 0, 0];
        // SAFETY: clause *memory*; blocks and their addresses are read during the call.
        let begun = checked(unsafe { arch::syscall(libc::SYS_io_submit as usize, args) })?;
        let events = self.events.as_mut_ptr().expose_provenance();
        let args = [self.context, begun, begun, events, 0, 0];
        // SAFETY: there is room for as many events as there are blocks.
        let ended = checked(unsafe { arch::syscall(libc::SYS_io_getevents as usize, args) })?;
        if (begun, ended) != (count, count) {
            return Err(io::Error::other("the kernel has taken, or answered, fewer than all"));
        }
        self.in_ring += u64::from((self.tail().0 + room - before) % room);
        self.events.iter().try_for_each(|event| request.check(event.result as isize, work))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        // SAFETY: a number.
        unsafe { arch::syscall(libc::SYS_io_destroy as usize, [self.context, 0, 0, 0, 0, 0]) };
    }
}

/// The C library's AIO.
#[derive(Debug)]
pub(super) struct Posix {
    targets: &'static Targets,
    blocks: Box<[libc::aiocb]>,
}

// SAFETY: the addresses in control blocks are written before each use, on the thread that has it.
unsafe impl Send for Posix {}

impl Posix {
    pub(super) fn new(targets: &'static Targets, depth: usize) -> Self {
        // SAFETY: zeroes are a control block.
        let blocks = (0..depth).map(|_| unsafe { std::mem::zeroed() }).collect();
        Self { targets, blocks }
    }

    /// Does the work once in each slot.
    pub(super) fn together(&mut self, work: CompareWork) -> io::Result<()> {
        for &request in Request::of(work) {
            self.step(request, work)?;
        }
        Ok(())
    }

    fn step(&mut self, request: Request, work: CompareWork) -> io::Result<()> {
        let begun: Vec<_> =
            (0..self.blocks.len()).map(|at| self.begin(at, request, work)).collect();
        let mut answers = Vec::new();
        // All that was begun is waited for, whatever became of the others.
        for (block, begun) in self.blocks.iter_mut().zip(begun) {
            answers.push(begun.and_then(|()| request.check(finish(block)?, work)));
        }
        answers.into_iter().collect()
    }

    fn begin(&mut self, at: usize, request: Request, work: CompareWork) -> io::Result<()> {
        let block = &mut self.blocks[at];
        block.aio_fildes = self.targets.fd_of(work);
        block.aio_buf = ptr::with_exposed_provenance_mut(self.targets.slot(at).memory);
        block.aio_nbytes = work.bytes();
        block.aio_offset = request.place(self.targets, work) as i64;
        block.aio_sigevent.sigev_notify = libc::SIGEV_NONE;
        let answer = match request {
            // SAFETY: clause *memory*; the block stays where it is until it has ended.
            Request::Read => unsafe { libc::aio_read(block) },
            // SAFETY: as above.
            Request::Write => unsafe { libc::aio_write(block) },
            // SAFETY: as above.
            Request::Sync => unsafe { libc::aio_fsync(libc::O_SYNC, block) },
        };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Waits for a request; its result.
fn finish(block: &mut libc::aiocb) -> io::Result<isize> {
    let list = [ptr::from_ref(block)];
    loop {
        // SAFETY: it was begun and stays where it is.
        match unsafe { libc::aio_error(block) } {
            libc::EINPROGRESS => {
                // SAFETY: as above; interrupted, it is asked again.
                unsafe { libc::aio_suspend(list.as_ptr(), 1, ptr::null()) };
            }
            0 => {
                // SAFETY: it has ended, and is asked once.
                return Ok(unsafe { libc::aio_return(block) });
            }
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}
