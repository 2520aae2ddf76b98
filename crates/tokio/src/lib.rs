#![doc = include_str!("../README.md")]

mod away;
mod block_on;
mod budget;
mod error;
pub mod fs;
pub mod net;
mod outstanding;
pub mod process;
mod tally;
mod unblock;
mod worker;

pub use self::{
    block_on::block_on,
    error::UnblockError,
    unblock::{Unblock, unblock},
    worker::on_thread_start,
};
