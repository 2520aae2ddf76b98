//! Calls 256 to 295.

use super::ctype::*;
use super::reason;
use super::row::*;
use crate::entry::Entry;
use crate::entry::Makes::{Fd, FdByOp, FdPair};
use crate::entry::Timeout::{RelMillis, RelTimespec};
use crate::entry::Twin::{RwfNowait, SpliceNonblock, ZeroTimeout};
use crate::kind::Dir::{In, InOut, Out};
use crate::kind::Length::{At, Bits};

pub(super) const ROWS: &[Entry] = &[
    row(
        256,
        "migrate_pages",
        &[
            pid("pid"),
            count("maxnode"),
            buf("old_nodes", In, Bits(1)),
            buf("new_nodes", In, Bits(1)),
        ],
    )
    .disk()
    .killable()
    .since("2.6.16"),
    row(257, "openat", &[dirfd("dfd"), path("filename"), flags("flags"), mode("mode")])
        .other()
        .makes(Fd)
        .since("2.6.16"),
    row(258, "mkdirat", &[dirfd("dfd"), path("pathname"), mode("mode")]).disk().since("2.6.16"),
    row(259, "mknodat", &[dirfd("dfd"), path("filename"), mode("mode"), id("dev")])
        .disk()
        .since("2.6.16"),
    row(260, "fchownat", &[dirfd("dfd"), path("filename"), id("user"), id("group"), flags("flag")])
        .disk()
        .since("2.6.16"),
    row(261, "futimesat", &[dirfd("dfd"), path("filename"), in_one("utimes", TIMEVAL2)])
        .disk()
        .since("2.6.16"),
    row(
        262,
        "newfstatat",
        &[dirfd("dfd"), path("filename"), out_one("statbuf", STAT), flags("flag")],
    )
    .disk()
    .since("2.6.16"),
    row(263, "unlinkat", &[dirfd("dfd"), path("pathname"), flags("flag")]).disk().since("2.6.16"),
    row(264, "renameat", &[dirfd("olddfd"), path("oldname"), dirfd("newdfd"), path("newname")])
        .disk()
        .since("2.6.16"),
    row(
        265,
        "linkat",
        &[dirfd("olddfd"), path("oldname"), dirfd("newdfd"), path("newname"), flags("flags")],
    )
    .disk()
    .since("2.6.16"),
    row(266, "symlinkat", &[text("oldname"), dirfd("newdfd"), path("newname")])
        .disk()
        .since("2.6.16"),
    row(267, "readlinkat", &[dirfd("dfd"), path("pathname"), output("buf", 3), len("bufsiz")])
        .disk()
        .since("2.6.16"),
    row(268, "fchmodat", &[dirfd("dfd"), path("filename"), mode("mode")]).disk().since("2.6.16"),
    row(269, "faccessat", &[dirfd("dfd"), path("filename"), flags("mode")]).disk().since("2.6.16"),
    // The signal masks of this and its kin count for the kernel thread that sleeps.
    row(
        270,
        "pselect6",
        &[
            count("n"),
            buf("inp", InOut, Bits(0)),
            buf("outp", InOut, Bits(0)),
            buf("exp", InOut, Bits(0)),
            timespec("tsp", InOut),
            in_one("sig", SIGSET_ARG),
        ],
    )
    .other()
    .twin(ZeroTimeout { arg: 4 })
    .timeout(RelTimespec { arg: 4, updated: true })
    .since("2.6.16"),
    row(
        271,
        "ppoll",
        &[
            inout_many("fds", POLLFD, 1),
            count("nfds"),
            timespec("tsp", InOut),
            input("sigmask", 4),
            len("sigsetsize"),
        ],
    )
    .other()
    .twin(ZeroTimeout { arg: 2 })
    .timeout(RelTimespec { arg: 2, updated: true })
    .since("2.6.16"),
    row(272, "unshare", &[flags("flags")])
        .other()
        .killable()
        .bound("it parts one kernel thread only from what the process shares")
        .since("2.6.16"),
    row(273, "set_robust_list", &[addr("head"), len("len")]).bound(reason::ROBUST).since("2.6.17"),
    row(274, "get_robust_list", &[pid("pid"), out_one("head", POINTER), out_one("len", LONG)])
        .bound(reason::ROBUST)
        .since("2.6.17"),
    row(
        275,
        "splice",
        &[
            fd("fd_in"),
            inout_one("off_in", OFFSET),
            fd("fd_out"),
            inout_one("off_out", OFFSET),
            len("len"),
            flags("flags"),
        ],
    )
    .other()
    .twin(SpliceNonblock { arg: 5 })
    .since("2.6.17"),
    row(276, "tee", &[fd("fdin"), fd("fdout"), len("len"), flags("flags")])
        .other()
        .twin(SpliceNonblock { arg: 3 })
        .since("2.6.17"),
    row(277, "sync_file_range", &[fd("fd"), off("offset"), len("nbytes"), flags("flags")])
        .disk()
        .since("2.6.17"),
    // Into a pipe or out of it, as the descriptor was opened.
    row(278, "vmsplice", &[fd("fd"), iov("iov", InOut, 2), count("nr_segs"), flags("flags")])
        .other()
        .twin(SpliceNonblock { arg: 3 })
        .since("2.6.17"),
    row(
        279,
        "move_pages",
        &[
            pid("pid"),
            count("nr_pages"),
            in_many("pages", POINTER, 1),
            in_many("nodes", INT, 1),
            out_many("status", INT, 1),
            flags("flags"),
        ],
    )
    .disk()
    .killable()
    .since("2.6.18"),
    row(
        280,
        "utimensat",
        &[dirfd("dfd"), path("filename"), in_one("utimes", TIMES2), flags("flags")],
    )
    .disk()
    .since("2.6.22"),
    row(
        281,
        "epoll_pwait",
        &[
            fd("epfd"),
            out_many("events", EPOLL_EVENT, 2),
            count("maxevents"),
            millis("timeout"),
            input("sigmask", 5),
            len("sigsetsize"),
        ],
    )
    .reads(0)
    .twin(ZeroTimeout { arg: 3 })
    .timeout(RelMillis { arg: 3 })
    .since("2.6.19"),
    // A new descriptor only where the first argument is -1.
    row(282, "signalfd", &[int("ufd"), input("user_mask", 2), len("sizemask")])
        .makes(FdByOp { arg: 0 })
        .since("2.6.22"),
    row(283, "timerfd_create", &[id("clockid"), flags("flags")]).makes(Fd).since("2.6.25"),
    row(284, "eventfd", &[int("count")]).makes(Fd).since("2.6.22"),
    row(285, "fallocate", &[fd("fd"), flags("mode"), off("offset"), off("len")])
        .disk()
        .since("2.6.23"),
    row(
        286,
        "timerfd_settime",
        &[fd("ufd"), flags("flags"), in_one("utmr", ITIMERSPEC), out_one("otmr", ITIMERSPEC)],
    )
    .since("2.6.25"),
    row(287, "timerfd_gettime", &[fd("ufd"), out_one("otmr", ITIMERSPEC)]).since("2.6.25"),
    row(
        288,
        "accept4",
        &[fd("fd"), buf("addr", Out, At(2)), inout_one("addrlen", INT), flags("flags")],
    )
    .reads(0)
    .makes(Fd)
    .since("2.6.28"),
    row(289, "signalfd4", &[int("ufd"), input("user_mask", 2), len("sizemask"), flags("flags")])
        .makes(FdByOp { arg: 0 })
        .since("2.6.27"),
    row(290, "eventfd2", &[int("count"), flags("flags")]).makes(Fd).since("2.6.27"),
    row(291, "epoll_create1", &[flags("flags")]).makes(Fd).since("2.6.27"),
    // As dup2: the caller knows the number.
    row(292, "dup3", &[fd("oldfd"), int("newfd"), flags("flags")]).disk().since("2.6.27"),
    row(293, "pipe2", &[out_one("fildes", INT2), flags("flags")])
        .makes(FdPair { arg: 0 })
        .since("2.6.27"),
    row(294, "inotify_init1", &[flags("flags")]).makes(Fd).since("2.6.27"),
    row(295, "preadv", &[fd("fd"), iov("vec", Out, 2), count("vlen"), off("pos_l"), off("pos_h")])
        .disk()
        .killable()
        .twin(RwfNowait)
        .since("2.6.30"),
];
