//! A protected system call in one piece: leaving a context, publishing the call, making it, and going back if nobody
//! has taken the context meanwhile.
//!
//! It does what [`enter`](super::enter) does with a function that makes a
//! [`syscall_cancellable`](super::syscall_cancellable), and nothing else. Two things are saved: what a function that
//! runs in between might do, which a system call does not (it changes neither callee-saved registers nor control
//! words); and *returns*. The kernel's own calls and returns leave nothing of the program's in the return predictor of
//! some processors: every `ret` whose `call` was before the system call is predicted wrongly, and the first costs 45 ns
//! (AMD Zen 4 with the safe-return mitigation). So this is entered and left by jumps.
//!
//! # Safety
//!
//! The clauses of the folder, see `mod.rs`.

#![allow(unsafe_code, reason = "assembly: the one place for it")]

use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicU64};

use super::context::{Context, STAY, Verdict};
use super::syscall::CANCELLED;

/// What a protected call needs, at the top of the stack where it is made.
#[repr(C, align(16))]
#[derive(Debug)]
pub struct ProtectedCall {
    /// Number and arguments.
    pub call: [usize; 7],
    /// Set: the call is not to be begun, see [`syscall_cancellable`](super::syscall_cancellable).
    pub cancel: *const AtomicU32,
    /// What happens off the straight way.
    pub turns: &'static Turns,
}

/// What a protected call does off the straight way. Functions of the crew's side: they run on the stack and with the
/// thread pointer that the call is made with, and do not unwind.
#[derive(Debug)]
#[repr(C)]
pub struct Turns {
    /// The call is published and nobody watches.
    pub rouse: unsafe extern "C" fn(*mut ProtectedCall),
    /// The call is over, its answer given, and somebody has claimed the context: stays with the answer, or leaves.
    pub contended: unsafe extern "C" fn(*mut ProtectedCall, isize) -> Verdict,
}

/// The words by which a protected call is published and taken, as the call protocol has them.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// Number of this call.
    pub number: u64,
    /// Holds the number while the call is made, and 0 otherwise.
    pub word: *const AtomicU64,
    /// Compared with `number` once the call is over: if it is less, nobody wants the context.
    pub claim: *const AtomicU64,
    /// 0: nobody watches.
    pub alert: *const AtomicU32,
}

unsafe extern "C" {
    fn syslet_sys_protected();
    pub(super) static syslet_sys_protected_begin: u8;
    pub(super) static syslet_sys_protected_end: u8;
    pub(super) static syslet_sys_protected_exit: u8;
}

/// Leaves the running context for the stack whose top is `call` and the thread pointer `tp`, publishes the call there,
/// makes it and comes back, or goes where [`Turns::contended`] says.
///
/// The context is saved into `save` before the call is published. Returns when the call is over, or when somebody else
/// [`resume`](super::resume)s `save`, on whatever kernel thread that is. Between its store to `word` and its load of
/// `claim` there is no fence, and the stores to `word` release what is before them.
///
/// # Safety
///
/// 1. `call` stands, 16-aligned, at the top of a stack that nobody else uses until the context goes on; `tp` is the
///    thread pointer that belongs to that stack.
/// 2. `save` and what the pointers in `call` and `published` name stay valid for good; `save.tp` is the running thread
///    pointer.
/// 3. The context goes on exactly once, as for [`enter`](super::enter): if `claim` is less than `number` when the call
///    is over nobody resumes it.
/// 4. The functions in `call.turns` are as [`Turns`] says; *leave* is with a context that [`resume`](super::resume)
///    saved on that stack.
/// 5. The duties of [`syscall`](super::syscall()).
#[inline(always)]
pub unsafe fn protected_call(
    save: *mut Context,
    tp: usize,
    call: *mut ProtectedCall,
    published: Published,
) -> Verdict {
    let (value, how): (usize, usize);
    // SAFETY: clause B, duties 1 to 5. Everything but rbx, rbp and the stack pointer, which are put back, is declared:
    // what goes on after being resumed finds anything in the other registers.
    unsafe {
        asm!(
            "lea rcx,[rip+2f]",
            "jmp {protected}",
            "2:",
            protected = sym syslet_sys_protected,
            inlateout("rdi") save => _,
            inlateout("rsi") call => _,
            inlateout("rdx") tp => how,
            inlateout("r12") published.number => _,
            inlateout("r13") published.word => _,
            inlateout("r14") published.claim => _,
            inlateout("r15") published.alert => _,
            lateout("rax") value,
            clobber_abi("sysv64"),
        );
    }
    Verdict::of(value, how)
}

global_asm!(
    // rdi: *mut Context to save into   rsi: *mut ProtectedCall, the new stack pointer   rdx: new thread pointer
    // rcx: where to go on              r12: number   r13: its word   r14: claim         r15: alert
    ".pushsection .text.syslet_sys_protected,\"ax\",@progbits",
    ".balign 64",
    ".globl syslet_sys_protected",
    ".hidden syslet_sys_protected",
    ".globl syslet_sys_protected_begin",
    ".hidden syslet_sys_protected_begin",
    ".globl syslet_sys_protected_end",
    ".hidden syslet_sys_protected_end",
    ".globl syslet_sys_protected_exit",
    ".hidden syslet_sys_protected_exit",
    ".type syslet_sys_protected,@function",
    "syslet_sys_protected:",
    ".cfi_startproc",
    ".cfi_def_cfa_offset 0", // jumped to
    ".cfi_register rip,rcx",
    // The frame of `Context`. Who resumes it loads r12 to r15 as well: with anything.
    "push rcx",
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
    "mov [rdi],rsp", // the context is complete
    ".cfi_remember_state",
    "mov rbx,rdi",
    "mov rsp,rsi",
    ".cfi_undefined rip", // a backtrace ends at the bottom of the new stack
    "wrfsbase rdx",
    "xor ebp,ebp",
    "mov [r13],r12", // from here on the context may be resumed elsewhere
    "cmp dword ptr [r15],0",
    "je 4f",
    "3:",
    "mov rax,[rsi+{cancel}]",
    "syslet_sys_protected_begin:",
    "cmp dword ptr [rax],0",
    "jne syslet_sys_protected_exit",
    "mov rax,[rsi+{call}]",
    "mov rdi,[rsi+{call}+8]",
    "mov rdx,[rsi+{call}+24]",
    "mov r10,[rsi+{call}+32]",
    "mov r8,[rsi+{call}+40]",
    "mov r9,[rsi+{call}+48]",
    "mov rsi,[rsi+{call}+16]",
    "syscall",
    "syslet_sys_protected_end:",
    "mov qword ptr [r13],0",
    "cmp [r14],r12",
    "jae 6f",
    // STAY: nobody has resumed the context
    "mov rcx,[rbx+8]",
    "mov rsp,[rbx]",
    ".cfi_restore_state",
    ".cfi_remember_state",
    "wrfsbase rcx",
    "mov edx,{stay}",
    "add rsp,40",
    ".cfi_def_cfa_offset 24",
    "pop rbx",
    ".cfi_def_cfa_offset 16",
    ".cfi_restore rbx",
    "pop rbp",
    ".cfi_def_cfa_offset 8",
    ".cfi_restore rbp",
    "pop rcx",
    ".cfi_def_cfa_offset 0",
    ".cfi_register rip,rcx",
    "jmp rcx",
    ".cfi_restore_state",
    ".cfi_undefined rip",
    "syslet_sys_protected_exit:",
    "movabs rax,{cancelled}",
    "jmp syslet_sys_protected_end",
    // nobody watches
    "4:",
    "mov rdi,rsp",
    "mov rax,[rdi+{turns}]",
    "call [rax+{rouse}]",
    "mov rsi,rsp",
    "jmp 3b",
    // somebody wants the context
    "6:",
    "mov rdi,rsp",
    "mov rsi,rax",
    "mov rax,[rdi+{turns}]",
    "call [rax+{contended}]", // goes on as an errand that is over
    "mov rdi,rbx",
    "mov rsi,rsp",
    "jmp syslet_sys_conclude",
    ".cfi_endproc",
    ".size syslet_sys_protected,.-syslet_sys_protected",
    ".popsection",
    call = const offset_of!(ProtectedCall, call),
    cancel = const offset_of!(ProtectedCall, cancel),
    turns = const offset_of!(ProtectedCall, turns),
    rouse = const offset_of!(Turns, rouse),
    contended = const offset_of!(Turns, contended),
    stay = const STAY,
    cancelled = const CANCELLED,
);
