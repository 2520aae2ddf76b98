//! Opening, reading, writing and locking: system calls that can be cancelled.
//!
//! # Safety
//!
//! Clause *owned*: each task owns the file, and its buffer or path in a [`Lent`], and looks at them only
//! before a call and after its answer.

#![allow(unsafe_code, reason = "vouches for calls and takes new descriptors; see the header")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use super::File;
use crate::call::{Call, Ret};
use crate::op::{Lent, Step, Task};
use crate::{IoBuf, IoBufMut};

/// `AT_FDCWD` as an argument.
const CWD: usize = libc::AT_FDCWD as usize;

/// openat(2).
pub(super) struct Open {
    path: Lent<CString>,
    flags: i32,
    mode: u32,
}

impl Open {
    pub(super) fn new(path: CString, flags: i32, mode: u32) -> Self {
        Self { path: Lent::new(path), flags, mode }
    }
}

// SAFETY: *owned*; a path is on the heap.
unsafe impl Task for Open {
    type Output = io::Result<File>;
    const CANCEL_IF_DROPPED: bool = false;

    fn call(&mut self) -> Call {
        let path = self.path.as_ptr() as usize;
        Call::new(libc::SYS_openat as usize, [CWD, path, self.flags as usize, self.mode as usize])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done(ret.result().map(|descriptor| {
            // SAFETY: the call has just made it, and nobody else has it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
            File::from(std::fs::File::from(descriptor))
        }))
    }
}

/// read(2) and pread(2).
pub(super) struct Read<B> {
    file: Arc<std::fs::File>,
    buf: Lent<B>,
    offset: Option<u64>,
}

impl<B: IoBufMut> Read<B> {
    pub(super) fn new(file: Arc<std::fs::File>, buf: B, offset: Option<u64>) -> Self {
        Self { file, buf: Lent::new(buf), offset }
    }
}

// SAFETY: *owned*.
unsafe impl<B: IoBufMut> Task for Read<B> {
    type Output = (io::Result<usize>, B);
    const CANCEL_IF_DROPPED: bool = false;

    fn call(&mut self) -> Call {
        let file = self.file.as_raw_fd() as usize;
        let bytes = self.buf.bytes_mut();
        let (start, len) = (bytes.as_mut_ptr() as usize, bytes.len());
        match self.offset {
            None => Call::new(libc::SYS_read as usize, [file, start, len]),
            Some(offset) => {
                Call::new(libc::SYS_pread64 as usize, [file, start, len, offset as usize])
            }
        }
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done((ret.result(), self.buf.into_inner()))
    }
}

/// The part of a write that is still to be made.
struct Rest<B> {
    file: Arc<std::fs::File>,
    buf: Lent<B>,
    written: usize,
    offset: Option<u64>,
}

impl<B: IoBuf> Rest<B> {
    fn new(file: Arc<std::fs::File>, buf: B, offset: Option<u64>) -> Self {
        Self { file, buf: Lent::new(buf), written: 0, offset }
    }

    fn left(&self) -> usize {
        self.buf.bytes().len() - self.written
    }

    fn call(&self) -> Call {
        let file = self.file.as_raw_fd() as usize;
        let bytes = &self.buf.bytes()[self.written..];
        let (start, len) = (bytes.as_ptr() as usize, bytes.len());
        match self.offset {
            None => Call::new(libc::SYS_write as usize, [file, start, len]),
            Some(offset) => {
                let offset = offset.wrapping_add(self.written as u64) as usize;
                Call::new(libc::SYS_pwrite64 as usize, [file, start, len, offset])
            }
        }
    }
}

/// write(2) and pwrite(2), once.
pub(super) struct Write<B>(Rest<B>);

impl<B: IoBuf> Write<B> {
    pub(super) fn new(file: Arc<std::fs::File>, buf: B, offset: Option<u64>) -> Self {
        Self(Rest::new(file, buf, offset))
    }
}

// SAFETY: *owned*.
unsafe impl<B: IoBuf> Task for Write<B> {
    type Output = (io::Result<usize>, B);
    const CANCEL_IF_DROPPED: bool = false;

    fn call(&mut self) -> Call {
        self.0.call()
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done((ret.result(), self.0.buf.into_inner()))
    }
}

/// write(2) and pwrite(2) until nothing is left.
pub(super) struct WriteAll<B>(Rest<B>);

impl<B: IoBuf> WriteAll<B> {
    pub(super) fn new(file: Arc<std::fs::File>, buf: B, offset: Option<u64>) -> Self {
        Self(Rest::new(file, buf, offset))
    }

    /// The buffer, if there is nothing to write.
    pub(super) fn unless_empty(self) -> Result<Self, B> {
        if self.0.left() == 0 { Err(self.0.buf.into_inner()) } else { Ok(self) }
    }

    fn done(self, result: io::Result<()>) -> Step<Self> {
        Step::Done((result, self.0.buf.into_inner()))
    }
}

// SAFETY: *owned*.
unsafe impl<B: IoBuf> Task for WriteAll<B> {
    type Output = (io::Result<()>, B);
    const CANCEL_IF_DROPPED: bool = false;

    fn call(&mut self) -> Call {
        self.0.call()
    }

    fn answer(mut self, ret: Ret) -> Step<Self> {
        match ret.result() {
            Ok(0) => self.done(Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                self.0.written += count;
                if self.0.left() == 0 { self.done(Ok(())) } else { Step::Again(self) }
            }
            Err(error) => self.done(Err(error)),
        }
    }
}

/// flock(2).
pub(super) struct Lock {
    file: Arc<std::fs::File>,
    operation: i32,
}

impl Lock {
    pub(super) fn new(file: Arc<std::fs::File>, operation: i32) -> Self {
        Self { file, operation }
    }
}

// SAFETY: *owned*.
unsafe impl Task for Lock {
    type Output = io::Result<()>;
    // A lock that nobody knows of would never be released but with the file.
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        let file = self.file.as_raw_fd() as usize;
        Call::new(libc::SYS_flock as usize, [file, self.operation as usize])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done(ret.result().map(|_| ()))
    }
}
