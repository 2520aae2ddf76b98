//! Calls 0 to 63.

use super::ctype::*;
use super::reason;
use super::row::*;
use crate::entry::Entry;
use crate::entry::Makes::{Fd, FdByOp, FdPair};
use crate::entry::Timeout::{RelMillis, RelTimespec, RelTimeval};
use crate::entry::Twin::{MsgDontwait, RwfNowait, Wnohang, ZeroTimeout};
use crate::kind::Dir::{In, InOut, Out};
use crate::kind::Length::{At, Bits, Pages};

pub(super) const ROWS: &[Entry] = &[
    // Readiness of what is not a regular file. A signalfd also answers with the signals of the
    // kernel thread that reads it.
    row(0, "read", &[fd("fd"), output("buf", 2), len("count")]).reads(0).twin(RwfNowait),
    row(1, "write", &[fd("fd"), input("buf", 2), len("count")]).writes(0).twin(RwfNowait),
    // The opens are not disk: a FIFO waits for its other end, a device for whatever it likes.
    row(2, "open", &[path("filename"), flags("flags"), mode("mode")]).other().makes(Fd),
    // The last reference: a file system may write out, a lingering socket or a terminal may drain;
    // all of these are bounded.
    row(3, "close", &[fd("fd")]).disk(),
    row(4, "stat", &[path("filename"), out_one("statbuf", STAT)]).disk(),
    row(5, "fstat", &[fd("fd"), out_one("statbuf", STAT)]).disk(),
    row(6, "lstat", &[path("filename"), out_one("statbuf", STAT)]).disk(),
    row(7, "poll", &[inout_many("fds", POLLFD, 1), count("nfds"), millis("timeout")])
        .other()
        .twin(ZeroTimeout { arg: 2 })
        .timeout(RelMillis { arg: 2 }),
    row(8, "lseek", &[fd("fd"), off("offset"), op("whence")]).disk(),
    row(
        9,
        "mmap",
        &[addr("addr"), len("len"), flags("prot"), flags("flags"), int("fd"), off("off")],
    )
    .disk()
    .killable(),
    row(10, "mprotect", &[addr("start"), len("len"), flags("prot")]),
    // Like close, where it takes a file's last reference.
    row(11, "munmap", &[addr("addr"), len("len")]).disk().killable(),
    row(12, "brk", &[addr("brk")]),
    row(
        13,
        "rt_sigaction",
        &[sig("sig"), in_one("act", SIGACTION), out_one("oact", SIGACTION), len("sigsetsize")],
    ),
    row(14, "rt_sigprocmask", &[op("how"), input("nset", 3), output("oset", 3), len("sigsetsize")])
        .bound(reason::SIGNAL_MASK),
    row(15, "rt_sigreturn", &[])
        .refused("it restores the registers that a signal frame on the caller's own stack holds"),
    row(16, "ioctl", &[fd("fd"), op("cmd"), opaque("arg")]).other().makes(FdByOp { arg: 1 }),
    // A few character devices take a position and wait all the same (/dev/kmsg).
    row(17, "pread64", &[fd("fd"), output("buf", 2), len("count"), off("pos")])
        .disk()
        .killable()
        .twin(RwfNowait),
    row(18, "pwrite64", &[fd("fd"), input("buf", 2), len("count"), off("pos")])
        .disk()
        .twin(RwfNowait),
    row(19, "readv", &[fd("fd"), iov("vec", Out, 2), count("vlen")]).reads(0).twin(RwfNowait),
    row(20, "writev", &[fd("fd"), iov("vec", In, 2), count("vlen")]).writes(0).twin(RwfNowait),
    row(21, "access", &[path("filename"), flags("mode")]).disk(),
    row(22, "pipe", &[out_one("fildes", INT2)]).makes(FdPair { arg: 0 }),
    row(
        23,
        "select",
        &[
            count("n"),
            buf("inp", InOut, Bits(0)),
            buf("outp", InOut, Bits(0)),
            buf("exp", InOut, Bits(0)),
            timeval("tvp", InOut),
        ],
    )
    .other()
    .twin(ZeroTimeout { arg: 4 })
    .timeout(RelTimeval { arg: 4, updated: true }),
    row(24, "sched_yield", &[]),
    row(
        25,
        "mremap",
        &[addr("addr"), len("old_len"), len("new_len"), flags("flags"), addr("new_addr")],
    )
    .disk()
    .killable(),
    row(26, "msync", &[addr("start"), len("len"), flags("flags")]).disk(),
    row(27, "mincore", &[addr("start"), len("len"), buf("vec", Out, Pages(1))]),
    row(28, "madvise", &[addr("start"), len("len"), op("behavior")]).disk().killable(),
    row(29, "shmget", &[id("key"), len("size"), flags("shmflg")]),
    row(30, "shmat", &[id("shmid"), addr("shmaddr"), flags("shmflg")]).disk().killable(),
    row(31, "shmctl", &[id("shmid"), op("cmd"), inout_one("buf", SHMID_DS)]),
    row(32, "dup", &[fd("fildes")]).makes(Fd),
    // Closes newfd as close does. It makes nothing that could leak: the caller knows the number,
    // and with newfd equal to oldfd nothing was made at all.
    row(33, "dup2", &[fd("oldfd"), int("newfd")]).disk(),
    row(34, "pause", &[]).other().bound(reason::SIGNAL_MASK),
    row(35, "nanosleep", &[timespec("rqtp", In), timespec("rmtp", Out)])
        .timer()
        .timeout(RelTimespec { arg: 0, updated: false }),
    row(36, "getitimer", &[op("which"), out_one("value", ITIMERVAL)]),
    row(37, "alarm", &[secs("seconds")]),
    row(38, "setitimer", &[op("which"), in_one("value", ITIMERVAL), out_one("ovalue", ITIMERVAL)]),
    row(39, "getpid", &[]),
    row(40, "sendfile", &[fd("out_fd"), fd("in_fd"), inout_one("offset", OFFSET), len("count")])
        .other(),
    // May load a protocol's module.
    row(41, "socket", &[op("family"), int("type"), int("protocol")]).disk().killable().makes(Fd),
    // Not readiness: that comes only after the call has begun, and the call must not be repeated.
    row(42, "connect", &[fd("fd"), input("addr", 2), len("addrlen")]).other(),
    // No twin: the listening descriptor's O_NONBLOCK is shared by all who hold it.
    row(43, "accept", &[fd("fd"), buf("addr", Out, At(2)), inout_one("addrlen", INT)])
        .reads(0)
        .makes(Fd),
    row(
        44,
        "sendto",
        &[fd("fd"), input("buf", 2), len("len"), flags("flags"), input("addr", 5), len("addrlen")],
    )
    .writes(0)
    .twin(MsgDontwait { arg: 3 }),
    row(
        45,
        "recvfrom",
        &[
            fd("fd"),
            output("buf", 2),
            len("len"),
            flags("flags"),
            buf("addr", Out, At(5)),
            inout_one("addrlen", INT),
        ],
    )
    .reads(0)
    .twin(MsgDontwait { arg: 3 }),
    row(46, "sendmsg", &[fd("fd"), in_one("msg", MSGHDR), flags("flags")])
        .writes(0)
        .twin(MsgDontwait { arg: 2 }),
    row(47, "recvmsg", &[fd("fd"), inout_one("msg", MSGHDR), flags("flags")])
        .reads(0)
        .twin(MsgDontwait { arg: 2 }),
    row(48, "shutdown", &[fd("fd"), op("how")]),
    // A Unix address is a file.
    row(49, "bind", &[fd("fd"), input("addr", 2), len("addrlen")]).disk(),
    row(50, "listen", &[fd("fd"), count("backlog")]),
    row(51, "getsockname", &[fd("fd"), buf("addr", Out, At(2)), inout_one("addrlen", INT)]),
    row(52, "getpeername", &[fd("fd"), buf("addr", Out, At(2)), inout_one("addrlen", INT)]),
    row(53, "socketpair", &[op("family"), int("type"), int("protocol"), out_one("usockvec", INT2)])
        .disk()
        .killable()
        .makes(FdPair { arg: 3 }),
    // May load a module: congestion control, packet filter.
    row(
        54,
        "setsockopt",
        &[fd("fd"), op("level"), op("optname"), input("optval", 4), len("optlen")],
    )
    .disk()
    .killable(),
    row(
        55,
        "getsockopt",
        &[
            fd("fd"),
            op("level"),
            op("optname"),
            buf("optval", Out, At(4)),
            inout_one("optlen", INT),
        ],
    ),
    row(
        56,
        "clone",
        &[
            flags("clone_flags"),
            addr("newsp"),
            out_one("parent_tid", INT),
            out_one("child_tid", INT),
            addr("tls"),
        ],
    )
    .child()
    .killable()
    .refused(reason::CLONES),
    row(57, "fork", &[]).refused(reason::CLONES),
    row(58, "vfork", &[]).child().killable().refused(reason::CLONES),
    row(59, "execve", &[path("filename"), texts("argv"), texts("envp")])
        .other()
        .killable()
        .refused(reason::EXECS),
    row(60, "exit", &[int("error_code")])
        .refused("it ends the kernel thread that makes it, not the caller"),
    row(
        61,
        "wait4",
        &[pid("upid"), out_one("stat_addr", INT), flags("options"), out_one("ru", RUSAGE)],
    )
    .child()
    .twin(Wnohang { arg: 2 })
    .bound_if(2, WNOTHREAD, &[WNOTHREAD], reason::OWN_CHILDREN),
    // A signal to the own process may be handled by another thread, after the call has returned.
    row(62, "kill", &[pid("pid"), sig("sig")]),
    row(63, "uname", &[out_one("name", UTSNAME)]),
];
