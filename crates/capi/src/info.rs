//! What the library tells of itself: counters, the machine, identities.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_char, c_int, c_long};
use std::time::{Duration, Instant};

use crate::abi::{ProbeResult, Stats};
use crate::errno;
use crate::known;
use crate::pointer::deadline;

/// A time that nobody waits for.
const FOR_EVER: Duration = Duration::from_secs(3600 * 24 * 365);

/// Stores `value` in a structure of a program that knows `size` bytes of it: what a newer program knows
/// more is zeroed, what an older one does not know is left out.
///
/// # Safety
///
/// If `size` bytes at `place` can be written to, they may be.
pub(crate) unsafe fn store<T: Copy>(value: &T, place: *mut T, size: usize) -> c_int {
    if size == 0 {
        return -libc::EINVAL;
    }
    if let Err(error) = known::writable(place.addr(), size) {
        return error;
    }
    let known = size.min(size_of::<T>());
    let (from, to) = (std::ptr::from_ref(value).cast::<u8>(), place.cast::<u8>());
    // SAFETY: both have that many bytes, and the library's is its own.
    unsafe { from.copy_to_nonoverlapping(to, known) };
    // SAFETY: within `size`.
    let rest = unsafe { to.add(known) };
    // SAFETY: the duty of this function.
    unsafe { rest.write_bytes(0, size - known) };
    0
}

/// Copies `text` to `place`, cut to `size` bytes with the 0 at its end.
///
/// # Safety
///
/// As [`store`].
unsafe fn store_text(text: &str, place: *mut c_char, size: usize) {
    if size == 0 || known::writable(place.addr(), size).is_err() {
        return;
    }
    let length = text.floor_char_boundary(size - 1);
    let to = place.cast::<u8>();
    // SAFETY: the duty of this function; the text is the library's.
    unsafe { text.as_ptr().copy_to_nonoverlapping(to, length) };
    // SAFETY: within `size`.
    let end = unsafe { to.add(length) };
    // SAFETY: as above.
    unsafe { end.write(0) };
}

/// `syslet_get_stats(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_get_stats(place: *mut Stats, size: usize) -> c_int {
    let stats = syslet::stats();
    let all = Stats {
        inlined: stats.total.inline,
        handed_off: stats.total.handed_off,
        in_place: stats.total.in_place,
        queued: stats.total.queued,
        false_handoffs: stats.total.false_handoffs,
        rescued: stats.rescued,
        attached: stats.attached as u64,
        crew: stats.crew as u64,
        crew_limit: stats.crew_limit as u64,
        outstanding: stats.outstanding as u64,
        parked: stats.parked as u64,
        spawn_failures: stats.spawn_failures,
        lost: crate::lost::total(),
    };
    // SAFETY: the duty of this function.
    unsafe { store(&all, place, size) }
}

/// `syslet_get_probe(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_get_probe(place: *mut ProbeResult, size: usize) -> c_int {
    let probe = match errno::kept(syslet::probe) {
        Ok(probe) => probe,
        Err(error) => return errno::of_attach(&error),
    };
    let mut all = ProbeResult {
        attachable: u32::from(probe.unsupported.is_none()),
        membarrier: u32::from(probe.membarrier),
        ring_reads: u32::from(probe.no_ring.is_none()),
        cpus: probe.cpus as u32,
        why: [0; 112],
    };
    if let Some(why) = probe.unsupported {
        // SAFETY: the array is ours.
        unsafe { store_text(&why.to_string(), all.why.as_mut_ptr(), all.why.len()) };
    }
    // SAFETY: the duty of this function.
    unsafe { store(&all, place, size) }
}

/// `syslet_hold_files_at_once(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_hold_files_at_once(on: c_int) {
    syslet::hold_files_at_once(on != 0);
}

/// `syslet_drain(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_drain(timeout: i64) -> c_long {
    let deadline = deadline(timeout).unwrap_or_else(|| Instant::now() + FOR_EVER);
    syslet::drain(deadline).map_or_else(|left| left as c_long, |()| 0)
}

/// `syslet_check_identity(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syslet_check_identity(text: *mut c_char, size: usize) -> c_int {
    match errno::kept(syslet::check_identity) {
        Ok(Ok(())) => 0,
        Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        Ok(Err(differs)) => {
            // SAFETY: the duty of this function.
            unsafe { store_text(&differs.to_string(), text, size) };
            -libc::EXDEV
        }
    }
}

/// `syslet_version(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syslet_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
