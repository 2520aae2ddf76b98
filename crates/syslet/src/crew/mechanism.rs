//! Whether the mechanism can be used here, and if not, why.

#![allow(unsafe_code, reason = "rseq registration, and looking for symbols")]

use std::fmt;

use syslet_sys::{arch, call, uapi};

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
    /// A restartable-sequence area that is not glibc's, or an allocator with per-CPU caches that
    /// relies on glibc's: the guest would have none. Says what was found.
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
fn symbol<T>(name: &std::ffi::CStr) -> Option<*const T> {
    // SAFETY: looks a name up.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found.cast_const().cast())
}

/// glibc's rseq area of the running thread: sys/rseq.h, since glibc 2.35.
#[derive(Debug, Clone, Copy)]
struct Area {
    address: usize,
    len: usize,
}

impl Area {
    /// `None` where glibc has registered none (older than 2.35, or switched off by a tunable).
    fn of_this_thread() -> Option<Self> {
        let (offset, size) = arch::rseq_constants();
        let offset = if offset.is_null() { symbol(c"__rseq_offset")? } else { offset };
        let size = if size.is_null() { symbol(c"__rseq_size")? } else { size };
        // SAFETY: glibc's constant, `const ptrdiff_t`.
        let offset = unsafe { *offset };
        // SAFETY: glibc's constant, `const unsigned int`.
        let size = unsafe { *size };
        if size == 0 {
            return None;
        }
        // glibc up to 2.40 registers 32 bytes; later ones what the kernel has, rounded up.
        let len = (size as usize).max(RSEQ_LEN);
        Some(Self { address: arch::thread_pointer().wrapping_add_signed(offset), len })
    }

    /// `cpu_id`, the second word. (`cpu_id_start`, the first, is what optimistic readers index by
    /// and stays a valid CPU.)
    fn cpu_id(self) -> *mut i32 {
        (self.address + 4) as *mut i32
    }

    /// True if the kernel knows the area.
    fn is_registered(self) -> bool {
        // SAFETY: glibc's own area of this thread.
        unsafe { self.cpu_id().read_volatile() >= 0 }
    }

    fn set_cpu(self, value: i32) {
        // SAFETY: glibc's own area of this thread; the kernel is not writing it now.
        unsafe { self.cpu_id().write_volatile(value) };
    }

    fn register(self, flags: usize) -> isize {
        // SAFETY: glibc's own area, valid as long as the thread; nothing of ours relies on it.
        unsafe { call::rseq(self.address, self.len, flags, uapi::RSEQ_SIGNATURE) }
    }
}

/// Bytes of the first published rseq structure.
const RSEQ_LEN: usize = 32;
/// `RSEQ_CPU_ID_UNINITIALIZED`: as before registration. glibc's `sched_getcpu` asks the vDSO when it
/// reads a negative value, and threads that this one makes register theirs (they do not if it is -2,
/// which says that registration failed).
const UNINITIALIZED: i32 = -1;
/// `RSEQ_CPU_ID_REGISTRATION_FAILED`.
const REGISTRATION_FAILED: i32 = -2;

/// Unregisters the running kernel thread's rseq area: its code moves to another kernel thread.
pub(super) fn leave_rseq() -> Option<Unsupported> {
    let area = Area::of_this_thread().filter(|area| area.is_registered())?;
    let answer = area.register(uapi::RSEQ_UNREGISTER);
    if answer == 0 {
        area.set_cpu(UNINITIALIZED);
        return None;
    }
    let error = std::io::Error::from_raw_os_error(-answer as i32);
    Some(Unsupported::Rseq(format!("glibc's area cannot be unregistered: {error}")))
}

/// Registers it again, for the running kernel thread, if it was registered before.
pub(super) fn enter_rseq() {
    let Some(area) = Area::of_this_thread() else { return };
    // SAFETY: glibc's own area of this thread.
    let left = unsafe { area.cpu_id().read_volatile() } == UNINITIALIZED;
    if left && area.register(0) != 0 {
        area.set_cpu(REGISTRATION_FAILED);
    }
}
