//! Whether memory that a program names is there: the kernel says, without changing anything.
//!
//! The kernel's own copies find what is not mapped. Who reads a call's memory before the kernel does asks
//! here first. What another thread unmaps after that faults, as it does in the program's own code.

#![allow(unsafe_code, reason = "two system calls that find out what is mapped")]

use core::sync::atomic::AtomicU32;

use crate::arch::syscall;
use crate::uapi::{
    EFAULT, FUTEX_OP_ADD, FUTEX_OP_CMP_EQ, FUTEX_PRIVATE, FUTEX_WAKE_OP, MASK_SIZE, nr,
};

/// The smallest page.
pub const PAGE: usize = 4096;
/// Addresses of programs end here: 47 bits, or 56 where pages have five levels.
const END: usize = 1 << 56;

/// True if an address of a program may be this, and `len` bytes from it: nothing is ever mapped in the
/// first page (`vm.mmap_min_addr`).
#[inline]
pub fn is_possible(address: usize, len: usize) -> bool {
    // One comparison where the length is known: what is in the first page wraps round.
    len <= END - PAGE && address.wrapping_sub(PAGE) <= END - PAGE - len
}

/// Whether `len` bytes at `address` can be read now. One system call for each page.
pub fn is_readable(address: usize, len: usize) -> bool {
    /// rt_sigprocmask(2) reads a mask before it looks at what is to be done with it.
    const NOTHING: usize = usize::MAX;
    each_page(address, len, |at| {
        let args = [NOTHING, at & !(MASK_SIZE - 1), 0, MASK_SIZE, 0, 0];
        // SAFETY: the kernel reads eight bytes, or says that it cannot; nothing is changed.
        let answer = unsafe { syscall(nr::RT_SIGPROCMASK, args) };
        answer != -EFAULT
    })
}

/// Whether `len` bytes at `address` can be written to now. One system call for each page.
pub fn is_writable(address: usize, len: usize) -> bool {
    /// Wakes at one word after it has changed another, here by adding 0. Sleepers at the other word are woken if it
    /// held this number: none has reason to sleep for it.
    const ADD: usize = FUTEX_OP_ADD | FUTEX_OP_CMP_EQ | 0x5a3;
    static OURS: AtomicU32 = AtomicU32::new(0);
    each_page(address, len, |at| {
        let args = [OURS.as_ptr() as usize, FUTEX_WAKE_OP | FUTEX_PRIVATE, 0, 0, at & !3, ADD];
        // SAFETY: the kernel adds 0 to the word in one step, or says that it cannot. Who is woken by it,
        // if the word holds just that number, finds it as it was.
        let answer = unsafe { syscall(nr::FUTEX, args) };
        answer != -EFAULT
    })
}

fn each_page(address: usize, len: usize, good: impl Fn(usize) -> bool) -> bool {
    if !is_possible(address, len) {
        return false;
    }
    let first = address & !(PAGE - 1);
    (first..address + len.max(1)).step_by(PAGE).all(|page| good(page.max(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn possible_is_what_lies_between_the_first_page_and_the_end() {
        let (top, all) = (END - PAGE, usize::MAX);
        for (address, len) in [(PAGE, 0), (PAGE, 8), (PAGE, top), (END - 8, 8), (END, 0)] {
            assert!(is_possible(address, len), "{address:#x} {len:#x}");
        }
        let impossible = [
            (0, 8),
            (PAGE - 1, 8),
            (PAGE, top + 1),
            (END - 7, 8),
            (all, 8),
            (all - 7, 8),
            (8, all),
        ];
        for (address, len) in impossible {
            assert!(!is_possible(address, len), "{address:#x} {len:#x}");
        }
    }
}
