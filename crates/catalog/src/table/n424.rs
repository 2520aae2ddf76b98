//! Calls 424 to 470, the newest of Linux 6.19.

use super::ctype::*;
use super::reason;
use super::row::*;
use crate::entry::Entry;
use crate::entry::Makes::{Fd, FdByOp};
use crate::entry::Timeout::{AbsTimespec, RelTimespec};
use crate::entry::Twin::ZeroTimeout;
use crate::kind::Dir::{In, InOut, Out};
use crate::kind::Length::{At, ByOp, Header};

pub(super) const ROWS: &[Entry] = &[
    row(
        424,
        "pidfd_send_signal",
        &[fd("pidfd"), sig("sig"), in_one("info", SIGINFO), flags("flags")],
    )
    .since("5.1"),
    // With IORING_SETUP_REGISTERED_FD_ONLY, which is in the parameters, the result is an index.
    row(425, "io_uring_setup", &[count("entries"), inout_one("params", IO_URING_PARAMS)])
        .makes(FdByOp { arg: 1 })
        .bound("a ring with IORING_SETUP_SINGLE_ISSUER belongs to the kernel thread that makes it")
        .since("5.1"),
    // A time limit, if there is one, is inside of argp. The descriptor may be a registered index.
    row(
        426,
        "io_uring_enter",
        &[
            fd("fd"),
            count("to_submit"),
            count("min_complete"),
            flags("flags"),
            input("argp", 5),
            len("argsz"),
        ],
    )
    .other()
    .bound("requests belong to the kernel thread that submits them and are cancelled when it ends")
    .since("5.1"),
    row(
        427,
        "io_uring_register",
        &[fd("fd"), op("opcode"), buf("arg", InOut, ByOp), count("nr_args")],
    )
    .other()
    .bound("a ring's descriptor index, workers and single issuer belong to one kernel thread")
    .since("5.1"),
    row(428, "open_tree", &[dirfd("dfd"), path("filename"), flags("flags")])
        .disk()
        .makes(Fd)
        .since("5.2"),
    row(
        429,
        "move_mount",
        &[
            dirfd("from_dfd"),
            path("from_pathname"),
            dirfd("to_dfd"),
            path("to_pathname"),
            flags("flags"),
        ],
    )
    .disk()
    .since("5.2"),
    // May load the file system's module.
    row(430, "fsopen", &[text("fs_name"), flags("flags")]).disk().killable().makes(Fd).since("5.2"),
    row(431, "fsconfig", &[fd("fd"), op("cmd"), text("key"), buf("value", In, ByOp), int("aux")])
        .disk()
        .since("5.2"),
    row(432, "fsmount", &[fd("fs_fd"), flags("flags"), flags("attr_flags")])
        .disk()
        .makes(Fd)
        .since("5.2"),
    row(433, "fspick", &[dirfd("dfd"), path("path"), flags("flags")]).disk().makes(Fd).since("5.2"),
    row(434, "pidfd_open", &[pid("pid"), flags("flags")]).makes(Fd).since("5.3"),
    row(435, "clone3", &[update("uargs", 1), len("size")])
        .child()
        .killable()
        .refused(reason::CLONES)
        .since("5.3"),
    row(436, "close_range", &[int("fd"), int("max_fd"), flags("flags")])
        .disk()
        // CLOSE_RANGE_UNSHARE.
        .bound_if(2, 2, &[2], "it parts one kernel thread only from the process's descriptors")
        .since("5.9"),
    row(437, "openat2", &[dirfd("dfd"), path("filename"), input("how", 3), len("usize")])
        .other()
        .makes(Fd)
        .since("5.6"),
    row(438, "pidfd_getfd", &[fd("pidfd"), int("fd"), flags("flags")]).makes(Fd).since("5.6"),
    row(439, "faccessat2", &[dirfd("dfd"), path("filename"), flags("mode"), flags("flags")])
        .disk()
        .since("5.8"),
    // The memory that the vector names is another process's.
    row(
        440,
        "process_madvise",
        &[fd("pidfd"), iov("vec", In, 2), count("vlen"), op("behavior"), flags("flags")],
    )
    .disk()
    .killable()
    .since("5.10"),
    row(
        441,
        "epoll_pwait2",
        &[
            fd("epfd"),
            out_many("events", EPOLL_EVENT, 2),
            count("maxevents"),
            timespec("timeout", In),
            input("sigmask", 5),
            len("sigsetsize"),
        ],
    )
    .reads(0)
    .twin(ZeroTimeout { arg: 3 })
    .timeout(RelTimespec { arg: 3, updated: false })
    .since("5.11"),
    row(
        442,
        "mount_setattr",
        &[dirfd("dfd"), path("path"), flags("flags"), input("uattr", 4), len("usize")],
    )
    .disk()
    .since("5.12"),
    row(443, "quotactl_fd", &[fd("fd"), op("cmd"), id("id"), buf("addr", InOut, ByOp)])
        .disk()
        .since("5.14"),
    // With LANDLOCK_CREATE_RULESET_VERSION and its kin the result is a number.
    row(444, "landlock_create_ruleset", &[input("attr", 1), len("size"), flags("flags")])
        .makes(FdByOp { arg: 2 })
        .since("5.13"),
    row(
        445,
        "landlock_add_rule",
        &[fd("ruleset_fd"), op("rule_type"), buf("rule_attr", In, ByOp), flags("flags")],
    )
    .since("5.13"),
    row(446, "landlock_restrict_self", &[int("ruleset_fd"), flags("flags")])
        .bound("the restriction holds for the calling kernel thread and for what it makes later")
        .since("5.13"),
    row(447, "memfd_secret", &[flags("flags")]).makes(Fd).since("5.14"),
    row(448, "process_mrelease", &[fd("pidfd"), flags("flags")]).disk().killable().since("5.15"),
    row(
        449,
        "futex_waitv",
        &[
            in_many("waiters", FUTEX_WAITV, 1),
            count("nr_futexes"),
            flags("flags"),
            timespec("timeout", In),
            id("clockid"),
        ],
    )
    .lock()
    .twin(ZeroTimeout { arg: 3 })
    .timeout(AbsTimespec { arg: 3 })
    .since("5.16"),
    row(
        450,
        "set_mempolicy_home_node",
        &[addr("start"), len("len"), int("home_node"), flags("flags")],
    )
    .since("5.17"),
    row(
        451,
        "cachestat",
        &[
            fd("fd"),
            in_one("cstat_range", CACHESTAT_RANGE),
            out_one("cstat", CACHESTAT),
            flags("flags"),
        ],
    )
    .since("6.5"),
    row(452, "fchmodat2", &[dirfd("dfd"), path("filename"), mode("mode"), flags("flags")])
        .disk()
        .since("6.6"),
    row(453, "map_shadow_stack", &[addr("addr"), len("size"), flags("flags")])
        .bound("shadow stacks are switched on and off for one kernel thread")
        .since("6.6"),
    row(454, "futex_wake", &[addr("uaddr"), flags("mask"), count("nr"), flags("flags")])
        .since("6.7"),
    row(
        455,
        "futex_wait",
        &[
            buf("uaddr", In, ByOp),
            int("val"),
            flags("mask"),
            flags("flags"),
            timespec("timeout", In),
            id("clockid"),
        ],
    )
    .lock()
    .twin(ZeroTimeout { arg: 4 })
    .timeout(AbsTimespec { arg: 4 })
    .since("6.7"),
    row(
        456,
        "futex_requeue",
        &[in_one("waiters", FUTEX_WAITV2), flags("flags"), count("nr_wake"), count("nr_requeue")],
    )
    .since("6.7"),
    row(
        457,
        "statmount",
        &[buf("req", In, Header), output("buf", 2), len("bufsize"), flags("flags")],
    )
    .disk()
    .since("6.8"),
    row(
        458,
        "listmount",
        &[buf("req", In, Header), out_many("mnt_ids", U64, 2), count("nr_mnt_ids"), flags("flags")],
    )
    .disk()
    .since("6.8"),
    row(
        459,
        "lsm_get_self_attr",
        &[int("attr"), buf("ctx", InOut, At(2)), inout_one("size", U32), flags("flags")],
    )
    .bound(reason::LSM)
    .since("6.8"),
    row(460, "lsm_set_self_attr", &[int("attr"), input("ctx", 2), len("size"), flags("flags")])
        .bound(reason::LSM)
        .since("6.8"),
    row(461, "lsm_list_modules", &[buf("ids", Out, At(1)), inout_one("size", U32), flags("flags")])
        .since("6.8"),
    row(462, "mseal", &[addr("start"), len("len"), flags("flags")]).since("6.10"),
    row(
        463,
        "setxattrat",
        &[
            dirfd("dfd"),
            path("pathname"),
            flags("at_flags"),
            text("name"),
            input("uargs", 5),
            len("usize"),
        ],
    )
    .disk()
    .since("6.13"),
    // The structure is read; the value that it points to is written.
    row(
        464,
        "getxattrat",
        &[
            dirfd("dfd"),
            path("pathname"),
            flags("at_flags"),
            text("name"),
            update("uargs", 5),
            len("usize"),
        ],
    )
    .disk()
    .since("6.13"),
    row(
        465,
        "listxattrat",
        &[dirfd("dfd"), path("pathname"), flags("at_flags"), output("list", 4), len("size")],
    )
    .disk()
    .since("6.13"),
    row(466, "removexattrat", &[dirfd("dfd"), path("pathname"), flags("at_flags"), text("name")])
        .disk()
        .since("6.13"),
    row(
        467,
        "open_tree_attr",
        &[dirfd("dfd"), path("filename"), flags("flags"), input("uattr", 4), len("usize")],
    )
    .disk()
    .makes(Fd)
    .since("6.15"),
    row(
        468,
        "file_getattr",
        &[dirfd("dfd"), path("filename"), output("ufattr", 3), len("usize"), flags("at_flags")],
    )
    .disk()
    .since("6.17"),
    row(
        469,
        "file_setattr",
        &[dirfd("dfd"), path("filename"), input("ufattr", 3), len("usize"), flags("at_flags")],
    )
    .disk()
    .since("6.17"),
    row(
        470,
        "listns",
        &[buf("req", In, Header), out_many("ns_ids", U64, 2), count("nr_ns_ids"), flags("flags")],
    )
    .since("6.19"),
];
