//! The historic interfaces, each a thin module over the same engine.

mod acall;
mod async_submit;
mod atom_ring;
mod atoms;
mod dragonfly;
mod fibrils;
mod indirect;
mod nonseqfd;
mod threadlets;

use std::ffi::c_int;

use syslet::Call;

use crate::known;

/// The call of number `nr` with the words at `args`: as many as the call takes.
///
/// # Safety
///
/// The header's duties.
#[allow(unsafe_code, reason = "reads what a C program names")]
unsafe fn call_of(nr: usize, args: usize) -> Result<Call, c_int> {
    let entry = u32::try_from(nr).ok().and_then(syslet_catalog::lookup);
    let count = entry.ok_or(-libc::ENOSYS)?.args.len();
    let mut words = [0; 6];
    if count > 0 {
        known::readable(args, 8 * count)?;
    }
    for (at, word) in words.iter_mut().enumerate().take(count) {
        // SAFETY: the duty of this function.
        *word = unsafe { known::fetch(args + 8 * at) };
    }
    Ok(Call::new(nr, words))
}
