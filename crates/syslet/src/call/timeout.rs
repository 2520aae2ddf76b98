//! The time limit of a call: where it is, which the catalogue knows, and what it says.

#![allow(unsafe_code, reason = "reads and writes the time limits of calls, in their memory")]

use syslet_catalog::Timeout;
use syslet_sys::call::is_writable;
use syslet_sys::memory::is_readable;
use syslet_sys::uapi::{FUTEX_COMMAND, FUTEX_WAIT, TIMER_ABSTIME, Timespec, Timeval, nr};

use super::number::Call;

/// A time limit that counts from the beginning of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// There is none, or it is a point on a clock.
    Never,
    /// So many nanoseconds.
    After(u64),
    /// The kernel is to find the fault in it.
    Unsound,
}

/// Where the limit of `call` is.
pub(super) fn timeout(call: &Call) -> Timeout {
    syslet_catalog::lookup(call.nr() as u32).map_or(Timeout::None, |entry| entry.timeout)
}

/// The limit of `call`, if it counts from its beginning.
///
/// # Safety
///
/// The time argument of `call`, if it has one, is the call's to read. (What is not mapped is left to the kernel.)
pub(super) unsafe fn limit(call: &Call) -> Limit {
    let word = |at: u8| call.args()[usize::from(at)];
    match timeout(call) {
        Timeout::None | Timeout::AbsTimespec { .. } => Limit::Never,
        Timeout::RelMillis { arg } => match u64::try_from(word(arg) as i32) {
            Ok(millis) => Limit::After(millis * 1_000_000),
            Err(_) => Limit::Never,
        },
        Timeout::ByFlags { .. } if call.args()[1] & TIMER_ABSTIME != 0 => Limit::Never,
        // FUTEX_WAIT only has a relative one: futex(2).
        Timeout::ByOp { .. } if call.args()[1] & FUTEX_COMMAND != FUTEX_WAIT => Limit::Never,
        Timeout::RelTimeval { arg, .. }
        | Timeout::RelTimespec { arg, .. }
        | Timeout::ByFlags { arg }
        | Timeout::ByOp { arg }
            if word(arg) == 0 =>
        {
            Limit::Never
        }
        // SAFETY: the duty of this function.
        Timeout::RelTimeval { arg, .. } => sound(unsafe { timeval(word(arg)) }),
        Timeout::RelTimespec { arg, .. } | Timeout::ByFlags { arg } | Timeout::ByOp { arg } => {
            // SAFETY: as above.
            sound(unsafe { timespec(word(arg)) })
        }
    }
}

fn sound(nanos: Option<u64>) -> Limit {
    nanos.map_or(Limit::Unsound, Limit::After)
}

/// The time at which, or for which, `call` sleeps, in nanoseconds; none if the kernel is to find the fault
/// in it.
///
/// # Safety
///
/// As [`limit`].
pub(super) unsafe fn time_of_sleep(call: &Call) -> Option<u64> {
    let at = timeout(call).arg()?;
    // SAFETY: the duty of this function.
    unsafe { timespec(call.args()[usize::from(at)]) }
}

/// # Safety
///
/// What stands at `address`, if anything, is a `struct timespec` that nobody writes meanwhile.
unsafe fn timespec(address: usize) -> Option<u64> {
    let time = address as *const Timespec;
    if !time.is_aligned() || !is_readable(address, size_of::<Timespec>()) {
        return None;
    }
    // SAFETY: it was looked at, and the duty of this function.
    let time = unsafe { time.read() };
    let sound = time.sec >= 0 && (0..1_000_000_000).contains(&time.nsec);
    sound.then(|| time.as_nanos())
}

/// # Safety
///
/// What stands at `address`, if anything, is a `struct timeval` that nobody writes meanwhile.
unsafe fn timeval(address: usize) -> Option<u64> {
    if !is_readable(address, size_of::<Timeval>()) {
        return None;
    }
    // SAFETY: it was looked at, and the duty of this function.
    let time = unsafe { (address as *const Timeval).read_unaligned() };
    let (sec, usec) = (u64::try_from(time.sec).ok()?, u64::try_from(time.usec).ok()?);
    Some(sec.saturating_mul(1_000_000_000).saturating_add(usec.saturating_mul(1000)))
}

/// True if the kernel writes what is left of the limit of `call` over it.
pub(super) fn is_updated(call: &Call) -> bool {
    matches!(
        timeout(call),
        Timeout::RelTimespec { updated: true, .. } | Timeout::RelTimeval { updated: true, .. }
    )
}

/// Has `call`, which is made again, wait for what is left of its limit only.
pub(super) fn shorten(call: &mut Call, left: &Timespec) {
    let (at, value) = match timeout(call) {
        // Rounded up: not earlier than asked for.
        Timeout::RelMillis { arg } => (arg, left.as_nanos().div_ceil(1_000_000) as usize),
        // `select`: the same call with a limit of another type, and no mask.
        Timeout::RelTimeval { arg, updated: true } => {
            (call.0[0], call.0[6]) = (nr::PSELECT6, 0);
            (arg, std::ptr::from_ref(left) as usize)
        }
        // A point on a clock stays where it is.
        Timeout::ByFlags { .. } if call.args()[1] & TIMER_ABSTIME != 0 => return,
        Timeout::RelTimespec { arg, .. } | Timeout::ByFlags { arg } | Timeout::ByOp { arg } => {
            (arg, std::ptr::from_ref(left) as usize)
        }
        _ => return,
    };
    call.0[usize::from(at) + 1] = value;
}

/// Writes what is left of the limit, in nanoseconds, where the kernel would.
///
/// # Safety
///
/// The call may be made.
pub(crate) unsafe fn store_time_left(call: &Call, nanos: u64) {
    let word = |at: u8| call.args()[usize::from(at)];
    let left = Timespec::from_nanos(nanos);
    let at = timeout(call).arg().map_or(0, word);
    // SAFETY: the duty of this function: the time is the call's to write.
    if !is_updated(call) || at == 0 || !unsafe { is_writable(at) } {
        return; // none, or a constant of the program's, which the kernel would leave as it is
    }
    match timeout(call) {
        Timeout::RelTimeval { .. } => {
            let left = Timeval { sec: left.sec, usec: left.nsec / 1000 };
            // SAFETY: the duty of this function: the time is the call's to write.
            unsafe { (at as *mut Timeval).write_unaligned(left) };
        }
        Timeout::RelTimespec { .. } => {
            // SAFETY: as above.
            unsafe { (at as *mut Timespec).write_unaligned(left) };
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of<const N: usize>(nr: usize, args: [usize; N]) -> Limit {
        // SAFETY: the tests' times live.
        unsafe { limit(&Call::new(nr, args)) }
    }

    #[test]
    fn limits_are_found_where_each_call_has_them() {
        let time = Timespec { sec: 2, nsec: 5 };
        let value = Timeval { sec: 2, usec: 5 };
        let (spec, val) = (&raw const time as usize, &raw const value as usize);
        let two = Limit::After(2_000_000_005);
        assert_eq!(limit_of(nr::POLL, [0, 0, 7]), Limit::After(7_000_000));
        assert_eq!(limit_of(nr::POLL, [0, 0, u32::MAX as usize]), Limit::Never);
        assert_eq!(limit_of(nr::EPOLL_WAIT, [3, 0, 1, 0]), Limit::After(0));
        assert_eq!(limit_of(nr::EPOLL_PWAIT2, [3, 0, 1, spec]), two);
        assert_eq!(limit_of(nr::PPOLL, [0, 0, spec]), two);
        assert_eq!(limit_of(nr::PPOLL, [0, 0, 0]), Limit::Never);
        assert_eq!(limit_of(nr::PSELECT6, [0, 0, 0, 0, spec]), two);
        assert_eq!(limit_of(nr::SELECT, [0, 0, 0, 0, val]), Limit::After(2_000_005_000));
        assert_eq!(limit_of(nr::CLOCK_NANOSLEEP, [1, TIMER_ABSTIME, spec]), Limit::Never);
        assert_eq!(limit_of(nr::FUTEX, [0, FUTEX_WAIT | 128, 0, spec]), two);
        assert_eq!(limit_of(nr::FUTEX, [0, 1, 0, spec]), Limit::Never);
        assert_eq!(limit_of(nr::READ, [0, spec, spec]), Limit::Never);
    }

    #[test]
    fn faults_are_left_to_the_kernel() {
        let late = Timespec { sec: 0, nsec: 1_000_000_000 };
        let negative = Timeval { sec: -1, usec: 0 };
        let late = &raw const late as usize;
        assert_eq!(limit_of(nr::PPOLL, [0, 0, late]), Limit::Unsound);
        assert_eq!(limit_of(nr::PPOLL, [0, 0, late + 1]), Limit::Unsound);
        let select = [0, 0, 0, 0, &raw const negative as usize];
        assert_eq!(limit_of(nr::SELECT, select), Limit::Unsound);
    }
}
