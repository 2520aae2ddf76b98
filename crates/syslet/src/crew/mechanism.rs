//! Whether the mechanism can be used here, and if not, why.

#![allow(unsafe_code, reason = "looks for symbols, and asks the C library")]

use std::fmt;

use syslet_sys::{arch, call};

/// Why threads cannot be attached here: calls and closures go to a pool of threads instead.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// `SYSLET_FORCE_POOL=1` is set.
    Forced,
    /// User code may not switch the thread pointer: no FSGSBASE in `AT_HWCAP2`. Needs a processor
    /// that has it and Linux 5.9.
    NoFsgsbase,
    /// The thread has a user shadow stack, which cannot follow it to another kernel thread.
    ShadowStack,
    /// The thread uses its GS base, which would not follow it.
    GsInUse,
    /// The thread has a restartable-sequence area that is not glibc's, or an allocator is loaded that may
    /// have such: the guest would have none. Says what was found.
    Rseq(String),
    /// The kernel or a sandbox refuses a call that the crew needs: its name and the error number.
    Refused(&'static str, i32),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced => f.write_str("SYSLET_FORCE_POOL=1 is set"),
            Self::NoFsgsbase => f.write_str(
                "user code may not switch the thread pointer (FSGSBASE is not in AT_HWCAP2)",
            ),
            Self::ShadowStack => f.write_str("the thread has a user shadow stack"),
            Self::GsInUse => f.write_str("the thread uses its GS base"),
            Self::Rseq(what) => write!(f, "restartable sequences are in use: {what}"),
            Self::Refused(name, errno) => {
                let error = std::io::Error::from_raw_os_error(*errno);
                write!(f, "{name} is refused: {error}")
            }
        }
    }
}

impl std::error::Error for Unsupported {}

/// CPUs that may ever be online: `/sys/devices/system/cpu/possible`, as sysconf(3) reads it.
pub(super) fn possible_cpus() -> usize {
    // SAFETY: a plain question.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    usize::try_from(count).unwrap_or(1).max(1)
}

/// What holds for every thread of the process.
pub(super) fn check() -> Option<Unsupported> {
    if std::env::var_os("SYSLET_FORCE_POOL").is_some_and(|value| value == "1") {
        return Some(Unsupported::Forced);
    }
    // SAFETY: a plain question.
    let hwcap2 = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    if !arch::has_fsgsbase(hwcap2) {
        return Some(Unsupported::NoFsgsbase);
    }
    if let Some(allocator) = per_cpu_allocator() {
        return Some(Unsupported::Rseq(allocator));
    }
    None
}

/// What holds for the running thread.
pub(super) fn check_thread() -> Option<Unsupported> {
    if call::shadow_stack_features() != 0 {
        return Some(Unsupported::ShadowStack);
    }
    (arch::gs_base() != 0).then_some(Unsupported::GsInUse)
}

/// Symbols by which allocators with caches per CPU (by rseq) are known.
const PER_CPU_ALLOCATORS: [(&std::ffi::CStr, &str); 2] = [
    (c"TCMalloc_Internal_GetPerCpuCachesActive", "tcmalloc"),
    (c"TCMalloc_Internal_SetPerCpuCachesEnabled", "tcmalloc"),
];

fn per_cpu_allocator() -> Option<String> {
    PER_CPU_ALLOCATORS.iter().find_map(|(name, allocator)| {
        symbol::<u8>(name).map(|_| format!("the allocator {allocator} is loaded"))
    })
}

/// The address of a symbol of the program or its libraries.
pub(super) fn symbol<T>(name: &std::ffi::CStr) -> Option<*const T> {
    // SAFETY: looks a name up.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found.cast_const().cast())
}
