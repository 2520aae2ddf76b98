//! Backtraces from a signal handler end, whatever instruction of a switch it has interrupted: the unwind rows of
//! each are true.

#![allow(unsafe_code, reason = "the thread is single-stepped through the context switch")]

use std::backtrace::Backtrace;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use syslet_sys::arch::{self, Context, Verdict};

use crate::unwinding::{last_frame, stack, trap};

/// The processor stops after each instruction.
const TRAP_FLAG: i64 = 0x100;
/// More than either function has.
const BYTES: usize = 512;
/// Instructions of both, about: fewer were not looked at.
const LEAST: usize = 100;

unsafe extern "C" {
    fn syslet_sys_enter();
    fn syslet_sys_resume();
}

/// Traces, and whether each was taken on the stack that is switched to.
static TRACES: Mutex<Vec<(bool, Backtrace)>> = Mutex::new(Vec::new());
/// That stack: lowest address and top.
static STACK: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];
static OVER: AtomicBool = AtomicBool::new(false);

/// Takes a trace at each instruction of a switch: there nothing is held that a trace needs.
extern "C" fn stepped(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's structure, which is the handler's while it runs.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize] as usize;
    let begins = [syslet_sys_enter as *const () as usize, syslet_sys_resume as *const () as usize];
    if begins.iter().any(|begin| (*begin..begin + BYTES).contains(&at)) {
        let [low, top] = STACK.each_ref().map(|address| address.load(Ordering::Relaxed));
        let switched = (low..=top).contains(&(registers[libc::REG_RSP as usize] as usize));
        let trace = (switched, Backtrace::force_capture());
        TRACES.lock().expect("nothing panics with it").push(trace);
    }
    let flags = &mut registers[libc::REG_EFL as usize];
    *flags = if OVER.load(Ordering::Relaxed) { *flags & !TRAP_FLAG } else { *flags | TRAP_FLAG };
}

fn step() {
    // SAFETY: zeroes are an action without a handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = stepped as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is live, and its handler has the kind of arguments that it says.
    let answer = unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0);
    // SAFETY: the handler is there.
    unsafe { libc::raise(libc::SIGTRAP) };
}

/// The guest's context and that of who carries it.
struct Contexts {
    guest: Context,
    carrier: Context,
}

/// Goes on with the guest; when it has left again, ends the call that it is in.
unsafe extern "C" fn carry(data: *mut u8) -> Verdict {
    let contexts = data.cast::<Contexts>();
    // SAFETY: live: the guest's frame holds it.
    let guest = unsafe { &raw const (*contexts).guest };
    // SAFETY: as above.
    let carrier = unsafe { &raw mut (*contexts).carrier };
    // SAFETY: saved by the call that this function is in, and nobody else has it.
    unsafe { arch::resume(carrier, guest, 5) };
    Verdict::stay(7)
}

/// Leaves for `carry`.
unsafe extern "C" fn leave(data: *mut u8) -> Verdict {
    // SAFETY: as there.
    Verdict::leave(unsafe { &raw const (*data.cast::<Contexts>()).carrier })
}

/// Comes back with other rules of rounding: they are put right on a way of their own.
unsafe extern "C" fn round_otherwise(_: *mut u8) -> Verdict {
    let rules = 0x7f80_u32;
    // SAFETY: no exception is enabled by it; `enter` undoes it.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const rules) };
    Verdict::stay(9)
}

/// Goes every way through both functions.
#[inline(never)]
fn guest_that_is_stepped(top: usize) {
    let tp = arch::thread_pointer();
    let mut contexts = Contexts { guest: Context { sp: 0, tp }, carrier: Context { sp: 0, tp } };
    let data = (&raw mut contexts).cast::<u8>();
    // SAFETY: the first member of a live structure.
    let guest = unsafe { &raw mut (*data.cast::<Contexts>()).guest };
    // SAFETY: the stack is ours, the thread pointer our own; `carry` resumes the context, once.
    let verdict = unsafe { arch::enter(guest, top, tp, carry, data) };
    assert!(!verdict.stayed() && verdict.value() == 5);
    // Below what `carry` has on that stack and in the red zone, with traps between.
    let below = (contexts.carrier.sp - 256) & !15;
    for at in (below..below + 128).step_by(size_of::<u128>()) {
        // SAFETY: of the stack that is ours, and nothing is there.
        unsafe { (at as *mut u128).write(trap()) };
    }
    // SAFETY: as before; `leave` goes on with `carry`, which says stay.
    let verdict = unsafe { arch::enter(guest, below, tp, leave, data) };
    assert!(verdict.stayed() && verdict.value() == 7);
    // SAFETY: as before; nobody is on that stack any more.
    let verdict = unsafe { arch::enter(guest, top, tp, round_otherwise, data) };
    assert!(verdict.stayed() && verdict.value() == 9);
}

#[test]
fn a_trace_taken_at_any_instruction_of_a_switch_ends() {
    let (memory, top) = stack();
    STACK[0].store(memory.as_ptr() as usize, Ordering::Relaxed);
    STACK[1].store(top, Ordering::Relaxed);
    step();
    guest_that_is_stepped(top);
    OVER.store(true, Ordering::Relaxed);
    drop(memory);
    let mut counts = [0, 0];
    for (switched, trace) in std::mem::take(&mut *TRACES.lock().expect("nothing panics with it")) {
        let trace = trace.to_string();
        if !trace.contains(": syslet_sys_enter") && !trace.contains(": syslet_sys_resume") {
            continue; // another function's, which is near them
        }
        assert!(!trace.contains("nobody_calls_this"), "{trace}");
        let guests = trace.contains("guest_that_is_stepped");
        let at_bottom = last_frame(&trace) == Some("syslet_sys_enter");
        assert_eq!((guests, at_bottom), (!switched, switched), "{trace}");
        counts[usize::from(switched)] += 1;
    }
    assert!(counts[0] + counts[1] > LEAST && counts[1] > 0, "{counts:?} traces");
}
