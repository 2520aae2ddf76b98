//! `io_getevents(2)` and `io_pgetevents(2)`.

#![allow(
    unsafe_code,
    reason = "reads and writes where a program says, behind a look whether it is there"
)]

use std::sync::Arc;

use syslet_dropin::clock::now;
use syslet_dropin::memory;
use syslet_dropin::signals::Masked;
use syslet_sys::uapi::{IoEvent, Timespec};

use crate::abi::error;
use crate::change::taken_late;
use crate::context::{Context, Mode, REPORT};
use crate::kernel::{self, Wish};
use crate::register;

/// `io_getevents(2)`, or `io_pgetevents(2)` with its mask, with the error number as an answer.
pub(crate) fn io_getevents(address: usize, wish: &Wish) -> isize {
    let ours = register::with(address, Arc::clone);
    // The register's hint is given back first: others may destroy the context while we wait.
    match ours {
        Some(context) => get(&context, wish),
        None => kernel::io_getevents(address, wish),
    }
}

/// The signal mask that a `struct __aio_sigset` names.
pub(crate) fn mask_at(address: usize) -> Result<Option<usize>, isize> {
    if address == 0 {
        return Ok(Some(0));
    }
    // SAFETY: the program's duties.
    let [mask, size] =
        unsafe { memory::read::<[usize; 2]>(address) }.map_err(|_| error(libc::EFAULT))?;
    if mask != 0 && size != 8 { Err(error(libc::EINVAL)) } else { Ok(Some(mask)) }
}

/// As libaio does it before it asks the kernel: nothing is there, and nobody wants to wait.
pub(crate) fn is_empty_poll(address: usize, wish: &Wish) -> bool {
    if wish.timeout == 0 {
        return false;
    }
    // SAFETY: the program's duties.
    let Ok(timeout) = (unsafe { memory::read_known::<Timespec>(wish.timeout) }) else {
        return false;
    };
    timeout == Timespec::default()
        && register::with(address, |context| match context.mode() {
            Mode::Own => context.state().filled() == 0,
            Mode::Dead => false,
            // SAFETY: the program's duties: a ring's header.
            _ => unsafe { memory::read_known::<[u32; 8]>(address) }
                .is_ok_and(|header| header[2] == header[3]),
        })
        .unwrap_or(false)
}

/// When to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Never,
    /// At once.
    Now,
    /// In nanoseconds of CLOCK_MONOTONIC.
    At(u64),
}

impl Limit {
    /// `begun`: see [`of_ring`].
    fn of(wish: &Wish, begun: Option<u64>) -> Result<Self, isize> {
        if wish.timeout == 0 {
            return Ok(Self::Never);
        }
        // SAFETY: the program's duties.
        let timeout = unsafe { memory::read_known::<Timespec>(wish.timeout) };
        match nanos(timeout.map_err(|_| error(libc::EFAULT))?) {
            0 => Ok(Self::Now),
            nanos @ 1.. => Ok(Self::At(begun.unwrap_or_else(now).saturating_add(nanos as u64))),
            _ => Ok(Self::At(u64::MAX)),
        }
    }

    /// What is left, for the kernel; `None`: nothing.
    fn left(self) -> Option<Option<Timespec>> {
        match self {
            Self::Never => Some(None),
            Self::Now => None,
            Self::At(end) => {
                let left = end.saturating_sub(now());
                (left > 0).then(|| Some(Timespec::from_nanos(left)))
            }
        }
    }
}

fn get(context: &Arc<Context>, wish: &Wish) -> isize {
    if context.mode() == Mode::Dead {
        return error(libc::EINVAL);
    }
    let mut begun = None;
    let mut got = 0;
    loop {
        if context.mode() == Mode::Kernel {
            if wish.timeout != 0 {
                begun.get_or_insert_with(now);
            }
            match of_kernel(context, wish) {
                Came::Answer(answer) => return answer,
                Came::Changed(kept) => got = kept,
            }
        }
        match of_ring(context, wish, begun, got) {
            Ok(answer) => return answer as isize,
            Err(Left::Kernel) if got == 0 => {}
            Err(Left::Kernel) => return got as isize,
            Err(Left::Error(error)) => return error,
        }
    }
}

/// A time as the kernel has it (`timespec64_to_ktime`), which does not look whether it is one: nanoseconds are added as
/// they are, both may be negative, and what is too long is as long as it can be. What is negative as a whole never
/// ends: the clock's time and that would be in the past, which the kernel takes for an overflow (`ktime_add_safe`).
fn nanos(time: Timespec) -> i64 {
    const SECOND: i64 = 1_000_000_000;
    if time.sec >= i64::MAX / SECOND {
        return i64::MAX;
    }
    time.sec.wrapping_mul(SECOND).wrapping_add(time.nsec)
}

/// What came of waiting in the kernel.
enum Came {
    /// This is the answer.
    Answer(isize),
    /// The context has become our own, or was going to, and fewer events than are wanted are in the program's memory.
    Changed(usize),
}

/// In the kernel, without the events that were made to get us out of there.
fn of_kernel(context: &Context, wish: &Wish) -> Came {
    context.traffic.enter();
    let asked = context.mode() == Mode::Kernel;
    let answer = if asked { kernel::io_getevents(context.kernel, wish) } else { 0 };
    let events = answer.max(0) as usize;
    if REPORT.is_open() {
        count_errors(context, wish.events, events);
    }
    if context.traffic.leave(events as u64) && events > 0 {
        taken_late(context, events as u32);
    }
    // If it was going to change, and could not, there are kicks among its events nevertheless.
    let is_kernels = context.mode() == Mode::Kernel && (answer == 0 || !context.kick.is_used());
    if asked && (answer < 0 || is_kernels) {
        return Came::Answer(answer);
    }
    let kept = without_kicks(context, wish.events, events);
    if kept > 0 && kept as isize >= wish.least {
        return Came::Answer(kept as isize);
    }
    Came::Changed(kept)
}

/// Counts what answers in the program's memory are errors.
#[cold]
fn count_errors(context: &Context, place: usize, events: usize) {
    for index in 0..events {
        // SAFETY: the program's duties: the kernel has just written it.
        let event = unsafe { memory::read::<IoEvent>(place + index * size_of::<IoEvent>()) };
        if let Some(event) = event.ok().filter(|event| !context.kick.is_of(event)) {
            REPORT.answered(event.res);
        }
    }
}

/// Takes our own requests' events out of the program's memory; how many are left.
fn without_kicks(context: &Context, place: usize, events: usize) -> usize {
    let at = |index: usize| place + index * size_of::<IoEvent>();
    let mut kept = 0;
    for index in 0..events {
        // SAFETY: the program's duties: the kernel has just written it.
        let Ok(event) = (unsafe { memory::read::<IoEvent>(at(index)) }) else { break };
        if !context.kick.is_of(&event) {
            // SAFETY: as above.
            let _ = unsafe { memory::write(at(kept), event) };
            kept += 1;
        }
    }
    kept
}

/// Why nothing came of waiting at our own ring.
enum Left {
    /// The context is the kernel's.
    Kernel,
    /// This is the answer.
    Error(isize),
}

/// From our own ring, where `got` events are in the program's memory already; `begun`: when the call began, if that
/// was not now. A fresh context has no ring, and nothing comes until it has.
fn of_ring(
    context: &Context,
    wish: &Wish,
    begun: Option<u64>,
    mut got: usize,
) -> Result<usize, Left> {
    let fail = |errno| Left::Error(error(errno));
    let limit = Limit::of(wish, begun).map_err(Left::Error)?;
    let mask: Option<u64> = match wish.mask {
        // SAFETY: the program's duties.
        Some(at) if at != 0 => Some(unsafe { memory::read(at) }.map_err(|_| fail(libc::EFAULT))?),
        _ => None,
    };
    if wish.least < 0 || wish.least > wish.most {
        return Err(fail(libc::EINVAL));
    }
    let mut signals = None;
    let (least, most) = (wish.least as usize, wish.most as usize);
    loop {
        got += take(context, wish.events + got * size_of::<IoEvent>(), most - got).map_err(
            |error| {
                if got > 0 { Left::Error(got as isize) } else { Left::Error(error) }
            },
        )?;
        if got >= least && (got > 0 || most == 0 || !owes(context, limit)) {
            return Ok(got);
        }
        // Handlers run here, and no lock is held.
        if let Some(mask) = mask
            && signals.get_or_insert_with(|| Masked::begin(mask)).let_in()
        {
            return if got > 0 { Ok(got) } else { Err(fail(libc::EINTR)) };
        }
        let state = context.state();
        match context.mode() {
            Mode::Dead if got > 0 => return Ok(got),
            Mode::Dead => return Err(fail(libc::EINVAL)),
            Mode::Kernel => return Err(Left::Kernel),
            Mode::Fresh | Mode::Own => {}
        }
        // What came between taking and locking.
        if state.filled() as usize >= least.saturating_sub(got).max(1) {
            continue;
        }
        let Some(left) = limit.left() else { return Ok(got) };
        let timeout = signals.as_ref().map_or(left, |signals| signals.slice(left));
        let wanted = least.saturating_sub(got).max(1);
        let (state, answer) = context.wait(state, wanted as u32, timeout.as_ref());
        drop(state);
        if answer == error(libc::EINTR) && signals.as_ref().is_none_or(Masked::has_run) {
            got += take(context, wish.events + got * size_of::<IoEvent>(), most - got).unwrap_or(0);
            return if got > 0 { Ok(got) } else { Err(fail(libc::EINTR)) };
        }
    }
}

/// The kernel's buffered transfers are over when io_submit returns. So a program that asks for no event in particular,
/// and gives a time, may count on theirs: it is waited for.
fn owes(context: &Context, limit: Limit) -> bool {
    matches!(limit, Limit::At(_)) && limit.left().is_some() && context.state().owed > 0
}

/// Takes events, at most `most`, into the program's memory at `place`.
fn take(context: &Context, place: usize, most: usize) -> Result<usize, isize> {
    let ready = (context.state().filled() as usize).min(most);
    if ready == 0 {
        return Ok(0);
    }
    // Before any is taken: none is lost.
    memory::writable_known(place, ready * size_of::<IoEvent>()).map_err(|_| error(libc::EFAULT))?;
    let mut state = context.state();
    let Some(ring) = &mut state.ring else { return Ok(0) };
    let mut taken = 0;
    while taken < ready
        && let Some(event) = ring.pop()
    {
        let place = (place as *mut IoEvent).wrapping_add(taken);
        // SAFETY: the program's duties; it was looked at.
        unsafe { place.write_unaligned(event) };
        taken += 1;
    }
    Ok(taken)
}
