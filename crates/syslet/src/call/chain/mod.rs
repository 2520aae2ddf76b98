//! Chains: system calls that feed each other, submitted as one. The atoms of 2007, in safe memory.

mod descriptors;
mod handle;
mod result;
mod run;
mod steps;
mod submit;

pub use handle::{PendingChain, SubmittedChain};
pub use result::ChainResult;
pub use steps::{Arg, Chain, StepId, When};
pub use submit::{submit_chain, try_submit_chain};
