//! `io_destroy(2)`.

#![allow(unsafe_code, reason = "moves a ring's mapping")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::abi::error;
use crate::context::{Context, Mode};
use crate::register::register;
use crate::{kernel, ring};

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
    context.move_to(0);
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
    // Requests that the kernel had, if any, end by this.
    let answer = if context.backed { end_kernels(context.kernel, address) } else { 0 };
    let mut state = context.state();
    while state.inflight > 0 {
        (state, _) = context.wait(state, u32::MAX, None);
    }
    let ring = state.ring.take();
    drop(state);
    if let Some(ring) = ring {
        if !context.backed {
            register().own.fetch_sub(context.events, Ordering::Relaxed);
        }
        ring.free(address, context.backed && context.kernel == address);
    }
    if answer == 0 { 0 } else { error(libc::EINVAL) }
}

/// Ends the kernel's context, with the mapping at its address. That looks for the ring there: one that the program has
/// moved is put back, if nothing else is there by now.
fn end_kernels(kernel: usize, address: usize) -> isize {
    if kernel != address {
        // SAFETY: the program's duties: the ring that it gives up, to where nothing is.
        unsafe { ring::move_back(address, kernel) };
    }
    kernel::io_destroy(kernel)
}
