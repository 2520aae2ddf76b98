//! A ring of io_uring that no descriptor names. It belongs to the thread that made it, which alone gives
//! it requests and takes completions.
//!
//! `io_uring_setup(2)`, `io_uring_enter(2)`. Rings without a descriptor are of Linux 6.5, waits for a
//! futex among the requests of 6.7.

#![allow(unsafe_code, reason = "memory shared with the kernel")]

use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch::syscall;
use crate::uapi::{
    EAGAIN, EINVAL, FUTEX_BITSET_ANY, FUTEX_PRIVATE, FUTEX2_SIZE_U32, IORING_ENTER_GETEVENTS,
    IORING_ENTER_REGISTERED_RING, IORING_OP_ASYNC_CANCEL, IORING_OP_FUTEX_WAIT, IORING_OP_READ,
    IORING_OP_READV, IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_NO_MMAP, IORING_SETUP_NO_SQARRAY,
    IORING_SETUP_REGISTERED_FD_ONLY, IORING_SETUP_SINGLE_ISSUER, RingCompletion, RingOffsets,
    RingParams, RingRequest, nr,
};

/// Room for requests: what fits into a page.
pub const REQUESTS: u32 = 64;
/// Room for completions; as many requests may be in progress without the kernel having to keep any.
pub const COMPLETIONS: u32 = 2 * REQUESTS;
/// Bytes of a page.
const PAGE: usize = 4096;

/// The memory of a ring, zeroed: a page for the requests, and one for the queues' ends and the
/// completions.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Memory([u8; 2 * PAGE]);

/// See the module. Not `Send`: the kernel knows it by a place in a table of the thread.
#[derive(Debug)]
pub struct Ring {
    /// Its place in the thread's table.
    index: usize,
    requests: *mut RingRequest,
    queues: *const u8,
    request_queue: RingOffsets,
    completion_queue: RingOffsets,
    not_send: PhantomData<*mut ()>,
}

impl Ring {
    /// Makes a ring of the calling thread's in `memory`.
    ///
    /// # Errors
    ///
    /// `-errno`: `EPERM` where it is forbidden (containers, `kernel.io_uring_disabled`), `ENOSYS` or
    /// `EINVAL` where the kernel does not have it.
    ///
    /// # Safety
    ///
    /// `memory` is all zero, used for nothing else, and lives as long as the thread.
    pub unsafe fn new(memory: *mut Memory) -> Result<Self, isize> {
        let requests = memory as usize;
        let mut params = RingParams {
            flags: IORING_SETUP_SINGLE_ISSUER
                | IORING_SETUP_DEFER_TASKRUN
                | IORING_SETUP_NO_MMAP
                | IORING_SETUP_REGISTERED_FD_ONLY
                | IORING_SETUP_NO_SQARRAY,
            ..RingParams::default()
        };
        params.request_queue.user_address = requests as u64;
        params.completion_queue.user_address = (requests + PAGE) as u64;
        let args = [REQUESTS as usize, &raw mut params as usize, 0, 0, 0, 0];
        // SAFETY: the kernel writes the structure, which is live, and the memory, the caller's duty.
        let index = unsafe { syscall(nr::IO_URING_SETUP, args) };
        if index < 0 {
            return Err(index);
        }
        if (params.requests, params.completions) != (REQUESTS, COMPLETIONS) {
            return Err(-EINVAL);
        }
        Ok(Self {
            index: index as usize,
            requests: memory.cast(),
            queues: memory.cast::<u8>().wrapping_add(PAGE),
            request_queue: params.request_queue,
            completion_queue: params.completion_queue,
            not_send: PhantomData,
        })
    }

    /// The kernel's answer to `request`, the only one that the ring has, which does not wait; `-EINVAL` is that
    /// of a kernel which does not know it.
    ///
    /// # Safety
    ///
    /// As [`push`](Self::push).
    pub unsafe fn answer(&mut self, request: &RingRequest) -> isize {
        // SAFETY: the duty of this function.
        unsafe { self.push(request) };
        let entered = self.enter(true);
        match self.pop() {
            Some(completion) => completion.result as isize,
            None => entered.min(-EAGAIN),
        }
    }

    /// A word of the queues' memory.
    fn word(&self, offset: u32) -> &AtomicU32 {
        let at = self.queues.wrapping_add(offset as usize).cast::<AtomicU32>();
        // SAFETY: the kernel said that the ring's word is there; the memory lives on.
        unsafe { &*at }
    }

    /// Requests that the kernel has not taken yet.
    fn waiting(&self) -> u32 {
        let queue = &self.request_queue;
        // Relaxed: this thread writes the tail. Acquire: the kernel has read what it has taken.
        let tail = self.word(queue.tail).load(Ordering::Relaxed);
        tail.wrapping_sub(self.word(queue.head).load(Ordering::Acquire))
    }

    /// Room for requests.
    pub fn room(&self) -> u32 {
        REQUESTS - self.waiting()
    }

    /// Puts a request behind the others. Nothing happens before [`enter`](Self::enter).
    ///
    /// # Panics
    ///
    /// If there is no [`room`](Self::room).
    ///
    /// # Safety
    ///
    /// What it names in memory is valid, and unused by others, until its completion was taken.
    pub unsafe fn push(&mut self, request: &RingRequest) {
        assert!(self.room() > 0, "the caller looks for room first");
        let tail = self.word(self.request_queue.tail);
        let at = tail.load(Ordering::Relaxed);
        let place = self.requests.wrapping_add((at % REQUESTS) as usize);
        // SAFETY: within the page of the requests; the kernel has taken what was there.
        unsafe { place.write(*request) };
        // Release: the kernel reads the request after the tail.
        tail.store(at.wrapping_add(1), Ordering::Release);
    }

    /// Gives the kernel the requests. Returns its answer: how many it took, or `-errno`.
    ///
    /// **Blocking**: if `wait`, until there is a completion, or a signal handler has run.
    pub fn enter(&mut self, wait: bool) -> isize {
        let flags = IORING_ENTER_REGISTERED_RING | IORING_ENTER_GETEVENTS;
        let args = [self.index, self.waiting() as usize, usize::from(wait), flags, 0, 0];
        // SAFETY: what the requests name is the duty of `push`.
        unsafe { syscall(nr::IO_URING_ENTER, args) }
    }

    /// Takes the next completion.
    pub fn pop(&mut self) -> Option<RingCompletion> {
        let queue = &self.completion_queue;
        let head = self.word(queue.head);
        let at = head.load(Ordering::Relaxed);
        // Acquire: pairs with the kernel's release between the completion and the tail.
        if at == self.word(queue.tail).load(Ordering::Acquire) {
            return None;
        }
        let completions = self.queues.wrapping_add(queue.dropped_or_completions as usize);
        let place = completions.cast::<RingCompletion>().wrapping_add((at % COMPLETIONS) as usize);
        // SAFETY: within the ring, written before the tail passed it.
        let completion = unsafe { place.read() };
        // Release: it is read before the kernel may put another one there.
        head.store(at.wrapping_add(1), Ordering::Release);
        Some(completion)
    }
}

impl RingRequest {
    /// A read of `len` bytes at `offset`.
    pub fn read(descriptor: i32, address: usize, len: usize, offset: usize) -> Self {
        Self {
            opcode: IORING_OP_READ,
            descriptor,
            offset: offset as u64,
            address: address as u64,
            // The kernel reads at most 2^31 bytes less a page at a time.
            len: len.min(i32::MAX as usize) as u32,
            ..Self::default()
        }
    }

    /// A read of `count` vectors at `offset`, with flags of preadv2(2).
    pub fn read_vectors(
        descriptor: i32,
        vectors: usize,
        count: usize,
        offset: usize,
        flags: usize,
    ) -> Self {
        Self {
            opcode: IORING_OP_READV,
            descriptor,
            offset: offset as u64,
            address: vectors as u64,
            len: count.min(u32::MAX as usize) as u32,
            rw_flags: flags as u32,
            ..Self::default()
        }
    }

    /// Waits until `word` is woken; at once if it does not hold `value`.
    pub fn wait(word: &AtomicU32, value: u32) -> Self {
        Self {
            opcode: IORING_OP_FUTEX_WAIT,
            descriptor: FUTEX2_SIZE_U32 | FUTEX_PRIVATE as i32,
            offset: u64::from(value),
            address: word as *const AtomicU32 as u64,
            mask: FUTEX_BITSET_ANY as u64,
            ..Self::default()
        }
    }

    /// Asks the request that carries `data` to end.
    pub fn cancel(data: u64) -> Self {
        Self { opcode: IORING_OP_ASYNC_CANCEL, address: data, ..Self::default() }
    }

    /// The same, carrying `data`.
    #[must_use]
    pub const fn carrying(mut self, data: u64) -> Self {
        self.data = data;
        self
    }
}
