//! The context switch.
//!
//! # Safety
//!
//! The clauses of the folder, see `mod.rs`.

#![allow(unsafe_code, reason = "assembly: the one place for it")]

use core::arch::{asm, global_asm};

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
/// registers, tile registers, flags but the direction flag, which is clear) is the caller's to save. So are r12 to
/// r15 where the context was left by [`enter`] or [`protected_call`](super::protected_call): these
/// places hold anything.
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

/// What the errand run by [`enter`] decided, and what [`enter`] returned with.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    value: usize,
    how: usize,
}

/// `how` of a verdict: go back to the context that was left.
pub(super) const STAY: usize = 1;
/// `how` of a verdict: go on with another context, which is the value.
const LEAVE: usize = 0;
/// `how` seen by a context that somebody else resumed.
const RESUMED: usize = 2;

impl Verdict {
    pub(super) const fn of(value: usize, how: usize) -> Self {
        Self { value, how }
    }

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

    /// True if [`enter`] returned because its errand said [`stay`](Self::stay), false if
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
    fn syslet_sys_enter();
    fn syslet_sys_conclude();
    fn syslet_sys_resume(save: *mut Context, next: *const Context, value: usize);
}

/// What is done on another stack, see [`enter`].
pub trait Errand {
    /// Does it and says what is next. It does not unwind.
    ///
    /// To be inlined: a return after a system call may be predicted wrongly, see `protect.rs`.
    ///
    /// # Safety
    ///
    /// What the errand asks of its `data`.
    unsafe fn run(data: *mut u8) -> Verdict;
}

/// Leaves the running context for another stack and thread pointer and runs the errand on `data` there.
///
/// The context is saved into `save` before the stack is switched. Returns when the errand says
/// [`Verdict::stay`], or when somebody else [`resume`]s `save`, on whatever kernel thread that is.
///
/// # Safety
///
/// 1. `sp` is 16-aligned and the top of a stack that nobody else uses until the context goes on.
/// 2. `tp` is the thread pointer that belongs to that stack, or one that the errand never uses.
/// 3. `save` stays valid until the context goes on, and `save.tp` is the running thread pointer.
/// 4. The context goes on exactly once: either the errand says *stay* and nobody resumed it, or it was
///    resumed once and the errand says *leave*, with a context that [`resume`] saved on this stack.
/// 5. The errand may be run on `data`.
#[inline(always)]
pub unsafe fn enter<E: Errand>(save: *mut Context, sp: usize, tp: usize, data: *mut u8) -> Verdict {
    let (value, how): (usize, usize);
    // SAFETY: clause B, duties 1 to 5. Everything but rbx, rbp and the stack pointer, which are put back, is declared:
    // what goes on after being resumed finds anything in the other registers.
    unsafe {
        asm!(
            // Jumped to and back from, see `protect.rs`.
            "lea rax,[rip+2f]",
            "jmp {enter}",
            "2:",
            enter = sym syslet_sys_enter,
            inlateout("rdi") data => _,
            inlateout("rsi") save => _,
            inlateout("rdx") tp => how,
            inlateout("rcx") run_on::<E> as unsafe extern "C" fn(_, _, _) -> _ => _,
            inlateout("r8") sp => _,
            lateout("rax") value,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            lateout("r15") _,
            clobber_abi("sysv64"),
        );
    }
    Verdict::of(value, how)
}

/// On the other stack. Ends by a jump: a return would be predicted wrongly, see `protect.rs`.
///
/// # Safety
///
/// Called by [`enter`] with the context that it has saved, and the stack pointer that it has begun with.
unsafe extern "C" fn run_on<E: Errand>(data: *mut u8, left: *const Context, sp: usize) -> ! {
    // SAFETY: the duty of `enter`.
    let Verdict { value, how } = unsafe { E::run(data) };
    // SAFETY: clause B: the context that was left, or the one that the verdict names; nothing is left here to be
    // dropped.
    unsafe {
        asm!(
            "jmp {conclude}",
            conclude = sym syslet_sys_conclude,
            in("rdi") left,
            in("rsi") sp,
            in("rax") value,
            in("rdx") how,
            options(noreturn),
        );
    }
}

/// Goes on with the context `next` on this kernel thread; [`enter`] there returns `value`.
///
/// Returns when an errand run by [`enter`] on the stack below says [`Verdict::leave`] with `save`.
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
    // rdi: argument                    rsi: *mut Context to save into        rdx: new thread pointer
    // rcx: function of rdi, rsi and sp   r8: new stack pointer (16-aligned)    rax: where to go on
    ".pushsection .text.syslet_sys_enter,\"ax\",@progbits",
    ".balign 64",
    ".globl syslet_sys_enter",
    ".hidden syslet_sys_enter",
    ".type syslet_sys_enter,@function",
    "syslet_sys_enter:",
    ".cfi_startproc",
    ".cfi_def_cfa_offset 0", // jumped to
    ".cfi_register rip,rax",
    // The frame of `Context`. Who resumes it loads r12 to r15 as well: with anything.
    "push rax",
    ".cfi_def_cfa_offset 8",
    ".cfi_offset rip,-8",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp,-16",
    "push rbx",
    ".cfi_def_cfa_offset 24",
    ".cfi_offset rbx,-24",
    "sub rsp,40",
    ".cfi_def_cfa_offset 64",
    "stmxcsr [rsp]",
    "fnstcw [rsp+4]",
    "mov [rsi],rsp", // the context is complete: from here on it may be resumed elsewhere
    "mov rsp,r8",
    ".cfi_undefined rip", // a backtrace ends at the bottom of the new stack
    "wrfsbase rdx",
    "mov rdx,r8",
    "xor ebp,ebp",
    "call rcx",
    "ud2", // it does not return
    ".cfi_endproc",
    ".size syslet_sys_enter,.-syslet_sys_enter",
    ".popsection",
    // rdi: *const Context that was left   rsi: where the stack began   rax, rdx: the verdict
    ".weak __asan_unpoison_memory_region",
    ".pushsection .text.syslet_sys_conclude,\"ax\",@progbits",
    ".balign 64",
    ".globl syslet_sys_conclude",
    ".hidden syslet_sys_conclude",
    ".type syslet_sys_conclude,@function",
    "syslet_sys_conclude:",
    ".cfi_startproc",
    ".cfi_undefined rip",
    // The frames here will not return, and AddressSanitizer, where it is in the program, does not know.
    "mov rcx,[rip+__asan_unpoison_memory_region@GOTPCREL]",
    "test rcx,rcx",
    "jnz 6f",
    "1:",
    "test edx,edx",
    "jz 2f",
    // STAY: nobody else has resumed the context
    "mov rcx,[rdi+8]",
    "mov rsp,[rdi]",
    ".cfi_remember_state",
    ".cfi_def_cfa_offset 64",
    ".cfi_offset rip,-8",
    ".cfi_offset rbp,-16",
    ".cfi_offset rbx,-24",
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
    "mov rcx,[rsp+56]",
    "mov rbp,[rsp+48]",
    "mov rbx,[rsp+40]",
    "lea rsp,[rsp+64]",
    ".cfi_def_cfa_offset 0",
    ".cfi_restore rbx",
    ".cfi_restore rbp",
    ".cfi_register rip,rcx",
    "jmp rcx",
    ".cfi_def_cfa_offset 64",
    ".cfi_offset rip,-8",
    ".cfi_offset rbp,-16",
    ".cfi_offset rbx,-24",
    "4:",
    "ldmxcsr [rsp]",
    "fldcw [rsp+4]",
    "jmp 5b",
    ".cfi_restore_state",
    // LEAVE: rax is the context to go on with; the one that was left is not to be touched
    "2:",
    "mov rsp,[rax]",
    ".cfi_def_cfa_offset 64",
    ".cfi_offset rip,-8",
    ".cfi_offset rbp,-16",
    ".cfi_offset rbx,-24",
    ".cfi_offset r12,-32", // saved by `resume`
    ".cfi_offset r13,-40",
    ".cfi_offset r14,-48",
    ".cfi_offset r15,-56",
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
    ".cfi_undefined rip",
    "6:",
    "push rdi",
    "push rax",
    "push rdx",
    "push rdx", // keeps the stack aligned
    "mov rdi,rsp",
    "sub rsi,rsp",
    "call rcx",
    "pop rdx",
    "pop rdx",
    "pop rax",
    "pop rdi",
    "jmp 1b",
    ".cfi_endproc",
    ".size syslet_sys_conclude,.-syslet_sys_conclude",
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
