//! Backtraces from a signal handler end, whatever instruction of a switch it has interrupted: the unwind rows of
//! each are true.

#![allow(unsafe_code, reason = "the thread is single-stepped through the context switch")]

use std::backtrace::Backtrace;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use syslet_sys::arch::{self, Context, Errand, ProtectedCall, Published, Turns, Verdict};
use syslet_sys::uapi::nr;

use crate::unwinding::{names, stack, trap};

/// The processor stops after each instruction.
const TRAP_FLAG: i64 = 0x100;
/// More than any of the functions has.
const BYTES: usize = 512;
/// What the functions of a switch are called by.
const FAMILY: &str = "syslet_sys_";
/// Instructions of all of them, about: fewer were not looked at.
const LEAST: usize = 250;

unsafe extern "C" {
    fn syslet_sys_enter();
    fn syslet_sys_conclude();
    fn syslet_sys_protected();
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
    let family = [syslet_sys_enter, syslet_sys_conclude, syslet_sys_protected, syslet_sys_resume];
    let begins = family.map(|function| function as *const () as usize);
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
struct Carry;

impl Errand for Carry {
    unsafe fn run(data: *mut u8) -> Verdict {
        let contexts = data.cast::<Contexts>();
        // SAFETY: live: the guest's frame holds it.
        let guest = unsafe { &raw const (*contexts).guest };
        // SAFETY: as above.
        let carrier = unsafe { &raw mut (*contexts).carrier };
        // SAFETY: saved by the call that this function is in, and nobody else has it.
        unsafe { arch::resume(carrier, guest, 5) };
        Verdict::stay(7)
    }
}

/// Leaves for `carry`.
struct Leave;

impl Errand for Leave {
    unsafe fn run(data: *mut u8) -> Verdict {
        // SAFETY: as there.
        Verdict::leave(unsafe { &raw const (*data.cast::<Contexts>()).carrier })
    }
}

/// Comes back with other rules of rounding: they are put right on a way of their own.
struct RoundOtherwise;

impl Errand for RoundOtherwise {
    unsafe fn run(_: *mut u8) -> Verdict {
        let rules = 0x7f80_u32;
        // SAFETY: no exception is enabled by it; `enter` undoes it.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const rules) };
        Verdict::stay(9)
    }
}

/// The words of a protected call, for the guest that is stepped.
struct Words {
    word: AtomicU64,
    claim: AtomicU64,
    alert: AtomicU32,
    cancel: AtomicU32,
}

static WORDS: Words = Words {
    word: AtomicU64::new(0),
    claim: AtomicU64::new(0),
    alert: AtomicU32::new(1),
    cancel: AtomicU32::new(0),
};

static TURNS: Turns = Turns { rouse, contended };

/// Where `contended` leaves for; 0: it stays.
static CARRIER: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn rouse(_: *mut ProtectedCall) {
    assert_ne!(WORDS.word.load(Ordering::Relaxed), 0, "the call is published");
    WORDS.alert.store(1, Ordering::Relaxed);
}

unsafe extern "C" fn contended(_: *mut ProtectedCall, answer: isize) -> Verdict {
    assert_eq!(WORDS.word.load(Ordering::Relaxed), 0, "the call is over");
    match CARRIER.load(Ordering::Relaxed) {
        0 => Verdict::stay(answer as usize + 1),
        carrier => Verdict::leave(carrier as *const Context),
    }
}

/// Makes protected call `number`, a `getpid`, on the stack that ends at `top`.
fn protected_getpid(guest: *mut Context, top: usize, number: u64) -> Verdict {
    let call: *mut ProtectedCall = ((top - size_of::<ProtectedCall>()) & !15) as *mut ProtectedCall;
    let cancel = &raw const WORDS.cancel;
    let getpid = [nr::GETPID, 0, 0, 0, 0, 0, 0];
    // SAFETY: of the stack that is ours.
    unsafe { call.write(ProtectedCall { call: getpid, cancel, turns: &TURNS }) };
    let Words { word, claim, alert, .. } = &WORDS;
    let published = Published { number, word, claim, alert };
    // SAFETY: the stack is ours, the thread pointer our own; getpid touches no memory; nobody takes the context.
    unsafe { arch::protected_call(guest, arch::thread_pointer(), call, published) }
}

/// Goes every way through a protected call.
#[inline(never)]
fn guest_that_is_protected(top: usize) {
    let tp = arch::thread_pointer();
    let pid = std::process::id() as usize;
    let mut contexts = Contexts { guest: Context { sp: 0, tp }, carrier: Context { sp: 0, tp } };
    let data = (&raw mut contexts).cast::<u8>();
    // SAFETY: the first member of a live structure.
    let guest = unsafe { &raw mut (*data.cast::<Contexts>()).guest };
    let made = |number| {
        let verdict = protected_getpid(guest, top, number);
        assert!(verdict.stayed());
        verdict.value()
    };
    assert_eq!(made(1), pid);
    WORDS.alert.store(0, Ordering::Relaxed);
    assert_eq!(made(2), pid);
    assert_eq!(WORDS.alert.load(Ordering::Relaxed), 1, "somebody watches now");
    WORDS.cancel.store(1, Ordering::Relaxed);
    assert_eq!(made(3) as isize, arch::CANCELLED);
    WORDS.cancel.store(0, Ordering::Relaxed);
    WORDS.claim.store(4, Ordering::Relaxed);
    assert_eq!(made(4), pid + 1, "the turn has been taken");
    assert_eq!(made(5), pid, "a claim of an earlier call is none");
    // SAFETY: the stack is ours, the thread pointer our own; `Carry` resumes the context, once.
    let verdict = unsafe { arch::enter::<Carry>(guest, top, tp, data) };
    assert!(!verdict.stayed() && verdict.value() == 5);
    CARRIER.store(&raw const contexts.carrier as usize, Ordering::Relaxed);
    WORDS.claim.store(6, Ordering::Relaxed);
    let verdict = protected_getpid(guest, contexts.carrier.sp - 256, 6);
    assert!(verdict.stayed() && verdict.value() == 7, "by way of `Carry`");
}

/// Goes every way through a switch.
#[inline(never)]
fn guest_that_is_stepped(top: usize) {
    let tp = arch::thread_pointer();
    let mut contexts = Contexts { guest: Context { sp: 0, tp }, carrier: Context { sp: 0, tp } };
    let data = (&raw mut contexts).cast::<u8>();
    // SAFETY: the first member of a live structure.
    let guest = unsafe { &raw mut (*data.cast::<Contexts>()).guest };
    // SAFETY: the stack is ours, the thread pointer our own; `carry` resumes the context, once.
    let verdict = unsafe { arch::enter::<Carry>(guest, top, tp, data) };
    assert!(!verdict.stayed() && verdict.value() == 5);
    // Below what `carry` has on that stack and in the red zone, with traps between.
    let below = (contexts.carrier.sp - 256) & !15;
    for at in (below..below + 128).step_by(size_of::<u128>()) {
        // SAFETY: of the stack that is ours, and nothing is there.
        unsafe { (at as *mut u128).write(trap()) };
    }
    // SAFETY: as before; `leave` goes on with `carry`, which says stay.
    let verdict = unsafe { arch::enter::<Leave>(guest, below, tp, data) };
    assert!(verdict.stayed() && verdict.value() == 7);
    // SAFETY: as before; nobody is on that stack any more.
    let verdict = unsafe { arch::enter::<RoundOtherwise>(guest, top, tp, data) };
    assert!(verdict.stayed() && verdict.value() == 9);
}

#[test]
fn a_trace_taken_at_any_instruction_of_a_switch_ends() {
    let (memory, top) = stack();
    STACK[0].store(memory.as_ptr() as usize, Ordering::Relaxed);
    STACK[1].store(top, Ordering::Relaxed);
    step();
    guest_that_is_stepped(top);
    guest_that_is_protected(top);
    OVER.store(true, Ordering::Relaxed);
    drop(memory);
    let mut counts = [0, 0];
    for (switched, trace) in std::mem::take(&mut *TRACES.lock().expect("nothing panics with it")) {
        let trace = trace.to_string();
        // The handler, the frame of the signal, and where it came.
        if !names(&trace).nth(2).is_some_and(|name| name.starts_with(FAMILY)) {
            continue; // another function's, which is near them
        }
        assert!(!trace.contains("nobody_calls_this"), "{trace}");
        let guests = trace.contains("guest_that_is_");
        let at_bottom = names(&trace).last().is_some_and(|name| name.starts_with(FAMILY));
        assert_eq!((guests, at_bottom), (!switched, switched), "{trace}");
        counts[usize::from(switched)] += 1;
    }
    assert!(counts[0] + counts[1] > LEAST && counts[1] > 0, "{counts:?} traces");
}
