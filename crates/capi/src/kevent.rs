//! kevent, take 30: the event queue of 2006, over [`syslet_kevent`].
//!
//! Here stands what is C's: handles, the words of `struct ukevent`, and which entries are handed back. A handle is a
//! number above all descriptors, with a generation, so that one that was closed names nothing. (It comes again when
//! 2^30 others have been closed; when fewer if many stay open, at least 2^14.)

#![allow(unsafe_code, reason = "functions that C programs call")]

mod ctl;
mod sent;
mod timers;

use std::collections::VecDeque;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use syslet_kevent::{Event, MOST_PLACES, Queue};
use syslet_sys::memory::PAGE;

use crate::abi::historic::KEVENT_FLAGS_ABSTIME;
use crate::known::{self, Known};
use crate::late::lock;
use crate::life::PerLife;
use crate::queue::Programs;

const SIZE: usize = size_of::<Event>();
/// Above all descriptors. Then: 14 bits of generation, 16 of place.
const HANDLE: u32 = 1 << 30;
const PLACES: usize = 1 << 16;
const GENERATIONS: u32 = 1 << 14;

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    queue: Option<Arc<Queue>>,
}

#[derive(Debug, Default)]
struct Places {
    all: Vec<Place>,
    /// Those that had a queue, the one that was closed first in front.
    free: VecDeque<usize>,
}

static QUEUES: PerLife<Mutex<Places>> = PerLife::new();

type Answer<T = c_int> = Result<T, c_int>;

fn answer(answer: Answer) -> c_int {
    answer.unwrap_or_else(|error| error)
}

fn errno(error: &std::io::Error) -> c_int {
    let is_wrong = error.kind() == std::io::ErrorKind::InvalidInput;
    -error.raw_os_error().unwrap_or(if is_wrong { libc::EINVAL } else { libc::EAGAIN })
}

fn split(handle: c_int) -> Answer<(usize, u32)> {
    let bits = handle as u32;
    if bits & HANDLE == 0 || handle < 0 {
        return Err(-libc::EBADF);
    }
    Ok((bits as usize % PLACES, (bits >> 16) % GENERATIONS))
}

fn queue(handle: c_int) -> Answer<Arc<Queue>> {
    let (at, generation) = split(handle)?;
    let queues = lock(QUEUES.get());
    let place = queues.all.get(at).filter(|place| place.generation == generation);
    place.and_then(|place| place.queue.clone()).ok_or(-libc::EBADF)
}

fn keep(queue: Queue) -> Answer {
    let mut queues = lock(QUEUES.get());
    // The place that was closed longest ago: a handle comes again as late as can be.
    let at = if queues.all.len() < PLACES {
        queues.all.push(Place::default());
        queues.all.len() - 1
    } else {
        queues.free.pop_front().ok_or(-libc::EMFILE)?
    };
    let place = &mut queues.all[at];
    place.queue = Some(Arc::new(queue));
    Ok((HANDLE | place.generation << 16 | at as u32) as c_int)
}

/// `kevent_init(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_init(
    ring: *mut c_void,
    size: c_uint,
    flags: c_uint,
) -> c_int {
    // SAFETY: the duty of this function.
    answer(unsafe { init(ring, size, flags) })
}

/// # Safety
///
/// The header's duties.
unsafe fn init(ring: *mut c_void, size: c_uint, flags: c_uint) -> Answer {
    // The size first: whether so much is mapped does not matter then.
    if flags != 0 || ring.is_null() != (size == 0) || size == 1 || size > MOST_PLACES {
        return Err(-libc::EINVAL);
    }
    let made = match NonNull::new(ring) {
        None => Queue::new(),
        Some(at) => {
            known::place(ring.addr(), 8 + SIZE * size as usize, 8)?;
            // SAFETY: the duty of this function, and it was found writable.
            unsafe { Queue::with_ring(at.cast(), size) }
        }
    };
    keep(made.map_err(|error| errno(&error))?)
}

/// `kevent_close(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kevent_close(handle: c_int) -> c_int {
    let Ok((at, generation)) = split(handle) else { return -libc::EBADF };
    let queue = {
        let mut queues = lock(QUEUES.get());
        let place = queues.all.get_mut(at).filter(|place| place.generation == generation);
        let Some(place) = place else { return -libc::EBADF };
        let queue = place.queue.take();
        if queue.is_some() {
            place.generation = (place.generation + 1) % GENERATIONS;
            queues.free.push_back(at);
        }
        queue
    };
    match queue {
        None => -libc::EBADF,
        Some(queue) => {
            queue.close();
            0
        }
    }
}

/// Reads entry `at`.
///
/// # Safety
///
/// It can be read, and the header's duties.
unsafe fn entry(args: usize, at: usize) -> Event {
    // SAFETY: the duty of this function; all patterns of bits are an event.
    unsafe { known::fetch(args + at * SIZE) }
}

/// Writes entry `at`.
///
/// # Safety
///
/// It can be written to, and the header's duties.
unsafe fn put(args: usize, at: usize, event: Event) {
    // SAFETY: the duty of this function.
    unsafe { known::store(args + at * SIZE, event) };
}

/// The end of a wait.
fn deadline(time: libc::timespec, flags: c_uint) -> Answer<Option<Instant>> {
    if flags & !KEVENT_FLAGS_ABSTIME != 0 || !(0..1_000_000_000).contains(&time.tv_nsec) {
        return Err(-libc::EINVAL);
    }
    let seconds = u64::try_from(time.tv_sec).map_err(|_| -libc::EINVAL)?;
    let mut time = Duration::new(seconds, time.tv_nsec as u32);
    if flags & KEVENT_FLAGS_ABSTIME != 0 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        time = time.saturating_sub(now);
    }
    Ok(Instant::now().checked_add(time)) // too long: without limit
}

/// `kevent_get_events(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_get_events(
    handle: c_int,
    min: c_uint,
    max: c_uint,
    time: libc::timespec,
    events: *mut c_void,
    flags: c_uint,
) -> c_int {
    // SAFETY: the duty of this function.
    answer(unsafe { get_events(handle, min as usize, max as usize, time, events.addr(), flags) })
}

/// # Safety
///
/// The header's duties.
unsafe fn get_events(
    handle: c_int,
    min: usize,
    max: usize,
    time: libc::timespec,
    events: usize,
    flags: c_uint,
) -> Answer {
    let queue = queue(handle)?;
    let deadline = deadline(time, flags)?;
    if min > max || max == 0 || max > c_int::MAX as usize / SIZE {
        return Err(-libc::EINVAL);
    }
    // Before anything is taken. Pages that are known cost no system call.
    Known::here(|known| {
        known.writable(events, 1)?;
        let end = events.checked_add(max * SIZE - 1).ok_or(-libc::EFAULT)?;
        (events / PAGE + 1..=end / PAGE).try_for_each(|page| known.writable(page * PAGE, 1))
    })?;
    let mut count = 0;
    let each = |event| {
        // SAFETY: at most `max`, which were looked at; and the duty of this function.
        unsafe { put(events, count, event) };
        count += 1;
    };
    let fetched = queue.fetch_each(min, max, deadline, each).map_err(|error| errno(&error))?;
    if fetched == 0 && queue.is_dead() { Err(-libc::EBADF) } else { Ok(fetched as c_int) }
}

/// `kevent_hand_on(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_hand_on(
    handle: c_int,
    count: c_uint,
    events: *const c_void,
) -> c_int {
    let hand_on = || {
        let (queue, count) = (queue(handle)?, count as usize);
        if count > c_int::MAX as usize / SIZE {
            return Err(-libc::EINVAL);
        }
        if count > 0 {
            known::readable(events.addr(), count * SIZE)?;
            let event = |at| {
                // SAFETY: it was looked at, and the duty of this function.
                unsafe { entry(events.addr(), at) }
            };
            let events: Vec<Event> = (0..count).map(event).collect();
            queue.hand_on(&events);
        }
        if queue.is_dead() { Err(-libc::EBADF) } else { Ok(0) }
    };
    answer(hand_on())
}

/// `kevent_wait(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kevent_wait(
    handle: c_int,
    num: c_uint,
    old_uidx: c_uint,
    time: libc::timespec,
    flags: c_uint,
) -> c_int {
    let wait = || {
        let queue = queue(handle)?;
        let deadline = deadline(time, flags)?;
        let count = queue.wait(num, old_uidx, deadline).map_err(|error| errno(&error))?;
        if count == 0 && queue.is_dead() { Err(-libc::EBADF) } else { Ok(count as c_int) }
    };
    answer(wait())
}

/// `kevent_commit(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kevent_commit(handle: c_int, new_uidx: c_uint, over: c_uint) -> c_int {
    let commit = || {
        let freed = queue(handle)?.commit(new_uidx, over);
        freed.map(|freed| freed as c_int).map_err(|error| errno(&error))
    };
    answer(commit())
}

/// `kevent_eventfd(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kevent_eventfd(handle: c_int, eventfd: c_int) -> c_int {
    let attach = || {
        let queue = queue(handle)?;
        if eventfd < 0 {
            queue.detach_eventfd();
            return Ok(0);
        }
        queue.attach_eventfd(Programs(eventfd)).map_err(|error| errno(&error))?;
        Ok(0)
    };
    answer(attach())
}
