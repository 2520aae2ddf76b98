//! A C program prints what the headers of this machine say; each line must be what we say.

use std::io::Write as _;
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
         #include <sys/inotify.h>\n#include <sys/signalfd.h>\n\
         #include <sys/stat.h>\n#include <sys/time.h>\n#include <linux/aio_abi.h>\n\
         #include <linux/fs.h>\n#include <linux/close_range.h>\n#include <fcntl.h>\n\
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
        "io_uring",
        "version",
    ] {
        source += &format!("#include <linux/{header}.h>\n");
    }
    // Newer than headers of before Linux 6.7, which say nothing of it then.
    source += "#ifndef __NR_futex_wait\n#define __NR_futex_wait 455\n#endif\n";
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
    line("si_pid", "offsetof(siginfo_t, si_pid)", 16);
    line("si_value", "offsetof(siginfo_t, si_value)", 24);
    line("sizeof_stack", "sizeof(stack_t)", size_of::<uapi::SignalStack>() as i64);
    line("stack_size", "offsetof(stack_t, ss_size)", 16);
    line("rip", "offsetof(ucontext_t, uc_mcontext.gregs[REG_RIP])", 40 + 8 * uapi::REG_RIP as i64);
    line("sizeof_filter", "sizeof(struct sock_filter)", 8);
    line("sizeof_fprog", "sizeof(struct sock_fprog)", 16);
    line("sizeof_iocb", "sizeof(struct iocb)", size_of::<uapi::Iocb>() as i64);
    line("iocb_fildes", "offsetof(struct iocb, aio_fildes)", 20);
    line("iocb_buf", "offsetof(struct iocb, aio_buf)", 24);
    line("sizeof_io_event", "sizeof(struct io_event)", size_of::<uapi::IoEvent>() as i64);
    line("sizeof_epoll_event", "sizeof(struct epoll_event)", size_of::<uapi::EpollEvent>() as i64);
    line("sizeof_stat", "sizeof(struct stat)", size_of::<uapi::Stat>() as i64);
    line("sizeof_statx", "sizeof(struct statx)", size_of::<uapi::Statx>() as i64);
    line("st_mode", "offsetof(struct stat, st_mode)", 24);
    line("sizeof_sqe", "sizeof(struct io_uring_sqe)", size_of::<uapi::RingRequest>() as i64);
    line("sqe_off", "offsetof(struct io_uring_sqe, off)", 8);
    line("sqe_user_data", "offsetof(struct io_uring_sqe, user_data)", 32);
    line("sqe_addr3", "offsetof(struct io_uring_sqe, addr3)", 48);
    line("sizeof_cqe", "sizeof(struct io_uring_cqe)", size_of::<uapi::RingCompletion>() as i64);
    line("cqe_res", "offsetof(struct io_uring_cqe, res)", 8);
    line("sizeof_ring", "sizeof(struct io_uring_params)", size_of::<uapi::RingParams>() as i64);
    line("ring_sq_off", "offsetof(struct io_uring_params, sq_off)", 40);
    line("ring_cqes", "offsetof(struct io_cqring_offsets, cqes)", 20);
    line("sizeof_timeval", "sizeof(struct timeval)", size_of::<uapi::Timeval>() as i64);
    line("runtime", "offsetof(struct sched_attr, sched_runtime)", 24);
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
