//! `io_destroy(2)`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::abi::error;
use crate::context::{Context, Mode};
use crate::kernel;
use crate::register::register;

/// `io_destroy(2)`, with its error number as an answer. Cancels what waits for others, and waits for the rest: the
/// kernel would have made reads and writes of files before.
///
/// Until it has ended the context stays entered, and dead: whoever names it meanwhile has `EINVAL`, as from the
/// kernel, which still has a context of that name.
pub(crate) fn io_destroy(address: usize) -> isize {
    // A moved ring is found, and entered anew.
    let Some(context) = crate::register::with(address, Arc::clone) else {
        return kernel::io_destroy(address);
    };
    let gate = context.change();
    let mut state = context.state();
    let mode = context.mode();
    if mode == Mode::Dead {
        return error(libc::EINVAL);
    }
    context.set_mode(Mode::Dead);
    context.move_to(0);
    context.ring_bell();
    let parked = state.take_parked();
    drop(state);
    drop(gate);
    context.wake(true);
    for away in parked {
        away.cancel();
    }
    let register = register();
    if context.backed {
        register.backed.fetch_sub(1, Ordering::Relaxed);
    }
    let own = mode == Mode::Own;
    let answer = if own { of_own(&context, address) } else { kernel::io_destroy(address) };
    register.remove(address, &context);
    answer
}

fn of_own(context: &Arc<Context>, address: usize) -> isize {
    // Requests that the kernel had, if any, end by this.
    let ended = context.backed && end_kernels(context, address);
    let mut state = context.state();
    while state.inflight > 0 || state.telling > 0 {
        (state, _) = context.wait(state, u32::MAX, None);
    }
    let ring = state.ring.take();
    drop(state);
    if let Some(ring) = ring {
        if !context.backed {
            register().own.fetch_sub(context.events, Ordering::Relaxed);
        }
        ring.free(address, ended && context.kernel == address);
    }
    0
}

/// Ends the kernel's context, with the mapping at its address. The kernel looks for the ring there: where a program has
/// moved its own away, one is put back. If something else stands there by now, the kernel would unmap that: its
/// context is left to the end of the process. False: it is not ended.
fn end_kernels(context: &Context, address: usize) -> bool {
    let kernel = context.kernel;
    if kernel == address {
        return kernel::io_destroy(kernel) == 0;
    }
    let put_back = context.state().ring.as_ref().is_some_and(|ring| ring.put_back(kernel));
    put_back && kernel::io_destroy(kernel) == 0
}
