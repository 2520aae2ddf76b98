//! The system calls that scenarios make, wrapped.
//!
//! # Safety
//!
//! Clause A: no argument is a pointer. Clause B: every pointer is to a live local, or to memory that
//! is leaked.

#![allow(unsafe_code, reason = "the scenarios' one place for raw system calls")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks at something that other threads change.
const LOOK: Duration = Duration::from_micros(200);

/// A system call whose arguments are numbers.
pub(crate) fn number_call(nr: libc::c_long, args: [usize; 4]) -> isize {
    // SAFETY: clause A, by the callers of this function.
    let answer = unsafe { libc::syscall(nr, args[0], args[1], args[2], args[3], 0, 0) };
    answer as isize
}

pub(crate) fn gettid() -> i32 {
    number_call(libc::SYS_gettid, [0; 4]) as i32
}

pub(crate) fn getpid() -> i32 {
    std::process::id() as i32
}

/// Ends the process at once, by `_exit`.
pub(crate) fn exit_now(code: i32) -> ! {
    use std::io::Write;
    let _ = io::stdout().flush();
    // SAFETY: clause A.
    unsafe { libc::_exit(code) }
}

/// Ends the process by the C library's `exit`.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: clause A; one thread at a time does it.
    unsafe { libc::exit(code) }
}

pub(crate) fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: clause A.
    unsafe { libc::kill(pid, signal) == 0 }
}

pub(crate) fn raise(signal: i32) {
    // SAFETY: clause A.
    unsafe { libc::raise(signal) };
}

/// A file without a name.
pub(crate) fn unnamed_file() -> File {
    // SAFETY: clause B: a literal.
    let fd = unsafe { libc::memfd_create(c"programs".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor.
    unsafe { File::from_raw_fd(fd) }
}

/// A file without a name that holds `text`, to be read from its beginning.
pub(crate) fn file_with(text: &str) -> File {
    use std::io::{Seek, Write};
    let mut file = unnamed_file();
    let written = file.write_all(text.as_bytes()).and_then(|()| file.rewind());
    written.expect("memory is there");
    file
}

/// Two ends of a connection.
pub(crate) fn sockets() -> (OwnedFd, OwnedFd) {
    let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
    (one.into(), other.into())
}

/// Read and write end.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: clause B.
    let answer = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(answer, 0, "pipe2: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor.
    let reader = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: a new descriptor.
    let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    (reader, writer)
}

pub(crate) fn write_byte(fd: i32, byte: u8) -> bool {
    // SAFETY: clause B.
    unsafe { libc::write(fd, (&raw const byte).cast(), 1) == 1 }
}

/// One byte, or `None` at the end of the file or for an error.
pub(crate) fn read_byte(fd: i32) -> Option<u8> {
    let mut byte = 0u8;
    loop {
        // SAFETY: clause B.
        let got = unsafe { libc::read(fd, (&raw mut byte).cast(), 1) };
        match got {
            1 => return Some(byte),
            -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            _ => return None,
        }
    }
}

/// Waits until `done` says so.
///
/// # Panics
///
/// After [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK);
    }
}

/// As [`eventually`], without a call that could be interrupted or handed off: spins.
#[track_caller]
pub(crate) fn spin_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::hint::spin_loop();
    }
}

/// Whether process `pid`, a child, ends within `limit`; it is not reaped.
pub(crate) fn wait_process(pid: u32, limit: Duration) -> bool {
    let handle = number_call(libc::SYS_pidfd_open, [pid as usize, 0, 0, 0]);
    assert!(handle >= 0, "pidfd_open: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor.
    let handle = unsafe { OwnedFd::from_raw_fd(handle as i32) };
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: clause B.
        let ready = unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as i32) };
        if ready == 1 {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// A forked child.
#[derive(Debug)]
pub(crate) struct Forked(pub(crate) i32);

/// Forks; the child runs `f` and ends by `_exit` with its answer, or 101 if it panics.
pub(crate) fn fork(f: impl FnOnce() -> i32) -> Forked {
    match fork_here() {
        Some(child) => child,
        None => exit_now(std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(101)),
    }
}

/// Forks; `None` in the child.
pub(crate) fn fork_here() -> Option<Forked> {
    // SAFETY: clause A; the C library's own handlers run.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    (pid != 0).then_some(Forked(pid))
}

/// How a child ended: an exit status, or minus a signal.
fn decode(status: i32) -> i32 {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

impl Forked {
    /// The exit status, or minus the signal that ended it.
    ///
    /// # Panics
    ///
    /// After [`PATIENCE`]; the child is killed.
    #[track_caller]
    pub(crate) fn end(self) -> i32 {
        if !wait_process(self.0 as u32, PATIENCE) {
            kill(self.0, libc::SIGKILL);
            self.reap();
            panic!("the child is not over after {PATIENCE:?}");
        }
        self.reap()
    }

    pub(crate) fn kill(self) {
        kill(self.0, libc::SIGKILL);
        self.reap();
    }

    fn reap(&self) -> i32 {
        let mut status = 0;
        loop {
            // SAFETY: clause B.
            let answer = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
            if answer == self.0 {
                return decode(status);
            }
            let error = io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::EINTR), "waitpid: {error}");
        }
    }
}

/// `waitpid(-1)`: which child, or the error number.
pub(crate) fn wait_any(flags: i32) -> Result<i32, i32> {
    // SAFETY: clause A: the status is not asked for.
    let answer = unsafe { libc::waitpid(-1, std::ptr::null_mut(), flags) };
    if answer < 0 { Err(errno()) } else { Ok(answer) }
}

pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Words that forked children share with their parent.
pub(crate) fn shared_words() -> &'static [AtomicU32; 64] {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: clause A: a new mapping.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    // SAFETY: zeroed memory of the mapping, never unmapped.
    unsafe { &*memory.cast() }
}

/// The words at an address that [`shared_words`] gave; `None` for 0.
pub(crate) fn shared_at(address: usize) -> Option<&'static [AtomicU32; 64]> {
    // SAFETY: null, or the address of memory that is never unmapped.
    unsafe { (address as *const [AtomicU32; 64]).as_ref() }
}

/// Keeps a CPU busy in a process of its own for as long as it lives.
#[derive(Debug)]
pub(crate) struct Hogs(Vec<Forked>);

impl Hogs {
    /// One on each CPU that this thread may run on: the scheduler sees to that where they cannot be
    /// pinned.
    pub(crate) fn on_every_cpu() -> Self {
        Self(affinity(0).into_iter().map(hog).collect())
    }
}

fn hog(cpu: usize) -> Forked {
    let parent = getpid();
    fork(move || {
        if !crate::container::scheduling_is_denied() {
            set_affinity(0, &[cpu]);
        }
        // Looks now and then whether the program is still there.
        while parent_pid() == parent {
            for _ in 0..10_000_000 {
                std::hint::spin_loop();
            }
        }
        0
    })
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Forked::kill);
    }
}

pub(crate) fn parent_pid() -> i32 {
    number_call(libc::SYS_getppid, [0; 4]) as i32
}

/// The CPUs that thread `tid` may run on.
pub(crate) fn affinity(tid: i32) -> Vec<usize> {
    let mut words = [0u64; 16];
    let size = size_of_val(&words);
    // SAFETY: clause B.
    let answer = unsafe { libc::sched_getaffinity(tid, size, words.as_mut_ptr().cast()) };
    assert_eq!(answer, 0, "sched_getaffinity: {}", io::Error::last_os_error());
    (0..1024).filter(|cpu| words[cpu / 64] & (1 << (cpu % 64)) != 0).collect()
}

pub(crate) fn set_affinity(tid: i32, cpus: &[usize]) {
    let mut words = [0u64; 16];
    cpus.iter().for_each(|cpu| words[cpu / 64] |= 1 << (cpu % 64));
    let size = size_of_val(&words);
    // SAFETY: clause B.
    let answer = unsafe { libc::sched_setaffinity(tid, size, words.as_ptr().cast()) };
    assert_eq!(answer, 0, "sched_setaffinity: {}", io::Error::last_os_error());
}

/// The C library's answer, which may come from the rseq area.
pub(crate) fn sched_getcpu() -> usize {
    // SAFETY: clause A.
    unsafe { libc::sched_getcpu() as usize }
}

/// What the kernel has written into the rseq area of the running thread; negative: not registered.
pub(crate) fn rseq_cpu() -> Option<i32> {
    // SAFETY: clause B: a literal.
    let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
    if offset.is_null() {
        return None;
    }
    // SAFETY: glibc's constant.
    let offset = unsafe { *offset.cast::<isize>() };
    let area = thread_pointer().wrapping_add_signed(offset);
    let cpu = (area + 4) as *const i32;
    // SAFETY: the thread's own area; the kernel writes it whenever the thread is moved.
    Some(unsafe { cpu.read_volatile() })
}

/// An area of restartable sequences that is not the C library's.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct RseqArea([u32; 8]);

/// The signature of an area: any number will do.
const RSEQ_SIGNATURE: usize = 0x1234_5678;

impl RseqArea {
    /// Registered for the running thread, for good; `None` where the kernel refuses it.
    pub(crate) fn register() -> Option<&'static Self> {
        let area: &'static Self = Box::leak(Box::new(Self([0; 8])));
        let answer = number_call(libc::SYS_rseq, [area.address(), 32, 0, RSEQ_SIGNATURE]);
        (answer == 0).then_some(area)
    }

    /// What the kernel has written there.
    pub(crate) fn cpu(&self) -> usize {
        // SAFETY: a word of its own, which the kernel writes.
        unsafe { (&raw const self.0[1]).read_volatile() as usize }
    }

    pub(crate) fn unregister(&self) {
        let answer = number_call(libc::SYS_rseq, [self.address(), 32, 1, RSEQ_SIGNATURE]);
        assert_eq!(answer, 0, "the area is not registered any more");
    }

    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

fn thread_pointer() -> usize {
    // SAFETY: clause A; on x86-64 Linux a pthread_t is the thread pointer.
    (unsafe { libc::pthread_self() }) as usize
}

pub(crate) fn this_pthread() -> libc::pthread_t {
    // SAFETY: clause A.
    unsafe { libc::pthread_self() }
}

pub(crate) fn pthread_kill(thread: libc::pthread_t, signal: i32) {
    // SAFETY: clause A; the callers' threads have not been joined.
    let answer = unsafe { libc::pthread_kill(thread, signal) };
    assert_eq!(answer, 0, "pthread_kill");
}

/// The nice value of the running kernel thread.
pub(crate) fn nice() -> i32 {
    // SAFETY: clause A.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

pub(crate) fn set_nice(value: i32) {
    set_nice_of(0, value);
}

/// Of kernel thread `tid`.
pub(crate) fn set_nice_of(tid: i32, value: i32) {
    // SAFETY: clause A.
    let answer = unsafe { libc::setpriority(libc::PRIO_PROCESS, tid as u32, value) };
    assert_eq!(answer, 0, "setpriority: {}", io::Error::last_os_error());
}

/// The timer slack of the running kernel thread, in nanoseconds.
pub(crate) fn timer_slack() -> usize {
    prctl(libc::PR_GET_TIMERSLACK, 0) as usize
}

/// A prctl whose argument is a number.
pub(crate) fn prctl(option: i32, value: usize) -> isize {
    // SAFETY: clause A, by the callers of this function.
    (unsafe { libc::prctl(option, value, 0, 0, 0) }) as isize
}

/// The signals of a mask as bits: signal 1 is bit 0.
fn bits_of(set: &libc::sigset_t) -> u64 {
    // SAFETY: clause B.
    let has = |signal| unsafe { libc::sigismember(set, signal) } == 1;
    (1..=64).filter(|signal| has(*signal)).fold(0, |bits, signal| bits | 1 << (signal - 1))
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: clause B.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    for signal in signals {
        // SAFETY: clause B: initialised above.
        unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) };
    }
    // SAFETY: initialised above.
    unsafe { set.assume_init() }
}

/// The mask of the running kernel thread.
pub(crate) fn signal_mask() -> u64 {
    let mut old = set_of(&[]);
    // SAFETY: clause B.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut old) };
    bits_of(&old)
}

/// Address, size and flags of the alternate signal stack.
pub(crate) fn signal_stack() -> (usize, usize, i32) {
    let mut stack = libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: clause B.
    unsafe { libc::sigaltstack(std::ptr::null(), &raw mut stack) };
    (stack.ss_sp as usize, stack.ss_size, stack.ss_flags)
}

/// True if `signal` waits for the running kernel thread, or for any.
pub(crate) fn is_pending(signal: i32) -> bool {
    let mut pending = set_of(&[]);
    // SAFETY: clause B.
    unsafe { libc::sigpending(&raw mut pending) };
    bits_of(&pending) & 1 << (signal - 1) != 0
}

/// True if a thread of this process blocks the signal, or has ended; false while it waits for it by sigtimedwait(2).
pub(crate) fn blocks(tid: i32, signal: i32) -> bool {
    let mask =
        crate::proc::field(tid, "SigBlk").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    mask.is_none_or(|mask| mask & 1 << (signal - 1) != 0)
}

pub(crate) fn block(signals: &[i32]) {
    let set = set_of(signals);
    // SAFETY: clause B.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

pub(crate) fn unblock(signals: &[i32]) {
    let set = set_of(signals);
    // SAFETY: clause B.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Waits for one of `signals`, for `limit` at most.
pub(crate) fn wait_signal(signals: &[i32], limit: Duration) -> Option<i32> {
    let set = set_of(signals);
    let time = timespec(limit);
    // SAFETY: clause B: the information is not asked for.
    let got = unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time) };
    (got > 0).then_some(got)
}

/// Takes one of `signals` that is pending: its number, sender and code.
pub(crate) fn take_signal(signals: &[i32]) -> Option<(i32, i32, i32)> {
    let set = set_of(signals);
    let time = timespec(Duration::ZERO);
    // SAFETY: plain data.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: clause B.
    let got = unsafe { libc::sigtimedwait(&raw const set, &raw mut info, &raw const time) };
    let (pid, code) = sender(&raw mut info);
    (got > 0).then_some((got, pid, code))
}

/// A descriptor that becomes readable when one of `signals` is pending.
pub(crate) fn signal_descriptor(signals: &[i32]) -> OwnedFd {
    let set = set_of(signals);
    // SAFETY: clause B.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
    assert!(fd >= 0, "signalfd: {}", io::Error::last_os_error());
    // SAFETY: a new descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Whether `fd` becomes readable within `limit`.
pub(crate) fn readable(fd: i32, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: clause B.
        let ready = unsafe { libc::poll(&raw mut poll, 1, left.as_millis() as i32) };
        if ready == 1 || left.is_zero() {
            return ready == 1;
        }
    }
}

pub(crate) fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

/// A handler with information.
pub(crate) type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Installs `handler` for `signal`, with SA_RESTART and on the alternate stack.
pub(crate) fn handle(signal: i32, handler: Handler) {
    handle_with(signal, handler, libc::SA_ONSTACK | libc::SA_RESTART);
}

/// Installs `handler` for `signal`, to run on the interrupted stack.
pub(crate) fn handle_without_stack(signal: i32, handler: Handler) {
    handle_with(signal, handler, libc::SA_RESTART);
}

/// Installs `handler` for `signal`; calls that it interrupts are not begun again by the kernel.
pub(crate) fn handle_interrupting(signal: i32, handler: Handler) {
    handle_with(signal, handler, libc::SA_ONSTACK);
}

/// Gives `signal` its default action.
pub(crate) fn handle_by_default(signal: i32) {
    // SAFETY: clause A.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

fn handle_with(signal: i32, handler: Handler, flags: i32) {
    // SAFETY: zeroes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | flags;
    // SAFETY: clause B; the handlers of the scenarios touch atomics only.
    let answer = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(answer, 0, "sigaction: {}", io::Error::last_os_error());
}

/// What a handler was told.
fn info_of(info: *mut libc::siginfo_t) -> libc::siginfo_t {
    // SAFETY: the kernel's own structure, on the stack of the running handler.
    unsafe { *info }
}

/// The sender's process id and code of a signal.
pub(crate) fn sender(info: *mut libc::siginfo_t) -> (i32, i32) {
    let info = info_of(info);
    // SAFETY: plain data; si_pid is there for all codes that the scenarios send.
    (unsafe { info.si_pid() }, info.si_code)
}

/// The value that came with a queued signal.
pub(crate) fn queued_value(info: *mut libc::siginfo_t) -> usize {
    let info = info_of(info);
    // SAFETY: plain data, initialised by the kernel.
    (unsafe { info.si_value() }).sival_ptr as usize
}

/// sigqueue(3).
pub(crate) fn queue_signal(pid: i32, signal: i32, value: usize) -> bool {
    let value = libc::sigval { sival_ptr: value as *mut libc::c_void };
    // SAFETY: clause A: the value is a number to us.
    unsafe { libc::sigqueue(pid, signal, value) == 0 }
}

/// Sends a signal to one thread of process `pid`.
pub(crate) fn kill_thread(pid: i32, tid: i32, signal: i32) -> bool {
    number_call(libc::SYS_tgkill, [pid as usize, tid as usize, signal as usize, 0]) == 0
}

/// Queues a signal to one thread of process `pid` that names that process itself as the sender.
pub(crate) fn forge(pid: i32, tid: i32, signal: i32, code: i32, value: usize) -> bool {
    let mut info = [0u64; 16];
    info[0] = signal as u64; // si_signo, si_errno
    info[1] = u64::from(code as u32); // si_code
    info[2] = pid as u64; // si_pid, si_uid
    info[3] = value as u64;
    let (nr, info) = (libc::SYS_rt_tgsigqueueinfo, info.as_ptr());
    // SAFETY: clause B.
    unsafe { libc::syscall(nr, pid, tid, signal, info) == 0 }
}

/// Waits until `word` differs from `old`; says whether it did within [`PATIENCE`].
pub(crate) fn wait_change(word: &AtomicU32, old: u32) -> bool {
    let end = Instant::now() + PATIENCE;
    while word.load(Ordering::SeqCst) == old {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// What the process has spent of the CPUs.
pub(crate) fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clause B.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Sets the GS base of the running thread.
pub(crate) fn set_gs_base(value: usize) {
    const ARCH_SET_GS: usize = 0x1001;
    let answer = number_call(libc::SYS_arch_prctl, [ARCH_SET_GS, value, 0, 0]);
    assert_eq!(answer, 0, "arch_prctl");
}

/// unshare(2): false where it is not allowed.
pub(crate) fn unshare(flags: i32) -> bool {
    // SAFETY: clause A.
    unsafe { libc::unshare(flags) == 0 }
}

/// Names a thread by its pthread id.
pub(crate) fn set_thread_name(thread: libc::pthread_t, name: &std::ffi::CStr) {
    // SAFETY: clause B; the callers' threads have not been joined.
    assert_eq!(unsafe { libc::pthread_setname_np(thread, name.as_ptr()) }, 0, "pthread_setname_np");
}

/// Restricts a thread by its pthread id to one CPU.
pub(crate) fn set_thread_affinity(thread: libc::pthread_t, cpu: usize) {
    // SAFETY: zeroes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: clause B.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: clause B; the callers' threads have not been joined.
    let answer = unsafe { libc::pthread_setaffinity_np(thread, size_of_val(&set), &raw const set) };
    assert_eq!(answer, 0, "pthread_setaffinity_np");
}

/// `struct ucontext`'s registers: what a trapped call was given, and is to answer.
pub(crate) fn trapped(context: *mut libc::c_void) -> &'static mut [i64] {
    // SAFETY: the kernel's own structure, on the stack of the running handler, which alone uses it.
    unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs }
}

/// Writes a word where a trapped call was told to.
pub(crate) fn store_at(address: usize, value: u64) {
    // SAFETY: by the handler of a trapped call, whose caller waits for the kernel to write there.
    unsafe { (address as *mut u64).write(value) };
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) {
    let answer = number_call(libc::SYS_close_range, [first as usize, u32::MAX as usize, 0, 0]);
    assert_eq!(answer, 0, "close_range");
}

/// Sets the C library's ids: of all threads.
pub(crate) fn setgid(id: u32) -> bool {
    // SAFETY: clause A.
    unsafe { libc::setgid(id) == 0 }
}

pub(crate) fn own_group() -> u32 {
    // SAFETY: clause A.
    unsafe { libc::getgid() }
}

pub(crate) fn setuid(id: u32) -> bool {
    // SAFETY: clause A.
    unsafe { libc::setuid(id) == 0 }
}

pub(crate) fn setgroups(groups: &[u32]) -> bool {
    // SAFETY: clause B.
    unsafe { libc::setgroups(groups.len(), groups.as_ptr()) == 0 }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: clause A.
    unsafe { libc::geteuid() == 0 }
}

/// A robust mutex, leaked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RobustMutex(*mut libc::pthread_mutex_t);

// SAFETY: a mutex is for several threads.
unsafe impl Send for RobustMutex {}

impl RobustMutex {
    pub(crate) fn new() -> Self {
        let mut attributes = std::mem::MaybeUninit::uninit();
        // SAFETY: clause B.
        unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
        let robust = libc::PTHREAD_MUTEX_ROBUST;
        // SAFETY: clause B: initialised above.
        unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), robust) };
        let mutex = Box::into_raw(Box::new(libc::PTHREAD_MUTEX_INITIALIZER));
        // SAFETY: clause B: initialised above.
        let answer = unsafe { libc::pthread_mutex_init(mutex, attributes.as_ptr()) };
        assert_eq!(answer, 0, "pthread_mutex_init");
        Self(mutex)
    }

    /// 0, or the error number. Waits two seconds at most.
    pub(crate) fn lock(self) -> i32 {
        // SAFETY: zeroes are a valid timespec.
        let mut end: libc::timespec = unsafe { std::mem::zeroed() };
        // SAFETY: clause B.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut end) };
        end.tv_sec += 2;
        // SAFETY: clause B.
        unsafe { libc::pthread_mutex_timedlock(self.0, &raw const end) }
    }
}

/// Whether `fd` has ended or has data, looked at for [`PATIENCE`].
pub(crate) fn readable_or_ended(fd: i32) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: clause B.
        if unsafe { libc::poll(&raw mut poll, 1, 100) } == 1 {
            return true;
        }
    }
    false
}

/// Ignores `signal`.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: no handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// `execv` of this very program with other arguments. Returns only if it fails.
pub(crate) fn exec_self(arguments: &[&str]) -> io::Error {
    use std::os::unix::process::CommandExt;
    std::process::Command::new("/proc/self/exe").args(arguments).exec()
}

/// A joinable thread made by pthread_create, without the Rust library's own frames.
pub(crate) fn bare_thread(
    main: extern "C-unwind" fn(*mut libc::c_void) -> *mut libc::c_void,
) -> libc::pthread_t {
    let mut thread = 0;
    // SAFETY: both are functions of one pointer; unwinding out of it is what pthread_cancel does.
    let main = unsafe {
        std::mem::transmute::<
            extern "C-unwind" fn(*mut libc::c_void) -> *mut libc::c_void,
            extern "C" fn(*mut libc::c_void) -> *mut libc::c_void,
        >(main)
    };
    let none = std::ptr::null_mut();
    // SAFETY: clause B; the argument is not used.
    let made = unsafe { libc::pthread_create(&raw mut thread, std::ptr::null(), main, none) };
    assert_eq!(made, 0, "pthread_create");
    thread
}

/// atexit(3).
pub(crate) fn at_exit(f: extern "C" fn()) {
    // SAFETY: clause A; a function that takes nothing.
    assert_eq!(unsafe { libc::atexit(f) }, 0, "atexit");
}

/// Joins a thread; `false` if it has not ended within [`PATIENCE`].
pub(crate) fn join(thread: libc::pthread_t) -> bool {
    unsafe extern "C" {
        fn pthread_timedjoin_np(
            thread: libc::pthread_t,
            value: *mut *mut libc::c_void,
            end: *const libc::timespec,
        ) -> i32;
    }
    // SAFETY: zeroes are a valid timespec.
    let mut end: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: clause B.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut end) };
    end.tv_sec += PATIENCE.as_secs() as i64;
    // SAFETY: clause B; a thread that was not joined before.
    unsafe { pthread_timedjoin_np(thread, std::ptr::null_mut(), &raw const end) == 0 }
}

/// pthread_cancel(3).
pub(crate) fn cancel_thread(thread: libc::pthread_t) {
    unsafe extern "C" {
        fn pthread_cancel(thread: libc::pthread_t) -> i32;
    }
    // SAFETY: clause A; a thread that was not joined before.
    unsafe { pthread_cancel(thread) };
}

/// A cancellation point.
pub(crate) fn test_cancel() {
    unsafe extern "C-unwind" {
        fn pthread_testcancel();
    }
    // SAFETY: clause A; the frames up to the thread's first one have nothing to drop.
    unsafe { pthread_testcancel() };
}

/// SIGALRM after `first`, never for zero, and then every `period`, or never again for zero.
pub(crate) fn set_timer(first: Duration, period: Duration) {
    let time = |of: Duration| libc::timeval { tv_sec: 0, tv_usec: of.as_micros() as i64 };
    let timer = libc::itimerval { it_interval: time(period), it_value: time(first) };
    let none = std::ptr::null_mut();
    // SAFETY: clause B.
    let answer = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, none) };
    assert_eq!(answer, 0, "setitimer");
}

/// Sleeps for good, at a cancellation point.
pub(crate) fn pause_cancellably() {
    unsafe extern "C-unwind" {
        fn pause() -> i32;
    }
    loop {
        // SAFETY: clause A; the frames up to the thread's first one have nothing to drop.
        unsafe { pause() };
    }
}
