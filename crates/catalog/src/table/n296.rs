//! Calls 296 to 336. There are none from 337 to 423.

use super::ctype::*;
use super::reason;
use super::row::*;
use crate::entry::Entry;
use crate::entry::Makes::{Fd, FdByOp};
use crate::entry::Timeout::RelTimespec;
use crate::entry::Twin::{GrndNonblock, MsgDontwait, RwfNowait, ZeroTimeout};
use crate::kind::Dir::{In, InOut, Out};
use crate::kind::Length::{ByOp, Header};

pub(super) const ROWS: &[Entry] = &[
    row(296, "pwritev", &[fd("fd"), iov("vec", In, 2), count("vlen"), off("pos_l"), off("pos_h")])
        .disk()
        .twin(RwfNowait)
        .since("2.6.30"),
    row(297, "rt_tgsigqueueinfo", &[pid("tgid"), pid("pid"), sig("sig"), in_one("uinfo", SIGINFO)])
        .since("2.6.31"),
    row(
        298,
        "perf_event_open",
        &[buf("attr", InOut, Header), pid("pid"), int("cpu"), int("group_fd"), flags("flags")],
    )
    .other()
    .killable()
    .makes(Fd)
    .bound("process 0 means the calling kernel thread, which is then what is counted")
    .since("2.6.31"),
    row(
        299,
        "recvmmsg",
        &[
            fd("fd"),
            inout_many("mmsg", MMSGHDR, 2),
            count("vlen"),
            flags("flags"),
            timespec("timeout", InOut),
        ],
    )
    .reads(0)
    .twin(MsgDontwait { arg: 3 })
    // Looked at only after each message: it does not end the wait for the first one.
    .timeout(RelTimespec { arg: 4, updated: true })
    .since("2.6.33"),
    row(300, "fanotify_init", &[flags("flags"), flags("event_f_flags")]).makes(Fd).since("2.6.37"),
    row(
        301,
        "fanotify_mark",
        &[fd("fanotify_fd"), flags("flags"), flags("mask"), dirfd("dfd"), path("pathname")],
    )
    .disk()
    .since("2.6.37"),
    row(
        302,
        "prlimit64",
        &[pid("pid"), op("resource"), in_one("new", RLIMIT), out_one("old", RLIMIT)],
    )
    .since("2.6.36"),
    // Mount number: an int, or 64 bits with AT_HANDLE_MNT_ID_UNIQUE.
    row(
        303,
        "name_to_handle_at",
        &[
            dirfd("dfd"),
            path("name"),
            buf("handle", InOut, Header),
            buf("mnt_id", Out, ByOp),
            flags("flag"),
        ],
    )
    .disk()
    .since("2.6.39"),
    row(
        304,
        "open_by_handle_at",
        &[dirfd("mountdirfd"), buf("handle", In, Header), flags("flags")],
    )
    .other()
    .makes(Fd)
    .since("2.6.39"),
    row(305, "clock_adjtime", &[id("which_clock"), inout_one("utx", TIMEX)]).since("2.6.39"),
    row(306, "syncfs", &[fd("fd")]).disk().since("2.6.39"),
    row(
        307,
        "sendmmsg",
        &[fd("fd"), inout_many("mmsg", MMSGHDR, 2), count("vlen"), flags("flags")],
    )
    .writes(0)
    .twin(MsgDontwait { arg: 3 })
    .since("3.0"),
    row(308, "setns", &[fd("fd"), flags("flags")])
        .other()
        .killable()
        .bound(reason::NAMESPACES)
        .since("3.0"),
    row(309, "getcpu", &[out_one("cpup", U32), out_one("nodep", U32), addr("unused")])
        .bound("the answer is where the calling kernel thread runs")
        .since("2.6.19"),
    row(
        310,
        "process_vm_readv",
        &[
            pid("pid"),
            iov("lvec", Out, 2),
            count("liovcnt"),
            iov("rvec", In, 4),
            count("riovcnt"),
            flags("flags"),
        ],
    )
    .disk()
    .killable()
    .since("3.2"),
    row(
        311,
        "process_vm_writev",
        &[
            pid("pid"),
            iov("lvec", In, 2),
            count("liovcnt"),
            iov("rvec", Out, 4),
            count("riovcnt"),
            flags("flags"),
        ],
    )
    .disk()
    .killable()
    .since("3.2"),
    row(312, "kcmp", &[pid("pid1"), pid("pid2"), op("type"), opaque("idx1"), opaque("idx2")])
        .since("3.5"),
    row(313, "finit_module", &[fd("fd"), text("uargs"), flags("flags")])
        .other()
        .uninterruptible()
        .since("3.8"),
    row(314, "sched_setattr", &[pid("pid"), buf("uattr", InOut, Header), flags("flags")])
        .bound(reason::SCHEDULING)
        .since("3.14"),
    row(315, "sched_getattr", &[pid("pid"), output("uattr", 2), len("usize"), flags("flags")])
        .bound(reason::SCHEDULING)
        .since("3.14"),
    row(
        316,
        "renameat2",
        &[dirfd("olddfd"), path("oldname"), dirfd("newdfd"), path("newname"), flags("flags")],
    )
    .disk()
    .since("3.15"),
    row(317, "seccomp", &[op("op"), flags("flags"), buf("uargs", InOut, ByOp)])
        .makes(FdByOp { arg: 1 })
        .bound("the filter holds for the calling kernel thread and for what it makes later")
        .since("3.17"),
    // Waits only until the generator has been seeded, once after the machine has started.
    row(318, "getrandom", &[output("buf", 1), len("len"), flags("flags")])
        .other()
        .twin(GrndNonblock { arg: 2 })
        .since("3.17"),
    row(319, "memfd_create", &[text("name"), flags("flags")]).makes(Fd).since("3.17"),
    row(
        320,
        "kexec_file_load",
        &[
            fd("kernel_fd"),
            int("initrd_fd"),
            len("cmdline_len"),
            input("cmdline", 2),
            flags("flags"),
        ],
    )
    .other()
    .uninterruptible()
    .since("3.17"),
    row(321, "bpf", &[op("cmd"), update("attr", 2), len("size")])
        .disk()
        .interruptible()
        .makes(FdByOp { arg: 0 })
        .since("3.18"),
    row(
        322,
        "execveat",
        &[dirfd("fd"), path("filename"), texts("argv"), texts("envp"), flags("flags")],
    )
    .other()
    .killable()
    .refused(reason::EXECS)
    .since("3.19"),
    row(323, "userfaultfd", &[flags("flags")]).makes(Fd).since("4.3"),
    // The global commands wait until every CPU has passed through the scheduler.
    row(324, "membarrier", &[op("cmd"), flags("flags"), int("cpu_id")]).disk().since("4.3"),
    row(325, "mlock2", &[addr("start"), len("len"), flags("flags")]).disk().killable().since("4.4"),
    row(
        326,
        "copy_file_range",
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
    .since("4.5"),
    // Position -1 is the file's own, which also sockets and pipes have.
    row(
        327,
        "preadv2",
        &[fd("fd"), iov("vec", Out, 2), count("vlen"), off("pos_l"), off("pos_h"), flags("flags")],
    )
    .reads(0)
    .twin(RwfNowait)
    .since("4.6"),
    row(
        328,
        "pwritev2",
        &[fd("fd"), iov("vec", In, 2), count("vlen"), off("pos_l"), off("pos_h"), flags("flags")],
    )
    .writes(0)
    .twin(RwfNowait)
    .since("4.6"),
    row(329, "pkey_mprotect", &[addr("start"), len("len"), flags("prot"), id("pkey")]).since("4.9"),
    row(330, "pkey_alloc", &[flags("flags"), flags("init_val")])
        .bound("it sets the access rights of the calling kernel thread to the new key")
        .since("4.9"),
    row(331, "pkey_free", &[id("pkey")]).since("4.9"),
    row(
        332,
        "statx",
        &[dirfd("dfd"), path("filename"), flags("flags"), flags("mask"), out_one("buffer", STATX)],
    )
    .disk()
    .since("4.11"),
    row(
        333,
        "io_pgetevents",
        &[
            id("ctx_id"),
            count("min_nr"),
            count("nr"),
            out_many("events", IO_EVENT, 2),
            timespec("timeout", In),
            in_one("usig", SIGSET_ARG),
        ],
    )
    .other()
    .twin(ZeroTimeout { arg: 4 })
    .timeout(RelTimespec { arg: 4, updated: false })
    .since("4.18"),
    row(334, "rseq", &[addr("rseq"), len("rseq_len"), flags("flags"), int("sig")])
        .bound("the area for restartable sequences belongs to one kernel thread")
        .since("4.18"),
    row(335, "uretprobe", &[]).refused(reason::UPROBES).since("6.11"),
    row(336, "uprobe", &[]).refused(reason::UPROBES).since("6.18"),
];
