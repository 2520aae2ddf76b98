//! Calls 64 to 127.

use super::ctype::*;
use super::reason;
use super::row::*;
use crate::entry::Entry;
use crate::entry::Makes::{Fd, FdByOp};
use crate::entry::Twin::{IpcNowait, IpcNowaitEach, LockNb, SetLk};
use crate::kind::Dir::{In, Out};
use crate::kind::Length::AfterLong;

pub(super) const ROWS: &[Entry] = &[
    row(64, "semget", &[id("key"), count("nsems"), flags("semflg")]),
    row(65, "semop", &[id("semid"), in_many("tsops", SEMBUF, 2), count("nsops")])
        .lock()
        .twin(IpcNowaitEach { arg: 1 }),
    row(66, "semctl", &[id("semid"), int("semnum"), op("cmd"), opaque("arg")]),
    row(67, "shmdt", &[addr("shmaddr")]).disk().killable(),
    row(68, "msgget", &[id("key"), flags("msgflg")]),
    row(69, "msgsnd", &[id("msqid"), buf("msgp", In, AfterLong(2)), len("msgsz"), flags("msgflg")])
        .other()
        .twin(IpcNowait { arg: 3 }),
    row(
        70,
        "msgrcv",
        &[
            id("msqid"),
            buf("msgp", Out, AfterLong(2)),
            len("msgsz"),
            int("msgtyp"),
            flags("msgflg"),
        ],
    )
    .other()
    .twin(IpcNowait { arg: 4 }),
    row(71, "msgctl", &[id("msqid"), op("cmd"), inout_one("buf", MSQID_DS)]),
    // The lock commands wait for the holder; the rest are short.
    row(72, "fcntl", &[fd("fd"), op("cmd"), opaque("arg")])
        .lock()
        .twin(SetLk { arg: 1 })
        .makes(FdByOp { arg: 1 }),
    row(73, "flock", &[fd("fd"), op("cmd")]).lock().twin(LockNb { arg: 1 }),
    row(74, "fsync", &[fd("fd")]).disk(),
    row(75, "fdatasync", &[fd("fd")]).disk(),
    row(76, "truncate", &[path("path"), off("length")]).disk(),
    row(77, "ftruncate", &[fd("fd"), off("length")]).disk(),
    row(78, "getdents", &[fd("fd"), output("dirent", 2), len("count")]).disk().killable(),
    row(79, "getcwd", &[output("buf", 1), len("size")]),
    row(80, "chdir", &[path("filename")]).disk(),
    row(81, "fchdir", &[fd("fd")]).disk(),
    row(82, "rename", &[path("oldname"), path("newname")]).disk(),
    row(83, "mkdir", &[path("pathname"), mode("mode")]).disk(),
    row(84, "rmdir", &[path("pathname")]).disk(),
    row(85, "creat", &[path("pathname"), mode("mode")]).other().makes(Fd),
    row(86, "link", &[path("oldname"), path("newname")]).disk(),
    row(87, "unlink", &[path("pathname")]).disk(),
    row(88, "symlink", &[text("oldname"), path("newname")]).disk(),
    row(89, "readlink", &[path("path"), output("buf", 2), len("bufsiz")]).disk(),
    row(90, "chmod", &[path("filename"), mode("mode")]).disk(),
    row(91, "fchmod", &[fd("fd"), mode("mode")]).disk(),
    row(92, "chown", &[path("filename"), id("user"), id("group")]).disk(),
    row(93, "fchown", &[fd("fd"), id("user"), id("group")]).disk(),
    row(94, "lchown", &[path("filename"), id("user"), id("group")]).disk(),
    row(95, "umask", &[mode("mask")]),
    row(96, "gettimeofday", &[timeval("tv", Out), out_one("tz", TIMEZONE)]),
    row(97, "getrlimit", &[op("resource"), out_one("rlim", RLIMIT)]),
    row(98, "getrusage", &[op("who"), out_one("ru", RUSAGE)])
        .bound("RUSAGE_THREAD is the usage of the calling kernel thread"),
    row(99, "sysinfo", &[out_one("info", SYSINFO)]),
    row(100, "times", &[out_one("tbuf", TMS)]),
    row(101, "ptrace", &[op("request"), pid("pid"), addr("addr"), opaque("data")])
        .other()
        .uninterruptible()
        .bound("the tracer is one kernel thread, and a tracee obeys no other"),
    // Reading identities is left free: those of a thread's crew are its own.
    row(102, "getuid", &[]),
    row(103, "syslog", &[op("type"), output("buf", 2), len("len")]).other(),
    row(104, "getgid", &[]),
    row(105, "setuid", &[id("uid")]).bound(reason::CREDENTIALS),
    row(106, "setgid", &[id("gid")]).bound(reason::CREDENTIALS),
    row(107, "geteuid", &[]),
    row(108, "getegid", &[]),
    row(109, "setpgid", &[pid("pid"), pid("pgid")]),
    row(110, "getppid", &[]),
    row(111, "getpgrp", &[]),
    row(112, "setsid", &[]),
    row(113, "setreuid", &[id("ruid"), id("euid")]).bound(reason::CREDENTIALS),
    row(114, "setregid", &[id("rgid"), id("egid")]).bound(reason::CREDENTIALS),
    row(115, "getgroups", &[count("gidsetsize"), out_many("grouplist", U32, 0)]),
    row(116, "setgroups", &[count("gidsetsize"), in_many("grouplist", U32, 0)])
        .bound(reason::CREDENTIALS),
    row(117, "setresuid", &[id("ruid"), id("euid"), id("suid")]).bound(reason::CREDENTIALS),
    row(118, "getresuid", &[out_one("ruid", U32), out_one("euid", U32), out_one("suid", U32)]),
    row(119, "setresgid", &[id("rgid"), id("egid"), id("sgid")]).bound(reason::CREDENTIALS),
    row(120, "getresgid", &[out_one("rgid", U32), out_one("egid", U32), out_one("sgid", U32)]),
    row(121, "getpgid", &[pid("pid")]),
    row(122, "setfsuid", &[id("uid")]).bound("the file-system user belongs to one kernel thread"),
    row(123, "setfsgid", &[id("gid")]).bound("the file-system group belongs to one kernel thread"),
    row(124, "getsid", &[pid("pid")]),
    row(125, "capget", &[inout_one("header", CAP_HEADER), out_one("data", CAP_DATA)])
        .bound(reason::CAPABILITIES),
    row(126, "capset", &[inout_one("header", CAP_HEADER), in_one("data", CAP_DATA)])
        .bound(reason::CAPABILITIES),
    row(127, "rt_sigpending", &[output("uset", 1), len("sigsetsize")]).bound(reason::SIGNAL_MASK),
];
