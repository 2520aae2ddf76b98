//! Registers of the running kernel thread, and what the processor has.
//!
//! # Safety
//!
//! The clauses of the folder, see `mod.rs`.

#![allow(unsafe_code, reason = "assembly: the one place for it")]

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

/// The thread pointer of the running thread, which has thread-locals.
///
/// Its first word is its own address (System V ABI for x86-64, thread-local storage). So it can be read where
/// FSGSBASE is not to be had and the crew is a pool: on old machines, and under valgrind.
#[inline(always)]
pub fn thread_pointer() -> usize {
    let value;
    // SAFETY: clause B: the word that the ABI promises.
    unsafe { asm!("mov {}, fs:[0]", out(reg) value, options(nostack, preserves_flags, readonly)) };
    value
}

/// Sets the thread pointer.
///
/// # Safety
///
/// Until it is set back, nothing on this thread uses thread-locals that are not those of `value`.
#[inline(always)]
pub unsafe fn set_thread_pointer(value: usize) {
    // SAFETY: clause A; what it means for thread-locals is the caller's duty.
    unsafe { asm!("wrfsbase {}", in(reg) value, options(nostack, preserves_flags)) };
}

/// The GS base of the running thread: 0 unless the program uses it.
#[inline]
pub fn gs_base() -> usize {
    let value;
    // SAFETY: clause A; FSGSBASE is checked before the crew starts.
    unsafe { asm!("rdgsbase {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// True if user code may read and write the thread pointer (AT_HWCAP2, since Linux 5.9).
pub fn has_fsgsbase(hwcap2: u64) -> bool {
    hwcap2 & crate::uapi::HWCAP2_FSGSBASE != 0
}

/// Selector of the descriptor whose limit holds the CPU number (`__CPUNODE_SEG`, arch/x86).
const CPU_NODE_SELECTOR: u32 = 0x7b;
/// Low bits of what RDPID and that limit hold: the CPU; the rest is the NUMA node.
const CPU_MASK: u32 = 0xfff;

/// How the CPU number is read: 0 not decided, 1 RDPID, 2 segment limit.
static CPU_WAY: AtomicU32 = AtomicU32::new(0);

/// The CPU that the thread runs on, as the vDSO's `getcpu` learns it.
#[inline(always)]
pub fn current_cpu() -> u32 {
    if CPU_WAY.load(Ordering::Relaxed) == 1 {
        let value: u64;
        // SAFETY: clause A; CPUID said that the instruction is there.
        unsafe { asm!("rdpid {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
        return value as u32 & CPU_MASK;
    }
    current_cpu_by_limit()
}

#[cold]
fn current_cpu_by_limit() -> u32 {
    if CPU_WAY.load(Ordering::Relaxed) == 0 {
        let way = if cpuid(7, 0)[2] & (1 << 22) != 0 { 1 } else { 2 };
        CPU_WAY.store(way, Ordering::Relaxed);
    }
    let value: u32;
    // SAFETY: clause A; the selector is in every x86-64 kernel's GDT (arch/x86/entry/vdso).
    unsafe {
        asm!("lsl {0:e}, {1:e}", out(reg) value, in(reg) CPU_NODE_SELECTOR,
            options(nomem, nostack));
    }
    value & CPU_MASK
}

/// `eax, ebx, ecx, edx` of a CPUID leaf.
fn cpuid(leaf: u32, sub: u32) -> [u32; 4] {
    let r = core::arch::x86_64::__cpuid_count(leaf, sub);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// True if protection keys are switched on: the kernel thread has a PKRU register of its own.
pub fn has_protection_keys() -> bool {
    cpuid(0, 0)[0] >= 7 && cpuid(7, 0)[2] & (1 << 4) != 0
}

/// The PKRU register. Only where [`has_protection_keys`].
#[inline(always)]
pub fn protection_keys() -> u32 {
    let value;
    // SAFETY: clause A; callers ask `has_protection_keys` first.
    unsafe {
        asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack));
    }
    value
}

/// Sets the PKRU register. Only where [`has_protection_keys`].
///
/// # Safety
///
/// The new value does not take away access to memory that the thread goes on to use.
#[inline]
pub unsafe fn set_protection_keys(value: u32) {
    // SAFETY: clause A; what it forbids is the caller's duty.
    unsafe { asm!("wrpkru", in("ecx") 0, in("eax") value, in("edx") 0, options(nostack)) };
}

/// Time-stamp counter, not serialising.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: clause A; every x86-64 has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
