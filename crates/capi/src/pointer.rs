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

use syslet_sys::memory::is_possible;

use crate::known::{self, Known};

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

    /// As [`new`](Self::new), of one that is written to, in a function that has the time to look whether it can be.
    ///
    /// # Safety
    ///
    /// See the module.
    pub(crate) unsafe fn looked_at(pointer: *mut T) -> Result<Self, c_int> {
        known::writable(pointer.addr(), size_of::<T>())?;
        Ok(Self(pointer))
    }

    /// The same, by what the thread knows: for what is called once for each operation.
    ///
    /// # Safety
    ///
    /// See the module.
    pub(crate) unsafe fn known(pointer: *mut T) -> Result<Self, c_int> {
        Known::here(|known| known.writable(pointer.addr(), size_of::<T>()))?;
        Ok(Self(pointer))
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

    /// What stands `offset` bytes into it, which is a `U`.
    #[inline(always)]
    pub(crate) fn part<U>(self, offset: usize) -> Pointer<U> {
        Pointer(self.0.wrapping_byte_add(offset).cast())
    }

    /// As [`read`](Self::read), by a load of its own.
    #[inline(always)]
    pub(crate) fn read_volatile(self) -> T
    where
        T: Copy,
    {
        // SAFETY: the duty of who made it.
        unsafe { self.0.read_volatile() }
    }

    pub(crate) fn write(self, value: T)
    where
        T: Copy,
    {
        // SAFETY: the duty of who made it.
        unsafe { self.0.write_unaligned(value) }
    }
}

/// When `timeout` nanoseconds from now will be; `None` for a negative one, which is for ever.
pub(crate) fn deadline(timeout: i64) -> Option<Instant> {
    let nanos = u64::try_from(timeout).ok()?;
    Instant::now().checked_add(Duration::from_nanos(nanos))
}

/// What a program's handle points to.
///
/// # Safety
///
/// The header's duties: null, impossible, or a `T` of the library's that is not freed while it is used.
pub(crate) unsafe fn held<'a, T>(handle: *const T) -> Result<&'a T, c_int> {
    if !is_handle(handle) {
        return Err(-libc::EFAULT);
    }
    // SAFETY: the duty of this function.
    Ok(unsafe { &*handle })
}

/// True if a `T` of the library's may be there.
pub(crate) fn is_handle<T>(handle: *const T) -> bool {
    handle.is_aligned() && is_possible(handle.addr(), size_of::<T>())
}

/// A null pointer of whatever type.
pub(crate) const fn null<T>() -> *mut T {
    ptr::null_mut()
}
