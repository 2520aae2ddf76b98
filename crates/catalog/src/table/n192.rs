//! Calls 192 to 255.

use super::ctype::*;
use super::reason;
use super::row::*;
use crate::entry::Entry;
use crate::entry::Makes::Fd;
use crate::entry::Timeout::{AbsTimespec, ByFlags, ByOp as TimeByOp, RelMillis, RelTimespec};
use crate::entry::Twin::{Wnohang, ZeroTimeout};
use crate::kind::Dir::{In, Out};
use crate::kind::Length::Bits;

/// linux/futex.h: the command without its flags; `FUTEX_LOCK_PI`, `FUTEX_UNLOCK_PI`, `FUTEX_TRYLOCK_PI`,
/// `FUTEX_WAIT_REQUEUE_PI`, `FUTEX_CMP_REQUEUE_PI`, `FUTEX_LOCK_PI2`.
const FUTEX_CMD: usize = 0x7f;
const PI_MUTEXES: &[usize] = &[6, 7, 8, 11, 12, 13];

pub(super) const ROWS: &[Entry] = &[
    row(192, "lgetxattr", &[path("pathname"), text("name"), output("value", 3), len("size")])
        .disk(),
    row(193, "fgetxattr", &[fd("fd"), text("name"), output("value", 3), len("size")]).disk(),
    row(194, "listxattr", &[path("pathname"), output("list", 2), len("size")]).disk(),
    row(195, "llistxattr", &[path("pathname"), output("list", 2), len("size")]).disk(),
    row(196, "flistxattr", &[fd("fd"), output("list", 2), len("size")]).disk(),
    row(197, "removexattr", &[path("pathname"), text("name")]).disk(),
    row(198, "lremovexattr", &[path("pathname"), text("name")]).disk(),
    row(199, "fremovexattr", &[fd("fd"), text("name")]).disk(),
    row(200, "tkill", &[pid("pid"), sig("sig")]),
    row(201, "time", &[out_one("tloc", LONG)]),
    // No twin: in some operations argument 3 is a count.
    row(
        202,
        "futex",
        &[
            inout_one("uaddr", U32),
            op("op"),
            int("val"),
            timespec("utime", In),
            inout_one("uaddr2", U32),
            int("val3"),
        ],
    )
    .lock()
    .timeout(TimeByOp { arg: 3 })
    .bound_if(1, FUTEX_CMD, PI_MUTEXES, "it locks a mutex for the kernel thread that makes it"),
    row(203, "sched_setaffinity", &[pid("pid"), len("len"), input("mask", 1)])
        .bound(reason::SCHEDULING),
    row(204, "sched_getaffinity", &[pid("pid"), len("len"), output("mask", 1)])
        .bound(reason::SCHEDULING),
    gone(205, "set_thread_area", "never"),
    row(206, "io_setup", &[count("nr_events"), inout_one("ctxp", POINTER)]),
    // Waits for the context's requests.
    row(207, "io_destroy", &[id("ctx")]).other().uninterruptible(),
    row(
        208,
        "io_getevents",
        &[
            id("ctx_id"),
            count("min_nr"),
            count("nr"),
            out_many("events", IO_EVENT, 2),
            timespec("timeout", In),
        ],
    )
    .other()
    .twin(ZeroTimeout { arg: 4 })
    .timeout(RelTimespec { arg: 4, updated: false }),
    // Whatever has no asynchronous way of its own is done before the call returns, be it a read of
    // an empty pipe.
    row(209, "io_submit", &[id("ctx_id"), count("nr"), in_many("iocbpp", IOCB_POINTER, 1)]).other(),
    row(210, "io_cancel", &[id("ctx_id"), in_one("iocb", IOCB), out_one("result", IO_EVENT)]),
    gone(211, "get_thread_area", "never"),
    gone(212, "lookup_dcookie", "until 6.7"),
    row(213, "epoll_create", &[count("size")]).makes(Fd),
    gone(214, "epoll_ctl_old", "never"),
    gone(215, "epoll_wait_old", "never"),
    row(
        216,
        "remap_file_pages",
        &[addr("start"), len("size"), flags("prot"), off("pgoff"), flags("flags")],
    )
    .disk()
    .killable(),
    row(217, "getdents64", &[fd("fd"), output("dirent", 2), len("count")]).disk().killable(),
    row(218, "set_tid_address", &[addr("tidptr")])
        .bound("it says what the kernel clears when the calling kernel thread ends"),
    row(219, "restart_syscall", &[])
        .other()
        .refused("it resumes what a signal interrupted on the calling kernel thread"),
    row(
        220,
        "semtimedop",
        &[id("semid"), in_many("tsops", SEMBUF, 2), count("nsops"), timespec("timeout", In)],
    )
    .lock()
    .twin(ZeroTimeout { arg: 3 })
    .timeout(RelTimespec { arg: 3, updated: false }),
    row(221, "fadvise64", &[fd("fd"), off("offset"), len("len"), op("advice")]).disk(),
    // CLOCK_THREAD_CPUTIME_ID here and below is the clock of the calling kernel thread.
    row(
        222,
        "timer_create",
        &[id("which_clock"), in_one("event", SIGEVENT), out_one("created", INT)],
    ),
    row(
        223,
        "timer_settime",
        &[id("timer"), flags("flags"), in_one("new", ITIMERSPEC), out_one("old", ITIMERSPEC)],
    ),
    row(224, "timer_gettime", &[id("timer"), out_one("setting", ITIMERSPEC)]),
    row(225, "timer_getoverrun", &[id("timer")]),
    row(226, "timer_delete", &[id("timer")]),
    row(227, "clock_settime", &[id("which_clock"), timespec("tp", In)]),
    row(228, "clock_gettime", &[id("which_clock"), timespec("tp", Out)]),
    row(229, "clock_getres", &[id("which_clock"), timespec("tp", Out)]),
    row(
        230,
        "clock_nanosleep",
        &[id("which_clock"), flags("flags"), timespec("rqtp", In), timespec("rmtp", Out)],
    )
    .timer()
    .timeout(ByFlags { arg: 2 }),
    row(231, "exit_group", &[int("error_code")])
        .refused("it ends the process, with the work that is still away"),
    row(
        232,
        "epoll_wait",
        &[fd("epfd"), out_many("events", EPOLL_EVENT, 2), count("maxevents"), millis("timeout")],
    )
    .reads(0)
    .twin(ZeroTimeout { arg: 3 })
    .timeout(RelMillis { arg: 3 }),
    row(233, "epoll_ctl", &[fd("epfd"), op("op"), fd("fd"), in_one("event", EPOLL_EVENT)]),
    row(234, "tgkill", &[pid("tgid"), pid("pid"), sig("sig")]),
    row(235, "utimes", &[path("filename"), in_one("utimes", TIMEVAL2)]).disk(),
    gone(236, "vserver", "never"),
    row(
        237,
        "mbind",
        &[
            addr("start"),
            len("len"),
            op("mode"),
            buf("nmask", In, Bits(4)),
            count("maxnode"),
            flags("flags"),
        ],
    )
    .disk()
    .killable(),
    row(238, "set_mempolicy", &[op("mode"), buf("nmask", In, Bits(2)), count("maxnode")])
        .bound(reason::NUMA),
    row(
        239,
        "get_mempolicy",
        &[
            out_one("policy", INT),
            buf("nmask", Out, Bits(2)),
            count("maxnode"),
            addr("addr"),
            flags("flags"),
        ],
    )
    .disk()
    .killable()
    .bound(reason::NUMA),
    row(240, "mq_open", &[text("name"), flags("oflag"), mode("mode"), in_one("attr", MQ_ATTR)])
        .disk()
        .makes(Fd),
    row(241, "mq_unlink", &[text("name")]).disk(),
    row(
        242,
        "mq_timedsend",
        &[fd("mqdes"), input("msg", 2), len("msg_len"), int("msg_prio"), timespec("timeout", In)],
    )
    .writes(0)
    .twin(ZeroTimeout { arg: 4 })
    .timeout(AbsTimespec { arg: 4 }),
    row(
        243,
        "mq_timedreceive",
        &[
            fd("mqdes"),
            output("msg", 2),
            len("msg_len"),
            out_one("msg_prio", U32),
            timespec("timeout", In),
        ],
    )
    .reads(0)
    .twin(ZeroTimeout { arg: 4 })
    .timeout(AbsTimespec { arg: 4 }),
    row(244, "mq_notify", &[fd("mqdes"), in_one("notification", SIGEVENT)]),
    row(
        245,
        "mq_getsetattr",
        &[fd("mqdes"), in_one("mqstat", MQ_ATTR), out_one("omqstat", MQ_ATTR)],
    ),
    row(
        246,
        "kexec_load",
        &[addr("entry"), count("nr"), in_many("segments", KEXEC_SEGMENT, 1), flags("flags")],
    )
    .other()
    .uninterruptible(),
    row(
        247,
        "waitid",
        &[
            op("which"),
            id("upid"),
            out_one("info", SIGINFO),
            flags("options"),
            out_one("ru", RUSAGE),
        ],
    )
    .child()
    .twin(Wnohang { arg: 3 })
    .bound_if(3, WNOTHREAD, &[WNOTHREAD], reason::OWN_CHILDREN),
    row(
        248,
        "add_key",
        &[text("type"), text("description"), input("payload", 3), len("plen"), id("ringid")],
    )
    .other()
    .bound(reason::KEYRINGS),
    row(
        249,
        "request_key",
        &[text("type"), text("description"), text("callout_info"), id("destringid")],
    )
    .other()
    .bound(reason::KEYRINGS),
    row(
        250,
        "keyctl",
        &[op("option"), opaque("arg2"), opaque("arg3"), opaque("arg4"), opaque("arg5")],
    )
    .other()
    .bound(reason::KEYRINGS),
    row(251, "ioprio_set", &[op("which"), id("who"), int("ioprio")]).bound(reason::IO_PRIORITY),
    row(252, "ioprio_get", &[op("which"), id("who")]).bound(reason::IO_PRIORITY),
    row(253, "inotify_init", &[]).makes(Fd),
    row(254, "inotify_add_watch", &[fd("fd"), path("pathname"), flags("mask")]).disk(),
    row(255, "inotify_rm_watch", &[fd("fd"), id("wd")]),
];
