//! Numbers of the system calls that syslet makes itself (x86-64). All others are in the catalogue.

macro_rules! numbers {
    ($($name:ident = $nr:literal),* $(,)?) => {
        $(
            #[doc = concat!("`__NR_` number of the call of this name: ", stringify!($nr), ".")]
            pub const $name: usize = $nr;
        )*
        /// Every number of this module with its name in lower case, for the test.
        pub const ALL: &[(&str, usize)] = &[$((stringify!($name), $nr)),*];
    };
}

numbers! {
    CLOSE = 3,
    FSTAT = 5,
    POLL = 7,
    LSEEK = 8,
    MMAP = 9,
    MPROTECT = 10,
    MUNMAP = 11,
    RT_SIGACTION = 13,
    RT_SIGPROCMASK = 14,
    SCHED_YIELD = 24,
    GETPID = 39,
    CLONE = 56,
    EXIT = 60,
    WAIT4 = 61,
    KILL = 62,
    GETSOCKOPT = 55,
    FCNTL = 72,
    GETUID = 102,
    GETPPID = 110,
    GETGROUPS = 115,
    SETGROUPS = 116,
    SETRESUID = 117,
    GETRESUID = 118,
    SETRESGID = 119,
    GETRESGID = 120,
    RT_SIGPENDING = 127,
    RT_SIGTIMEDWAIT = 128,
    RT_SIGQUEUEINFO = 129,
    SIGALTSTACK = 131,
    GETPRIORITY = 140,
    SETPRIORITY = 141,
    SCHED_GETSCHEDULER = 145,
    SCHED_SETSCHEDULER = 144,
    PRCTL = 157,
    ARCH_PRCTL = 158,
    GETTID = 186,
    FUTEX = 202,
    SCHED_SETAFFINITY = 203,
    SCHED_GETAFFINITY = 204,
    IO_SETUP = 206,
    IO_DESTROY = 207,
    IO_GETEVENTS = 208,
    IO_SUBMIT = 209,
    IO_CANCEL = 210,
    CLOCK_GETTIME = 228,
    EPOLL_CTL = 233,
    TGKILL = 234,
    EPOLL_PWAIT = 281,
    EPOLL_CREATE1 = 291,
    RT_TGSIGQUEUEINFO = 297,
    KCMP = 312,
    SCHED_SETATTR = 314,
    SCHED_GETATTR = 315,
    SECCOMP = 317,
    MEMBARRIER = 324,
    RSEQ = 334,
    PIDFD_OPEN = 434,
    CLOSE_RANGE = 436,
    PIDFD_GETFD = 438,
    IO_URING_SETUP = 425,
    IO_URING_ENTER = 426,
}
