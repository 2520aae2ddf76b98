//! Attaching threads: `syslet_attach` and its kin.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::cell::RefCell;
use std::ffi::c_int;
use std::mem::ManuallyDrop;

use syslet::{Attach, AttachGuard, Mode, Placement};

use crate::abi::{self, AttachOptions};
use crate::errno;
use crate::known;
use crate::life;

/// A handler that has interrupted one of these functions calls one, against the header's rule.
const IN_HANDLER: c_int = -libc::EDEADLK;

/// What holds the thread attached.
struct Held {
    guard: AttachGuard,
    depth: usize,
    life: u32,
}

thread_local! {
    /// Without a destructor: a thread that ends is detached by the library itself.
    static HELD: ManuallyDrop<RefCell<Option<Held>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

/// `syslet_attach(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_attach(options: *const AttachOptions) -> c_int {
    let attach = if options.is_null() {
        Ok(Attach::new())
    } else {
        // SAFETY: the duty of this function; a structure of numbers.
        unsafe { known::read(options.addr()) }.and_then(settings)
    };
    let attach = match attach {
        Ok(attach) => attach,
        Err(error) => return error,
    };
    let guard = match errno::kept(|| attach.attach()) {
        Ok(guard) => guard,
        Err(error) => return errno::of_attach(&error),
    };
    let answer = match guard.mode() {
        Mode::Pool(_) => abi::POOL,
        _ => abi::ATTACHED,
    };
    HELD.with(|held| {
        let Ok(mut held) = held.try_borrow_mut() else { return IN_HANDLER };
        match &mut *held {
            // The new guard is dropped: the first one holds the thread.
            Some(held) if held.life == life::now() => held.depth += 1,
            other => {
                // The guard of a parent does nothing any more.
                *other = Some(Held { guard, depth: 1, life: life::now() });
            }
        }
        answer
    })
}

fn settings(options: AttachOptions) -> Result<Attach, c_int> {
    if options.flags & !(abi::ATTACH_PINNED | abi::ATTACH_REQUIRE) != 0 {
        return Err(-libc::EINVAL);
    }
    let mut attach = Attach::new();
    if options.flags & abi::ATTACH_PINNED != 0 {
        attach = attach.placement(Placement::Pinned(options.cpu as usize));
    } else if options.cpu != 0 {
        return Err(-libc::EINVAL);
    }
    if options.flags & abi::ATTACH_REQUIRE != 0 {
        attach = attach.require();
    }
    if options.max_crew != 0 {
        attach = attach.max_crew(options.max_crew as usize);
    }
    if options.stack_size != 0 {
        attach = attach.stack_size(options.stack_size as usize);
    }
    Ok(attach)
}

/// `syslet_detach(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_detach() -> c_int {
    let last = HELD.with(|held| {
        let Ok(mut slot) = held.try_borrow_mut() else { return Err(IN_HANDLER) };
        match &mut *slot {
            Some(held) if held.life == life::now() => {
                held.depth -= 1;
                if held.depth == 0 { Ok(slot.take()) } else { Ok(None) }
            }
            _ => Err(-libc::EINVAL),
        }
    });
    // Dropped after the borrow: the thread goes home here.
    errno::kept(|| last.map_or_else(|error| error, |_guard| 0))
}

/// `syslet_refresh(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_refresh() -> c_int {
    HELD.with(|held| match held.try_borrow().as_deref() {
        Err(_) => IN_HANDLER,
        Ok(Some(held)) if held.life == life::now() => {
            held.guard.refresh().map_or_else(|error| errno::of_attach(&error), |()| 0)
        }
        Ok(_) => -libc::EINVAL,
    })
}

/// `syslet_is_attached(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_is_attached() -> c_int {
    c_int::from(syslet::is_attached())
}
