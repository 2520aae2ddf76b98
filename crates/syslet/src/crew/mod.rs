//! The crew: attach, handoff, sentinels, watchdog. The protocol is in this folder's README.md.

#[cfg(not(loom))]
mod affinity;
#[cfg(not(loom))]
mod attach;
#[cfg(not(loom))]
mod bitmap;
#[cfg(not(loom))]
mod carry;
#[cfg(not(loom))]
mod dependents;
#[cfg(not(loom))]
mod ending;
#[cfg(not(loom))]
mod engine;
#[cfg(not(loom))]
mod fences;
#[cfg(not(loom))]
mod fork;
#[cfg(not(loom))]
mod guard;
#[cfg(not(loom))]
mod guest;
#[cfg(not(loom))]
mod home;
#[cfg(not(loom))]
mod identity;
#[cfg(not(loom))]
mod jobs;
#[cfg(not(loom))]
mod kick;
#[cfg(not(loom))]
mod last;
#[cfg(not(loom))]
mod local;
#[cfg(not(loom))]
mod mapping;
#[cfg(not(loom))]
mod mechanism;
#[cfg(not(loom))]
mod member;
#[cfg(all(loom, test))]
mod models;
#[cfg(not(loom))]
mod rseq;
#[cfg(not(loom))]
mod sentinel;
#[cfg(not(loom))]
mod signals;
#[cfg(not(loom))]
mod thread;
#[cfg(not(loom))]
mod transfer;
#[cfg(not(loom))]
mod view;
#[cfg(not(loom))]
mod watchdog;
mod word;

#[cfg(not(loom))]
pub use affinity::CpuSet;
#[cfg(not(loom))]
pub(crate) use attach::current_mode;
#[cfg(not(loom))]
pub use attach::{Attach, Mode, Placement, attach, is_attached, with_attached};
#[cfg(all(test, not(loom)))]
pub(crate) use engine::MAX_CREW;
#[cfg(not(loom))]
pub(crate) use engine::{Cpu, Engine, MAX_GUESTS, Settings, engine, engine_of_guest, start};
#[cfg(not(loom))]
pub(crate) use fork::{generation, install as watch_forks};
#[cfg(not(loom))]
pub use guard::AttachGuard;
#[cfg(not(loom))]
pub(crate) use guest::{Busy, Crossing, Guest, Lost};
#[cfg(not(loom))]
pub use identity::{IdentityMismatch, check_identity};
#[cfg(not(loom))]
pub(crate) use jobs::{Job, Withdrawable};
#[cfg(not(loom))]
pub use last::last_waits_for;
#[cfg(not(loom))]
pub(crate) use local::{current_crew, current_guest, on_crew_thread};
#[cfg(not(loom))]
pub use mechanism::Unsupported;
#[cfg(not(loom))]
pub(crate) use member::{Crew, MAX_ROOM};
#[cfg(not(loom))]
pub(crate) use signals::{CANCEL_CODE, CREW_MASK, KNOCK_CODE};
#[cfg(not(loom))]
pub(crate) use thread::{is_ours as on_own_thread, start as start_thread};
#[cfg(not(loom))]
pub(crate) use view::{Doing, GuestView};
