//! System calls: submit, wait, cancel.

mod number;
mod pending;
mod retry;
mod submit;

pub use number::{Call, Ret};
pub use pending::{CancelOutcome, Pending};
pub use submit::{Submitted, submit, try_submit};
