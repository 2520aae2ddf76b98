//! x86-64, System V ABI.
//!
//! Four things are done in assembly:
//!
//! - a system call ([`syscall`]), and one that can be cancelled without a window
//!   ([`syscall_cancellable`]);
//! - leaving a context for another stack and thread pointer ([`enter`]), and going on with one that
//!   was left ([`resume`]);
//! - starting a task that shares the memory and nothing else ([`clone_vm`]);
//! - reading and writing the registers that belong to one kernel thread.
//!
//! # Context layout
//!
//! What is saved stands on the stack of the context that was left; [`Context::sp`] points at it:
//!
//! ```text
//! sp + 0   MXCSR (4 bytes), x87 control word (2), unused (2)
//! sp + 8   r15
//! sp + 16  r14
//! sp + 24  r13
//! sp + 32  r12
//! sp + 40  rbx
//! sp + 48  rbp
//! sp + 56  return address
//! ```
//!
//! These are all registers that the ABI lets a function rely on across a call; the rest (vector
//! registers, tile registers, flags but the direction flag, which is clear) is the caller's to save.
//!
//! # Safety
//!
//! The `unsafe` blocks of this file each execute a fixed instruction sequence whose operands are
//! declared in full. Clause A: the instruction touches registers only. Clause B: the memory touched
//! is vouched for by the caller under the numbered duties of the function.

#![allow(unsafe_code, reason = "assembly: the one place for it")]

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::uapi;

/// A context that is not running: where its registers were saved, and its thread pointer.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    /// Stack pointer; the saved registers stand there (see the module's drawing).
    pub sp: usize,
    /// Thread pointer (FS base).
    pub tp: usize,
}

impl Context {
    /// A context that has not been left yet.
    pub const fn new() -> Self {
        Self { sp: 0, tp: 0 }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// What the function run by [`enter`] decided, and what [`enter`] returned with.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    value: usize,
    how: usize,
}

/// `how` of a verdict: go back to the context that was left.
const STAY: usize = 1;
/// `how` of a verdict: go on with another context, which is the value.
const LEAVE: usize = 0;
/// `how` seen by a context that somebody else resumed.
const RESUMED: usize = 2;

impl Verdict {
    /// Goes back to the context that called [`enter`], which returns `value`.
    pub const fn stay(value: usize) -> Self {
        Self { value, how: STAY }
    }

    /// Goes on with the context `next`, saved by [`resume`], on this kernel thread.
    ///
    /// The thread pointer is left as it is: `next` must be of the thread whose stack and thread
    /// pointer [`enter`] switched to.
    pub fn leave(next: *const Context) -> Self {
        Self { value: next as usize, how: LEAVE }
    }

    /// True if [`enter`] returned because its function said [`stay`](Self::stay), false if
    /// somebody else resumed the context.
    #[inline]
    pub const fn stayed(self) -> bool {
        self.how == STAY
    }

    /// What was handed over, by [`stay`](Self::stay) or by [`resume`].
    #[inline]
    pub const fn value(self) -> usize {
        self.value
    }
}

global_asm!(
    // rdi: *mut Context to save into   rsi: new stack pointer (16-aligned)   rdx: new thread pointer
    // rcx: function                    r8: its argument
    ".pushsection .text.syslet_sys_enter,\"ax\",@progbits",
    ".balign 64",
    ".globl syslet_sys_enter",
    ".hidden syslet_sys_enter",
    ".type syslet_sys_enter,@function",
    "syslet_sys_enter:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp,-16",
    "push rbx",
    ".cfi_def_cfa_offset 24",
    ".cfi_offset rbx,-24",
    "push r12",
    ".cfi_def_cfa_offset 32",
    ".cfi_offset r12,-32",
    "push r13",
    ".cfi_def_cfa_offset 40",
    ".cfi_offset r13,-40",
    "push r14",
    ".cfi_def_cfa_offset 48",
    ".cfi_offset r14,-48",
    "push r15",
    ".cfi_def_cfa_offset 56",
    ".cfi_offset r15,-56",
    "sub rsp,8",
    ".cfi_def_cfa_offset 64",
    "stmxcsr [rsp]",
    "fnstcw [rsp+4]",
    "mov [rdi],rsp", // the context is complete: from here on it may be resumed elsewhere
    ".cfi_remember_state",
    "mov rbx,rdi",
    "mov rsp,rsi",
    "wrfsbase rdx",
    ".cfi_undefined rip", // a backtrace ends at the bottom of the new stack
    "mov rdi,r8",
    "xor ebp,ebp",
    "call rcx",
    "test edx,edx",
    "jz 2f",
    // STAY: rbx is still the context, nobody else has resumed it
    "mov rcx,[rbx+8]",
    "mov rsp,[rbx]",
    ".cfi_restore_state",
    ".cfi_remember_state",
    "wrfsbase rcx",
    // A function that has changed the control words has kept no rule, but its caller shall not
    // notice: loaded only if they differ, which is dear. (Below rsp is the red zone.)
    "stmxcsr [rsp-8]",
    "fnstcw [rsp-4]",
    "mov ecx,[rsp-8]",
    "xor ecx,[rsp]",
    "test ecx,0xffc0", // all but the sticky flags
    "jnz 4f",
    "mov cx,[rsp-4]",
    "cmp cx,[rsp+4]",
    "jne 4f",
    "5:",
    "add rsp,8",
    ".cfi_def_cfa_offset 56",
    "pop r15",
    ".cfi_def_cfa_offset 48",
    "pop r14",
    ".cfi_def_cfa_offset 40",
    "pop r13",
    ".cfi_def_cfa_offset 32",
    "pop r12",
    ".cfi_def_cfa_offset 24",
    "pop rbx",
    ".cfi_def_cfa_offset 16",
    "pop rbp",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_restore_state",
    ".cfi_remember_state",
    "4:",
    "ldmxcsr [rsp]",
    "fldcw [rsp+4]",
    "jmp 5b",
    // LEAVE: rax is the context to go on with; rbx must not be used any more
    ".cfi_restore_state",
    "2:",
    "mov rsp,[rax]",
    "ldmxcsr [rsp]",
    "fldcw [rsp+4]",
    "add rsp,8",
    ".cfi_def_cfa_offset 56",
    "pop r15",
    ".cfi_def_cfa_offset 48",
    "pop r14",
    ".cfi_def_cfa_offset 40",
    "pop r13",
    ".cfi_def_cfa_offset 32",
    "pop r12",
    ".cfi_def_cfa_offset 24",
    "pop rbx",
    ".cfi_def_cfa_offset 16",
    "pop rbp",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_endproc",
    ".size syslet_sys_enter,.-syslet_sys_enter",
    ".popsection",
    // rdi: *mut Context to save into   rsi: *const Context to go on with   rdx: value it sees
    ".pushsection .text.syslet_sys_resume,\"ax\",@progbits",
    ".balign 16",
    ".globl syslet_sys_resume",
    ".hidden syslet_sys_resume",
    ".type syslet_sys_resume,@function",
    "syslet_sys_resume:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp,-16",
    "push rbx",
    ".cfi_def_cfa_offset 24",
    ".cfi_offset rbx,-24",
    "push r12",
    ".cfi_def_cfa_offset 32",
    ".cfi_offset r12,-32",
    "push r13",
    ".cfi_def_cfa_offset 40",
    ".cfi_offset r13,-40",
    "push r14",
    ".cfi_def_cfa_offset 48",
    ".cfi_offset r14,-48",
    "push r15",
    ".cfi_def_cfa_offset 56",
    ".cfi_offset r15,-56",
    "sub rsp,8",
    ".cfi_def_cfa_offset 64",
    "stmxcsr [rsp]",
    "fnstcw [rsp+4]",
    "mov [rdi],rsp",
    "mov rcx,[rsi+8]",
    "mov rsp,[rsi]", // the same frame layout: the unwind rows above stay true
    "wrfsbase rcx",
    "ldmxcsr [rsp]",
    "fldcw [rsp+4]",
    "mov rax,rdx",
    "mov edx,{resumed}",
    "add rsp,8",
    ".cfi_def_cfa_offset 56",
    "pop r15",
    ".cfi_def_cfa_offset 48",
    "pop r14",
    ".cfi_def_cfa_offset 40",
    "pop r13",
    ".cfi_def_cfa_offset 32",
    "pop r12",
    ".cfi_def_cfa_offset 24",
    "pop rbx",
    ".cfi_def_cfa_offset 16",
    "pop rbp",
    ".cfi_def_cfa_offset 8",
    "ret",
    ".cfi_endproc",
    ".size syslet_sys_resume,.-syslet_sys_resume",
    ".popsection",
    // rdi: *const u32 cancel flag      rsi: *const [usize; 7]: number and six arguments
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
    "ret",
    "syslet_sys_cancel_exit:",
    "movabs rax,{cancelled}",
    "ret",
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
    resumed = const RESUMED,
    cancelled = const CANCELLED,
);

unsafe extern "C" {
    fn syslet_sys_enter(
        save: *mut Context,
        sp: usize,
        tp: usize,
        run: unsafe extern "C" fn(*mut u8) -> Verdict,
        data: *mut u8,
    ) -> Verdict;
    fn syslet_sys_resume(save: *mut Context, next: *const Context, value: usize);
    fn syslet_sys_cancellable(flag: *const AtomicU32, call: *const [usize; 7]) -> isize;
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

/// Result of [`syscall_cancellable`] that was cancelled before the kernel was entered. No system
/// call returns it: their errors are -4095 to -1.
pub const CANCELLED: isize = isize::MIN;

/// Leaves the running context for another stack and thread pointer and runs `run(data)` there.
///
/// The context is saved into `save` before the stack is switched. Returns when `run` says
/// [`Verdict::stay`], or when somebody else [`resume`]s `save`, on whatever kernel thread that is.
///
/// # Safety
///
/// 1. `sp` is 16-aligned and the top of a stack that nobody else uses until the context goes on.
/// 2. `tp` is the thread pointer that belongs to that stack, or one that `run` never uses.
/// 3. `save` stays valid until the context goes on, and `save.tp` is the running thread pointer.
/// 4. The context goes on exactly once: either `run` says *stay* and nobody resumed it, or it was
///    resumed once and `run` says *leave*, with a context that [`resume`] saved on this stack.
/// 5. `run` does not unwind.
#[inline]
pub unsafe fn enter(
    save: *mut Context,
    sp: usize,
    tp: usize,
    run: unsafe extern "C" fn(*mut u8) -> Verdict,
    data: *mut u8,
) -> Verdict {
    // SAFETY: clause B, duties 1 to 5.
    unsafe { syslet_sys_enter(save, sp, tp, run, data) }
}

/// Goes on with the context `next` on this kernel thread; [`enter`] there returns `value`.
///
/// Returns when a function run by [`enter`] on the stack below says [`Verdict::leave`] with `save`.
///
/// # Safety
///
/// 1. `next` was saved by [`enter`] and nobody else goes on with it.
/// 2. `save` stays valid until this returns.
#[inline(never)]
pub unsafe fn resume(save: *mut Context, next: *const Context, value: usize) {
    // SAFETY: clause B, duties 1 and 2.
    unsafe { syslet_sys_resume(save, next, value) }
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
#[inline]
pub unsafe fn syscall_cancellable(flag: &AtomicU32, call: &[usize; 7]) -> isize {
    // SAFETY: clause B: both references are valid; the call itself is the caller's duty.
    unsafe { syslet_sys_cancellable(flag, call) }
}

/// In a signal handler: if `context` was interrupted inside [`syscall_cancellable`] before the
/// kernel was entered (or about to enter it again), makes it return [`CANCELLED`] and says true.
///
/// # Safety
///
/// `context` is the one that the kernel passed to the running handler.
pub unsafe fn cancel_in_handler(context: *mut uapi::UContext) -> bool {
    let begin = &raw const syslet_sys_cancel_begin as usize;
    let end = &raw const syslet_sys_cancel_end as usize;
    // SAFETY: clause B: the kernel's own structure, on this thread's stack.
    let registers = unsafe { &mut (*context).registers };
    let inside = (begin..end).contains(&(registers[uapi::REG_RIP] as usize));
    if inside {
        registers[uapi::REG_RIP] = &raw const syslet_sys_cancel_exit as u64;
    }
    inside
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

/// The thread pointer of the running thread.
#[inline(always)]
pub fn thread_pointer() -> usize {
    let value;
    // SAFETY: clause A; FSGSBASE is checked before the crew starts.
    unsafe { asm!("rdfsbase {}", out(reg) value, options(nomem, nostack, preserves_flags)) };
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

/// True if user code may read and write the thread pointer (AT_HWCAP2 bit 1, since Linux 5.9).
pub fn has_fsgsbase(hwcap2: u64) -> bool {
    hwcap2 & 2 != 0
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
