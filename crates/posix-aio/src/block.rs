//! The program's control block, `struct aiocb`, and the state of a request that is kept in it.
//!
//! State is where the C library keeps it: the error number and the answer. So asking is a load, and the fields
//! of blocks that were never used say what they say there. (See bits/types.h and aio.h of glibc.)

#![allow(unsafe_code, reason = "reads and writes the program's control blocks; see lib.rs")]

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicIsize, Ordering};

use crate::wait;

/// `union sigval`.
pub(crate) type Value = usize;

/// `struct sigevent`, 64 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) value: Value,
    pub(crate) signal: c_int,
    pub(crate) how: c_int,
    /// A function, or a thread id in the lower half.
    pub(crate) function: usize,
    /// `pthread_attr_t *`.
    pub(crate) attributes: usize,
    _rest: [usize; 4],
}

impl Event {
    /// Nobody is told.
    pub(crate) const NONE: Self = Self {
        value: 0,
        signal: 0,
        how: libc::SIGEV_NONE,
        function: 0,
        attributes: 0,
        _rest: [0; 4],
    };

    /// The thread that is to have the signal.
    pub(crate) fn thread(&self) -> c_int {
        self.function as c_int
    }
}

/// `struct aiocb`, and `struct aiocb64`, which is the same.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Aiocb {
    fildes: c_int,
    lio_opcode: c_int,
    reqprio: c_int,
    buf: *mut c_void,
    nbytes: usize,
    event: Event,
    _next_prio: usize,
    _abs_prio: c_int,
    _policy: c_int,
    /// EINPROGRESS from the request until it is over.
    error: AtomicI32,
    answer: AtomicIsize,
    offset: i64,
    _reserved: [u8; 32],
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Event>() == 64 && size_of::<Aiocb>() == 168);
    assert!(offset_of!(Aiocb, lio_opcode) == 4 && offset_of!(Aiocb, reqprio) == 8);
    assert!(offset_of!(Aiocb, buf) == 16 && offset_of!(Aiocb, nbytes) == 24);
    assert!(offset_of!(Aiocb, event) == 32 && offset_of!(Aiocb, error) == 112);
    assert!(offset_of!(Aiocb, answer) == 120 && offset_of!(Aiocb, offset) == 128);
    assert!(offset_of!(Event, how) == 12 && offset_of!(Event, function) == 16);
};

/// What a request is for, copied when it is begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) descriptor: c_int,
    pub(crate) buffer: usize,
    pub(crate) len: usize,
    pub(crate) offset: i64,
    pub(crate) event: Event,
}

/// A control block of the program's, by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block(*const Aiocb);

// SAFETY: what is shared of a block is atomic; the rest is read by the thread that begins the request.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// The block at this address, which may be null.
    ///
    /// # Safety
    ///
    /// Clause *block*, for as long as the value is used.
    pub(crate) unsafe fn new(at: *const Aiocb) -> Self {
        Self(at)
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    fn aiocb(&self) -> &Aiocb {
        // SAFETY: clause *block*. A program that passes null, or what is no block, crashes here as in the C library.
        unsafe { &*self.0 }
    }

    pub(crate) fn asked(self) -> Asked {
        let aiocb = self.aiocb();
        Asked {
            descriptor: aiocb.fildes,
            buffer: aiocb.buf as usize,
            len: aiocb.nbytes,
            offset: aiocb.offset,
            event: aiocb.event,
        }
    }

    pub(crate) fn descriptor(self) -> c_int {
        self.aiocb().fildes
    }

    /// `LIO_READ` and its like.
    pub(crate) fn operation(self) -> c_int {
        self.aiocb().lio_opcode
    }

    pub(crate) fn priority(self) -> c_int {
        self.aiocb().reqprio
    }

    /// The state: an error number, or 0.
    pub(crate) fn error(self) -> c_int {
        // Acquire: what the call wrote is there for who sees that it is over. SeqCst: pairs with `publish`.
        self.aiocb().error.load(Ordering::SeqCst)
    }

    pub(crate) fn is_in_progress(self) -> bool {
        self.error() == libc::EINPROGRESS
    }

    pub(crate) fn answer(self) -> isize {
        self.aiocb().answer.load(Ordering::Relaxed)
    }

    /// The word that changes when the request is over, to sleep on.
    pub(crate) fn word(&self) -> &AtomicI32 {
        &self.aiocb().error
    }

    /// Where the state is, in a block that may not be there any more.
    pub(crate) fn places(self) -> [usize; 2] {
        let at = [std::mem::offset_of!(Aiocb, error), std::mem::offset_of!(Aiocb, answer)];
        at.map(|at| self.0 as usize + at)
    }

    /// The request is begun.
    pub(crate) fn open(self) {
        self.aiocb().error.store(libc::EINPROGRESS, Ordering::Relaxed);
    }

    /// The request is refused: nothing was begun.
    pub(crate) fn refuse(self, errno: c_int) {
        self.aiocb().answer.store(-1, Ordering::Relaxed);
        self.aiocb().error.store(errno, Ordering::SeqCst);
    }

    /// The answer of a request that was over before anybody could wait for it.
    #[inline]
    pub(crate) fn settle(self, answer: isize) {
        let (error, value) = split(answer);
        self.aiocb().answer.store(value, Ordering::Relaxed);
        self.aiocb().error.store(error, Ordering::Release);
    }

    /// The answer of a request that was waited for. From here on the block is the program's.
    pub(crate) fn publish(self, answer: isize) {
        let (error, value) = split(answer);
        let word = std::ptr::from_ref(self.word());
        self.aiocb().answer.store(value, Ordering::Relaxed);
        // SeqCst: either who goes to sleep sees it, or is seen by `wake`.
        self.aiocb().error.store(error, Ordering::SeqCst);
        wait::wake(word);
    }
}

/// Error number and answer as aio_error(3) and aio_return(3) give them.
fn split(answer: isize) -> (c_int, isize) {
    if answer < 0 { (-answer as c_int, -1) } else { (0, answer) }
}
