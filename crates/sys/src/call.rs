//! Single system calls under their own names, for the engine's own use.
//!
//! Each returns the kernel's answer: `-errno` on failure. Safe where nothing but borrowed memory can
//! be reached and no rule of the language depends on the effect.

#![allow(unsafe_code, reason = "system calls; arguments are borrowed or plain numbers")]

use crate::arch::syscall;
use crate::uapi::{
    KCMP_FS, KernelSigaction, MASK_SIZE, MEMBARRIER_PRIVATE, MEMBARRIER_REGISTER, SIG_SETMASK,
    SchedAttr, Siginfo, SignalStack, Timespec, nr,
};

/// Makes a call whose arguments are numbers only.
#[inline(always)]
fn plain(nr: usize, args: [usize; 4]) -> isize {
    // SAFETY: used below for calls that read and write no memory of ours.
    unsafe { syscall(nr, [args[0], args[1], args[2], args[3], 0, 0]) }
}

/// Id of the running kernel thread.
pub fn gettid() -> i32 {
    plain(nr::GETTID, [0; 4]) as i32
}

/// Id of the process.
pub fn getpid() -> i32 {
    plain(nr::GETPID, [0; 4]) as i32
}

/// True if 16 bytes at `at` can be written. What was there is lost.
///
/// # Safety
///
/// What is there, if anything, is the caller's to write.
pub unsafe fn is_writable(at: usize) -> bool {
    // The kernel writes the set of pending signals, or says EFAULT.
    let writes = |at| {
        // SAFETY: the duty of this function.
        unsafe { syscall(nr::RT_SIGPENDING, [at, MASK_SIZE, 0, 0, 0, 0]) >= 0 }
    };
    writes(at) && writes(at + MASK_SIZE)
}

/// Closes a descriptor.
pub fn close(descriptor: i32) {
    plain(nr::CLOSE, [descriptor as usize, 0, 0, 0]);
}

/// Id of the parent process.
pub fn getppid() -> i32 {
    plain(nr::GETPPID, [0; 4]) as i32
}

/// True if the running thread and thread `tid` of the same process have root, working directory and umask in
/// common, for good: what one of them changes the other has too. kcmp(2); false where it is not allowed.
pub fn shares_place(tid: i32) -> bool {
    plain(nr::KCMP, [gettid() as usize, tid as usize, KCMP_FS, 0]) == 0
}

/// Lets others run.
pub fn sched_yield() {
    plain(nr::SCHED_YIELD, [0; 4]);
}

/// Sends `signal` to one thread of process `pid`.
pub fn tgkill(pid: i32, tid: i32, signal: i32) -> isize {
    plain(nr::TGKILL, [pid as usize, tid as usize, signal as usize, 0])
}

/// Sends `signal` to process `pid`.
pub fn kill(pid: i32, signal: i32) -> isize {
    plain(nr::KILL, [pid as usize, signal as usize, 0, 0])
}

/// Queues a signal with its information to one thread of the own process.
pub fn queue_to_thread(pid: i32, tid: i32, info: &Siginfo) -> isize {
    let args = [pid as usize, tid as usize, info.signo as usize, info as *const _ as usize, 0, 0];
    // SAFETY: the kernel reads `info`, borrowed for the call.
    unsafe { syscall(nr::RT_TGSIGQUEUEINFO, args) }
}

/// Queues a signal with its information to the own process.
pub fn queue_to_process(pid: i32, info: &Siginfo) -> isize {
    let args = [pid as usize, info.signo as usize, info as *const _ as usize, 0, 0, 0];
    // SAFETY: the kernel reads `info`, borrowed for the call.
    unsafe { syscall(nr::RT_SIGQUEUEINFO, args) }
}

/// Replaces the signal mask of the running thread; returns the one before.
pub fn set_signal_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    let args = [SIG_SETMASK, &mask as *const _ as usize, &raw mut old as usize, MASK_SIZE, 0, 0];
    // SAFETY: the kernel reads and writes the two words, both live.
    unsafe { syscall(nr::RT_SIGPROCMASK, args) };
    old
}

/// The signal mask of the running thread.
pub fn signal_mask() -> u64 {
    let mut old = 0u64;
    let args = [SIG_SETMASK, 0, &raw mut old as usize, MASK_SIZE, 0, 0];
    // SAFETY: the kernel writes the word, which is live.
    unsafe { syscall(nr::RT_SIGPROCMASK, args) };
    old
}

/// Signals that are pending and blocked, for the running thread or the process.
pub fn pending_signals() -> u64 {
    let mut set = 0u64;
    // SAFETY: the kernel writes the word, which is live.
    unsafe { syscall(nr::RT_SIGPENDING, [&raw mut set as usize, MASK_SIZE, 0, 0, 0, 0]) };
    set
}

/// Takes a pending signal of `set`, waiting for one for at most `timeout`.
///
/// **Blocking**: until a signal of the set comes, or another's handler has run.
pub fn wait_signal(set: u64, info: &mut Siginfo, timeout: Option<&Timespec>) -> isize {
    let timeout = timeout.map_or(0, |t| t as *const _ as usize);
    let args = [&set as *const _ as usize, &raw mut *info as usize, timeout, MASK_SIZE, 0, 0];
    // SAFETY: the kernel reads the set and the time and writes `info`, all borrowed.
    unsafe { syscall(nr::RT_SIGTIMEDWAIT, args) }
}

/// What the program does at `signal`.
pub fn signal_action(signal: i32) -> Result<KernelSigaction, isize> {
    let mut old = KernelSigaction::default();
    let args = [signal as usize, 0, &raw mut old as usize, MASK_SIZE, 0, 0];
    // SAFETY: the kernel writes `old`, which is live.
    let r = unsafe { syscall(nr::RT_SIGACTION, args) };
    if r < 0 { Err(r) } else { Ok(old) }
}

/// Sets what the program does at `signal`.
///
/// # Safety
///
/// The handler is async-signal-safe and restores every register of the interrupted code.
pub unsafe fn set_signal_action(signal: i32, action: &KernelSigaction) -> isize {
    let args = [signal as usize, action as *const _ as usize, 0, MASK_SIZE, 0, 0];
    // SAFETY: the kernel reads `action`; what it means is the caller's duty.
    unsafe { syscall(nr::RT_SIGACTION, args) }
}

/// The alternate signal stack of the running kernel thread.
pub fn signal_stack() -> SignalStack {
    let mut old = SignalStack::default();
    // SAFETY: the kernel writes `old`, which is live.
    unsafe { syscall(nr::SIGALTSTACK, [0, &raw mut old as usize, 0, 0, 0, 0]) };
    old
}

/// Sets the alternate signal stack of the running kernel thread.
///
/// # Safety
///
/// The memory stays mapped, and unused by others, for as long as it is set.
pub unsafe fn set_signal_stack(stack: &SignalStack) -> isize {
    // SAFETY: the kernel reads `stack`; the memory behind it is the caller's duty.
    unsafe { syscall(nr::SIGALTSTACK, [stack as *const _ as usize, 0, 0, 0, 0, 0]) }
}

/// Sets the CPUs that thread `tid` (0: this one) may run on.
pub fn set_affinity(tid: i32, mask: &[u64]) -> isize {
    let args = [tid as usize, size_of_val(mask), mask.as_ptr() as usize, 0, 0, 0];
    // SAFETY: the kernel reads the mask, borrowed for the call.
    unsafe { syscall(nr::SCHED_SETAFFINITY, args) }
}

/// The CPUs that thread `tid` (0: this one) may run on; returns the bytes written.
pub fn affinity(tid: i32, mask: &mut [u64]) -> isize {
    let args = [tid as usize, size_of_val(mask), mask.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: the kernel writes the mask, borrowed for the call.
    unsafe { syscall(nr::SCHED_GETAFFINITY, args) }
}

/// The scheduling attributes of thread `tid` (0: this one).
pub fn scheduling(tid: i32) -> Result<SchedAttr, isize> {
    let mut attr = SchedAttr::default();
    let size = size_of::<SchedAttr>();
    let args = [tid as usize, &raw mut attr as usize, size, 0, 0, 0];
    // SAFETY: the kernel writes `attr`, which is live and of the size given.
    let r = unsafe { syscall(nr::SCHED_GETATTR, args) };
    if r < 0 { Err(r) } else { Ok(attr) }
}

/// Sets the scheduling attributes of thread `tid` (0: this one).
pub fn set_scheduling(tid: i32, attr: &SchedAttr) -> isize {
    // SAFETY: the kernel reads `attr`, borrowed for the call.
    unsafe { syscall(nr::SCHED_SETATTR, [tid as usize, attr as *const _ as usize, 0, 0, 0, 0]) }
}

/// Sets the timer slack of the running kernel thread, in nanoseconds.
pub fn set_timer_slack(nanos: usize) -> isize {
    plain(nr::PRCTL, [crate::uapi::PR_SET_TIMERSLACK, nanos, 0, 0])
}

/// `prctl(option, value)` for the options that take a number or nothing.
///
/// # Safety
///
/// The option takes no pointer, and its effect on this kernel thread is wanted.
pub unsafe fn prctl(option: usize, value: usize) -> isize {
    plain(nr::PRCTL, [option, value, 0, 0])
}

/// The name of the running kernel thread.
pub fn name() -> [u8; 16] {
    let mut name = [0u8; 16];
    let args = [crate::uapi::PR_GET_NAME, name.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes 16 bytes, which are live.
    unsafe { syscall(nr::PRCTL, args) };
    name
}

/// Names the running kernel thread (at most 15 bytes and a NUL).
pub fn set_name(name: &[u8; 16]) -> isize {
    let args = [crate::uapi::PR_SET_NAME, name.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel reads up to 16 bytes, borrowed for the call.
    unsafe { syscall(nr::PRCTL, args) }
}

/// Real, effective and saved user ids.
pub fn user_ids() -> [u32; 3] {
    ids(nr::GETRESUID)
}

/// Real, effective and saved group ids.
pub fn group_ids() -> [u32; 3] {
    ids(nr::GETRESGID)
}

fn ids(nr: usize) -> [u32; 3] {
    let mut ids = [0u32; 3];
    let at = ids.as_mut_ptr() as usize;
    // SAFETY: the kernel writes three words, which are live.
    unsafe { syscall(nr, [at, at + 4, at + 8, 0, 0, 0]) };
    ids
}

/// Supplementary groups; returns how many there are, or `-errno` if `groups` is too short.
pub fn groups(groups: &mut [u32]) -> isize {
    let args = [groups.len(), groups.as_mut_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes at most `len` words, borrowed for the call.
    unsafe { syscall(nr::GETGROUPS, args) }
}

/// Sets the supplementary groups of the running kernel thread only.
pub fn set_groups(groups: &[u32]) -> isize {
    let args = [groups.len(), groups.as_ptr() as usize, 0, 0, 0, 0];
    // SAFETY: the kernel reads `len` words, borrowed for the call.
    unsafe { syscall(nr::SETGROUPS, args) }
}

/// Sets the user ids of the running kernel thread only.
pub fn set_user_ids(ids: [u32; 3]) -> isize {
    plain(nr::SETRESUID, [ids[0] as usize, ids[1] as usize, ids[2] as usize, 0])
}

/// Sets the group ids of the running kernel thread only.
pub fn set_group_ids(ids: [u32; 3]) -> isize {
    plain(nr::SETRESGID, [ids[0] as usize, ids[1] as usize, ids[2] as usize, 0])
}

/// Registers the process for [`membarrier`].
pub fn membarrier_register() -> isize {
    plain(nr::MEMBARRIER, [MEMBARRIER_REGISTER, 0, 0, 0])
}

/// A full memory barrier on every CPU that runs a thread of this memory, before it returns.
pub fn membarrier() -> isize {
    plain(nr::MEMBARRIER, [MEMBARRIER_PRIVATE, 0, 0, 0])
}

/// Registers (`flags` 0) or unregisters a restartable-sequence area for the running kernel thread.
///
/// # Safety
///
/// `area` is one of `len` bytes that stays valid while registered, and nothing of this thread relies
/// on the state that is changed.
pub unsafe fn rseq(area: usize, len: usize, flags: usize, signature: usize) -> isize {
    plain(nr::RSEQ, [area, len, flags, signature])
}

/// State of user shadow stacks of the running thread: 0 where they are off or unknown.
pub fn shadow_stack_features() -> u64 {
    let mut features = 0u64;
    let args = [crate::uapi::ARCH_SHSTK_STATUS, &raw mut features as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes one word, which is live.
    let r = unsafe { syscall(nr::ARCH_PRCTL, args) };
    if r < 0 { 0 } else { features }
}

/// Nanoseconds of CLOCK_MONOTONIC, by a system call: for code that cannot use the vDSO's wrapper.
pub fn monotonic_nanos() -> u64 {
    let mut now = Timespec::default();
    let args = [crate::uapi::CLOCK_MONOTONIC, &raw mut now as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes the structure, which is live.
    unsafe { syscall(nr::CLOCK_GETTIME, args) };
    now.as_nanos()
}
