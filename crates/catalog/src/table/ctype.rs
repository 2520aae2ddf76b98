//! The C types that arguments point to, with their sizes on x86-64. The tests ask the C compiler.

use crate::kind::CType;

const fn flat(name: &'static str, size: u16) -> CType {
    CType { name, size, deep: false }
}

const fn deep(name: &'static str, size: u16) -> CType {
    CType { name, size, deep: true }
}

pub(super) const INT: CType = flat("int", 4);
pub(super) const INT2: CType = flat("int[2]", 8);
pub(super) const U32: CType = flat("uint32_t", 4);
pub(super) const U64: CType = flat("uint64_t", 8);
pub(super) const LONG: CType = flat("long", 8);
pub(super) const POINTER: CType = flat("void *", 8);

pub(super) const CACHESTAT: CType = flat("struct cachestat", 40);
pub(super) const CACHESTAT_RANGE: CType = flat("struct cachestat_range", 16);
pub(super) const CAP_DATA: CType = flat("struct __user_cap_data_struct[2]", 24);
pub(super) const CAP_HEADER: CType = flat("struct __user_cap_header_struct", 8);
pub(super) const EPOLL_EVENT: CType = flat("struct epoll_event", 12);
pub(super) const OFFSET: CType = flat("loff_t", 8);
pub(super) const FUTEX_WAITV: CType = deep("struct futex_waitv", 24);
pub(super) const FUTEX_WAITV2: CType = deep("struct futex_waitv[2]", 48);
pub(super) const IO_EVENT: CType = flat("struct io_event", 32);
pub(super) const IO_URING_PARAMS: CType = flat("struct io_uring_params", 120);
pub(super) const IOCB: CType = deep("struct iocb", 64);
pub(super) const IOCB_POINTER: CType = deep("struct iocb *", 8);
pub(super) const ITIMERSPEC: CType = flat("struct itimerspec", 32);
pub(super) const ITIMERVAL: CType = flat("struct itimerval", 32);
pub(super) const KEXEC_SEGMENT: CType = deep("struct kexec_segment", 32);
pub(super) const MMSGHDR: CType = deep("struct mmsghdr", 64);
pub(super) const MQ_ATTR: CType = flat("struct mq_attr", 64);
pub(super) const MSGHDR: CType = deep("struct msghdr", 56);
pub(super) const MSQID_DS: CType = flat("struct msqid_ds", 120);
pub(super) const POLLFD: CType = flat("struct pollfd", 8);
pub(super) const RLIMIT: CType = flat("struct rlimit", 16);
pub(super) const RUSAGE: CType = flat("struct rusage", 144);
pub(super) const SCHED_PARAM: CType = flat("struct sched_param", 4);
pub(super) const SEMBUF: CType = flat("struct sembuf", 6);
pub(super) const SHMID_DS: CType = flat("struct shmid_ds", 112);
/// The kernel's own, with an eight-byte mask; the C library's is larger.
pub(super) const SIGACTION: CType =
    deep("struct { void *handler; unsigned long flags; void *restorer; uint64_t mask; }", 32);
pub(super) const SIGEVENT: CType = deep("struct sigevent", 64);
pub(super) const SIGINFO: CType = flat("siginfo_t", 128);
/// The last argument of `pselect6` and `io_pgetevents`.
pub(super) const SIGSET_ARG: CType = deep("struct { const void *set; size_t size; }", 16);
pub(super) const STACK: CType = deep("stack_t", 24);
pub(super) const STAT: CType = flat("struct stat", 144);
pub(super) const STATFS: CType = flat("struct statfs", 120);
pub(super) const STATX: CType = flat("struct statx", 256);
pub(super) const SYSINFO: CType = flat("struct sysinfo", 112);
pub(super) const TIMES2: CType = flat("struct timespec[2]", 32);
pub(super) const TIMEVAL2: CType = flat("struct timeval[2]", 32);
pub(super) const TIMEX: CType = flat("struct timex", 208);
pub(super) const TIMEZONE: CType = flat("struct timezone", 8);
pub(super) const TMS: CType = flat("struct tms", 32);
pub(super) const USTAT: CType =
    flat("struct { int tfree; unsigned long tinode; char fname[6], fpack[6]; }", 32);
pub(super) const UTIMBUF: CType = flat("struct utimbuf", 16);
pub(super) const UTSNAME: CType = flat("struct utsname", 390);
