//! A C program prints what the headers of this machine say; each line must be what we say.

use std::io::Write as _;
use std::mem::offset_of;
use std::process::{Command, Stdio};

use syslet_sys::uapi;

/// Prints `text` as a C program would, or says why it cannot.
fn run_c(source: &str) -> String {
    let dir = std::env::temp_dir().join(format!("syslet-sys-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let program = dir.join("headers");
    let mut cc = Command::new("cc")
        .args(["-x", "c", "-", "-o"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .expect("this test needs a C compiler: cc");
    cc.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    assert!(cc.wait().unwrap().success(), "cc failed on:\n{source}");
    let out = Command::new(&program).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn every_number_and_size_is_that_of_the_headers() {
    let mut source = String::from(
        "#define _GNU_SOURCE\n#include <stdio.h>\n#include <stddef.h>\n#include <signal.h>\n\
         #include <ucontext.h>\n#include <time.h>\n#include <sched.h>\n#include <errno.h>\n\
         #include <sys/syscall.h>\n#include <linux/filter.h>\n\
         #include <poll.h>\n#include <sys/socket.h>\n#include <sys/epoll.h>\n\
         #include <sys/inotify.h>\n#include <sys/signalfd.h>\n#include <sys/ioctl.h>\n\
         #include <sys/stat.h>\n#include <sys/time.h>\n#include <linux/aio_abi.h>\n\
         #include <linux/fs.h>\n#include <linux/close_range.h>\n#include <fcntl.h>\n\
         #include <sys/file.h>\n#include <sys/ipc.h>\n#include <sys/random.h>\n#include <pthread.h>\n\
         #include <asm/prctl.h>\n#include <asm/hwcap2.h>\n\
         #define sched_param kernel_sched_param\n#include <linux/sched/types.h>\n\
         #undef sched_param\n",
    );
    for header in [
        "futex",
        "wait",
        "prctl",
        "seccomp",
        "audit",
        "membarrier",
        "rseq",
        "sched",
        "kcmp",
        "io_uring",
        "version",
    ] {
        source += &format!("#include <linux/{header}.h>\n");
    }
    // Newer than headers of before Linux 6.7, which say nothing of it then.
    source += "#ifndef __NR_futex_wait\n#define __NR_futex_wait 455\n#endif\n";
    // Likewise: of Linux 6.7 (and 5.16 by another name), 6.6 and glibc 2.35.
    source += "#ifndef FUTEX2_SIZE_U32\n#define FUTEX2_SIZE_U32 2\n#endif\n\
               #ifndef ARCH_SHSTK_STATUS\n#define ARCH_SHSTK_STATUS 0x5005\n#endif\n\
               #if __has_include(<sys/rseq.h>)\n#include <sys/rseq.h>\n#else\n\
               #define RSEQ_SIG 0x53053053\n#endif\n";
    source += "int main(void) {\n";
    let mut expected = Vec::new();
    let mut line = |name: &str, c: &str, value: i64| {
        source += &format!("printf(\"{name} %lld\\n\", (long long)({c}));\n");
        expected.push(format!("{name} {value}"));
    };
    for (name, nr) in uapi::nr::ALL {
        line(name, &format!("__NR_{}", name.to_lowercase()), *nr as i64);
    }
    for (name, header, c, value) in uapi::CONSTANTS {
        assert!(!header.is_empty());
        line(name, c, *value);
    }
    line("sizeof_timespec", "sizeof(struct timespec)", size_of::<uapi::Timespec>() as i64);
    line("sizeof_siginfo", "sizeof(siginfo_t)", size_of::<uapi::Siginfo>() as i64);
    line("si_pid", "offsetof(siginfo_t, si_pid)", offset_of!(uapi::Siginfo, pid) as i64);
    line("si_value", "offsetof(siginfo_t, si_value)", offset_of!(uapi::Siginfo, value) as i64);
    line("sizeof_stack", "sizeof(stack_t)", size_of::<uapi::SignalStack>() as i64);
    line("stack_size", "offsetof(stack_t, ss_size)", offset_of!(uapi::SignalStack, size) as i64);
    let registers = offset_of!(uapi::UContext, registers) as i64;
    line("registers", "offsetof(ucontext_t, uc_mcontext.gregs)", registers);
    line(
        "rip",
        "offsetof(ucontext_t, uc_mcontext.gregs[REG_RIP])",
        registers + 8 * uapi::REG_RIP as i64,
    );
    line("uc_stack", "offsetof(ucontext_t, uc_stack)", offset_of!(uapi::UContext, stack) as i64);
    line(
        "uc_sigmask",
        "offsetof(ucontext_t, uc_sigmask)",
        offset_of!(uapi::UContext, signal_mask) as i64,
    );
    line("sizeof_filter", "sizeof(struct sock_filter)", size_of::<uapi::SockFilter>() as i64);
    line("sizeof_fprog", "sizeof(struct sock_fprog)", size_of::<uapi::SockFprog>() as i64);
    line("sizeof_linger", "sizeof(struct linger)", size_of::<uapi::Linger>() as i64);
    line("l_linger", "offsetof(struct linger, l_linger)", offset_of!(uapi::Linger, seconds) as i64);
    line("sizeof_iocb", "sizeof(struct iocb)", size_of::<uapi::Iocb>() as i64);
    line(
        "iocb_fildes",
        "offsetof(struct iocb, aio_fildes)",
        offset_of!(uapi::Iocb, descriptor) as i64,
    );
    line("iocb_buf", "offsetof(struct iocb, aio_buf)", offset_of!(uapi::Iocb, buf) as i64);
    line("iocb_resfd", "offsetof(struct iocb, aio_resfd)", offset_of!(uapi::Iocb, resfd) as i64);
    line("sizeof_io_event", "sizeof(struct io_event)", size_of::<uapi::IoEvent>() as i64);
    line("sizeof_epoll_event", "sizeof(struct epoll_event)", size_of::<uapi::EpollEvent>() as i64);
    line("sizeof_stat", "sizeof(struct stat)", size_of::<uapi::Stat>() as i64);
    line("sizeof_statx", "sizeof(struct statx)", size_of::<uapi::Statx>() as i64);
    line("st_mode", "offsetof(struct stat, st_mode)", offset_of!(uapi::Stat, mode) as i64);
    line("st_rdev", "offsetof(struct stat, st_rdev)", offset_of!(uapi::Stat, rdev) as i64);
    line("stx_mode", "offsetof(struct statx, stx_mode)", offset_of!(uapi::Statx, mode) as i64);
    line("stx_ino", "offsetof(struct statx, stx_ino)", offset_of!(uapi::Statx, ino) as i64);
    line(
        "stx_major",
        "offsetof(struct statx, stx_dev_major)",
        offset_of!(uapi::Statx, dev_major) as i64,
    );
    line("sizeof_sqe", "sizeof(struct io_uring_sqe)", size_of::<uapi::RingRequest>() as i64);
    line(
        "sqe_off",
        "offsetof(struct io_uring_sqe, off)",
        offset_of!(uapi::RingRequest, offset) as i64,
    );
    line(
        "sqe_user_data",
        "offsetof(struct io_uring_sqe, user_data)",
        offset_of!(uapi::RingRequest, data) as i64,
    );
    line(
        "sqe_addr3",
        "offsetof(struct io_uring_sqe, addr3)",
        offset_of!(uapi::RingRequest, mask) as i64,
    );
    line("sizeof_cqe", "sizeof(struct io_uring_cqe)", size_of::<uapi::RingCompletion>() as i64);
    line(
        "cqe_res",
        "offsetof(struct io_uring_cqe, res)",
        offset_of!(uapi::RingCompletion, result) as i64,
    );
    line("sizeof_ring", "sizeof(struct io_uring_params)", size_of::<uapi::RingParams>() as i64);
    line(
        "ring_sq_off",
        "offsetof(struct io_uring_params, sq_off)",
        offset_of!(uapi::RingParams, request_queue) as i64,
    );
    line(
        "ring_cqes",
        "offsetof(struct io_cqring_offsets, cqes)",
        offset_of!(uapi::RingOffsets, dropped_or_completions) as i64,
    );
    line("sizeof_timeval", "sizeof(struct timeval)", size_of::<uapi::Timeval>() as i64);
    line(
        "runtime",
        "offsetof(struct sched_attr, sched_runtime)",
        offset_of!(uapi::SchedAttr, runtime) as i64,
    );
    for (name, (major, minor), value) in uapi::NEWER {
        let known = format!("#if LINUX_VERSION_CODE >= KERNEL_VERSION({major}, {minor}, 0)");
        source += &format!("{known}\nprintf(\"{name} %lld\\n\", (long long)({name}));\n");
        source += &format!("#else\nputs(\"{name} {value}\");\n#endif\n");
        expected.push(format!("{name} {value}"));
    }
    source += "return 0; }\n";
    let printed = run_c(&source);
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed.len(), expected.len());
    for (c, ours) in printed.iter().zip(&expected) {
        assert_eq!(c, ours, "left: the C headers, right: this crate");
    }
}
