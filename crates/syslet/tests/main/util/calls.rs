//! Calls in a form that is safe to use: memory that the kernel reaches is leaked or static.
//!
//! # Safety
//!
//! Clause *leaked*: a buffer that a submitted call may write is leaked, so it is valid for good, and is
//! read only after the call has ended. Clause *numbers*: the call's arguments are numbers. Clause
//! *live*: the kernel reads or writes a local variable during the call.

#![allow(unsafe_code, reason = "system calls; see the header")]

use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::Duration;

use syslet::{
    Call, Chain, CompletionQueue, Queued, SubmitError, Submitted, SubmittedChain, submit,
    submit_chain, try_submit, try_submit_chain,
};

/// A byte that a submitted call writes.
#[derive(Debug)]
pub(crate) struct Landing(UnsafeCell<u8>);

// SAFETY: written by the kernel before the call's answer is stored, read after that was seen.
unsafe impl Sync for Landing {}

impl Landing {
    pub(crate) fn leak() -> &'static Self {
        Box::leak(Box::new(Self(UnsafeCell::new(0))))
    }

    /// What landed. Only after the call has ended.
    pub(crate) fn byte(&self) -> u8 {
        // SAFETY: leaked; the kernel is done with it.
        unsafe { self.0.get().read_volatile() }
    }

    /// Where it lands.
    pub(crate) fn address(&self) -> usize {
        self.0.get() as usize
    }
}

/// Words that a submitted call reads and writes.
#[derive(Debug)]
pub(crate) struct Words(Vec<UnsafeCell<u64>>);

// SAFETY: written by the kernel before the call's answer is stored, read after that was seen.
unsafe impl Sync for Words {}

impl Words {
    pub(crate) fn leak(words: impl IntoIterator<Item = u64>) -> &'static Self {
        Box::leak(Box::new(Self(words.into_iter().map(UnsafeCell::new).collect())))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Word `at`. Only after the call has ended.
    pub(crate) fn get(&self, at: usize) -> u64 {
        // SAFETY: leaked; the kernel is done with it.
        unsafe { self.0[at].get().read_volatile() }
    }

    /// Where they are.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

/// Memory that submitted calls write and read: zeroes at first. A whole page, as O_DIRECT wants it.
#[derive(Debug)]
#[repr(align(4096))]
pub(crate) struct Block(UnsafeCell<[u8; 4096]>);

// SAFETY: written by the kernel before the call's answer is stored, read after that was seen.
unsafe impl Sync for Block {}

impl Block {
    pub(crate) fn leak() -> &'static Self {
        Self::with(&[])
    }

    /// One that begins with `bytes`.
    pub(crate) fn with(bytes: &[u8]) -> &'static Self {
        let mut block = [0; 4096];
        block[..bytes.len()].copy_from_slice(bytes);
        Box::leak(Box::new(Self(UnsafeCell::new(block))))
    }

    /// What is there. Only after the calls have ended.
    pub(crate) fn bytes(&self) -> [u8; 4096] {
        // SAFETY: leaked; the kernel is done with it.
        unsafe { self.0.get().read_volatile() }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> usize {
        self.0.get() as usize
    }
}

/// The call that reads one byte from `fd` into `landing`.
pub(crate) fn read_call(fd: RawFd, landing: &'static Landing) -> Call {
    Call::new(libc::SYS_read as usize, [fd as usize, landing.address(), 1])
}

/// The call that takes one byte out of the pipe `fd`. It has no way to be parked: it waits in the kernel,
/// with a thread.
pub(crate) fn taking_call(fd: RawFd) -> Call {
    static NULL: OnceLock<std::fs::File> = OnceLock::new();
    let null = NULL.get_or_init(|| {
        std::fs::File::options().write(true).open("/dev/null").expect("/dev/null is there")
    });
    number_call(libc::SYS_splice, [fd as usize, 0, null.as_raw_fd() as usize, 0, 1, 0])
}

/// The call that moves one byte from one pipe to another. It cannot be parked either.
pub(crate) fn moving_call(from: RawFd, to: RawFd) -> Call {
    number_call(libc::SYS_splice, [from as usize, 0, to as usize, 0, 1, 0])
}

/// The call that reads one byte at `offset`.
pub(crate) fn pread_call(fd: RawFd, landing: &'static Landing, offset: usize) -> Call {
    Call::new(libc::SYS_pread64 as usize, [fd as usize, landing.address(), 1, offset])
}

/// The call that writes `bytes` to `fd`.
pub(crate) fn write_call(fd: RawFd, bytes: &'static [u8]) -> Call {
    Call::new(libc::SYS_write as usize, [fd as usize, bytes.as_ptr() as usize, bytes.len()])
}

/// The call that sleeps.
pub(crate) fn sleep_call(time: Duration) -> Call {
    let time = libc::timespec {
        tv_sec: time.as_secs() as libc::time_t,
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    let time: &'static libc::timespec = Box::leak(Box::new(time));
    Call::new(libc::SYS_nanosleep as usize, [std::ptr::from_ref(time) as usize, 0])
}

/// The call that waits for `fd` to be readable, up to `millis`.
pub(crate) fn poll_call(fd: RawFd, millis: usize) -> Call {
    let poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let poll: &'static mut libc::pollfd = Box::leak(Box::new(poll));
    Call::new(libc::SYS_poll as usize, [std::ptr::from_mut(poll) as usize, 1, millis])
}

/// The call that sleeps on a word that nobody changes, for at most `time`. It cannot be parked.
pub(crate) fn word_call(time: Duration) -> Call {
    static WORD: AtomicI32 = AtomicI32::new(0);
    let time = sleep_call(time).args()[0];
    let word = std::ptr::from_ref(&WORD) as usize;
    number_call(libc::SYS_futex, [word, libc::FUTEX_WAIT as usize, 0, time])
}

/// A call whose arguments are numbers.
pub(crate) fn number_call<const N: usize>(nr: i64, args: [usize; N]) -> Call {
    Call::new(nr as usize, args)
}

/// Submits a call made by one of the functions above.
pub(crate) fn go(call: Call) -> Submitted {
    checked(call).expect("the call is accepted")
}

/// Hands such a call over.
pub(crate) fn hand_over(call: Call) -> Submitted {
    // SAFETY: leaked, static memory, or numbers.
    unsafe { syslet::hand_over(call) }.expect("the call is accepted")
}

/// As [`hand_over`], with the error.
pub(crate) fn try_hand_over(call: Call) -> Result<Submitted, SubmitError<Call>> {
    // SAFETY: as above.
    unsafe { syslet::hand_over(call) }
}

/// As [`go`], with the error.
pub(crate) fn checked(call: Call) -> Result<Submitted, SubmitError<Call>> {
    // SAFETY: leaked, static memory, or numbers.
    unsafe { submit(call) }
}

/// The same with `try_submit`.
pub(crate) fn try_go(call: Call) -> Result<Submitted, SubmitError<Call>> {
    // SAFETY: leaked, static memory, or numbers.
    unsafe { try_submit(call) }
}

/// Submits a chain whose steps are such calls, and whose `Arg::At` are addresses in a [`Block`].
pub(crate) fn go_chain(chain: Chain) -> SubmittedChain {
    checked_chain(chain).expect("the chain is accepted")
}

/// The same, with the error.
pub(crate) fn checked_chain(chain: Chain) -> Result<SubmittedChain, SubmitError<Chain>> {
    // SAFETY: leaked, static memory, or numbers.
    unsafe { submit_chain(chain) }
}

/// The same with `try_submit_chain`.
pub(crate) fn try_go_chain(chain: Chain) -> Result<SubmittedChain, SubmitError<Chain>> {
    // SAFETY: leaked, static memory, or numbers.
    unsafe { try_submit_chain(chain) }
}

/// Makes a call as it is, without the library.
pub(crate) fn plain(nr: usize, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    // SAFETY: leaked, static memory, or numbers.
    let answer = unsafe { libc::syscall(nr as i64, a, b, c, d, e, f) };
    match answer {
        -1 => -std::io::Error::last_os_error().raw_os_error().expect("it failed") as isize,
        answer => answer as isize,
    }
}

/// Takes a file out of memory; its reads from now on are of what is asked for only.
pub(crate) fn leave_cache(file: &std::fs::File) {
    for advice in [libc::POSIX_FADV_RANDOM, libc::POSIX_FADV_DONTNEED] {
        // SAFETY: numbers.
        assert_eq!(unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) }, 0);
    }
}

/// Submits a call made by one of the functions above, with its answer in `queue`.
pub(crate) fn send(queue: &CompletionQueue, user_data: u64, call: Call) -> Queued {
    // SAFETY: leaked, static memory, or numbers.
    unsafe { queue.submit(user_data, call) }.expect("the call is accepted")
}

/// The same with `try_submit`, and its error.
pub(crate) fn try_send(
    queue: &CompletionQueue,
    user_data: u64,
    call: Call,
) -> Result<Queued, SubmitError<Call>> {
    // SAFETY: leaked, static memory, or numbers.
    unsafe { queue.try_submit(user_data, call) }
}

/// The handle of a call that is expected to wait.
pub(crate) fn pending(submitted: Submitted) -> syslet::Pending {
    match submitted {
        Submitted::Pending(pending) => pending,
        Submitted::Done(ret) => panic!("the call is over: {ret:?}"),
    }
}

/// The first CPU that the calling thread may use.
pub(crate) fn first_cpu() -> usize {
    affinity().into_iter().next().expect("a thread may run somewhere")
}

/// The CPUs that the running kernel thread may use.
pub(crate) fn affinity() -> Vec<usize> {
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: live.
    let answer = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    assert_eq!(answer, 0, "sched_getaffinity");
    // SAFETY: within the set's size.
    (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// Id of the running kernel thread.
pub(crate) fn gettid() -> i32 {
    // SAFETY: numbers.
    unsafe { libc::gettid() }
}

/// True if the kernel thread sleeps.
pub(crate) fn sleeps(tid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
}

/// Bytes that can be read from `fd`.
pub(crate) fn readable_bytes(fd: RawFd) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: live.
    let answer = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut count) };
    assert_eq!(answer, 0, "FIONREAD");
    count as usize
}

/// Closes a descriptor behind its owner's back, and puts a copy of `other` at its number.
pub(crate) fn replace_descriptor(fd: RawFd, other: RawFd) {
    // SAFETY: numbers; the owner closes what stands there in the end.
    assert_eq!(unsafe { libc::dup2(other, fd) }, fd, "dup2");
}

/// Two connected sockets, made by a call to be submitted.
pub(crate) fn socketpair_call() -> (Call, &'static [AtomicI32; 2]) {
    let pair: &'static [AtomicI32; 2] =
        Box::leak(Box::new([AtomicI32::new(-1), AtomicI32::new(-1)]));
    let args = [libc::AF_UNIX as usize, libc::SOCK_STREAM as usize, 0, pair.as_ptr() as usize];
    (Call::new(libc::SYS_socketpair as usize, args), pair)
}

/// The socket of a submitted accept.
pub(crate) fn accepted(fd: isize) -> std::net::TcpStream {
    assert!(fd >= 0, "accept: {fd}");
    // SAFETY: made by the call, and nobody else's.
    unsafe { std::net::TcpStream::from_raw_fd(fd as RawFd) }
}

/// Sets or clears O_NONBLOCK.
pub(crate) fn set_nonblocking(fd: RawFd, on: bool) {
    let flags = if on { libc::O_NONBLOCK } else { 0 };
    // SAFETY: numbers.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }, 0, "F_SETFL");
}

/// A new file in memory.
pub(crate) fn memory_file() -> OwnedFd {
    // SAFETY: a static string.
    let fd = unsafe { libc::memfd_create(c"syslet-test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create");
    // SAFETY: just made, ours.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A new eventfd, which counts what is written to it.
#[derive(Debug)]
pub(crate) struct Counter(OwnedFd);

impl Counter {
    pub(crate) fn new() -> Self {
        // SAFETY: numbers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        assert!(fd >= 0, "eventfd");
        // SAFETY: just made, ours.
        Self(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// The descriptor itself.
    pub(crate) fn into_inner(self) -> OwnedFd {
        self.0
    }

    /// One of this descriptor.
    pub(crate) fn from_inner(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Takes the count.
    pub(crate) fn take(&self) -> u64 {
        let mut count = 0u64;
        // SAFETY: live.
        let n = unsafe { libc::read(self.fd(), (&raw mut count).cast(), 8) };
        if n == 8 { count } else { 0 }
    }
}

/// Ids of the kernel threads whose names begin with `prefix`.
pub(crate) fn threads_named(prefix: &str) -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let named = |tid: &i32| {
        std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"))
            .is_ok_and(|name| name.starts_with(prefix))
    };
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).filter(named).collect()
}

/// A field of `/proc/self/task/TID/status`.
pub(crate) fn status_field(tid: i32, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Sends kernel thread `tid` the signal of a cancel, for a call that is no more.
pub(crate) fn stray_cancel(tid: i32) {
    /// As in crew/signals.rs.
    const CANCEL: (i32, i32) = (33, -7_331);
    let (signal, code) = CANCEL;
    let pid = std::process::id() as i32;
    // struct siginfo of x86-64: number, error, code, padding, sender, its user, the value, and room.
    let mut info = [0i32; 32];
    (info[0], info[2], info[4], info[6]) = (signal, code, pid, 4_711 * 16);
    // SAFETY: live; the thread's handler compares the value, and follows no address.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, info.as_ptr()) };
}

/// Sends a signal to one kernel thread of the process.
pub(crate) fn signal_thread(tid: i32, signal: i32) {
    // A pid is positive.
    let process = std::process::id() as i32;
    // SAFETY: numbers. The thread may have ended: then nothing happens.
    unsafe { libc::syscall(libc::SYS_tgkill, process, tid, signal) };
}

/// Signals seen by [`count_signals`].
static SEEN: AtomicI64 = AtomicI64::new(0);

/// Ends the process, from any thread. `std::process::exit` takes the main thread's signal stack away while that thread
/// still uses it (Rust 1.95): a signal in between would end the process by SIGSEGV.
pub(crate) fn end_process() -> ! {
    // SAFETY: what has to be written is written.
    unsafe { libc::exit(0) }
}

extern "C" fn count_one(_: libc::c_int) {
    SEEN.fetch_add(1, Ordering::SeqCst);
}

/// Counts `signal` from now on, without SA_RESTART.
pub(crate) fn count_signals(signal: i32) {
    install(signal, count_one, libc::SA_ONSTACK);
}

/// How many signals were counted.
pub(crate) fn signals_seen() -> i64 {
    SEEN.load(Ordering::SeqCst)
}

/// Puts a handler in place that is safe to run at any time.
pub(crate) fn install(signal: i32, handler: extern "C" fn(libc::c_int), flags: i32) {
    // SAFETY: all zeros is an action with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = flags;
    // SAFETY: the handlers of these tests only use atomics and system calls.
    let answer = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    assert_eq!(answer, 0, "sigaction");
}

/// True if `fd` is open.
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: numbers.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Closes `fd`, which a call has made.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: numbers.
    assert_eq!(unsafe { libc::close(fd) }, 0, "close");
}

/// Blocks `signal` for the running thread.
pub(crate) fn block_signal(signal: i32) {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: live.
    unsafe { libc::sigaddset(&mut set, signal) };
    // SAFETY: live.
    let answer = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    assert_eq!(answer, 0, "pthread_sigmask");
}

/// Has `f` run when the process ends by `exit`.
pub(crate) fn at_exit(f: extern "C" fn()) {
    // SAFETY: the functions of these tests print, and no more.
    assert_eq!(unsafe { libc::atexit(f) }, 0, "atexit");
}

/// Open descriptors of the process.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// Sets the soft limit of a resource; returns the one before.
pub(crate) fn limit(resource: u32, value: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: live.
    let got = unsafe { libc::getrlimit(resource, &mut limit) };
    assert_eq!(got, 0, "getrlimit");
    let before = limit.rlim_cur;
    limit.rlim_cur = value.min(limit.rlim_max);
    // SAFETY: live.
    let set = unsafe { libc::setrlimit(resource, &limit) };
    assert_eq!(set, 0, "setrlimit");
    before
}

/// Has the process map a mebibyte for its heap and keep it, so that small allocations need no more address
/// space, on threads that begin too.
pub(crate) fn keep_heap() {
    if cfg!(asan) {
        return; // its allocator has its memory already, and no such options
    }
    const SLACK: libc::c_int = 1 << 20;
    for (option, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
        (libc::M_TOP_PAD, SLACK),
    ] {
        // SAFETY: numbers.
        let set = unsafe { libc::mallopt(option, value) };
        assert_eq!(set, 1, "mallopt");
    }
    // Each is served from the heap, and the last is at its end.
    drop((0..64).map(|_| vec![0u8; 16 << 10]).collect::<Vec<_>>());
}

/// Bytes of address space in use.
pub(crate) fn address_space() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages: u64 = statm.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

/// Makes a FIFO.
pub(crate) fn make_fifo(path: &std::path::Path) {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("a path has no NUL");
    // SAFETY: live.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "mkfifo");
}

/// Changes how many connections may wait to be accepted.
pub(crate) fn listen(fd: RawFd, backlog: i32) {
    // SAFETY: numbers.
    assert_eq!(unsafe { libc::listen(fd, backlog) }, 0, "listen");
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: libc::pid_t, signal: i32) {
    // SAFETY: numbers.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill");
}
