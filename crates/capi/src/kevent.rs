//! kevent, take 30: the event queue of 2006, over [`syslet_kevent`].
//!
//! Here stands what is C's: handles, the words of `struct ukevent`, and which entries are handed back. A handle is a number above
//! all descriptors, with a generation, so that one that was closed names nothing.

#![allow(unsafe_code, reason = "functions that C programs call")]

use std::ffi::{c_int, c_uint, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use syslet_kevent::{Clock, Event, Flags, Happened, Key, Kind, Queue, Source};
use syslet_sys::memory::PAGE;

use crate::abi;
use crate::known::{self, Known};
use crate::late::lock;
use crate::life::PerLife;
use crate::queue::Programs;

/// `KEVENT_CTL_...`.
const ADD: c_uint = 0;
const REMOVE: c_uint = 1;
const MODIFY: c_uint = 2;
const READY: c_uint = 3;
/// `KEVENT_FLAGS_ABSTIME`.
const ABSTIME: c_uint = 1;
/// `KEVENT_RET_...`.
const BROKEN: u32 = 1;
const DONE: u32 = 2;
/// All of `KEVENT_REQ_...`.
const REQ_ALL: u32 = 0x3f;
/// `KEVENT_SIGNAL_NOMASK`.
const NOMASK: u64 = 1 << 63;
/// `KEVENT_TIMER_ABSTIME` and `KEVENT_TIMER_REALTIME`.
const AT: u32 = 0x2;
const OF_DAY: u32 = 0x4;
/// `SIGEV_KEVENT`.
const SIGEV_KEVENT: c_int = 8;
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

static QUEUES: PerLife<Mutex<Vec<Place>>> = PerLife::new();

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
    let place = queues.get(at).filter(|place| place.generation == generation);
    place.and_then(|place| place.queue.clone()).ok_or(-libc::EBADF)
}

fn keep(queue: Queue) -> Answer {
    let mut queues = lock(QUEUES.get());
    let at = queues.iter().position(|place| place.queue.is_none()).unwrap_or(queues.len());
    if at >= PLACES {
        return Err(-libc::EMFILE);
    }
    if at == queues.len() {
        queues.push(Place::default());
    }
    let place = &mut queues[at];
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
    if flags != 0 || ring.is_null() != (size == 0) || size == 1 {
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
        let place = queues.get_mut(at).filter(|place| place.generation == generation);
        let Some(place) = place else { return -libc::EBADF };
        let queue = place.queue.take();
        if queue.is_some() {
            place.generation = (place.generation + 1) % GENERATIONS;
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
    let source = source.with(Flags::from_bits(event.flags)).user_data(event.user);
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

/// The end of a wait.
fn deadline(time: libc::timespec, flags: c_uint) -> Answer<Option<Instant>> {
    if flags & !ABSTIME != 0 || !(0..1_000_000_000).contains(&time.tv_nsec) {
        return Err(-libc::EINVAL);
    }
    let seconds = u64::try_from(time.tv_sec).map_err(|_| -libc::EINVAL)?;
    let mut time = Duration::new(seconds, time.tv_nsec as u32);
    if flags & ABSTIME != 0 {
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

/// `kevent_submit(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_submit(
    handle: c_int,
    call: *const abi::SysCall,
    id: u64,
    user: *mut c_void,
) -> c_int {
    let submit = || {
        let queue = queue(handle)?;
        // SAFETY: the duty of this function.
        let call: abi::SysCall = unsafe { known::read(call.addr()) }?;
        let call = syslet::Call::new(call.nr, call.args);
        // SAFETY: as above: the header's duties are those of `submit`.
        match unsafe { queue.submit(id, user.addr() as u64, call) } {
            Ok(()) => Ok(0),
            Err(error) => Err(error.raw_os_error().map_or(-libc::EPERM, |error| -error)),
        }
    };
    answer(submit())
}

/// What `struct sigevent` says of a timer, as the headers lay it out.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct SigEvent {
    value: u64,
    signal: c_int,
    notify: c_int,
    handle: c_int,
}

/// `kevent_timer_create(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_timer_create(
    clock: libc::clockid_t,
    event: *const c_void,
    timer: *mut u64,
) -> c_int {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let create = || {
        // SAFETY: the duty of this function.
        let event: SigEvent = unsafe { known::read(event.addr()) }?;
        let of_day = match clock {
            libc::CLOCK_MONOTONIC => false,
            libc::CLOCK_REALTIME => true,
            _ => return Err(-libc::EINVAL),
        };
        if event.notify != SIGEV_KEVENT {
            return Err(-libc::EINVAL);
        }
        let queue = queue(event.handle)?;
        let number = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let id = number << 1 | u64::from(of_day);
        // SAFETY: as above.
        unsafe { known::write(timer.addr(), id) }?;
        // Disarmed: a source that only the program could make ready.
        let disarmed = Source::user(id).named(posix(id), Happened::FIRED).user_data(event.value);
        queue.add(disarmed).map_err(|error| errno(&error))?;
        Ok(0)
    };
    answer(create())
}

fn posix(id: u64) -> Key {
    Key { kind: Kind::PosixTimer, id }
}

/// `kevent_timer_settime(3)`.
///
/// # Safety
///
/// The header's duties.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn kevent_timer_settime(
    handle: c_int,
    id: u64,
    flags: c_int,
    new: *const c_void,
) -> c_int {
    let set = || {
        let queue = queue(handle)?;
        // SAFETY: the duty of this function.
        let [period, first]: [[i64; 2]; 2] = unsafe { known::read(new.addr()) }?;
        let nanos = |[seconds, nanos]: [i64; 2]| {
            let right = seconds >= 0 && (0..1_000_000_000).contains(&nanos);
            right.then(|| {
                (seconds as u64).saturating_mul(1_000_000_000).saturating_add(nanos as u64)
            })
        };
        let (Some(period), Some(first), true) =
            (nanos(period), nanos(first), flags & !libc::TIMER_ABSTIME == 0)
        else {
            return Err(-libc::EINVAL);
        };
        let user = queue.user_data_of(posix(id)).ok_or(-libc::EINVAL)?;
        let clock = if id & 1 == 0 { Clock::Monotonic } else { Clock::Realtime };
        let source = if first == 0 {
            Source::user(id) // disarmed
        } else {
            let base = if flags & libc::TIMER_ABSTIME == 0 { clock.now() } else { 0 };
            Source::timer_that_stays(id, clock, base.saturating_add(first), period)
        };
        let source = source.named(posix(id), Happened::FIRED).user_data(user);
        queue.modify(source).map_err(|error| errno(&error))?;
        Ok(0)
    };
    answer(set())
}

/// `kevent_timer_delete(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kevent_timer_delete(handle: c_int, id: u64) -> c_int {
    let delete = || queue(handle)?.remove(posix(id)).map(|()| 0).map_err(|_| -libc::EINVAL);
    answer(delete())
}
