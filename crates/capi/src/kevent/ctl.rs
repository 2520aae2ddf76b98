//! `kevent_ctl`: what entries ask for, and which of them are handed back.

#![allow(unsafe_code, reason = "a function that C programs call")]

use std::ffi::{c_int, c_uint, c_void};

use syslet_kevent::{Clock, Event, Flags, Key, Kind, Queue, Source};

use super::{Answer, SIZE, answer, entry, errno, put, queue};
use crate::abi::historic::{
    KEVENT_CTL_ADD as ADD, KEVENT_CTL_MODIFY as MODIFY, KEVENT_CTL_READY as READY,
    KEVENT_CTL_REMOVE as REMOVE, KEVENT_RET_BROKEN as BROKEN, KEVENT_RET_DONE as DONE,
    KEVENT_SIGNAL_NOMASK as NOMASK, KEVENT_TIMER_ABSTIME as AT, KEVENT_TIMER_REALTIME as OF_DAY,
};
use crate::known;

/// All of `KEVENT_REQ_...`.
const REQ_ALL: u32 = 0x3f;

/// `kevent_ctl(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_ctl(
    handle: c_int,
    command: c_uint,
    count: c_uint,
    args: *mut c_void,
) -> c_int {
    // SAFETY: the duty of this function.
    answer(unsafe { control(handle, command, count as usize, args.addr()) })
}

/// # Safety
///
/// The header's duties.
unsafe fn control(handle: c_int, command: c_uint, count: usize, args: usize) -> Answer {
    let queue = queue(handle)?;
    if command > READY || count > c_int::MAX as usize / SIZE {
        return Err(-libc::EINVAL);
    }
    if matches!(command, REMOVE | MODIFY) && count > queue.sources() {
        return Err(-libc::EINVAL);
    }
    if count == 0 {
        if command == READY {
            queue.ready(&[]);
        }
        return Ok(0);
    }
    known::writable(args, count * SIZE)?;
    // SAFETY: it was looked at, and the duty of this function.
    let entries: Vec<Event> = (0..count).map(|at| unsafe { entry(args, at) }).collect();
    let (handed_back, answered) = match command {
        ADD => add(&queue, entries),
        READY => ready(&queue, entries),
        command => (change(&queue, entries, command == REMOVE), 0),
    };
    for (at, event) in handed_back.iter().enumerate() {
        // SAFETY: there are at most as many as there were.
        unsafe { put(args, at, *event) };
    }
    Ok(match command {
        ADD => handed_back.len() as c_int,
        READY => answered,
        _ => 0,
    })
}

/// The entry with why it is no source.
fn broken(mut event: Event, error: c_int) -> Event {
    event.state = BROKEN | DONE;
    event.data = [0, error as u32];
    event
}

/// What an entry asks for.
fn source(event: &Event) -> Answer<Source> {
    let kind = Kind::of(event.kind).ok_or(-libc::ENOSYS)?;
    if event.flags & !REQ_ALL != 0 {
        return Err(-libc::EINVAL);
    }
    let number = event.id as u32 as c_int;
    let source = match kind {
        Kind::Socket => Source::socket(number, event.asked),
        Kind::Pipe => Source::pipe(number, event.asked),
        Kind::Poll => Source::poll(number, event.asked as u16),
        Kind::Inode => Source::inode(number, event.asked),
        Kind::Timer => timer(event)?,
        Kind::Signal => {
            let signal = u32::try_from(event.id & !NOMASK).map_err(|_| -libc::EINVAL)?;
            if event.id & NOMASK == 0 {
                Source::signal(signal)
            } else {
                Source::signal_only(signal)
            }
        }
        Kind::User => Source::user(event.id),
        Kind::Child => Source::child(number),
        // Not for programs to add.
        _ => return Err(-libc::ENOSYS),
    };
    let key = Key { kind, id: event.id };
    let source = source.with(Flags::from_bits(event.flags)).user_data(event.user_data);
    Ok(source.named(key, event.asked))
}

/// Seconds and nanoseconds in the id: how long, or when.
fn timer(event: &Event) -> Answer<Source> {
    let (seconds, nanos) = (event.id as u32, (event.id >> 32) as u32);
    if nanos >= 1_000_000_000 {
        return Err(-libc::EINVAL);
    }
    let time = u64::from(seconds) * 1_000_000_000 + u64::from(nanos);
    let clock = if event.asked & OF_DAY == 0 { Clock::Monotonic } else { Clock::Realtime };
    let once = event.flags & Flags::ONESHOT.bits() != 0;
    let at = event.asked & AT != 0;
    if !once && !at && time == 0 {
        return Err(-libc::EINVAL); // for ever, at once
    }
    let first = if at { time } else { clock.now().saturating_add(time) };
    Ok(Source::timer(event.id, clock, first, if once || at { 0 } else { time }))
}

/// Those that are ready at once, or none.
fn add(queue: &Queue, entries: Vec<Event>) -> (Vec<Event>, c_int) {
    let sources: Vec<_> = entries.iter().map(source).collect();
    let good: Vec<Source> =
        sources.iter().filter_map(|source| source.as_ref().ok().copied()).collect();
    let mut added = queue.add_all(&good).into_iter();
    let mut handed_back = Vec::new();
    for (event, source) in entries.into_iter().zip(sources) {
        let added = match source {
            Ok(_) => added.next().unwrap_or(Ok(None)).map_err(|error| errno(&error)),
            Err(error) => Err(error),
        };
        match added {
            Ok(None) => {}
            Ok(Some(ready)) => handed_back.push(Event { flags: event.flags, ..ready }),
            Err(error) => handed_back.push(broken(event, error)),
        }
    }
    (handed_back, 0)
}

/// Each with what became of it.
fn change(queue: &Queue, entries: Vec<Event>, remove: bool) -> Vec<Event> {
    let change = |event: Event| {
        let changed = match (Kind::of(event.kind), remove) {
            (None, _) => Err(-libc::ENOSYS),
            (Some(kind), true) => {
                queue.remove(Key { kind, id: event.id }).map_err(|error| errno(&error))
            }
            (Some(_), false) => source(&event)
                .and_then(|source| queue.modify(source).map_err(|error| errno(&error))),
        };
        match changed {
            Ok(()) => Event { state: DONE, ..event },
            Err(error) => broken(event, error),
        }
    };
    entries.into_iter().map(change).collect()
}

/// Those that there are not, and how many there are.
fn ready(queue: &Queue, entries: Vec<Event>) -> (Vec<Event>, c_int) {
    let count = entries.len();
    let is_missing = |event: &Event| match Kind::of(event.kind) {
        Some(kind) => !queue.make_ready(Key { kind, id: event.id }),
        None => true,
    };
    let missing: Vec<Event> =
        entries.into_iter().filter(is_missing).map(|event| broken(event, -libc::ENOENT)).collect();
    let found = count - missing.len();
    (missing, found as c_int)
}
