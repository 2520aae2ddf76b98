#![doc = include_str!("../README.md")]
#![cfg_attr(loom, allow(dead_code, reason = "only the protocols are compiled for their models"))]

#[cfg(not(loom))]
mod allowed;
/// Of calls, the protocol of those that wait for each other only.
#[cfg(loom)]
mod call {
    mod turns;
}
#[cfg(not(loom))]
mod call;
mod complete;
mod crew;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
pub mod fs;
#[cfg(not(loom))]
mod holding;
#[cfg(not(loom))]
mod limits;
#[cfg(not(loom))]
pub mod net;
#[cfg(not(loom))]
mod op;
/// Of parking, the protocol only.
#[cfg(loom)]
mod park {
    mod bell;
    mod mail {
        mod gate;
    }
    mod nap;
    mod phase;
    mod rest;
}
#[cfg(not(loom))]
mod park;
#[cfg(not(loom))]
mod probe;
#[cfg(not(loom))]
pub mod process;
#[cfg(not(loom))]
pub mod publish;
#[cfg(not(loom))]
mod stats;
mod sync;
#[cfg(not(loom))]
mod threadlet;
#[cfg(not(loom))]
pub mod time;

pub use self::complete::OpId;
#[cfg(not(loom))]
pub use self::{
    allowed::Allowance,
    call::{
        Arg, Call, CancelOutcome, Chain, ChainResult, Pending, PendingChain, Ret, StepId,
        Submitted, SubmittedChain, When, hand_over, submit, submit_chain, try_submit,
        try_submit_chain,
    },
    complete::{Completion, CompletionQueue, Next, QueueStats, Queued},
    crew::{
        Attach, AttachGuard, CpuSet, IdentityMismatch, Mode, Placement, Unsupported, attach,
        check_identity, is_attached, with_attached,
    },
    error::{AttachError, Refusal, SubmitError},
    holding::hold_files_at_once,
    limits::{Limits, set_limits},
    op::{IoBuf, IoBufMut, Operation},
    probe::{Probe, probe},
    publish::service::publish_stats,
    stats::{GuestStats, Histogram, Stats, stats},
    threadlet::{
        Builder, Scope, ScopedThreadlet, Threadlet, drain, scope, threadlet, threadlet_or,
        threadlet_with, try_threadlet,
    },
};
#[cfg(not(loom))]
#[doc(hidden)]
pub use self::{call::make_here, crew::last_waits_for, park::source, threadlet::ensure_crew};
