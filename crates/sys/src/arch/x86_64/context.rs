//! The context switch.
//!
//! # Safety
//!
//! The clauses of the folder, see `mod.rs`.

#![allow(unsafe_code, reason = "assembly: the one place for it")]

use core::arch::global_asm;

/// A context that is not running: where its registers were saved, and its thread pointer.
///
/// # Layout
///
/// What is saved stands on the stack of the context that was left; [`Context::sp`] points at it:
///
/// ```text
/// sp + 0   MXCSR (4 bytes), x87 control word (2), unused (2)
/// sp + 8   r15
/// sp + 16  r14
/// sp + 24  r13
/// sp + 32  r12
/// sp + 40  rbx
/// sp + 48  rbp
/// sp + 56  return address
/// ```
///
/// These are all registers that the ABI lets a function rely on across a call; the rest (vector
/// registers, tile registers, flags but the direction flag, which is clear) is the caller's to save.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    /// Stack pointer; the saved registers stand there.
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

unsafe extern "C" {
    fn syslet_sys_enter(
        save: *mut Context,
        sp: usize,
        tp: usize,
        run: unsafe extern "C" fn(*mut u8) -> Verdict,
        data: *mut u8,
    ) -> Verdict;
    fn syslet_sys_resume(save: *mut Context, next: *const Context, value: usize);
}

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
    ".cfi_undefined rip", // a backtrace ends at the bottom of the new stack
    "wrfsbase rdx",
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
    ".cfi_undefined rip",
    "2:",
    "mov rsp,[rax]",
    ".cfi_restore_state",
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
    resumed = const RESUMED,
);
