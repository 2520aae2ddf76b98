//! The seccomp filter that Docker puts around a container, for whole test programs.
//!
//! `SYSLET_TEST_SANDBOX=docker` has it in force before `main`: every thread, sentinel and child of the
//! program runs behind it. With `docker-nosched`, scheduling and affinity cannot be changed either, as in
//! stricter sandboxes: the mechanism is refused and the pool must do.
//!
//! # Safety
//!
//! Clause *numbers*: no argument is a pointer. Clause *live*: the kernel reads a local variable.

#![allow(unsafe_code, reason = "installs a filter, before main; see the header")]

use std::io;

/// The environment variable that names the sandbox.
const VARIABLE: &str = "SYSLET_TEST_SANDBOX";

/// What a test program runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// What Docker denies is denied.
    Docker,
    /// That, and [`SCHEDULING`].
    NoScheduling,
}

/// The sandbox of this program and its children; `None`: none of ours.
pub(crate) fn sandbox() -> Option<Sandbox> {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("") => None,
        Ok("docker") => Some(Sandbox::Docker),
        Ok("docker-nosched") => Some(Sandbox::NoScheduling),
        Ok(other) => panic!("{VARIABLE} is `{other}`: not docker or docker-nosched"),
    }
}

/// True if affinity and scheduling cannot be changed: there are no guests.
pub(crate) fn scheduling_is_denied() -> bool {
    sandbox() == Some(Sandbox::NoScheduling)
}

/// Run by the loader, on the only thread that there is.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if let Some(sandbox) = sandbox() {
        docker();
        if sandbox == Sandbox::NoScheduling {
            deny(&SCHEDULING);
        }
    }
}

/// The calls by which the crew places its threads.
pub(crate) const SCHEDULING: [(libc::c_long, i32); 4] = [
    (libc::SYS_sched_setaffinity, libc::EPERM),
    (libc::SYS_sched_setattr, libc::EPERM),
    (libc::SYS_sched_setparam, libc::EPERM),
    (libc::SYS_sched_setscheduler, libc::EPERM),
];

/// What Docker 25's profile (moby, profiles/seccomp/default.json) denies on x86-64 with EPERM, for a
/// program with the capabilities that a container has by default.
const DENIED: &str = "
    acct add_key bpf clock_settime delete_module fanotify_init finit_module fsconfig fsmount fsopen
    fspick get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp
    kexec_file_load kexec_load keyctl mbind migrate_pages mount mount_setattr move_mount move_pages
    open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise quotactl
    quotactl_fd reboot request_key set_mempolicy set_mempolicy_home_node setdomainname sethostname
    setns settimeofday swapoff swapon sysfs syslog umount2 unshare userfaultfd ustat vhangup";

/// The newest call that the profile knows, futex_requeue. Newer ones fail with ENOSYS, so that programs
/// do without (runc does so).
const NEWEST: u32 = 456;

/// The flags of clone(2) that make namespaces: denied.
const NAMESPACES: u32 = 0x7e02_0000;

/// Execution domains (personality(2)) that are allowed: Linux, with and without ADDR_NO_RANDOMIZE and
/// the 32-bit one, and the question which it is.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, u32::MAX];

/// Gives the running thread, and what it makes, Docker's filter.
pub(crate) fn docker() {
    let mut filter = Filter::new();
    for name in DENIED.split_ascii_whitespace() {
        let entry = syslet_catalog::by_name(name).expect("a system call");
        filter.fail(entry.nr, libc::EPERM);
    }
    filter.fail(libc::SYS_clone3 as u32, libc::ENOSYS);
    filter.fail_if(libc::SYS_clone, TEST_BITS, NAMESPACES);
    filter.fail_if(libc::SYS_socket, TEST_EQUAL, libc::AF_VSOCK as u32);
    filter.fail_unless(libc::SYS_personality, &PERSONALITIES);
    filter.fail_above(NEWEST, libc::ENOSYS);
    filter.install();
}

/// Gives the running thread, and what it makes, a filter that kills the process that makes call `nr`.
#[allow(dead_code, reason = "for the suite of programs only")]
pub(crate) fn forbid(nr: libc::c_long) {
    let mut filter = Filter::new();
    filter.0.push(step(TEST_EQUAL, 0, 1, nr as u32));
    filter.0.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    filter.install();
}

/// Gives the running thread, and what it makes, a filter that sends SIGSYS to who makes call `nr`.
#[allow(dead_code, reason = "for the suite of programs only")]
pub(crate) fn trap(nr: libc::c_long) {
    let mut filter = Filter::new();
    filter.0.push(step(TEST_EQUAL, 0, 1, nr as u32));
    filter.0.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_TRAP));
    filter.install();
}

/// Gives the running thread, and what it makes, a filter that lets `denied` calls fail with an error
/// number.
pub(crate) fn deny(denied: &[(libc::c_long, i32)]) {
    Filter::denying(denied).install();
}

/// The same for every thread of the process.
pub(crate) fn deny_everywhere(denied: &[(libc::c_long, i32)]) {
    Filter::denying(denied).install_with(libc::SECCOMP_FILTER_FLAG_TSYNC);
}

/// Gives the running thread, and what it makes, a filter that denies socket filters.
#[allow(dead_code, reason = "for the suite of the library only")]
pub(crate) fn deny_socket_filters() {
    let mut filter = Filter::new();
    let test = step(TEST_EQUAL, 1, 0, libc::SO_ATTACH_FILTER as u32);
    filter.argument(libc::SYS_setsockopt, THIRD, &[test]);
    filter.install();
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const TEST_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const TEST_ABOVE: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const TEST_BITS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;
/// Offsets in `struct seccomp_data`: the number, and the low halves of the first argument and of the third.
const NUMBER: u32 = 0;
const FIRST: u32 = 16;
const THIRD: u32 = 32;

/// One instruction of a filter.
fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// A program for the kernel's filter machine.
struct Filter(Vec<libc::sock_filter>);

impl Filter {
    fn new() -> Self {
        Self(vec![step(LOAD, 0, 0, NUMBER)])
    }

    /// Call `nr` fails.
    fn fail(&mut self, nr: u32, error: i32) {
        self.0.push(step(TEST_EQUAL, 0, 1, nr));
        self.0.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32));
    }

    /// Calls above `nr` fail.
    fn fail_above(&mut self, nr: u32, error: i32) {
        self.0.push(step(TEST_ABOVE, 0, 1, nr));
        self.0.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32));
    }

    /// Call `nr` fails with EPERM if its first argument passes a test.
    fn fail_if(&mut self, nr: libc::c_long, test: u32, value: u32) {
        self.argument(nr, FIRST, &[step(test, 1, 0, value)]);
    }

    /// Call `nr` fails with EPERM unless its first argument is one of `values`.
    fn fail_unless(&mut self, nr: libc::c_long, values: &[u32]) {
        let last = values.len() - 1;
        let test = |(at, value): (usize, &u32)| {
            step(TEST_EQUAL, (last - at) as u8, u8::from(at == last), *value)
        };
        self.argument(nr, FIRST, &values.iter().enumerate().map(test).collect::<Vec<_>>());
    }

    /// For call `nr` the argument at `offset` is put to `tests`, which go on to the first instruction behind
    /// them if the call is allowed, and to the second if it is not.
    fn argument(&mut self, nr: libc::c_long, offset: u32, tests: &[libc::sock_filter]) {
        self.0.push(step(TEST_EQUAL, 0, tests.len() as u8 + 3, nr as u32));
        self.0.push(step(LOAD, 0, 0, offset));
        self.0.extend_from_slice(tests);
        self.0.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW));
        self.0.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32));
    }

    fn denying(denied: &[(libc::c_long, i32)]) -> Self {
        let mut filter = Self::new();
        for (nr, error) in denied {
            filter.fail(*nr as u32, *error);
        }
        filter
    }

    /// Puts the filter in force. `no_new_privs` is set only if the kernel asks for it: Docker does not
    /// set it.
    fn install(self) {
        self.install_with(0);
    }

    fn install_with(mut self, flags: libc::c_ulong) {
        self.0.push(step(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW));
        if self.try_install(flags) {
            return;
        }
        // SAFETY: clause *numbers*.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
        assert!(self.try_install(flags), "seccomp: {}", io::Error::last_os_error());
    }

    fn try_install(&mut self, flags: libc::c_ulong) -> bool {
        let program = libc::sock_fprog { len: self.0.len() as u16, filter: self.0.as_mut_ptr() };
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: clause *live*.
        unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) == 0 }
    }
}

/// What a call answers that does nothing wherever it is allowed: minus the error number.
fn answer(nr: libc::c_long, args: [usize; 4]) -> i64 {
    // SAFETY: clause *numbers*.
    let answer = unsafe { libc::syscall(nr, args[0], args[1], args[2], args[3], 0, 0) };
    if answer >= 0 {
        answer
    } else {
        -i64::from(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

/// Fails unless the calling thread is behind the filter of [`docker`].
pub(crate) fn check_docker() {
    let denied = -i64::from(libc::EPERM);
    let unknown = -i64::from(libc::ENOSYS);
    // The kernel itself finds the flags in contradiction: nothing is cloned.
    let names = (libc::CLONE_NEWUTS | libc::CLONE_SIGHAND) as usize;
    let questions = [
        ("unshare", libc::SYS_unshare, [0; 4], denied),
        ("io_uring_setup", libc::SYS_io_uring_setup, [0; 4], denied),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 4], denied),
        ("clone with namespaces", libc::SYS_clone, [names, 0, 0, 0], denied),
        ("clone3", libc::SYS_clone3, [0; 4], unknown),
        ("a call of the future", 9999, [0; 4], unknown),
        ("socket(AF_VSOCK)", libc::SYS_socket, [libc::AF_VSOCK as usize, usize::MAX, 0, 0], denied),
        ("personality(BSD)", libc::SYS_personality, [0x6, 0, 0, 0], denied),
    ];
    for (what, nr, args, expected) in questions {
        assert_eq!(answer(nr, args), expected, "{what}");
    }
    assert!(answer(libc::SYS_personality, [u32::MAX as usize, 0, 0, 0]) >= 0, "may be asked");
}

/// Fails unless the calling thread can change its scheduling exactly if it should be able to.
pub(crate) fn check_scheduling() {
    for (nr, _) in SCHEDULING {
        // The kernel finds the pointer null.
        let found = answer(nr, [0; 4]);
        let denied = found == -i64::from(libc::EPERM);
        assert_eq!(denied, scheduling_is_denied(), "call {nr}: {found}");
    }
}
