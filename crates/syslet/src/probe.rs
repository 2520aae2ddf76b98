//! What this machine and sandbox allow.

use crate::allowed::{Allowance, allowances};
use crate::crew::{Mode, Unsupported, current_mode};
use crate::sync::{AtomicU32, Ordering};
use crate::{Attach, AttachError};

/// Whether the processor has protection keys in force: 0 not asked yet, 1 no, 2 yes. Not a `OnceLock`,
/// which a thread that is asking would leave half-done in a child that another forks.
#[derive(Debug)]
pub(crate) struct ProtectionKeys(AtomicU32);

pub(crate) static PROTECTION_KEYS: ProtectionKeys = ProtectionKeys(AtomicU32::new(0));

impl ProtectionKeys {
    /// Whether the register exists.
    #[inline(always)]
    pub(crate) fn get(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => self.ask(),
            known => known == 2,
        }
    }

    #[cold]
    fn ask(&self) -> bool {
        let there = syslet_sys::arch::has_protection_keys();
        self.0.store(1 + u32::from(there), Ordering::Relaxed);
        there
    }
}

/// What [`probe`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// `None` if threads can be attached here; otherwise why the pool is used.
    pub unsupported: Option<Unsupported>,
    /// True if the processor has protection keys switched on.
    pub protection_keys: bool,
    /// True if `membarrier(2)` works, which takes a fence off the inline path.
    pub membarrier: bool,
    /// `None` if reads that have to be fetched from a disk go to io_uring; otherwise why crew threads
    /// make them.
    pub no_ring: Option<Unsupported>,
    /// CPUs that the calling thread may run on.
    pub cpus: usize,
    /// Calls that parking uses where they are allowed.
    pub allowances: Vec<Allowance>,
}

/// Finds out whether and how threads can be attached here, by attaching the calling one.
///
/// # Errors
///
/// If attaching fails for another reason than that the mechanism cannot be used.
///
/// # Blocking
///
/// As [`Attach::attach`].
pub fn probe() -> Result<Probe, AttachError> {
    let (mode, _guard) = match current_mode() {
        Some(mode) => (mode, None),
        None => {
            let guard = Attach::new().attach()?;
            (guard.mode().clone(), Some(guard))
        }
    };
    let unsupported = match mode {
        Mode::Attached(_) => None,
        Mode::Pool(why) => Some(why),
    };
    let cpus = crate::CpuSet::of_this_thread()
        .map_err(|error| AttachError::Io("sched_getaffinity", error))?
        .iter()
        .count();
    let engine = crate::crew::start(crate::crew::Settings::default()).ok();
    let membarrier = engine.is_some_and(|engine| engine.is_asymmetric());
    let no_ring = engine
        .and_then(|engine| engine.disk_refused())
        .map(|errno| Unsupported::Refused("io_uring_setup", errno));
    let protection_keys = PROTECTION_KEYS.get();
    let allowances = allowances();
    Ok(Probe { unsupported, protection_keys, membarrier, no_ring, cpus, allowances })
}
