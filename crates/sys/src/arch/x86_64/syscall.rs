//! System calls: one, one that can be cancelled, and the one that starts a task.
//!
//! # Safety
//!
//! The clauses of the folder, see `mod.rs`.

#![allow(unsafe_code, reason = "assembly: the one place for it")]

use core::arch::{asm, global_asm};
use core::sync::atomic::AtomicU32;

use super::protect::{
    syslet_sys_protected_begin, syslet_sys_protected_end, syslet_sys_protected_exit,
};
#[cfg(doc)]
use super::protected_call;
use crate::uapi;

/// Result of [`syscall_cancellable`] that was cancelled before the kernel was entered. No system
/// call returns it: their errors are -4095 to -1.
pub const CANCELLED: isize = isize::MIN;

unsafe extern "C" {
    fn syslet_sys_cancellable();
    fn syslet_sys_clone_vm(
        flags: usize,
        stack: usize,
        parent_tid: *const AtomicU32,
        child_tid: *const AtomicU32,
        run: unsafe extern "C" fn(usize) -> !,
        data: usize,
    ) -> isize;
    static syslet_sys_cancel_begin: u8;
    static syslet_sys_cancel_end: u8;
    static syslet_sys_cancel_exit: u8;
}

/// Makes system call `nr`. Returns the kernel's answer: `-errno` on failure.
///
/// # Safety
///
/// 1. What the call does to memory, through pointers among `args` or to the address space, is
///    something that the program may do at this point.
/// 2. The call may run on this kernel thread.
#[inline(always)]
pub unsafe fn syscall(nr: usize, args: [usize; 6]) -> isize {
    let result;
    // SAFETY: clause B, duties 1 and 2.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes the system call `call` (number, six arguments) unless `flag` is set.
///
/// Together with [`cancel_in_handler`] there is no window: a cancel that arrives at any instant
/// before the `syscall` instruction has begun keeps the call from being made, and one that arrives
/// later interrupts it. Returns the kernel's answer, or [`CANCELLED`].
///
/// # Safety
///
/// The duties of [`syscall`].
#[inline(always)]
pub unsafe fn syscall_cancellable(flag: &AtomicU32, call: &[usize; 7]) -> isize {
    let answer;
    // Entered and left by jumps: a return after a system call may be predicted wrongly, see `protect.rs`.
    // SAFETY: clause B: both references are valid; the call itself is the caller's duty.
    unsafe {
        asm!(
            "lea r12,[rip+2f]",
            "jmp {cancellable}",
            "2:",
            cancellable = sym syslet_sys_cancellable,
            inlateout("rdi") flag => _,
            inlateout("rsi") call => _,
            lateout("rax") answer,
            lateout("rdx") _,
            lateout("r10") _,
            lateout("r8") _,
            lateout("r9") _,
            lateout("rcx") _,
            lateout("r11") _,
            out("r12") _,
            options(nostack),
        );
    }
    answer
}

/// In a signal handler: if `context` was interrupted inside [`syscall_cancellable`] or [`protected_call`] before the
/// kernel was entered (or about to enter it again), makes it return [`CANCELLED`] and says true.
///
/// # Safety
///
/// `context` is the one that the kernel passed to the running handler.
pub unsafe fn cancel_in_handler(context: *mut uapi::UContext) -> bool {
    let windows: [[*const u8; 3]; 2] = [
        [
            &raw const syslet_sys_cancel_begin,
            &raw const syslet_sys_cancel_end,
            &raw const syslet_sys_cancel_exit,
        ],
        [
            &raw const syslet_sys_protected_begin,
            &raw const syslet_sys_protected_end,
            &raw const syslet_sys_protected_exit,
        ],
    ];
    // SAFETY: clause B: the kernel's own structure, on this thread's stack.
    let at = unsafe { &mut (*context).registers[uapi::REG_RIP] };
    let inside = windows.iter().find(|[begin, end, _]| (*begin as u64..*end as u64).contains(at));
    if let Some([_, _, exit]) = inside {
        *at = *exit as u64;
    }
    inside.is_some()
}

/// Starts a task that shares the memory of the process, on the stack that ends at `stack`, running
/// `run(data)` with a thread pointer of 0. Returns its id or `-errno`.
///
/// # Safety
///
/// 1. `flags` contain CLONE_VM and CLONE_SETTLS, and not CLONE_THREAD.
/// 2. `stack` is the 16-aligned top of a stack that belongs to the new task for good.
/// 3. `run` uses no thread-locals and never returns.
/// 4. The tid words live as long as the task.
pub unsafe fn clone_vm(
    flags: usize,
    stack: usize,
    parent_tid: &'static AtomicU32,
    child_tid: &'static AtomicU32,
    run: unsafe extern "C" fn(usize) -> !,
    data: usize,
) -> isize {
    // SAFETY: clause B, duties 1 to 4.
    unsafe { syslet_sys_clone_vm(flags, stack, parent_tid, child_tid, run, data) }
}

global_asm!(
    // rdi: *const u32 cancel flag      rsi: *const [usize; 7]: number and six arguments      r12: where to go on
    ".pushsection .text.syslet_sys_cancellable,\"ax\",@progbits",
    ".balign 16",
    ".globl syslet_sys_cancellable",
    ".hidden syslet_sys_cancellable",
    ".globl syslet_sys_cancel_begin",
    ".hidden syslet_sys_cancel_begin",
    ".globl syslet_sys_cancel_end",
    ".hidden syslet_sys_cancel_end",
    ".globl syslet_sys_cancel_exit",
    ".hidden syslet_sys_cancel_exit",
    ".type syslet_sys_cancellable,@function",
    "syslet_sys_cancellable:",
    ".cfi_startproc",
    ".cfi_def_cfa_offset 0", // jumped to
    ".cfi_register rip,r12",
    "syslet_sys_cancel_begin:",
    "cmp dword ptr [rdi],0",
    "jne syslet_sys_cancel_exit",
    "mov rax,[rsi]",
    "mov rdi,[rsi+8]",
    "mov rdx,[rsi+24]",
    "mov r10,[rsi+32]",
    "mov r8,[rsi+40]",
    "mov r9,[rsi+48]",
    "mov rsi,[rsi+16]",
    "syscall",
    "syslet_sys_cancel_end:",
    "jmp r12",
    "syslet_sys_cancel_exit:",
    "movabs rax,{cancelled}",
    "jmp r12",
    ".cfi_endproc",
    ".size syslet_sys_cancellable,.-syslet_sys_cancellable",
    ".popsection",
    // rdi: flags   rsi: stack top (16-aligned)   rdx: parent tid word   rcx: child tid word
    // r8: function   r9: its argument
    ".pushsection .text.syslet_sys_clone_vm,\"ax\",@progbits",
    ".balign 16",
    ".globl syslet_sys_clone_vm",
    ".hidden syslet_sys_clone_vm",
    ".type syslet_sys_clone_vm,@function",
    "syslet_sys_clone_vm:",
    ".cfi_startproc",
    "sub rsi,16",
    "mov [rsi],r8",
    "mov [rsi+8],r9",
    "mov r10,rcx",
    "xor r8d,r8d", // thread pointer of the child: none
    "mov eax,56",  // clone
    "syscall",
    "test rax,rax",
    "jz 3f",
    "ret",
    "3:",
    ".cfi_undefined rip",
    "xor ebp,ebp",
    "pop rax",
    "pop rdi",
    "call rax",
    "ud2",
    ".cfi_endproc",
    ".size syslet_sys_clone_vm,.-syslet_sys_clone_vm",
    ".popsection",
    cancelled = const CANCELLED,
);
