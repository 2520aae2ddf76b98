//! Calls that are not to be tried where the caller stands.

#![allow(unsafe_code, reason = "passes calls on; their duties are the caller's")]

use syslet_sys::arch;

use super::kinds::{Kind, look};
use super::number::{Call, Ret};
use super::route::submit_waiting;
use super::submit::{Submitted, enqueue, refusal};
use super::transfer::is_read_at;
use super::unattached::fetch;
use crate::SubmitError;
use crate::crew::{Guest, Settings, current_guest, start};

/// As [`submit`](crate::submit()), for a caller that must not wait and cannot be taken over, wherever it
/// is: also on a thread of the library's, such as in a waker, where [`submit`](crate::submit()) would be the
/// plain call.
///
/// What waits for readiness, a time or a child is tried without waiting, and parked if it would have to.
/// All else is not tried: a read of storage at a position goes to io_uring, where that can be had, and what
/// is left to a crew thread. So it is also for what is known to wait however it is tried: `O_DIRECT`.
///
/// ```
/// use std::os::fd::AsRawFd;
/// let file = std::fs::File::open("Cargo.toml")?;
/// let mut bytes = [0u8; 9];
/// let args = [file.as_raw_fd() as usize, bytes.as_mut_ptr() as usize, bytes.len(), 0];
/// # #[allow(unsafe_code)]
/// // SAFETY: the buffer lives until the call has ended.
/// let submitted = unsafe { syslet::hand_over(syslet::Call::new(libc::SYS_pread64 as usize, args)) }?;
/// assert_eq!(submitted.wait().result()?, 9);
/// assert_eq!(&bytes, b"[package]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of [`submit`](crate::submit()).
///
/// # Safety
///
/// Those of [`submit`](crate::submit()).
///
/// # Blocking
///
/// As [`submit`](crate::submit()).
pub unsafe fn hand_over(call: Call) -> Result<Submitted, SubmitError<Call>> {
    let class = syslet_catalog::class(call.nr() as u32);
    if (!class.movable() || call.nr() > u32::MAX as usize)
        && let Some(why) = refusal(call.nr(), call.values())
    {
        return Err(SubmitError::Refused(call, why));
    }
    // SAFETY: null, or a record, which is never freed.
    let guest = unsafe { current_guest().as_ref() };
    // (A read at a position does not wait for anything else: there it is an error.)
    let is_storage =
        || Kind::guess(call.0[1]).is_storage() && (is_read_at(&call) || !Kind::doubt(call.0[1]));
    if class.may_park()
        && !(class.parks_on_descriptor() && is_storage())
        // SAFETY: the caller's duties.
        && let Some(routed) = unsafe { submit_waiting(&call, guest, false) }
    {
        return routed;
    }
    // A signal handler that runs until the end of this must not begin a call: it would find locks held.
    let _busy = guest.map(Guest::keep_busy);
    if is_read_at(&call)
        && has_twin(call.0[1])
        && let Some(fetched) = fetch(&call)
    {
        return Ok(fetched);
    }
    match start(Settings::default()) {
        // SAFETY: as above.
        Ok(engine) => unsafe { enqueue(engine, call, false) },
        Err(_) => {
            // No thread can be made at all.
            let [nr, args @ ..] = call.0;
            // SAFETY: as above.
            Ok(Submitted::Done(Ret::new(unsafe { arch::syscall(nr, args) })))
        }
    }
}

/// True if the file is storage that io_uring reads without a thread of the kernel's, as far as is known.
fn has_twin(descriptor: usize) -> bool {
    let kind = match Kind::guess(descriptor) {
        Kind::Unknown => look(descriptor).map_or(Kind::Unknown, |(kind, _)| kind),
        known => known,
    };
    matches!(kind, Kind::Storage | Kind::StorageReads | Kind::Cold)
}
