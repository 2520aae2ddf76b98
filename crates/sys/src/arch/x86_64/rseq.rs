//! Where glibc says what its rseq area is.
//!
//! # Safety
//!
//! The clauses of the folder, see `mod.rs`.

#![allow(unsafe_code, reason = "assembly: the one place for it")]

/// The addresses of glibc's constants `__rseq_offset` and `__rseq_size` in a program that is linked statically, where
/// dlsym(3) finds nothing. Null before glibc 2.35, and in every other program, which can look them up.
#[cfg(target_feature = "crt-static")]
pub fn rseq_constants() -> (*const isize, *const u32) {
    let (offset, size): (*const isize, *const u32);
    // SAFETY: reads two words that the linker has written; those of a weak symbol that nobody defines are 0.
    unsafe {
        core::arch::asm!(
            ".weak __rseq_offset",
            ".weak __rseq_size",
            "mov {offset}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {size}, qword ptr [rip + __rseq_size@GOTPCREL]",
            offset = out(reg) offset,
            size = out(reg) size,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    (offset, size)
}

/// As above: they are looked up.
#[cfg(not(target_feature = "crt-static"))]
pub fn rseq_constants() -> (*const isize, *const u32) {
    (core::ptr::null(), core::ptr::null())
}
