//! Flags and codes, each with the header that defines it.

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr, $header:literal, $c:literal;)*) => {
        $(
            $(#[$doc])*
            #[doc = concat!("\n\n`", $c, "` of `<", $header, ">`.")]
            pub const $name: $type = $value;
        )*
        /// Every constant of this module: name, header, C expression, value. For the test.
        pub const CONSTANTS: &[(&str, &str, &str, i64)] =
            &[$((stringify!($name), $header, $c, $value as i64)),*];
    };
}

constants! {
    /// Sleep while the word has a value.
    FUTEX_WAIT: usize = 0, "linux/futex.h", "FUTEX_WAIT";
    /// Wake sleepers.
    FUTEX_WAKE: usize = 1, "linux/futex.h", "FUTEX_WAKE";
    /// Sleep until an absolute time.
    FUTEX_WAIT_BITSET: usize = 9, "linux/futex.h", "FUTEX_WAIT_BITSET";
    /// The word is not shared with other memories.
    FUTEX_PRIVATE: usize = 128, "linux/futex.h", "FUTEX_PRIVATE_FLAG";
    /// Any bit wakes.
    FUTEX_BITSET_ANY: usize = 0xffff_ffff, "linux/futex.h", "FUTEX_BITSET_MATCH_ANY";
    /// Replace the signal mask.
    SIG_SETMASK: usize = 2, "signal.h", "SIG_SETMASK";
    /// The signal stack is switched off.
    SS_DISABLE: i32 = 2, "signal.h", "SS_DISABLE";
    /// Broken pipe.
    SIGPIPE: i32 = 13, "signal.h", "SIGPIPE";
    /// Stopped for output to the terminal.
    SIGTTOU: i32 = 22, "signal.h", "SIGTTOU";
    /// Stopped for input from the terminal.
    SIGTTIN: i32 = 21, "signal.h", "SIGTTIN";
    /// Urgent data; ignored by default.
    SIGURG: i32 = 23, "signal.h", "SIGURG";
    /// File too large.
    SIGXFSZ: i32 = 25, "signal.h", "SIGXFSZ";
    /// Kill.
    SIGKILL: i32 = 9, "signal.h", "SIGKILL";
    /// Sent by kill(2), or by the kernel for the running thread.
    SI_USER: i32 = 0, "signal.h", "SI_USER";
    /// Sent by tgkill(2).
    SI_TKILL: i32 = -6, "signal.h", "SI_TKILL";
    /// Restart interrupted calls.
    SA_RESTART: u64 = 0x1000_0000, "signal.h", "SA_RESTART";
    /// Time-sharing.
    SCHED_OTHER: u32 = 0, "sched.h", "SCHED_OTHER";
    /// Runs when nothing else does.
    SCHED_IDLE: u32 = 5, "linux/sched.h", "SCHED_IDLE";
    /// Share the memory.
    CLONE_VM: usize = 0x100, "linux/sched.h", "CLONE_VM";
    /// The new task uses the descriptor table of its maker.
    CLONE_FILES: usize = 0x400, "linux/sched.h", "CLONE_FILES";
    /// Set the thread pointer of the child.
    CLONE_SETTLS: usize = 0x8_0000, "linux/sched.h", "CLONE_SETTLS";
    /// Write the child's id into the parent's memory.
    CLONE_PARENT_SETTID: usize = 0x10_0000, "linux/sched.h", "CLONE_PARENT_SETTID";
    /// Clear a word and wake its sleepers when the child ends.
    CLONE_CHILD_CLEARTID: usize = 0x20_0000, "linux/sched.h", "CLONE_CHILD_CLEARTID";
    /// Wait for children that send no SIGCHLD too.
    WCLONE: usize = 0x8000_0000, "linux/wait.h", "__WCLONE";
    /// Wait for every child, whatever signal it sends.
    WALL: usize = 0x4000_0000, "linux/wait.h", "__WALL";
    /// Wait for children of this kernel thread only.
    WNOTHREAD: usize = 0x2000_0000, "linux/wait.h", "__WNOTHREAD";
    /// Do not wait.
    WNOHANG: usize = 1, "linux/wait.h", "WNOHANG";
    /// Signal for the child when its parent thread ends.
    PR_SET_PDEATHSIG: usize = 1, "linux/prctl.h", "PR_SET_PDEATHSIG";
    /// Name the thread.
    PR_SET_NAME: usize = 15, "linux/prctl.h", "PR_SET_NAME";
    /// The thread's name.
    PR_GET_NAME: usize = 16, "linux/prctl.h", "PR_GET_NAME";
    /// Seccomp mode of the thread.
    PR_GET_SECCOMP: usize = 21, "linux/prctl.h", "PR_GET_SECCOMP";
    /// Set the timer slack.
    PR_SET_TIMERSLACK: usize = 29, "linux/prctl.h", "PR_SET_TIMERSLACK";
    /// Get the timer slack.
    PR_GET_TIMERSLACK: usize = 30, "linux/prctl.h", "PR_GET_TIMERSLACK";
    /// Give up gaining privileges.
    PR_SET_NO_NEW_PRIVS: usize = 38, "linux/prctl.h", "PR_SET_NO_NEW_PRIVS";
    /// Ask for that.
    PR_GET_NO_NEW_PRIVS: usize = 39, "linux/prctl.h", "PR_GET_NO_NEW_PRIVS";
    /// Install a filter.
    SECCOMP_SET_MODE_FILTER: usize = 1, "linux/seccomp.h", "SECCOMP_SET_MODE_FILTER";
    /// Let the call pass.
    SECCOMP_RET_ALLOW: u32 = 0x7fff_0000, "linux/seccomp.h", "SECCOMP_RET_ALLOW";
    /// End the process.
    SECCOMP_RET_KILL_PROCESS: u32 = 0x8000_0000, "linux/seccomp.h", "SECCOMP_RET_KILL_PROCESS";
    /// The architecture that a filter sees.
    AUDIT_ARCH: u32 = 0xc000_003e, "linux/audit.h", "AUDIT_ARCH_X86_64";
    /// Register for private expedited barriers.
    MEMBARRIER_REGISTER: usize = 16, "linux/membarrier.h", "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED";
    /// A private expedited barrier.
    MEMBARRIER_PRIVATE: usize = 8, "linux/membarrier.h", "MEMBARRIER_CMD_PRIVATE_EXPEDITED";
    /// Unregister a restartable-sequence area.
    RSEQ_UNREGISTER: usize = 1, "linux/rseq.h", "RSEQ_FLAG_UNREGISTER";
    /// Monotonic clock.
    CLOCK_MONOTONIC: usize = 1, "time.h", "CLOCK_MONOTONIC";
    /// Clock of the day.
    CLOCK_REALTIME: usize = 0, "time.h", "CLOCK_REALTIME";
    /// The time of a futex wait is that of CLOCK_REALTIME.
    FUTEX_CLOCK_REALTIME: usize = 256, "linux/futex.h", "FUTEX_CLOCK_REALTIME";
    /// The time is a point on the clock.
    TIMER_ABSTIME: usize = 1, "time.h", "TIMER_ABSTIME";
    /// A poll of kernel AIO.
    IOCB_POLL: u16 = 5, "linux/aio_abi.h", "IOCB_CMD_POLL";
    /// Something to read.
    POLLIN: u32 = 1, "poll.h", "POLLIN";
    /// Urgent data.
    POLLPRI: u32 = 2, "poll.h", "POLLPRI";
    /// Room to write.
    POLLOUT: u32 = 4, "poll.h", "POLLOUT";
    /// An error.
    POLLERR: u32 = 8, "poll.h", "POLLERR";
    /// Bytes that a read would find.
    FIONREAD: usize = 0x541b, "sys/ioctl.h", "FIONREAD";
    /// The other side is gone.
    POLLHUP: u32 = 16, "poll.h", "POLLHUP";
    /// Do not wait, for one message.
    MSG_DONTWAIT: usize = 0x40, "sys/socket.h", "MSG_DONTWAIT";
    /// Wait for all bytes.
    MSG_WAITALL: usize = 0x100, "sys/socket.h", "MSG_WAITALL";
    /// Connect, and send along with it.
    MSG_FASTOPEN: usize = 0x2000_0000, "sys/socket.h", "MSG_FASTOPEN";
    /// Do not wait, for one transfer.
    RWF_NOWAIT: usize = 8, "linux/fs.h", "RWF_NOWAIT";
    /// Socket options.
    SOL_SOCKET: usize = 1, "sys/socket.h", "SOL_SOCKET";
    /// Bytes for which a receive waits.
    SO_RCVLOWAT: usize = 18, "sys/socket.h", "SO_RCVLOWAT";
    /// Time limit for receiving.
    SO_RCVTIMEO: usize = 20, "sys/socket.h", "SO_RCVTIMEO";
    /// Time limit for sending.
    SO_SNDTIMEO: usize = 21, "sys/socket.h", "SO_SNDTIMEO";
    /// Whether a close waits until all is sent, and how long.
    SO_LINGER: usize = 13, "sys/socket.h", "SO_LINGER";
    /// A filter for what comes.
    SO_ATTACH_FILTER: usize = 26, "sys/socket.h", "SO_ATTACH_FILTER";
    /// The type of a socket.
    SO_TYPE: usize = 3, "sys/socket.h", "SO_TYPE";
    /// A stream of bytes.
    SOCK_STREAM: u32 = 1, "sys/socket.h", "SOCK_STREAM";
    /// Addresses of IPv4.
    AF_INET: u16 = 2, "sys/socket.h", "AF_INET";
    /// Addresses of IPv6.
    AF_INET6: u16 = 10, "sys/socket.h", "AF_INET6";
    /// Out-of-band data.
    MSG_OOB: usize = 1, "sys/socket.h", "MSG_OOB";
    /// Errors that the socket has queued.
    MSG_ERRQUEUE: usize = 0x2000, "sys/socket.h", "MSG_ERRQUEUE";
    /// Leave what is received where it is.
    MSG_PEEK: usize = 2, "sys/socket.h", "MSG_PEEK";
    /// Set the status flags.
    F_SETFL: usize = 4, "fcntl.h", "F_SETFL";
    /// The number does not survive exec.
    EPOLL_CLOEXEC: usize = 0x8_0000, "sys/epoll.h", "EPOLL_CLOEXEC";
    /// Give the status flags.
    F_GETFL: usize = 3, "fcntl.h", "F_GETFL";
    /// Do not wait, for all who hold the file.
    O_NONBLOCK: usize = 0x800, "fcntl.h", "O_NONBLOCK";
    /// The calling thread gets its own table first.
    CLOSE_RANGE_UNSHARE: usize = 2, "linux/close_range.h", "CLOSE_RANGE_UNSHARE";
    /// Begin to watch.
    EPOLL_CTL_ADD: usize = 1, "sys/epoll.h", "EPOLL_CTL_ADD";
    /// End to watch.
    EPOLL_CTL_DEL: usize = 2, "sys/epoll.h", "EPOLL_CTL_DEL";
    /// Change what is watched.
    EPOLL_CTL_MOD: usize = 3, "sys/epoll.h", "EPOLL_CTL_MOD";
    /// Another number, closed on exec.
    F_DUPFD_CLOEXEC: usize = 1030, "fcntl.h", "F_DUPFD_CLOEXEC";
    /// Events are changes.
    EPOLLET: u32 = 0x8000_0000, "sys/epoll.h", "EPOLLET";
    /// The number is closed on exec, and reading does not wait.
    IN_CLOEXEC_NONBLOCK: usize = 0x8_0800, "sys/inotify.h", "(IN_CLOEXEC | IN_NONBLOCK)";
    /// Keep what was watched for before.
    IN_MASK_ADD: u32 = 0x2000_0000, "sys/inotify.h", "IN_MASK_ADD";
    /// The watch is gone.
    IN_IGNORED: u32 = 0x8000, "sys/inotify.h", "IN_IGNORED";
    /// Events were lost.
    IN_Q_OVERFLOW: u32 = 0x4000, "sys/inotify.h", "IN_Q_OVERFLOW";
    /// The number is closed on exec, and reading does not wait.
    SFD_CLOEXEC_NONBLOCK: usize = 0x8_0800, "sys/signalfd.h", "(SFD_CLOEXEC | SFD_NONBLOCK)";
    /// Closed on exec.
    O_CLOEXEC: usize = 0x8_0000, "fcntl.h", "O_CLOEXEC";
    /// One event, then silence.
    EPOLLONESHOT: u32 = 1 << 30, "sys/epoll.h", "EPOLLONESHOT";
    /// The descriptor itself, without a path.
    AT_EMPTY_PATH: usize = 0x1000, "fcntl.h", "AT_EMPTY_PATH";
    /// What is known of the file: its server is not asked.
    AT_STATX_DONT_SYNC: usize = 0x4000, "fcntl.h", "AT_STATX_DONT_SYNC";
    /// The type of the file.
    STATX_TYPE: usize = 1, "sys/stat.h", "STATX_TYPE";
    /// The number of its inode.
    STATX_INO: usize = 0x100, "sys/stat.h", "STATX_INO";
    /// Type bits of a mode.
    S_IFMT: u32 = 0o17_0000, "sys/stat.h", "S_IFMT";
    /// A regular file.
    S_IFREG: u32 = 0o10_0000, "sys/stat.h", "S_IFREG";
    /// A directory.
    S_IFDIR: u32 = 0o4_0000, "sys/stat.h", "S_IFDIR";
    /// A block device.
    S_IFBLK: u32 = 0o6_0000, "sys/stat.h", "S_IFBLK";
    /// A character device.
    S_IFCHR: u32 = 0o2_0000, "sys/stat.h", "S_IFCHR";
    /// A pipe.
    S_IFIFO: u32 = 0o1_0000, "sys/stat.h", "S_IFIFO";
    /// A socket.
    S_IFSOCK: u32 = 0o14_0000, "sys/stat.h", "S_IFSOCK";
    /// A child that has ended.
    WEXITED: usize = 4, "linux/wait.h", "WEXITED";
    /// A child that stays as it is.
    WNOWAIT: usize = 0x0100_0000, "linux/wait.h", "WNOWAIT";
    /// Any child.
    P_ALL: usize = 0, "linux/wait.h", "P_ALL";
    /// Children by id.
    P_PID: usize = 1, "linux/wait.h", "P_PID";
    /// Children by descriptor.
    P_PIDFD: usize = 3, "linux/wait.h", "P_PIDFD";
    /// The other side is gone.
    EPIPE: isize = 32, "errno.h", "EPIPE";
    /// Bad descriptor.
    EBADF: isize = 9, "errno.h", "EBADF";
    /// There is one already.
    EEXIST: isize = 17, "errno.h", "EEXIST";
    /// There is none.
    ENOENT: isize = 2, "errno.h", "ENOENT";
    /// Not permitted.
    EPERM: isize = 1, "errno.h", "EPERM";
    /// No such child.
    ECHILD: isize = 10, "errno.h", "ECHILD";
    /// Not a socket.
    ENOTSOCK: isize = 88, "errno.h", "ENOTSOCK";
    /// Not supported for this file.
    EOPNOTSUPP: isize = 95, "errno.h", "EOPNOTSUPP";
    /// Interrupted.
    EINTR: isize = 4, "errno.h", "EINTR";
    /// No such memory.
    EFAULT: isize = 14, "errno.h", "EFAULT";
    /// Try again.
    EAGAIN: isize = 11, "errno.h", "EAGAIN";
    /// Invalid argument.
    EINVAL: isize = 22, "errno.h", "EINVAL";
    /// No such call.
    ENOSYS: isize = 38, "errno.h", "ENOSYS";
    /// Time is over.
    ETIMEDOUT: isize = 110, "errno.h", "ETIMEDOUT";
    /// Under way.
    EINPROGRESS: isize = 115, "errno.h", "EINPROGRESS";
    /// Cancelled.
    ECANCELED: isize = 125, "errno.h", "ECANCELED";
    /// First signal above those with names (glibc keeps 32 and 33 to itself).
    SIGNALS: i32 = 64, "signal.h", "(_NSIG - 1)";
    /// Read into a buffer.
    IORING_OP_READ: u8 = 22, "linux/io_uring.h", "IORING_OP_READ";
    /// Read into buffers that vectors name.
    IORING_OP_READV: u8 = 1, "linux/io_uring.h", "IORING_OP_READV";
    /// Ask a request to end.
    IORING_OP_ASYNC_CANCEL: u8 = 14, "linux/io_uring.h", "IORING_OP_ASYNC_CANCEL";
    /// Wait for completions.
    IORING_ENTER_GETEVENTS: usize = 1, "linux/io_uring.h", "IORING_ENTER_GETEVENTS";
    /// The ring is named by its place among those of the thread, not by a descriptor.
    IORING_ENTER_REGISTERED_RING: usize = 16, "linux/io_uring.h", "IORING_ENTER_REGISTERED_RING";
    /// One thread submits.
    IORING_SETUP_SINGLE_ISSUER: u32 = 1 << 12, "linux/io_uring.h", "IORING_SETUP_SINGLE_ISSUER";
    /// Completions are worked at when that thread asks for them.
    IORING_SETUP_DEFER_TASKRUN: u32 = 1 << 13, "linux/io_uring.h", "IORING_SETUP_DEFER_TASKRUN";
    /// From where the position is.
    SEEK_CUR: usize = 1, "stdio.h", "SEEK_CUR";
    /// Compare open files.
    KCMP_FILE: usize = 0, "linux/kcmp.h", "KCMP_FILE";
    /// Compare roots, working directories and umasks.
    KCMP_FS: usize = 3, "linux/kcmp.h", "KCMP_FS";
    /// A futex is a word of 32 bits.
    FUTEX2_SIZE_U32: i32 = 2, "linux/futex.h", "FUTEX2_SIZE_U32";
    /// Change a word, and wake sleepers.
    FUTEX_WAKE_OP: usize = 5, "linux/futex.h", "FUTEX_WAKE_OP";
    /// The word is changed by adding.
    FUTEX_OP_ADD: usize = 1 << 28, "linux/futex.h", "(FUTEX_OP_ADD << 28)";
    /// Sleepers at a second word are woken if it held a number.
    FUTEX_OP_CMP_EQ: usize = 0, "linux/futex.h", "(FUTEX_OP_CMP_EQ << 24)";
    /// What of the operation is the command, without its flags.
    FUTEX_COMMAND: usize = 0x7f, "linux/futex.h", "(FUTEX_CMD_MASK & 0xff)";
    /// The thread pointer is user code's to change.
    HWCAP2_FSGSBASE: u64 = 2, "asm/hwcap2.h", "HWCAP2_FSGSBASE";
    /// Asks for the state of user shadow stacks.
    ARCH_SHSTK_STATUS: usize = 0x5005, "asm/prctl.h", "ARCH_SHSTK_STATUS";
    /// Signature of glibc's areas for restartable sequences.
    RSEQ_SIGNATURE: usize = 0x5305_3053, "sys/rseq.h", "RSEQ_SIG";
    /// What such an area says before it is registered.
    RSEQ_UNINITIALIZED: i32 = -1, "linux/rseq.h", "RSEQ_CPU_ID_UNINITIALIZED";
    /// What it says when it could not be.
    RSEQ_REGISTRATION_FAILED: i32 = -2, "linux/rseq.h", "RSEQ_CPU_ID_REGISTRATION_FAILED";
    /// Where in it the CPU is.
    RSEQ_CPU_ID: usize = 4, "linux/rseq.h", "offsetof(struct rseq, cpu_id)";
    /// Do not wait for a lock of a file.
    LOCK_NB: usize = 4, "sys/file.h", "LOCK_NB";
    /// Lock a part of a file.
    F_SETLK: usize = 6, "fcntl.h", "F_SETLK";
    /// Lock a part of a file, and wait for it.
    F_SETLKW: usize = 7, "fcntl.h", "F_SETLKW";
    /// Lock a part of a file for everyone who has it open.
    F_OFD_SETLK: usize = 37, "fcntl.h", "F_OFD_SETLK";
    /// Lock a part of a file for everyone who has it open, and wait for it.
    F_OFD_SETLKW: usize = 38, "fcntl.h", "F_OFD_SETLKW";
    /// Reading, writing or both.
    O_ACCMODE: usize = 3, "fcntl.h", "O_ACCMODE";
    /// Do not wait for a queue or semaphore.
    IPC_NOWAIT: usize = 0o4000, "sys/ipc.h", "IPC_NOWAIT";
    /// Do not wait for randomness.
    GRND_NONBLOCK: usize = 1, "sys/random.h", "GRND_NONBLOCK";
    /// No message of that type.
    ENOMSG: isize = 42, "errno.h", "ENOMSG";
    /// Not allowed, or locked by another.
    EACCES: isize = 13, "errno.h", "EACCES";
    /// Descriptors are closed by exec, not now.
    CLOSE_RANGE_CLOEXEC: usize = 4, "linux/close_range.h", "CLOSE_RANGE_CLOEXEC";
    /// Sent by the kernel itself.
    SI_KERNEL: i32 = 0x80, "signal.h", "SI_KERNEL";
    /// The kernel's first real-time signal.
    FIRST_REAL_TIME: i32 = 32, "signal.h", "__SIGRTMIN";
    /// Bytes of a signal mask.
    MASK_SIZE: usize = 8, "signal.h", "((_NSIG - 1) / 8)";
    /// A thread cannot be cancelled.
    PTHREAD_CANCEL_DISABLE: i32 = 1, "pthread.h", "PTHREAD_CANCEL_DISABLE";
    /// Bytes that a signalfd says of a signal.
    SIGNALFD_SIGINFO: usize = 128, "sys/signalfd.h", "sizeof(struct signalfd_siginfo)";
    /// Bytes that an inotify says of an event, without its name.
    INOTIFY_EVENT: usize = 16, "sys/inotify.h", "sizeof(struct inotify_event)";
    /// A step of a filter: load a word.
    BPF_LOAD: u16 = 0x20, "linux/filter.h", "(BPF_LD | BPF_W | BPF_ABS)";
    /// A step of a filter: load the length of what is filtered.
    BPF_LOAD_LENGTH: u16 = 0x80, "linux/filter.h", "(BPF_LD | BPF_W | BPF_LEN)";
    /// A step of a filter: go elsewhere if it is a number.
    BPF_JUMP_EQUAL: u16 = 0x15, "linux/filter.h", "(BPF_JMP | BPF_JEQ | BPF_K)";
    /// A step of a filter: answer.
    BPF_RETURN: u16 = 0x06, "linux/filter.h", "(BPF_RET | BPF_K)";
    /// Where a filter finds the call's number.
    SECCOMP_NR: u32 = 0, "linux/seccomp.h", "offsetof(struct seccomp_data, nr)";
    /// Where a filter finds the architecture.
    SECCOMP_ARCH: u32 = 4, "linux/seccomp.h", "offsetof(struct seccomp_data, arch)";
    /// Where a filter finds the lower half of the third argument.
    SECCOMP_ARGUMENT_2: u32 = 32, "linux/seccomp.h", "offsetof(struct seccomp_data, args[2])";
}

/// Signal by which glibc makes every thread change its ids (nptl/pthreadP.h: `SIGSETXID`).
pub const SIGSETXID: i32 = 33;
/// Signal by which glibc cancels a thread (nptl/pthreadP.h: `SIGCANCEL`).
pub const SIGCANCEL: i32 = 32;

/// What headers may be too old to have: the version that has it, its C expression, its value.
macro_rules! newer {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr, $major:literal . $minor:literal;)*) => {
        $(
            $(#[$doc])*
            #[doc = concat!("\n\nOf `<linux/io_uring.h>`, since Linux ", $major, ".", $minor, ".")]
            pub const $name: $type = $value;
        )*
        /// Every constant that headers may be too old to have: name, version, value. For the test.
        pub const NEWER: &[(&str, (u32, u32), i64)] =
            &[$((stringify!($name), ($major, $minor), $value as i64)),*];
    };
}

newer! {
    /// The ring is in memory of the program's.
    IORING_SETUP_NO_MMAP: u32 = 1 << 14, 6 . 5;
    /// No descriptor names the ring.
    IORING_SETUP_REGISTERED_FD_ONLY: u32 = 1 << 15, 6 . 5;
    /// Requests are taken in the order in which they stand.
    IORING_SETUP_NO_SQARRAY: u32 = 1 << 16, 6 . 6;
    /// Wait on a futex.
    IORING_OP_FUTEX_WAIT: u8 = 51, 6 . 7;
}
