//! The sentinel: runs when its CPU has nothing better to do, that is, when a guest's call sleeps.
//!
//! One per CPU, `SCHED_IDLE`, pinned. It shares the memory of the process but is a process of its own
//! to the kernel (`CLONE_VM` alone), because `exit`, `exec` and `setuid` wait for every *thread*, and
//! on a busy CPU a `SCHED_IDLE` thread may not run for a third of a second. Being outside the process
//! must not be a way out of a sandbox: it closes its copies of the descriptors and seals itself by a
//! seccomp filter that lets it sleep, wake, yield, order memory and end, and nothing else.
//!
//! It has no thread-locals, takes no lock, and owes nothing to anybody while it is preempted. It
//! dies with the thread that made it, the watchdog.

#![allow(unsafe_code, reason = "a task without thread-locals, made by hand")]

use syslet_sys::uapi::{
    self, AUDIT_ARCH, CLONE_CHILD_CLEARTID, CLONE_PARENT_SETTID, CLONE_SETTLS, CLONE_VM,
    SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS, SchedAttr, SockFilter, SockFprog, nr,
};
use syslet_sys::{arch, call, futex};

use super::affinity::CpuSet;
use super::engine::{Cpu, Engine};
use super::home::Mapping;
use super::mechanism::Unsupported;
use crate::sync::{AtomicI32, AtomicU32, Ordering};

/// Rounds without a call to deal with before the sentinel sleeps. A few, so that a guest that makes
/// one call after the other does not wake it for each.
const PATIENCE: u32 = 8;
/// Stack of a sentinel.
const STACK: usize = 64 << 10;

/// What a new sentinel is told, and says.
struct Orders {
    engine: &'static Engine,
    cpu: usize,
    affinity: CpuSet,
    /// 0 starting, 1 ready, negative: failed with this answer.
    state: AtomicU32,
    error: AtomicI32,
    failed_at: AtomicU32,
}

/// Steps that a sandbox may refuse, for the message.
const STEPS: [&str; 6] =
    ["sched_setaffinity", "sched_setattr", "close_range", "prctl", "seccomp", "clone"];

/// Makes the sentinel of `cpu`. From the watchdog, which must live as long as the process.
///
/// **Blocking**: until the sentinel is ready, some hundred microseconds.
pub(super) fn start(engine: &'static Engine, cpu: usize) -> Result<(), Unsupported> {
    let Ok(stack) = Mapping::new(STACK) else {
        return Err(Unsupported::Refused("mmap", libc::ENOMEM));
    };
    let orders: &'static Orders = Box::leak(Box::new(Orders {
        engine,
        cpu,
        affinity: CpuSet::single(cpu),
        state: AtomicU32::new(0),
        error: AtomicI32::new(0),
        failed_at: AtomicU32::new(0),
    }));
    let slot: &'static Cpu = &engine.cpus[cpu];
    let flags = CLONE_VM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    let data = std::ptr::from_ref(orders) as usize;
    // SAFETY: the stack is leaked below; `run` uses no thread-locals and does not return.
    let id =
        unsafe { arch::clone_vm(flags, stack.top(), &slot.sentinel, &slot.sentinel, run, data) };
    if id < 0 {
        return Err(Unsupported::Refused("clone", -id as i32));
    }
    std::mem::forget(stack); // the sentinel's for good
    slot.sentinel_id.store(id as u32, Ordering::SeqCst);
    while orders.state.load(Ordering::Acquire) == 0 {
        futex::wait(&orders.state, 0, None);
    }
    match orders.error.load(Ordering::Acquire) {
        0 => Ok(()),
        error => {
            super::watchdog::reap(slot.sentinel_id.swap(0, Ordering::SeqCst), true);
            let step = orders.failed_at.load(Ordering::Acquire) as usize;
            Err(Unsupported::Refused(STEPS[step], error))
        }
    }
}

/// The life of a sentinel.
unsafe extern "C" fn run(orders: usize) -> ! {
    // SAFETY: leaked by `start`.
    let orders = unsafe { &*(orders as *const Orders) };
    if let Err((step, error)) = prepare(&orders.affinity) {
        orders.failed_at.store(step, Ordering::Relaxed);
        orders.error.store(-error as i32, Ordering::Relaxed);
        report(orders);
        exit();
    }
    report(orders);
    let Some(cpu) = orders.engine.cpus.get(orders.cpu) else { exit() };
    watch(orders.engine, cpu, orders.cpu)
}

fn report(orders: &Orders) {
    orders.state.store(1, Ordering::Release);
    futex::wake(&orders.state, 1);
}

fn exit() -> ! {
    loop {
        // SAFETY: ends this task, which owns nothing.
        unsafe { arch::syscall(nr::EXIT, [0; 6]) };
    }
}

/// Gives up everything but the CPU's idle time.
fn prepare(affinity: &CpuSet) -> Result<(), (u32, isize)> {
    let check = |step: u32, answer: isize| if answer < 0 { Err((step, answer)) } else { Ok(()) };
    call::set_signal_mask(!0);
    call::set_name(b"syslet-sentinel\0");
    // SAFETY: takes a number; the sentinel is to die with its maker.
    let death = unsafe { call::prctl(uapi::PR_SET_PDEATHSIG, uapi::SIGKILL as usize) };
    check(3, death)?;
    // Its own copies of the descriptors: the program's would never be closed otherwise.
    check(2, close_all())?;
    check(0, affinity.apply_raw())?;
    let idle = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: uapi::SCHED_IDLE,
        ..SchedAttr::default()
    };
    check(1, call::set_scheduling(0, &idle))?;
    // SAFETY: takes a number; concerns this task only.
    check(3, unsafe { call::prctl(uapi::PR_SET_NO_NEW_PRIVS, 1) })?;
    check(4, seal())
}

fn close_all() -> isize {
    // SAFETY: this task has a descriptor table of its own (no CLONE_FILES).
    unsafe { arch::syscall(nr::CLOSE_RANGE, [0, u32::MAX as usize, 0, 0, 0, 0]) }
}

/// The calls that a sealed sentinel may make.
const ALLOWED: [usize; 4] = [nr::FUTEX, nr::SCHED_YIELD, nr::MEMBARRIER, nr::EXIT];

/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K` (linux/bpf_common.h).
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Offsets in `struct seccomp_data`.
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter { code, jt, jf, k }
}

static SEAL: [SockFilter; 9] = [
    step(LOAD, 0, 0, OFFSET_ARCH),
    step(JUMP_EQUAL, 0, 5, AUDIT_ARCH),
    step(LOAD, 0, 0, OFFSET_NR),
    step(JUMP_EQUAL, 4, 0, ALLOWED[0] as u32),
    step(JUMP_EQUAL, 3, 0, ALLOWED[1] as u32),
    step(JUMP_EQUAL, 2, 0, ALLOWED[2] as u32),
    step(JUMP_EQUAL, 1, 0, ALLOWED[3] as u32),
    step(RETURN, 0, 0, SECCOMP_RET_KILL_PROCESS),
    step(RETURN, 0, 0, SECCOMP_RET_ALLOW),
];

fn seal() -> isize {
    let program = SockFprog { len: SEAL.len() as u16, filter: SEAL.as_ptr() };
    let args = [uapi::SECCOMP_SET_MODE_FILTER, 0, &raw const program as usize, 0, 0, 0];
    // SAFETY: the kernel reads the program, which is static.
    unsafe { arch::syscall(nr::SECCOMP, args) }
}

/// Looks for calls in progress whenever the CPU is idle.
fn watch(engine: &'static Engine, cpu: &'static Cpu, number: usize) -> ! {
    let mut quiet = 0;
    loop {
        if look(engine, cpu, number) {
            quiet = 0;
            continue;
        }
        quiet += 1;
        if quiet < PATIENCE {
            call::sched_yield();
            continue;
        }
        quiet = 0;
        if cpu.dismissed.load(Ordering::SeqCst) != 0 {
            exit();
        }
        cpu.alert.store(0, Ordering::SeqCst);
        // A call that began before it could see the cleared flag is seen here.
        engine.heavy_fence();
        if look(engine, cpu, number) {
            cpu.alert.store(1, Ordering::SeqCst);
            continue;
        }
        while cpu.alert.load(Ordering::SeqCst) == 0 && cpu.dismissed.load(Ordering::SeqCst) == 0 {
            futex::wait(&cpu.alert, 0, None);
        }
    }
}

/// Wakes a standby for each guest of this CPU that is in a call nobody has dealt with. True if there
/// was one.
fn look(engine: &'static Engine, cpu: &'static Cpu, number: usize) -> bool {
    let mut found = false;
    cpu.guests.any(|index| {
        if let Some(guest) = engine.guest(index)
            && let Some(call) = guest.unnoticed()
        {
            found |= engine.notice(number, guest, call);
        }
        false
    });
    found
}
