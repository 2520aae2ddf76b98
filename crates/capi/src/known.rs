//! Memory that C programs name in structures of the historic interfaces: looked at before it is used.
//!
//! The kernel's own copies find memory that is not there; here it is asked (`syslet_sys::memory`). What another
//! thread unmaps after that faults as it does in the program's own code. [`Known`] is for where there is no
//! time for that: it looks once for each page and thread.
//!
//! # Safety
//!
//! The header's duties: memory that is mapped is what the program says it is.

#![allow(unsafe_code, reason = "reads and writes where C programs say; see the header")]

use std::ffi::c_int;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

use syslet_dropin::memory::Pages;
use syslet_sys::memory::{is_readable, is_writable};

thread_local! {
    static HERE: Known = const { Known { readable: Pages::new(), writable: Pages::new() } };
}

/// Checks that `len` bytes at `address` can be read.
pub(crate) fn readable(address: usize, len: usize) -> Result<(), c_int> {
    if is_readable(address, len) { Ok(()) } else { Err(-libc::EFAULT) }
}

/// Checks that `len` bytes at `address` can be written to.
pub(crate) fn writable(address: usize, len: usize) -> Result<(), c_int> {
    if is_writable(address, len) { Ok(()) } else { Err(-libc::EFAULT) }
}

/// Reads a `T`, which may be at any address and have any bits.
///
/// # Safety
///
/// See the module; and every pattern of bits is a `T`.
pub(crate) unsafe fn read<T: Copy>(address: usize) -> Result<T, c_int> {
    readable(address, size_of::<T>())?;
    // SAFETY: it was looked at, and the duty of this function.
    Ok(unsafe { fetch(address) })
}

/// As [`read`], of what was looked at.
///
/// # Safety
///
/// As [`read`], and it can be read.
pub(crate) unsafe fn fetch<T: Copy>(address: usize) -> T {
    // SAFETY: the duty of this function.
    unsafe { (address as *const T).read_unaligned() }
}

/// Writes a `T`, at any address.
///
/// # Safety
///
/// See the module.
pub(crate) unsafe fn write<T: Copy>(address: usize, value: T) -> Result<(), c_int> {
    writable(address, size_of::<T>())?;
    // SAFETY: it was looked at, and the duty of this function.
    unsafe { store(address, value) };
    Ok(())
}

/// As [`write()`], where it was looked at.
///
/// # Safety
///
/// As [`write()`], and it can be written to.
pub(crate) unsafe fn store<T: Copy>(address: usize, value: T) {
    // SAFETY: the duty of this function.
    unsafe { (address as *mut T).write_unaligned(value) };
}

/// Checks that a structure at `address` can be read and written, and is aligned to `align`.
pub(crate) fn place(address: usize, len: usize, align: usize) -> Result<(), c_int> {
    if address.is_multiple_of(align) { writable(address, len) } else { Err(-libc::EINVAL) }
}

/// The same, for pages that this thread has found good before without looking again: those it knows, by the
/// low bits of their number.
#[derive(Debug)]
pub(crate) struct Known {
    readable: Pages,
    writable: Pages,
}

impl Known {
    /// Calls `f` with what the running thread knows. (Finding it takes as long as some tens of checks.)
    pub(crate) fn here<R>(f: impl FnOnce(&Self) -> R) -> R {
        HERE.with(f)
    }

    #[inline]
    pub(crate) fn writable(&self, address: usize, len: usize) -> Result<(), c_int> {
        self.writable.look(address, len, writable)
    }

    #[inline]
    pub(crate) fn readable(&self, address: usize, len: usize) -> Result<(), c_int> {
        self.readable.look(address, len, readable)
    }

    /// # Safety
    ///
    /// As [`read`].
    #[inline]
    pub(crate) unsafe fn read<T: Copy>(&self, address: usize) -> Result<T, c_int> {
        self.readable(address, size_of::<T>())?;
        // SAFETY: it was looked at, and the duty of this function.
        Ok(unsafe { fetch(address) })
    }

    #[inline]
    pub(crate) fn place(&self, address: usize, len: usize, align: usize) -> Result<(), c_int> {
        if address.is_multiple_of(align) { self.writable(address, len) } else { Err(-libc::EINVAL) }
    }
}

macro_rules! atomic {
    ($name:ident, $type:ty) => {
        /// The word at `address`, which the program may look at and change at any time.
        ///
        /// # Safety
        ///
        /// It is aligned, was found writable, and stays while it is used.
        pub(crate) unsafe fn $name<'a>(address: usize) -> &'a $type {
            // SAFETY: the duty of this function.
            unsafe { <$type>::from_ptr(address as *mut _) }
        }
    };
}

atomic!(word32, AtomicU32);
atomic!(word64, AtomicU64);
atomic!(number64, AtomicI64);
