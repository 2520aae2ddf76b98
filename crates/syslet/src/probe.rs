//! What this machine and sandbox allow.

use std::sync::OnceLock;

use crate::crew::{Mode, Unsupported, current_mode};
use crate::{Attach, AttachError};

/// Whether the processor has protection keys in force; asked once.
#[derive(Debug)]
pub(crate) struct ProtectionKeys(OnceLock<bool>);

/// Set before the first guest exists.
pub(crate) static PROTECTION_KEYS: ProtectionKeys = ProtectionKeys(OnceLock::new());

impl ProtectionKeys {
    /// Whether the register exists.
    #[inline(always)]
    pub(crate) fn get(&self) -> bool {
        *self.0.get_or_init(syslet_sys::arch::has_protection_keys)
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
    /// CPUs that the calling thread may run on.
    pub cpus: usize,
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
    let membarrier = crate::crew::engine().is_some_and(|engine| engine.asymmetric);
    Ok(Probe { unsupported, protection_keys: PROTECTION_KEYS.get(), membarrier, cpus })
}
