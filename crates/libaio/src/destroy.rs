//! `io_destroy(2)`.

#![allow(unsafe_code, reason = "takes a ring's mapping away")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::abi::error;
use crate::context::{Context, Mode};
use crate::kernel;
use crate::register::register;

/// `io_destroy(2)`, with its error number as an answer. Cancels what can be, and waits for the rest.
pub(crate) fn io_destroy(address: usize) -> isize {
    let register = register();
    // A moved ring is found, and entered anew.
    crate::register::with(address, |_| ());
    let Some(context) = register.remove(address) else { return kernel::io_destroy(address) };
    let gate = context.change();
    let mut state = context.state();
    let mode = context.mode();
    context.set_mode(Mode::Dead);
    context.ring_bell();
    let parked: Vec<_> = state.parked.drain().map(|(_, (_, late))| late).collect();
    drop(state);
    drop(gate);
    context.wake(true);
    for late in parked {
        late.cancel();
    }
    if context.backed {
        register.backed.fetch_sub(1, Ordering::Relaxed);
    }
    if mode == Mode::Own { of_own(&context, address) } else { kernel::io_destroy(address) }
}

fn of_own(context: &Arc<Context>, address: usize) -> isize {
    // Requests that the kernel had, if any, end by this; it also takes the program's mapping away.
    let answer = if context.backed { kernel::io_destroy(address) } else { 0 };
    let mut state = context.state();
    while state.inflight > 0 {
        (state, _) = context.wait(state, u32::MAX, None);
    }
    let ring = state.ring.take();
    drop(state);
    if let Some(ring) = ring {
        if !context.backed {
            register().own.fetch_sub(context.events, Ordering::Relaxed);
            let size = ring.pages() * 4096;
            // SAFETY: the ring that io_setup has made there, or what the program has moved it to.
            unsafe { libc::munmap(address as *mut libc::c_void, size) };
        }
        ring.free();
    }
    if answer == 0 { 0 } else { error(libc::EINVAL) }
}
