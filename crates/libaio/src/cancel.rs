//! `io_cancel(2)`.

#![allow(unsafe_code, reason = "reads a program's request, behind a look whether it is there")]

use std::sync::Arc;

use syslet_dropin::memory;
use syslet_sys::uapi::Iocb;

use crate::abi::error;
use crate::context::{Context, Mode};
use crate::kernel;
use crate::register;

/// `io_cancel(2)`, with its error number as an answer: `EINPROGRESS` if the request will end, and its event come.
pub(crate) fn io_cancel(address: usize, iocb: usize, event: usize) -> isize {
    let ours = register::with(address, |context| cancel(context, address, iocb, event));
    ours.unwrap_or_else(|| kernel::io_cancel(address, iocb, event))
}

fn cancel(context: &Arc<Context>, address: usize, iocb: usize, event: usize) -> isize {
    let mode = context.mode();
    if !matches!(mode, Mode::Own | Mode::Dead) {
        return kernel::io_cancel(address, iocb, event);
    }
    let key = iocb.wrapping_add(std::mem::offset_of!(Iocb, key));
    // SAFETY: the program's duties. The kernel looks at no more of the block.
    let Ok(key) = (unsafe { memory::read::<u32>(key) }) else { return error(libc::EFAULT) };
    if key != 0 || mode == Mode::Dead {
        return error(libc::EINVAL);
    }
    let found = context.state().take_away(iocb as u64);
    match found {
        Some(away) if away.cancel() => error(libc::EINPROGRESS),
        Some(_) => error(libc::EINVAL),
        // It may have been the kernel's before the context was ours.
        None if context.backed => kernel::io_cancel(context.kernel, iocb, event),
        None => error(libc::EINVAL),
    }
}
