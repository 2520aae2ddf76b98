//! System calls and chains of them: submit, wait, cancel.

mod asking;
mod attempt;
mod chain;
mod cold;
mod decide;
mod hand_over;
mod kinds;
mod number;
mod pending;
mod progress;
mod queued;
mod retry;
mod route;
mod several;
mod straight;
mod submit;
mod timeout;
mod transfer;
mod turns;
mod twin;
mod unattached;
mod wait;
mod writers;

pub use chain::{
    Arg, Chain, ChainResult, PendingChain, StepId, SubmittedChain, When, submit_chain,
    try_submit_chain,
};
pub(crate) use cold::{is_at_end, ring_read};
pub use hand_over::hand_over;
pub use number::{Call, Ret};
pub use pending::{CancelOutcome, Pending};
pub(crate) use pending::{PendingCall, outcome_of};
pub(crate) use progress::Progress;
pub(crate) use queued::make_as_waiter;
pub(crate) use retry::{Clockwork, MOST_REPEATS, has_enough};
pub(crate) use route::{child_of, descriptor_argument, interest, needs_descriptors};
pub(crate) use several::{ask, interests, store_nothing};
pub use submit::{Submitted, make_here, submit, try_submit};
pub(crate) use timeout::store_time_left;
pub(crate) use twin::{Answer, Attempt};
pub(crate) use wait::note_traced;
pub(crate) use writers::{DEFAULT_WRITERS, Write, Writers};
