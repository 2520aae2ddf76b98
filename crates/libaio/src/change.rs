//! How a context becomes our own, and what the kernel still has then.

#![allow(unsafe_code, reason = "shows the kernel a request; looks at a ring of the kernel's")]

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use syslet_dropin::launch;
use syslet_sys::uapi::{IoEvent, Iocb};

use crate::abi::{POLL, PREAD, PWRITE, RWF_NOWAIT, error, reads};
use crate::context::{Context, Mode, REPORT, State};
use crate::kernel::{self, Wish};
use crate::ring;

/// Who is in the kernel's io_getevents, and what was taken there, in one word, so that both are known of one instant:
/// threads in the lowest 16 bits, events above, and the highest bit once the context has become our own.
#[derive(Debug, Default)]
pub(crate) struct Traffic(AtomicU64);

/// What [`Traffic::close`] saw.
#[derive(Debug, Clone, Copy)]
struct Seen {
    threads: u64,
    taken: u64,
}

impl Traffic {
    const TAKEN: u32 = 16;
    const CLOSED: u64 = 1 << 63;

    /// A thread goes there. Duty: it looks at the mode after this.
    pub(crate) fn enter(&self) {
        // SeqCst: either the changer of the mode sees the thread, or the thread sees the mode.
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// It comes back with so many events. True: nobody has counted these as taken, the context was our own by then.
    pub(crate) fn leave(&self, events: u64) -> bool {
        let before = self.0.fetch_add((events << Self::TAKEN).wrapping_sub(1), Ordering::SeqCst);
        before & Self::CLOSED != 0
    }

    fn threads(&self) -> u64 {
        self.0.load(Ordering::SeqCst) & ((1 << Self::TAKEN) - 1)
    }

    /// From here on what threads bring is no more counted as taken.
    fn close(&self) -> Seen {
        let word = self.0.fetch_or(Self::CLOSED, Ordering::SeqCst);
        let threads = word & ((1 << Self::TAKEN) - 1);
        Seen { threads, taken: (word & !Self::CLOSED) >> Self::TAKEN }
    }

    /// The context is the kernel's nevertheless.
    fn reopen(&self) {
        self.0.fetch_and(!Self::CLOSED, Ordering::SeqCst);
    }
}

/// The block of the requests that wake threads out of the kernel, whose address is in their events; and whether there
/// were any.
#[derive(Debug, Default)]
pub(crate) struct Kick(UnsafeCell<Iocb>, AtomicBool);

// SAFETY: it is used under its context's gate, held for writing.
unsafe impl Sync for Kick {}

impl Kick {
    /// True if there were any: their events may come also if the context has stayed the kernel's.
    pub(crate) fn is_used(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }

    /// True for the event of a kick, which is none of the program's.
    pub(crate) fn is_of(&self, event: &IoEvent) -> bool {
        event.obj == self.0.get() as u64
    }
}

/// Makes a context our own; `first` is the request that asks for it.
#[cold]
pub(crate) fn become_own(context: &Arc<Context>, first: &Iocb) -> Result<(), isize> {
    let gate = context.change();
    let old = context.mode();
    if !matches!(old, Mode::Fresh | Mode::Kernel) {
        return Ok(());
    }
    let mut state = context.state();
    // What a program has put where it had its ring stays there.
    if ring::id_at(context.address()) != Some(state.id()) {
        return Err(error(libc::EINVAL));
    }
    context.set_mode(Mode::Own);
    if old == Mode::Kernel {
        fetch_waiters(context, first);
    }
    let left = if old == Mode::Kernel { left_in_kernel(context) } else { 0 };
    if let Err(error) = context.replace_ring(&mut state) {
        context.traffic.reopen();
        context.set_mode(old);
        context.ring_bell();
        drop(state);
        context.wake(true);
        return Err(error);
    }
    state.inflight += left;
    context.ring_bell();
    drop(state);
    drop(gate);
    context.wake(true);
    drain(context, left);
    Ok(())
}

/// Gets threads that wait in the kernel out of there, by events of requests that ask for nothing. They leave by
/// themselves once they are woken; those that cannot be woken stay until the kernel has an event.
fn fetch_waiters(context: &Context, first: &Iocb) {
    const ROUNDS: u32 = 200;
    const PAUSE: Duration = Duration::from_micros(50);
    let nothing = Iocb {
        opcode: if reads(first) { PREAD } else { PWRITE },
        rw_flags: RWF_NOWAIT,
        descriptor: first.descriptor,
        ..Iocb::default()
    };
    // For files that cannot be asked for a transfer without waiting, such as those of FUSE.
    let poll = Iocb {
        opcode: POLL,
        buf: (libc::POLLIN | libc::POLLOUT) as u64,
        descriptor: first.descriptor,
        ..Iocb::default()
    };
    for _ in 0..ROUNDS {
        if context.traffic.threads() == 0 {
            return;
        }
        if !kick(context, nothing) {
            kick(context, poll);
        }
        std::thread::sleep(PAUSE); // nobody tells that a thread has left the kernel
    }
}

/// Gives the kernel a request of ours, some times at once: a thread may wait for several events.
fn kick(context: &Context, request: Iocb) -> bool {
    const AT_ONCE: usize = 8;
    context.kick.1.store(true, Ordering::Relaxed); // they come by the kernel, after this
    let place = context.kick.0.get();
    // SAFETY: the gate is held for writing, so nobody else uses it.
    unsafe { place.write(request) };
    let pointers = [place as usize; AT_ONCE];
    let at = pointers.as_ptr() as usize;
    let answer = kernel::io_submit(context.kernel, AT_ONCE as isize, at);
    std::hint::black_box(&pointers);
    context.passed.fetch_add(answer.max(0) as u64, Ordering::Relaxed);
    answer > 0
}

/// Events that the kernel has, or will have, of requests that were passed on. Duty: the ring is still the kernel's,
/// nobody passes requests on, and no thread goes into the kernel for events any more.
///
/// They are fewer than the ring is long, so the lowest digits of what was passed on and taken say it. The ring's head
/// tells what was taken also by programs that take events from memory. But a thread that is still in the kernel may
/// move it at any time; then what threads have brought is what was taken, and who is there accounts for what it
/// brings later (`taken_late`).
fn left_in_kernel(context: &Context) -> u32 {
    let seen = context.traffic.close();
    let passed = context.passed.load(Ordering::Relaxed);
    if seen.threads > 0 {
        return passed.saturating_sub(seen.taken) as u32;
    }
    // SAFETY: the program's duties: a ring's header.
    let header = unsafe { syslet_dropin::memory::read::<[u32; 8]>(context.address()) };
    let Ok(header) = header else { return 0 };
    let (len, head) = (u64::from(header[1].max(1)), u64::from(header[2]));
    ((passed % len + len - head % len) % len) as u32
}

/// A thread has come out of the kernel's io_getevents with events that were counted as left there.
#[cold]
pub(crate) fn taken_late(context: &Context, events: u32) {
    let mut state = context.state();
    let counted = events.min(state.kernels);
    state.kernels -= counted;
    state.inflight -= counted;
    context.ring_bell();
    drop(state);
    context.wake(true);
}

/// Has a crew thread, of which there was one when the context became our own, move `left` more events of the kernel's
/// into our ring.
pub(crate) fn drain(context: &Arc<Context>, left: u32) {
    if left == 0 {
        return;
    }
    let mut state = context.state();
    state.kernels += left;
    if !std::mem::replace(&mut state.draining, true) {
        let context = Arc::clone(context);
        drop(state);
        launch::elsewhere(move || while move_events(&context) {});
    }
}

/// Waits for events and moves them. False: the kernel has none any more.
fn move_events(context: &Context) -> bool {
    /// While others may take what is waited for, in nanoseconds.
    const SLICE: [u64; 2] = [0, 10_000_000];
    let mut state = context.state();
    if state.kernels == 0 {
        state.draining = false;
        return false;
    }
    let most = state.kernels.min(32) as isize;
    drop(state);
    let mut events = [IoEvent::default(); 32];
    let shared = context.traffic.threads() > 0;
    let wish = Wish {
        least: 1,
        most,
        events: events.as_mut_ptr() as usize,
        timeout: if shared { SLICE.as_ptr() as usize } else { 0 },
        mask: None,
    };
    let came = kernel::io_getevents(context.kernel, &wish);
    if came < 0 && came != error(libc::EINTR) {
        forget(context); // the kernel's context is gone
    } else {
        events[..came.max(0) as usize].iter().for_each(|event| move_event(context, event));
    }
    true
}

fn forget(context: &Context) {
    let mut state = context.state();
    state.inflight -= std::mem::take(&mut state.kernels);
    context.ring_bell();
    drop(state);
    context.wake(true);
}

fn move_event(context: &Context, event: &IoEvent) {
    let mut state = context.state();
    let counted = state.kernels.min(1);
    state.kernels -= counted;
    state.inflight -= counted;
    if !context.kick.is_of(event) && context.mode() == Mode::Own {
        REPORT.answered(event.res);
        push(&mut state, *event);
    }
    state.telling += 1;
    context.ring_bell();
    drop(state);
    // The kernel has told the request's eventfd before the event was here.
    let eventfd = context.passed_eventfd.load(Ordering::Relaxed).checked_sub(1);
    context.tell(eventfd.map(|eventfd| eventfd as i32));
    context.wake(true);
}

fn push(state: &mut State, event: IoEvent) {
    if let Some(ring) = &mut state.ring {
        ring.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_taken_or_left_but_not_both() {
        let traffic = Traffic::default();
        traffic.enter();
        traffic.enter();
        assert!(!traffic.leave(3), "counted as taken");
        let seen = traffic.close();
        assert_eq!((seen.threads, seen.taken), (1, 3));
        assert!(traffic.leave(2), "counted as left");
        assert_eq!(traffic.threads(), 0);
    }
}
