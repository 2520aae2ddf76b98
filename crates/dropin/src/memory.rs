//! Memory that programs name, which may not be there: looked at before it is used, so that a bad address is an
//! answer (`EFAULT`) as it is from the kernel, and not a crash.
//!
//! A system call that does nothing but read or write a word says whether it is there. What another thread
//! unmaps between that and the use faults, as it does in the program's own code.
//!
//! A look is a system call, which costs as much as half a read from the cache. What is used with every operation is
//! looked at once for each page and thread ([`read_known`], [`writable_known`]): memory that was there and has
//! been unmapped since is not found to be bad.
//!
//! # Safety
//!
//! Clause *memory*: what is mapped at an address that a program passes is the program's to pass, and of the type
//! that the interface says. Types are plain ([`Plain`]), so any bits are a value.

#![allow(unsafe_code, reason = "reads and writes where programs say; see the header")]

use std::cell::Cell;

use syslet_sys::memory::{PAGE, is_readable, is_writable};

/// Nothing is there, or it may not be used so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;

/// Types that any bits are a value of, without padding that matters.
///
/// # Safety
///
/// Every pattern of bits is a value.
pub unsafe trait Plain: Copy {}

// SAFETY: numbers, and structures of numbers only.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for usize {}
// SAFETY: as above.
unsafe impl Plain for syslet_sys::uapi::Timespec {}
// SAFETY: as above.
unsafe impl Plain for syslet_sys::uapi::Iocb {}
// SAFETY: as above.
unsafe impl Plain for syslet_sys::uapi::IoEvent {}
// SAFETY: an array of values.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Reads a value at any address, aligned or not.
///
/// # Errors
///
/// If it cannot be read.
///
/// # Safety
///
/// Clause *memory*.
#[inline]
pub unsafe fn read<T: Plain>(address: usize) -> Result<T, Fault> {
    readable(address, size_of::<T>())?;
    // SAFETY: it was looked at; the type is plain; the rest is the duty of this function.
    Ok(unsafe { (address as *const T).read_unaligned() })
}

/// Writes a value at any address.
///
/// # Errors
///
/// If it cannot be written to.
///
/// # Safety
///
/// Clause *memory*.
#[inline]
pub unsafe fn write<T: Plain>(address: usize, value: T) -> Result<(), Fault> {
    writable(address, size_of::<T>())?;
    // SAFETY: it was looked at, and the duty of this function.
    unsafe { (address as *mut T).write_unaligned(value) };
    Ok(())
}

/// Whether `len` bytes at `address` can be read now, as the kernel sees it: a system call for each page.
///
/// # Errors
///
/// If not.
pub fn readable(address: usize, len: usize) -> Result<(), Fault> {
    is_readable(address, len).then_some(()).ok_or(Fault)
}

/// Whether `len` bytes at `address` can be written to now: a system call for each page.
///
/// # Errors
///
/// If not.
pub fn writable(address: usize, len: usize) -> Result<(), Fault> {
    is_writable(address, len).then_some(()).ok_or(Fault)
}

/// Pages that a thread knows to be good for something, by the low bits of their numbers.
#[derive(Debug)]
pub struct Pages([Cell<usize>; PAGES]);

const PAGES: usize = 64;

impl Pages {
    /// None yet.
    #[allow(clippy::new_without_default, reason = "it is for thread-locals")]
    pub const fn new() -> Self {
        Self([const { Cell::new(0) }; PAGES])
    }

    /// Asks `really` whether memory is good, unless it is in a page that is known to be.
    ///
    /// # Errors
    ///
    /// Those of `really`.
    #[inline]
    pub fn look<E>(
        &self,
        address: usize,
        len: usize,
        really: fn(usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let page = address / PAGE;
        let known = &self.0[page % PAGES];
        let last = address.wrapping_add(len.max(1)).wrapping_sub(1) / PAGE;
        if known.get() == page && page == last && page != 0 {
            return Ok(());
        }
        really(address, len)?;
        known.set(page);
        Ok(())
    }
}

struct Known {
    readable: Pages,
    writable: Pages,
}

thread_local! {
    static KNOWN: Known = const { Known { readable: Pages::new(), writable: Pages::new() } };
}

/// As [`read`], of pages that this thread has not found good before.
///
/// # Errors
///
/// If it cannot be read.
///
/// # Safety
///
/// Clause *memory*, and that pages which were given to the function before are still there.
#[inline]
pub unsafe fn read_known<T: Plain>(address: usize) -> Result<T, Fault> {
    KNOWN.with(|known| known.readable.look(address, size_of::<T>(), readable))?;
    // SAFETY: it was looked at; the type is plain; the rest is the duty of this function.
    Ok(unsafe { (address as *const T).read_unaligned() })
}

/// As [`writable`], of pages that this thread has not found good before.
///
/// # Errors
///
/// If not.
#[inline]
pub fn writable_known(address: usize, len: usize) -> Result<(), Fault> {
    KNOWN.with(|known| known.writable.look(address, len, writable))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages, the second of which nobody may touch; the end of the first.
    fn edge(protection: i32) -> usize {
        const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 2 * PAGE, BOTH, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        let second = at.wrapping_byte_add(PAGE);
        // SAFETY: of that memory, which nobody uses.
        assert_eq!(unsafe { libc::mprotect(second, PAGE, protection) }, 0);
        second as usize
    }

    #[test]
    fn what_is_not_there_is_said_to_be() {
        let edge = edge(libc::PROT_NONE);
        // SAFETY: the test's memory.
        assert_eq!(unsafe { read::<u64>(edge - 8) }, Ok(0));
        // SAFETY: as above.
        assert_eq!(unsafe { read_known::<u64>(edge - 8) }, Ok(0));
        // SAFETY: its end is not there, though its page is known.
        assert_eq!(unsafe { read_known::<u64>(edge - 4) }, Err(Fault));
        for bad in
            [0, 8, edge - 4, edge, usize::MAX - 3, usize::MAX - 7, 1 << 63, 0xffff_8000_0000_0000]
        {
            // SAFETY: nothing is there.
            assert_eq!(unsafe { read::<u64>(bad) }, Err(Fault), "{bad:#x}");
            // SAFETY: as above.
            assert_eq!(unsafe { read_known::<u64>(bad) }, Err(Fault), "{bad:#x}");
            // SAFETY: as above.
            assert_eq!(unsafe { write(bad, 1u64) }, Err(Fault), "{bad:#x}");
        }
    }

    #[test]
    fn what_may_only_be_read_is_not_written() {
        let edge = edge(libc::PROT_READ);
        // SAFETY: the test's memory.
        assert_eq!(unsafe { read::<u64>(edge) }, Ok(0));
        // SAFETY: as above.
        assert_eq!(unsafe { write(edge - 4, 1u64) }, Err(Fault));
        // SAFETY: as above.
        assert_eq!(unsafe { write(edge - 8, 1u64) }, Ok(()));
    }
}
