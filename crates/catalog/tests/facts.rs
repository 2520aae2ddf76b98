//! The facts that would hurt most if they were wrong, row by row.

use syslet_catalog::{
    Cancel, Dir, ENTRIES, Entry, Events, Kind, Length, Makes, Runs, Timeout, Twin, Waits, by_name,
    class,
};

fn entry(name: &str) -> &'static Entry {
    by_name(name).unwrap_or_else(|| panic!("no row for {name}"))
}

#[test]
fn reads_and_writes_wait_for_readiness_and_have_a_nowait_twin() {
    for (names, events) in
        [(["read", "readv", "preadv2"], Events::In), (["write", "writev", "pwritev2"], Events::Out)]
    {
        for name in names {
            assert_eq!(entry(name).waits, Waits::Readiness { fd: 0, events }, "{name}");
            assert_eq!(entry(name).twin, Some(Twin::RwfNowait), "{name}");
        }
    }
    let buf = entry("read").args[1].kind;
    assert_eq!(buf, Kind::Buf { dir: Dir::Out, len: Length::Arg(2) });
}

#[test]
fn positioned_transfers_are_disk() {
    for name in ["pread64", "pwrite64", "preadv", "pwritev"] {
        assert_eq!(entry(name).waits, Waits::Disk, "{name}");
        assert_eq!(entry(name).twin, Some(Twin::RwfNowait), "{name}");
    }
}

#[test]
fn what_may_be_made_in_place_cannot_wait_for_a_peer() {
    for name in ["open", "openat", "openat2", "creat", "open_by_handle_at", "connect", "splice"] {
        assert_eq!(entry(name).waits, Waits::Other, "{name}");
    }
    for name in ["ioctl", "sendfile", "tee", "vmsplice", "copy_file_range", "poll", "io_submit"] {
        assert_eq!(entry(name).waits, Waits::Other, "{name}");
    }
    for name in ["fcntl", "flock", "futex", "futex_wait", "futex_waitv", "semop", "semtimedop"] {
        assert_eq!(entry(name).waits, Waits::Lock, "{name}");
    }
}

#[test]
fn anything_that_reaches_a_file_system_may_wait() {
    for name in ["stat", "statx", "newfstatat", "close", "getdents64", "chdir", "mkdir", "fsync"] {
        assert_eq!(entry(name).waits, Waits::Disk, "{name}");
    }
    for name in ["mmap", "munmap", "madvise", "msync", "rename", "unlink", "getxattr", "lseek"] {
        assert_eq!(entry(name).waits, Waits::Disk, "{name}");
    }
}

#[test]
fn what_is_broken_off_may_be_made_again_but_for_close() {
    let once: Vec<_> = ENTRIES.iter().filter(|entry| class(entry.nr).made_once()).collect();
    assert_eq!(once, [entry("close")]);
}

#[test]
fn file_systems_are_asked_by_path_and_for_what_sleeps_for_them() {
    for name in ["openat", "creat", "mkdir", "pread64", "fsync", "close", "statfs"] {
        assert!(class(entry(name).nr).asks_storage(), "{name}");
    }
    for name in ["read", "write", "accept4", "nanosleep", "futex", "wait4", "getppid"] {
        assert!(!class(entry(name).nr).asks_storage(), "{name}");
    }
}

#[test]
fn the_cheap_calls_never_wait() {
    for name in ["getppid", "dup", "umask", "epoll_ctl", "pipe2", "eventfd2", "clock_gettime"] {
        assert_eq!(entry(name).waits, Waits::Never, "{name}");
        assert_eq!(entry(name).runs, Runs::Anywhere, "{name}");
    }
}

#[test]
fn sockets_answer_at_once_if_asked_to() {
    for (name, arg, events) in [
        ("recvfrom", 3, Events::In),
        ("recvmsg", 2, Events::In),
        ("recvmmsg", 3, Events::In),
        ("sendto", 3, Events::Out),
        ("sendmsg", 2, Events::Out),
        ("sendmmsg", 3, Events::Out),
    ] {
        assert_eq!(entry(name).twin, Some(Twin::MsgDontwait { arg }), "{name}");
        assert_eq!(entry(name).waits, Waits::Readiness { fd: 0, events }, "{name}");
        assert_eq!(entry(name).cancel, Cancel::Interruptible, "{name}");
    }
}

#[test]
fn twins_change_the_right_argument() {
    for (name, twin) in [
        ("flock", Twin::LockNb { arg: 1 }),
        ("fcntl", Twin::SetLk { arg: 1 }),
        ("msgsnd", Twin::IpcNowait { arg: 3 }),
        ("msgrcv", Twin::IpcNowait { arg: 4 }),
        ("semop", Twin::IpcNowaitEach { arg: 1 }),
        ("wait4", Twin::Wnohang { arg: 2 }),
        ("waitid", Twin::Wnohang { arg: 3 }),
        ("splice", Twin::SpliceNonblock { arg: 5 }),
        ("tee", Twin::SpliceNonblock { arg: 3 }),
        ("getrandom", Twin::GrndNonblock { arg: 2 }),
        ("epoll_wait", Twin::ZeroTimeout { arg: 3 }),
    ] {
        assert_eq!(entry(name).twin, Some(twin), "{name}");
    }
    for name in ["accept4", "connect", "nanosleep", "futex", "sendfile", "open"] {
        assert_eq!(entry(name).twin, None, "{name}");
    }
}

#[test]
fn time_limits_are_where_the_kernel_looks() {
    for (name, timeout) in [
        ("select", Timeout::RelTimeval { arg: 4, updated: true }),
        ("pselect6", Timeout::RelTimespec { arg: 4, updated: true }),
        ("ppoll", Timeout::RelTimespec { arg: 2, updated: true }),
        ("poll", Timeout::RelMillis { arg: 2 }),
        ("epoll_pwait2", Timeout::RelTimespec { arg: 3, updated: false }),
        ("nanosleep", Timeout::RelTimespec { arg: 0, updated: false }),
        ("clock_nanosleep", Timeout::ByFlags { arg: 2 }),
        ("futex", Timeout::ByOp { arg: 3 }),
        ("futex_wait", Timeout::AbsTimespec { arg: 4 }),
        ("mq_timedreceive", Timeout::AbsTimespec { arg: 4 }),
        ("timerfd_settime", Timeout::None),
    ] {
        assert_eq!(entry(name).timeout, timeout, "{name}");
    }
}

/// The calls of which `is` is true, by number.
fn calls(is: fn(Runs) -> bool) -> Vec<&'static str> {
    ENTRIES.iter().filter(|entry| is(entry.runs)).map(|entry| entry.name).collect()
}

// The next three tests name every such call: a row that is changed by mistake would let a call change, or ask,
// the wrong kernel thread, or end or copy it.

#[test]
fn what_belongs_to_one_kernel_thread_is_bound() {
    let expected = [
        "rt_sigprocmask",
        "pause",
        "getrusage",
        "ptrace",
        "setuid",
        "setgid",
        "setreuid",
        "setregid",
        "setgroups",
        "setresuid",
        "setresgid",
        "setfsuid",
        "setfsgid",
        "capget",
        "capset",
        "rt_sigpending",
        "rt_sigtimedwait",
        "rt_sigsuspend",
        "sigaltstack",
        "personality",
        "getpriority",
        "setpriority",
        "sched_setparam",
        "sched_getparam",
        "sched_setscheduler",
        "sched_getscheduler",
        "sched_rr_get_interval",
        "prctl",
        "arch_prctl",
        "iopl",
        "ioperm",
        "gettid",
        "sched_setaffinity",
        "sched_getaffinity",
        "set_tid_address",
        "set_mempolicy",
        "get_mempolicy",
        "add_key",
        "request_key",
        "keyctl",
        "ioprio_set",
        "ioprio_get",
        "unshare",
        "set_robust_list",
        "get_robust_list",
        "perf_event_open",
        "setns",
        "getcpu",
        "sched_setattr",
        "sched_getattr",
        "seccomp",
        "pkey_alloc",
        "rseq",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "landlock_restrict_self",
        "map_shadow_stack",
        "lsm_get_self_attr",
        "lsm_set_self_attr",
    ];
    assert_eq!(calls(|runs| matches!(runs, Runs::Bound(_))), expected);
}

#[test]
fn some_calls_are_bound_by_an_argument() {
    let expected = ["wait4", "futex", "waitid", "close_range"];
    assert_eq!(calls(|runs| matches!(runs, Runs::Unless { .. })), expected);
    let with = |name, at: usize, value| {
        let mut args = [Some(0); 6];
        args[at] = value;
        entry(name).runs.reason_with(args).is_some()
    };
    for (name, at, free, bound) in [
        ("close_range", 2, 4, 2),      // CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_UNSHARE
        ("wait4", 2, 1, 0x2000_0001),  // WNOHANG, and __WNOTHREAD
        ("waitid", 3, 4, 0x2000_0004), // WEXITED, and __WNOTHREAD
        ("futex", 1, 1, 6),            // FUTEX_WAKE, FUTEX_LOCK_PI
        ("futex", 1, 128, 128 | 11),   // FUTEX_WAIT, FUTEX_WAIT_REQUEUE_PI, both private
    ] {
        assert!(!with(name, at, Some(free)), "{name} with {free:#x} is free");
        assert!(with(name, at, Some(bound)), "{name} with {bound:#x} is bound");
        assert!(with(name, at, None), "{name} with what is not known yet may be");
    }
}

#[test]
fn what_ends_copies_or_replaces_the_thread_is_refused() {
    let expected = [
        "rt_sigreturn",
        "clone",
        "fork",
        "vfork",
        "execve",
        "exit",
        "restart_syscall",
        "exit_group",
        "execveat",
        "uretprobe",
        "uprobe",
        "clone3",
    ];
    assert_eq!(calls(|runs| matches!(runs, Runs::Refused(_))), expected);
}

#[test]
fn late_successes_can_be_closed_and_nothing_else_is() {
    for name in ["open", "openat", "openat2", "creat", "socket", "accept", "accept4", "dup"] {
        assert_eq!(entry(name).makes, Makes::Fd, "{name}");
    }
    assert_eq!(entry("pipe2").makes, Makes::FdPair { arg: 0 });
    assert_eq!(entry("socketpair").makes, Makes::FdPair { arg: 3 });
    assert_eq!(entry("fcntl").makes, Makes::FdByOp { arg: 1 });
    assert_eq!(entry("signalfd4").makes, Makes::FdByOp { arg: 0 });
    for name in ["dup2", "dup3", "read", "epoll_ctl", "inotify_add_watch"] {
        assert_eq!(entry(name).makes, Makes::Nothing, "{name}");
    }
}

#[test]
fn epoll_and_children_can_be_parked() {
    let ready = Waits::Readiness { fd: 0, events: Events::In };
    for name in ["epoll_wait", "epoll_pwait", "epoll_pwait2", "accept", "mq_timedreceive"] {
        assert_eq!(entry(name).waits, ready, "{name}");
    }
    assert_eq!(entry("waitid").waits, Waits::Child);
    assert_eq!(entry("clock_nanosleep").waits, Waits::Timer);
}
