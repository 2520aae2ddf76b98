//! Memory of our own for stacks, with a guard page below.

#![allow(unsafe_code, reason = "maps and unmaps memory")]

use std::io;

/// Bytes of the guard below a mapping.
const GUARD: usize = 4096;

/// Memory of our own, with a guard page below.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: usize,
    size: usize,
}

impl Mapping {
    /// Maps `size` bytes (a multiple of the page size).
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the kernel likes it.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), size + GUARD, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the lowest page of the mapping just made.
        let guarded = unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) };
        let mapping = Self { base: base as usize, size };
        if guarded != 0 { Err(io::Error::last_os_error()) } else { Ok(mapping) }
    }

    /// Lowest usable address.
    pub(crate) fn start(&self) -> usize {
        self.base + GUARD
    }

    /// Usable bytes.
    pub(crate) fn len(&self) -> usize {
        self.size
    }

    /// The address above the highest usable one.
    pub(crate) fn top(&self) -> usize {
        self.start() + self.size
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, not used any more.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.size + GUARD) };
    }
}

#[cfg(test)]
mod tests {
    use syslet_sys::memory::is_readable;

    use super::Mapping;

    #[test]
    fn the_page_below_a_stack_cannot_be_touched() {
        let mapping = Mapping::new(64 << 10).expect("memory is there");
        assert!(is_readable(mapping.start(), mapping.len()));
        assert!(!is_readable(mapping.start() - 1, 1), "what overflows would go on below");
    }
}
