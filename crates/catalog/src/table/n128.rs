//! Calls 128 to 191.

use super::ctype::*;
use super::reason;
use super::row::*;
use crate::entry::Entry;
use crate::entry::Timeout::RelTimespec;
use crate::entry::Twin::ZeroTimeout;
use crate::kind::Dir::{In, InOut, Out};
use crate::kind::Length::ByOp;

pub(super) const ROWS: &[Entry] = &[
    row(
        128,
        "rt_sigtimedwait",
        &[input("uthese", 3), out_one("uinfo", SIGINFO), timespec("uts", In), len("sigsetsize")],
    )
    .other()
    .twin(ZeroTimeout { arg: 2 })
    .timeout(RelTimespec { arg: 2, updated: false })
    .bound(reason::SIGNAL_MASK),
    row(129, "rt_sigqueueinfo", &[pid("pid"), sig("sig"), in_one("uinfo", SIGINFO)]),
    row(130, "rt_sigsuspend", &[input("unewset", 1), len("sigsetsize")])
        .other()
        .bound(reason::SIGNAL_MASK),
    row(131, "sigaltstack", &[in_one("uss", STACK), out_one("uoss", STACK)])
        .bound("the alternate signal stack belongs to one kernel thread"),
    row(132, "utime", &[path("filename"), in_one("times", UTIMBUF)]).disk(),
    row(133, "mknod", &[path("filename"), mode("mode"), id("dev")]).disk(),
    gone(134, "uselib", "never"),
    row(135, "personality", &[flags("personality")])
        .bound("the execution domain belongs to one kernel thread"),
    row(136, "ustat", &[id("dev"), out_one("ubuf", USTAT)]).disk(),
    row(137, "statfs", &[path("pathname"), out_one("buf", STATFS)]).disk(),
    row(138, "fstatfs", &[fd("fd"), out_one("buf", STATFS)]).disk(),
    row(139, "sysfs", &[op("option"), opaque("arg1"), opaque("arg2")]),
    row(140, "getpriority", &[op("which"), id("who")]).bound(reason::NICE),
    row(141, "setpriority", &[op("which"), id("who"), int("niceval")]).bound(reason::NICE),
    row(142, "sched_setparam", &[pid("pid"), in_one("param", SCHED_PARAM)])
        .bound(reason::SCHEDULING),
    row(143, "sched_getparam", &[pid("pid"), out_one("param", SCHED_PARAM)])
        .bound(reason::SCHEDULING),
    row(144, "sched_setscheduler", &[pid("pid"), op("policy"), in_one("param", SCHED_PARAM)])
        .bound(reason::SCHEDULING),
    row(145, "sched_getscheduler", &[pid("pid")]).bound(reason::SCHEDULING),
    row(146, "sched_get_priority_max", &[op("policy")]),
    row(147, "sched_get_priority_min", &[op("policy")]),
    row(148, "sched_rr_get_interval", &[pid("pid"), timespec("interval", Out)])
        .bound(reason::SCHEDULING),
    row(149, "mlock", &[addr("start"), len("len")]).disk().killable(),
    row(150, "munlock", &[addr("start"), len("len")]),
    row(151, "mlockall", &[flags("flags")]).disk().killable(),
    row(152, "munlockall", &[]),
    row(153, "vhangup", &[]).other().uninterruptible(),
    row(154, "modify_ldt", &[op("func"), update("ptr", 2), len("bytecount")]),
    row(155, "pivot_root", &[path("new_root"), path("put_old")]).disk(),
    gone(156, "_sysctl", "until 5.5"),
    row(
        157,
        "prctl",
        &[op("option"), opaque("arg2"), opaque("arg3"), opaque("arg4"), opaque("arg5")],
    )
    .disk()
    .killable()
    .bound("nearly all of its options belong to one kernel thread"),
    row(158, "arch_prctl", &[op("option"), opaque("arg2")])
        .bound("segment bases and processor features belong to one kernel thread"),
    row(159, "adjtimex", &[inout_one("txc", TIMEX)]),
    row(160, "setrlimit", &[op("resource"), in_one("rlim", RLIMIT)]),
    row(161, "chroot", &[path("filename")]).disk(),
    row(162, "sync", &[]).disk(),
    row(163, "acct", &[path("name")]).disk(),
    row(164, "settimeofday", &[timeval("tv", In), in_one("tz", TIMEZONE)]),
    row(
        165,
        "mount",
        &[text("dev_name"), path("dir_name"), text("type"), flags("flags"), buf("data", In, ByOp)],
    )
    .disk(),
    row(166, "umount2", &[path("name"), flags("flags")]).disk(),
    row(167, "swapon", &[path("specialfile"), flags("swap_flags")]).disk(),
    row(168, "swapoff", &[path("specialfile")]).disk().interruptible(),
    row(169, "reboot", &[int("magic1"), int("magic2"), op("cmd"), buf("arg", In, ByOp)])
        .other()
        .uninterruptible(),
    row(170, "sethostname", &[input("name", 1), len("len")]),
    row(171, "setdomainname", &[input("name", 1), len("len")]),
    row(172, "iopl", &[int("level")]).bound(reason::PORTS),
    row(173, "ioperm", &[int("from"), count("num"), int("turn_on")]).bound(reason::PORTS),
    gone(174, "create_module", "until 2.6"),
    row(175, "init_module", &[input("umod", 1), len("len"), text("uargs")])
        .other()
        .uninterruptible(),
    row(176, "delete_module", &[text("name"), flags("flags")]).other().uninterruptible(),
    gone(177, "get_kernel_syms", "until 2.6"),
    gone(178, "query_module", "until 2.6"),
    row(179, "quotactl", &[op("cmd"), path("special"), id("id"), buf("addr", InOut, ByOp)]).disk(),
    gone(180, "nfsservctl", "until 3.1"),
    gone(181, "getpmsg", "never"),
    gone(182, "putpmsg", "never"),
    gone(183, "afs_syscall", "never"),
    gone(184, "tuxcall", "never"),
    gone(185, "security", "never"),
    row(186, "gettid", &[]).bound("the answer is the number of the calling kernel thread"),
    row(187, "readahead", &[fd("fd"), off("offset"), len("count")]).disk(),
    row(
        188,
        "setxattr",
        &[path("pathname"), text("name"), input("value", 3), len("size"), flags("flags")],
    )
    .disk(),
    row(
        189,
        "lsetxattr",
        &[path("pathname"), text("name"), input("value", 3), len("size"), flags("flags")],
    )
    .disk(),
    row(
        190,
        "fsetxattr",
        &[fd("fd"), text("name"), input("value", 3), len("size"), flags("flags")],
    )
    .disk(),
    row(191, "getxattr", &[path("pathname"), text("name"), output("value", 3), len("size")]).disk(),
];
