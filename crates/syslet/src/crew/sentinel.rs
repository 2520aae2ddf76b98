//! The sentinel: runs when its CPU has nothing better to do, that is, when a guest's call sleeps.
//!
//! One per CPU, `SCHED_IDLE`, pinned. It shares the memory of the process but is a process of its own
//! to the kernel (no `CLONE_THREAD`), because `exit`, `exec` and `setuid` wait for every *thread*, and
//! on a busy CPU a `SCHED_IDLE` thread may not run for a third of a second. Being outside the process
//! must not be a way out of a sandbox: it seals itself by a seccomp filter that lets it sleep, wake, yield and end, and
//! leave the table of descriptors, and nothing else; and it leaves that table.
//!
//! It has no thread-locals, takes no lock, and owes nothing to anybody while it is preempted. It
//! dies with the thread that made it, the watchdog.

#![allow(unsafe_code, reason = "a task without thread-locals, made by hand")]

use syslet_sys::uapi::{
    self, AUDIT_ARCH, BPF_JUMP_EQUAL, BPF_LOAD, BPF_RETURN, CLONE_CHILD_CLEARTID, CLONE_FILES,
    CLONE_PARENT_SETTID, CLONE_SETTLS, CLONE_VM, CLOSE_RANGE_UNSHARE, SECCOMP_ARCH,
    SECCOMP_ARGUMENT_2, SECCOMP_NR, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS, SchedAttr,
    SockFilter, SockFprog, Timespec, nr,
};
use syslet_sys::{arch, call, descriptor, futex};

use super::affinity::CpuSet;
use super::engine::{Cpu, Engine};
use super::mapping::Mapping;
use super::mechanism::Unsupported;
use super::member::Hurry;
use super::watchdog;
use crate::sync::{AtomicI32, AtomicU32, Ordering, fence};

/// Rounds without a call to deal with before the sentinel sleeps. A few, so that a guest that makes
/// one call after the other does not wake it for each.
const PATIENCE: u32 = 8;
/// How often `start_first` looks whether a sentinel that says nothing has died.
const LOOK: Timespec = Timespec { sec: 0, nsec: 10_000_000 };
/// How many [`LOOK`]s a sealed sentinel has for leaving the table of descriptors. What it closes is told to file
/// systems (`flush`), and a server may be slow, or wait for the thread that attaches.
const LEAVING: u32 = 10;
/// Stack of a sentinel.
const STACK: usize = 64 << 10;

/// Where the sentinels of one CPU stand, one after the other: what a new one is told, and says, and its stack. Made for
/// the first one and kept: who changes ids often has many.
#[derive(Debug)]
pub(super) struct Orders {
    engine: &'static Engine,
    cpu: usize,
    affinity: CpuSet,
    stack: Mapping,
    /// [`STARTING`], [`SEALED`] or [`ALONE`].
    state: AtomicU32,
    /// What was answered to the step that failed: an error number, or 0.
    error: AtomicI32,
    /// What it is about to do, in [`STEPS`].
    step: AtomicU32,
}

/// It has not said anything yet.
const STARTING: u32 = 0;
/// It is sealed, or a step has failed. All that can be refused is behind it.
const SEALED: u32 = 1;
/// It has left the program's table of descriptors.
const ALONE: u32 = 2;

/// Steps that a sandbox may refuse, for the message.
const STEPS: [&str; 6] =
    ["sched_setaffinity", "sched_setattr", "close_range", "prctl", "seccomp", "clone"];

/// [`make_idle`] among them.
const IDLE_STEP: usize = 1;

/// Makes the sentinel of `cpu`, or says what is refused. From the watchdog, which must live as long as
/// the process.
///
/// **Blocking**: until the sentinel is ready: some hundred microseconds, or a few time slices on a busy
/// CPU.
pub(super) fn start_first(engine: &'static Engine, cpu: usize) -> Result<(), Unsupported> {
    let orders = start(engine, cpu)?;
    let slot = &engine.cpus[cpu];
    let refused = |step: usize, error| {
        slot.sentinel_id.store(0, Ordering::SeqCst);
        slot.dismissed.store(0, Ordering::SeqCst);
        Err(Unsupported::Refused(STEPS[step], error))
    };
    let id = slot.sentinel_id.load(Ordering::SeqCst);
    while orders.state.load(Ordering::Acquire) == STARTING {
        let answer = futex::wait(&orders.state, STARTING, Some(&LOOK));
        if answer == -uapi::ETIMEDOUT && watchdog::reap(id, false) {
            // A sandbox that kills for a call that it does not allow.
            slot.sentinel.store(0, Ordering::SeqCst);
            return refused(orders.step.load(Ordering::Acquire) as usize, libc::EPERM);
        }
    }
    let mut step = orders.step.load(Ordering::Acquire) as usize;
    let mut error = orders.error.load(Ordering::Acquire);
    if error == 0 {
        // With that policy it could take a third of a second to let go of what the program closes meanwhile.
        let still = |_: &u32| orders.state.load(Ordering::Acquire) == SEALED;
        (0..LEAVING)
            .take_while(still)
            .for_each(|_| _ = futex::wait(&orders.state, SEALED, Some(&LOOK)));
        (step, error) = (IDLE_STEP, make_idle(slot));
    }
    if error == 0 {
        return Ok(());
    }
    slot.dismissed.store(1, Ordering::SeqCst);
    engine.rouse(slot);
    watchdog::reap(id, true);
    refused(step, error)
}

/// Makes another sentinel where one was made before, without waiting for it: on a busy CPU it may be long
/// in coming, and the watchdog has calls to look after. If it fails this CPU's calls are the watchdog's.
pub(super) fn start_another(engine: &'static Engine, cpu: usize) {
    if start(engine, cpu).is_ok() {
        make_idle(&engine.cpus[cpu]);
    }
}

/// Gives a sentinel its policy; from outside, or its last steps could take a third of a second on a busy
/// CPU. Returns the error number, or 0.
fn make_idle(slot: &Cpu) -> i32 {
    let idle = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: uapi::SCHED_IDLE,
        ..SchedAttr::default()
    };
    let id = slot.sentinel_id.load(Ordering::SeqCst) as i32;
    -(call::set_scheduling(id, &idle) as i32)
}

/// Duty: there is no sentinel of this CPU, and the caller is the watchdog.
fn start(engine: &'static Engine, cpu: usize) -> Result<&'static Orders, Unsupported> {
    let slot: &'static Cpu = &engine.cpus[cpu];
    let orders = match slot.orders.get() {
        Some(orders) => orders,
        None => {
            let Ok(orders) = Orders::new(engine, cpu) else {
                return Err(Unsupported::Refused("mmap", libc::ENOMEM));
            };
            slot.orders.get_or_init(|| orders)
        }
    };
    orders.state.store(STARTING, Ordering::Relaxed);
    orders.error.store(0, Ordering::Relaxed);
    // With a copy of the program's descriptors, what the program closes would stay open until the sentinel has run,
    // which on a busy CPU is late: a peer would write to nobody meanwhile.
    let flags = CLONE_VM | CLONE_FILES | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    let data = std::ptr::from_ref(orders) as usize;
    // SAFETY: nobody else is on the stack, by the duty: the kernel clears `sentinel` when the one before has left its
    // memory; it is never unmapped. `run` uses no thread-locals and does not return.
    let id = unsafe {
        arch::clone_vm(flags, orders.stack.top(), &slot.sentinel, &slot.sentinel, run, data)
    };
    if id < 0 {
        return Err(Unsupported::Refused("clone", -id as i32));
    }
    slot.sentinel_id.store(id as u32, Ordering::SeqCst);
    Ok(orders)
}

impl Orders {
    fn new(engine: &'static Engine, cpu: usize) -> std::io::Result<Self> {
        Ok(Self {
            engine,
            cpu,
            affinity: CpuSet::single(cpu),
            stack: Mapping::new(STACK)?,
            state: AtomicU32::new(STARTING),
            error: AtomicI32::new(0),
            step: AtomicU32::new(0),
        })
    }
}

/// The life of a sentinel.
unsafe extern "C" fn run(orders: usize) -> ! {
    // SAFETY: part of the engine, which is never freed once it has a sentinel.
    let orders = unsafe { &*(orders as *const Orders) };
    if let Err(error) = prepare(orders) {
        orders.error.store(-error as i32, Ordering::Relaxed);
        report(orders, SEALED);
        exit();
    }
    report(orders, SEALED);
    // What is sealed has nothing of the program's. The kernel copies the numbers below 64 and closes the copies, which
    // may take as long as a server likes: nobody waits for it. Where it is refused for its flag alone, which a sandbox
    // could, this CPU's calls are the watchdog's.
    if descriptor::own_table() < 0 {
        exit();
    }
    report(orders, ALONE);
    if let Some(cpu) = orders.engine.cpus.get(orders.cpu) {
        watch(orders.engine, cpu, orders.cpu);
    }
    exit()
}

fn report(orders: &Orders, state: u32) {
    orders.state.store(state, Ordering::Release);
    futex::wake(&orders.state, 1);
}

/// Inlined, and the only function here that does not return: before a call of such a one AddressSanitizer
/// asks for the signal stack, which the seal does not let it do.
#[inline(always)]
fn exit() -> ! {
    loop {
        // SAFETY: ends this task, which owns nothing.
        unsafe { arch::syscall(nr::EXIT, [0; 6]) };
    }
}

/// Gives up everything but the CPU's idle time and the descriptors.
fn prepare(orders: &Orders) -> Result<(), isize> {
    let begin = |step| orders.step.store(step, Ordering::Relaxed);
    let check = |answer: isize| if answer < 0 { Err(answer) } else { Ok(()) };
    call::set_signal_mask(!0);
    begin(3);
    call::set_name(b"syslet-sentinel\0");
    // SAFETY: takes a number; the sentinel is to die with its maker.
    check(unsafe { call::prctl(uapi::PR_SET_PDEATHSIG, uapi::SIGKILL as usize) })?;
    // If the program has ended before that, nobody would ever end us.
    let orphan = call::getppid() != orders.engine.pid;
    check(if orphan { -(libc::ESRCH as isize) } else { 0 })?;
    begin(2);
    check(descriptor::close_none())?;
    begin(0);
    check(orders.affinity.apply_raw())?;
    begin(3);
    // SAFETY: takes a number; concerns this task only.
    check(unsafe { call::prctl(uapi::PR_SET_NO_NEW_PRIVS, 1) })?;
    begin(4);
    check(seal())
}

/// The calls that a sealed sentinel may make, whatever their arguments.
const ALLOWED: [usize; 3] = [nr::FUTEX, nr::SCHED_YIELD, nr::EXIT];

/// Flags of close_range(2), which the kernel takes no more of.
const OFFSET_FLAGS: u32 = SECCOMP_ARGUMENT_2;

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter { code, jt, jf, k }
}

/// Leaving the table of descriptors is allowed: with this flag close_range(2) closes nothing in a table that is shared.
static SEAL: [SockFilter; 11] = [
    step(BPF_LOAD, 0, 0, SECCOMP_ARCH),
    step(BPF_JUMP_EQUAL, 0, 7, AUDIT_ARCH),
    step(BPF_LOAD, 0, 0, SECCOMP_NR),
    step(BPF_JUMP_EQUAL, 6, 0, ALLOWED[0] as u32),
    step(BPF_JUMP_EQUAL, 5, 0, ALLOWED[1] as u32),
    step(BPF_JUMP_EQUAL, 4, 0, ALLOWED[2] as u32),
    step(BPF_JUMP_EQUAL, 0, 2, nr::CLOSE_RANGE as u32),
    step(BPF_LOAD, 0, 0, OFFSET_FLAGS),
    step(BPF_JUMP_EQUAL, 1, 0, CLOSE_RANGE_UNSHARE as u32),
    step(BPF_RETURN, 0, 0, SECCOMP_RET_KILL_PROCESS),
    step(BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW),
];

fn seal() -> isize {
    let program = SockFprog { len: SEAL.len() as u16, filter: SEAL.as_ptr() };
    let args = [uapi::SECCOMP_SET_MODE_FILTER, 0, &raw const program as usize, 0, 0, 0];
    // SAFETY: the kernel reads the program, which is static.
    unsafe { arch::syscall(nr::SECCOMP, args) }
}

/// Looks for calls in progress whenever the CPU is idle, until dismissed.
fn watch(engine: &'static Engine, cpu: &'static Cpu, number: usize) {
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
            return;
        }
        cpu.alert.store(0, Ordering::SeqCst);
        // A call that began before it could see the cleared flag is seen here: this task comes after the
        // guest on the same CPU, or the guest has moved, and then its store has had the time of a yield to
        // get here. What is not seen all the same is the watchdog's. Not by the heavy fence: it
        // interrupts the other CPUs, and takes a mutex of the whole system's, which a task that may be
        // preempted for a third of a second must not hold.
        fence(Ordering::SeqCst);
        call::sched_yield();
        if look(engine, cpu, number) {
            // The watchdog too: it may have gone to sleep since, and whoever finds `alert` set relies
            // on both.
            engine.rouse(cpu);
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
            found |= engine.notice(number, guest, call, Hurry::No);
        }
        false
    });
    found
}
