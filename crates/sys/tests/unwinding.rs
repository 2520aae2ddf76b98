//! Unwinding ends at the bottom of a stack that a context was switched to.

#![allow(unsafe_code, reason = "the bottoms of hand-made stacks are what is tested")]

use std::backtrace::Backtrace;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use syslet_sys::arch::{self, Context, Errand, Verdict};
use syslet_sys::uapi::{self, nr};

/// The caller stands still until the task has ended (linux/sched.h).
const CLONE_VFORK: usize = 0x4000;
/// Room above the top of a stack, in units of 16 bytes.
const ABOVE: usize = 64;

/// Nobody calls it: its address stands above each stack, where an unwinder that goes on looks next.
#[inline(never)]
fn nobody_calls_this() {
    std::hint::black_box(&TRACE);
}

/// Two words that an unwinder takes for return addresses.
pub(crate) fn trap() -> u128 {
    let inside = nobody_calls_this as fn() as usize as u128 + 1;
    inside << 64 | inside
}

/// A stack, its top, and above that what must not be taken for the frame of a caller.
pub(crate) fn stack() -> (Vec<u128>, usize) {
    let mut memory = vec![0u128; 32 * 1024];
    let used = memory.len() - ABOVE;
    memory[used..].fill(trap());
    let top = memory[used..].as_ptr() as usize;
    (memory, top)
}

/// The trace taken on the other stack.
static TRACE: Mutex<Option<Backtrace>> = Mutex::new(None);

fn keep_trace() {
    *TRACE.lock().expect("nothing panics with it") = Some(Backtrace::force_capture());
}

/// Takes the trace that was kept; its last frame must be `bottom`.
fn check(bottom: &str) {
    let trace = TRACE.lock().expect("nothing panics with it").take();
    let trace = trace.expect("a trace was kept").to_string();
    assert!(trace.contains("keep_trace"), "{trace}");
    assert!(!trace.contains("nobody_calls_this"), "{trace}");
    assert_eq!(names(&trace).last(), Some(bottom), "{trace}");
}

/// What the frames of a trace are of; one is a line that begins with its number.
pub(crate) fn names(trace: &str) -> impl Iterator<Item = &str> {
    trace.lines().filter_map(|line| Some(line.trim().split_once(": ")?.1))
}

struct TraceAndStay;

impl Errand for TraceAndStay {
    unsafe fn run(_: *mut u8) -> Verdict {
        keep_trace();
        Verdict::stay(0)
    }
}

/// A task that borrows the thread pointer of the thread that waits for it, so that it can use the
/// thread-locals of that.
unsafe extern "C" fn trace_and_exit(thread_pointer: usize) -> ! {
    // SAFETY: CLONE_VFORK: the thread that it belongs to stands still until this task has ended.
    unsafe { arch::set_thread_pointer(thread_pointer) };
    keep_trace();
    loop {
        // SAFETY: ends this task and touches no memory.
        unsafe { arch::syscall(nr::EXIT, [0; 6]) };
    }
}

/// One test, because both keep their trace in one place.
#[test]
fn traces_end_at_the_bottom_of_a_stack() {
    let (memory, top) = stack();
    let mut context = Context { sp: 0, tp: arch::thread_pointer() };
    let tp = context.tp;
    // SAFETY: the stack and the thread pointer are ours; the function does not unwind.
    let verdict =
        unsafe { arch::enter::<TraceAndStay>(&mut context, top, tp, std::ptr::null_mut()) };
    assert!(verdict.stayed());
    check("syslet_sys_enter");

    static WORDS: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
    let flags = uapi::CLONE_VM | uapi::CLONE_SETTLS | CLONE_VFORK;
    // SAFETY: the stack is used by nobody else until the task has ended, for which this call waits. The
    // thread-locals that the task uses are those of this thread, which stands still meanwhile.
    let task = unsafe { arch::clone_vm(flags, top, &WORDS[0], &WORDS[1], trace_and_exit, tp) };
    assert!(task > 0, "clone: {task}");
    // SAFETY: reaps the task; the status is not asked for.
    let reaped = unsafe { arch::syscall(nr::WAIT4, [task as usize, 0, uapi::WCLONE, 0, 0, 0]) };
    assert_eq!(reaped, task);
    check("syslet_sys_clone_vm");
    drop(memory);
}
