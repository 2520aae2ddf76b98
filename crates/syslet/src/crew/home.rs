//! The home: the kernel thread that the guest was born on, parked.
//!
//! It runs on a small stack of its own (the guest uses the thread's), with every signal blocked, and
//! sleeps in `rt_sigtimedwait` for all of them. The kernel looks for a thread that *wants* a signal,
//! and one that waits for it does; so signals for the process, and those sent to the guest's thread
//! by its old id (`pthread_kill`), come to the home, which queues them to the kernel thread that
//! carries the guest. Crew threads that are asleep in a call are left alone.
//!
//! The home keeps the guest's thread pointer but uses no thread-locals.

#![allow(unsafe_code, reason = "runs on a stack of its own, below the context switch")]

use std::io;

use syslet_sys::arch::Verdict;
use syslet_sys::uapi::{SIGSETXID, SIGURG, Siginfo};
use syslet_sys::{call, futex};

use super::guest::Guest;
use super::identity::Ids;
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Stack of a parked home: its loop is shallow.
const HOME_STACK: usize = 64 << 10;

/// What the home is asked to do.
mod command {
    pub(super) const STAY: u32 = 0;
    pub(super) const GO_ON: u32 = 1;
    pub(super) const TAKE_IDS: u32 = 2;
}

/// Memory of our own, with a guard page below.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: usize,
    size: usize,
}

/// Bytes of the guard below a mapping.
const GUARD: usize = 4096;

impl Mapping {
    /// Maps `size` bytes (a multiple of the page size).
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, where the kernel likes it.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), size + GUARD, prot, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the lowest page of the mapping just made.
        let guarded = unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) };
        let mapping = Self { base: base as usize, size };
        if guarded != 0 { Err(io::Error::last_os_error()) } else { Ok(mapping) }
    }

    /// Lowest usable address.
    pub(crate) fn start(&self) -> usize {
        self.base + GUARD
    }

    /// Usable bytes.
    pub(crate) fn len(&self) -> usize {
        self.size
    }

    /// The address above the highest usable one.
    pub(crate) fn top(&self) -> usize {
        self.start() + self.size
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, not used any more.
        unsafe { libc::munmap(self.base as *mut libc::c_void, self.size + GUARD) };
    }
}

/// The part of a guest's record that its home reads.
#[derive(Debug)]
pub(super) struct Home {
    tid: AtomicI32,
    command: AtomicU32,
    /// Signal mask to go on with.
    mask: AtomicU64,
    /// Ids to take over, and the answer: 0 asked, 1 done, 2 failed. Written by the carrier's signal
    /// handler before it commands.
    ids: std::cell::UnsafeCell<Ids>,
    answer: AtomicU32,
    stack: Mapping,
}

// SAFETY: `ids` is written before `command` is stored with release and read after it was loaded
// with acquire; one carrier at a time asks, and waits for the answer.
unsafe impl Sync for Home {}

impl Home {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            tid: AtomicI32::new(0),
            command: AtomicU32::new(command::STAY),
            mask: AtomicU64::new(0),
            ids: std::cell::UnsafeCell::new(Ids::none()),
            answer: AtomicU32::new(0),
            stack: Mapping::new(HOME_STACK)?,
        })
    }

    /// Top of the stack that the home parks on.
    pub(super) fn stack_top(&self) -> usize {
        self.stack.top()
    }

    /// The home's kernel thread.
    pub(super) fn tid(&self) -> i32 {
        self.tid.load(Ordering::Acquire)
    }

    /// The running kernel thread is about to be the home.
    pub(super) fn prepare(&self) {
        self.command.store(command::STAY, Ordering::Relaxed);
        self.tid.store(call::gettid(), Ordering::Release);
    }

    /// Lets the home go on with the guest's context, under `mask`.
    pub(super) fn go_on(&self, pid: i32, mask: u64) {
        self.mask.store(mask, Ordering::Relaxed);
        self.command(pid, command::GO_ON);
    }

    fn command(&self, pid: i32, command: u32) {
        // Release: what the command is about.
        self.command.store(command, Ordering::Release);
        // Signals up to 31 are never lost for want of memory. Blocked, it is taken by `park`.
        call::tgkill(pid, self.tid(), SIGURG);
    }

    /// Makes the home change its ids, and waits until it has. From a signal handler of the carrier.
    ///
    /// **Blocking**: until the home, which does nothing else, has answered.
    pub(super) fn take_ids(&self, pid: i32, ids: &Ids) -> bool {
        // SAFETY: the carrier is the only one to ask, and waits below; see `Sync`.
        unsafe { *self.ids.get() = *ids };
        self.answer.store(0, Ordering::Relaxed);
        self.command(pid, command::TAKE_IDS);
        while self.answer.load(Ordering::Acquire) == 0 {
            futex::wait(&self.answer, 0, None);
        }
        self.answer.load(Ordering::Acquire) == 1
    }

    fn obey_ids(&self) {
        // SAFETY: see `Sync`: the command was loaded with acquire.
        let done = unsafe { &*self.ids.get() }.take_over();
        self.answer.store(if done { 1 } else { 2 }, Ordering::Release);
        futex::wake(&self.answer, 1);
    }
}

/// Parks the home kernel thread until the guest comes back. Runs on the home's own stack.
///
/// # Safety
///
/// `data` is the guest whose context was just saved on this kernel thread.
pub(super) unsafe extern "C" fn park(data: *mut u8) -> Verdict {
    // SAFETY: the duty of this function; records are never freed.
    let guest = unsafe { &*data.cast::<Guest>() };
    let home = &guest.home;
    call::set_signal_mask(!0);
    super::attach::hand_to_crew(guest);
    let pid = call::getpid();
    let mut info = Siginfo::queued(0, 0, 0, 0, 0);
    loop {
        let signal = call::wait_signal(!0, &mut info, None) as i32;
        if signal == SIGURG && info.pid == pid {
            // A command is stored before its signal is sent, one at a time.
            // Acquire: pairs with the release in `command`.
            match home.command.swap(command::STAY, Ordering::Acquire) {
                command::GO_ON => break,
                command::TAKE_IDS => home.obey_ids(),
                _ => forward(guest, pid, signal, &info),
            }
        } else if signal > 0 {
            forward(guest, pid, signal, &info);
        }
    }
    call::set_signal_mask(home.mask.load(Ordering::Relaxed));
    Verdict::stay(0)
}

/// Passes a signal on to the kernel thread that carries the guest.
fn forward(guest: &Guest, pid: i32, signal: i32, info: &Siginfo) {
    if signal == SIGSETXID {
        super::signals::answer_setxid(signal, info);
        return;
    }
    let tid = guest.carrier().tid();
    if call::queue_to_thread(pid, tid, info) < 0 {
        call::tgkill(pid, tid, signal);
    }
}
