//! Pointers that C programs hand over.
//!
//! # Safety
//!
//! Who makes a [`Pointer`] promises the header's duty for it: if it is neither null nor impossible, it
//! points to a `T` that nobody else uses meanwhile in a way that the header forbids. Reads and writes
//! are unaligned, so that alignment is no part of that.

#![allow(unsafe_code, reason = "reads and writes where C programs say; see the header")]

use std::ffi::c_int;
use std::ptr;
use std::time::{Duration, Instant};

use syslet_sys::arch;

/// Addresses of programs end here: 47 bits, or 56 where pages have five levels.
const END: usize = 1 << 56;
/// Nothing is ever mapped below (`vm.mmap_min_addr` is 64 KiB, one page at least).
const START: usize = 4096;
pub(crate) const PAGE: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pointer<T>(*mut T);

impl<T> Clone for Pointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pointer<T> {}

// SAFETY: the duty of who made it: the header lets the library use it on any thread.
unsafe impl<T> Send for Pointer<T> {}

impl<T> Pointer<T> {
    /// # Safety
    ///
    /// See the module.
    pub(crate) unsafe fn new(pointer: *const T) -> Result<Self, c_int> {
        if is_possible(pointer.addr(), size_of::<T>()) {
            Ok(Self(pointer.cast_mut()))
        } else {
            Err(-libc::EFAULT)
        }
    }

    /// As [`new`](Self::new), of one that may be null.
    ///
    /// # Safety
    ///
    /// See the module.
    pub(crate) unsafe fn optional(pointer: *const T) -> Result<Option<Self>, c_int> {
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: the duty of this function.
        unsafe { Self::new(pointer) }.map(Some)
    }

    pub(crate) fn read(self) -> T
    where
        T: Copy,
    {
        // SAFETY: the duty of who made it.
        unsafe { self.0.read_unaligned() }
    }

    pub(crate) fn write(self, value: T)
    where
        T: Copy,
    {
        // SAFETY: the duty of who made it.
        unsafe { self.0.write_unaligned(value) }
    }
}

/// True if an address of a program may be this, and `len` bytes from it.
pub(crate) fn is_possible(address: usize, len: usize) -> bool {
    address >= START && address.checked_add(len).is_some_and(|end| end <= END)
}

/// Whether `len` bytes at `address` can be read now, page by page, as the kernel sees it.
///
/// rt_sigprocmask(2) reads a mask before it looks at what is to be done with it, which is nothing here.
pub(crate) fn is_readable(address: usize, len: usize) -> bool {
    const NOTHING: usize = usize::MAX;
    each_page(address, len, |at| {
        let args = [NOTHING, at & !7, 0, 8, 0, 0];
        // SAFETY: the kernel reads eight bytes, or says that it cannot; nothing is changed.
        let answer = unsafe { arch::syscall(libc::SYS_rt_sigprocmask as usize, args) };
        answer != -(libc::EFAULT as isize)
    })
}

/// Whether `len` bytes at `address` can be written to now.
///
/// futex(2) adds 0 to a word there.
pub(crate) fn is_writable(address: usize, len: usize) -> bool {
    const ADD_ZERO: usize = 1 << 28;
    const OP: usize = (libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG) as usize;
    each_page(address, len, |at| {
        let word = at & !3;
        let args = [word, OP, 0, 0, word, ADD_ZERO];
        // SAFETY: the kernel adds 0 to the word in one step, or says that it cannot; nobody is woken.
        let answer = unsafe { arch::syscall(libc::SYS_futex as usize, args) };
        answer != -(libc::EFAULT as isize)
    })
}

fn each_page(address: usize, len: usize, good: impl Fn(usize) -> bool) -> bool {
    if !is_possible(address, len) {
        return false;
    }
    let first = address & !(PAGE - 1);
    (first..address + len.max(1)).step_by(PAGE).all(|page| good(page.max(address)))
}

/// When `timeout` nanoseconds from now will be; `None` for a negative one, which is for ever.
pub(crate) fn deadline(timeout: i64) -> Option<Instant> {
    let nanos = u64::try_from(timeout).ok()?;
    Instant::now().checked_add(Duration::from_nanos(nanos))
}

/// A null pointer of whatever type.
pub(crate) const fn null<T>() -> *mut T {
    ptr::null_mut()
}
