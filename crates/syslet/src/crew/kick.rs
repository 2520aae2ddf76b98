//! Commands to a resting crew thread: a tag, and for some the index of a guest.

/// Rest.
pub(crate) const NONE: u32 = 0;
/// Being moved to another CPU, or made ready for a busy one: not to be had for a moment.
pub(super) const HELD: u32 = 1;
/// Take work from the queue.
pub(crate) const JOB: u32 = 2;
/// End.
pub(super) const EXIT: u32 = 3;
const TAKE: u32 = 4;
const CARRY: u32 = 5;
const BITS: u32 = 3;

/// Take guest `index`, if its call is still in progress.
pub(crate) fn take(index: usize) -> u32 {
    (index as u32) << BITS | TAKE
}

/// Carry guest `index`, which is given.
pub(crate) fn carry(index: usize) -> u32 {
    (index as u32) << BITS | CARRY
}

#[derive(Debug)]
pub(super) enum Command {
    Take(usize),
    Carry(usize),
    Job,
    Exit,
}

pub(super) fn decode(word: u32) -> Command {
    let index = (word >> BITS) as usize;
    match word & ((1 << BITS) - 1) {
        TAKE => Command::Take(index),
        CARRY => Command::Carry(index),
        JOB => Command::Job,
        _ => Command::Exit,
    }
}
