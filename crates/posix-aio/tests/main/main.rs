//! The library in front of programs that know nothing of it.
#![forbid(unsafe_code)]

mod differential;
mod fio;
#[path = "../../../libaio/tests/main/killed.rs"]
mod killed;
mod promises;
mod refusals;
mod symbols;
mod util;
