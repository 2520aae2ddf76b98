//! A context, from io_setup to io_destroy.
//!
//! | mode | the ring is | requests go | until |
//! |---|---|---|---|
//! | `FRESH` | the kernel's | nowhere yet | the first request says which of the next two it is |
//! | `KERNEL` | the kernel's | to the kernel, as they are | a request comes that the kernel would not do
//! asynchronously |
//! | `OWN` | ours, at the same address | to the engine | io_destroy |
//! | `DEAD` | gone | nowhere | |
//!
//! `gate` is held for reading while requests are passed to the kernel, and for writing by who changes the mode.
//! README.md has the argument for what happens to requests that the kernel has when a context becomes our own.

#![allow(unsafe_code, reason = "puts a ring in place of the kernel's; tells eventfds")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use syslet_dropin::call::lock;
use syslet_dropin::life;
use syslet_dropin::report::{Begun, Kind, Library, Report, Way};
use syslet_sys::futex;
use syslet_sys::uapi::{IoEvent, Iocb, Timespec};

use crate::abi::{self, error};
use crate::away::Away;
use crate::change::{Kick, Traffic};
use crate::ring::Ring;

pub(crate) static REPORT: Report = Report::new(Library::Libaio);

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Fresh,
    Kernel,
    Own,
    Dead,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where the program has the ring; 0 from io_destroy on: the address may then be another's.
    address: AtomicUsize,
    /// What the kernel's context is called.
    pub(crate) kernel: usize,
    life: u32,
    mode: AtomicU8,
    gate: RwLock<()>,
    /// Protects itself only: nothing of the engine's or the program's is called under it.
    state: Mutex<State>,
    /// Changes when somebody who waits should look; a futex.
    bell: AtomicU32,
    /// Threads in `io_getevents` of the kernel.
    pub(crate) traffic: Traffic,
    pub(crate) kick: Kick,
    /// Requests that the kernel has accepted so far.
    pub(crate) passed: AtomicU64,
    /// The eventfd of the last of them that had one, and one more; 0: none.
    pub(crate) passed_eventfd: AtomicU32,
    pages: usize,
    /// The kernel has a context at the address.
    pub(crate) backed: bool,
    /// What io_setup was asked for.
    pub(crate) events: u32,
}

/// What is under the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ring: Option<Ring>,
    /// The identity of the ring.
    id: u32,
    /// Requests that are not over.
    pub(crate) inflight: u32,
    /// Of these, transfers that the kernel would have done before io_submit returned.
    pub(crate) owed: u32,
    /// Requests and events that there may be at a time.
    capacity: u32,
    /// Threads that wait for the bell, and the least number of events that one of them waits for.
    waiters: u32,
    least: u32,
    /// Of those in flight, requests that the kernel has: their events are brought over.
    pub(crate) kernels: u32,
    /// A thread brings them.
    pub(crate) draining: bool,
    /// Requests that are over, but whose eventfd is still to be told.
    pub(crate) telling: u32,
    /// Requests that the engine has, by the address of the program's block and their numbers: a block may be submitted
    /// again while its first request waits.
    pub(crate) away: BTreeMap<(u64, u64), Arc<Away>>,
    /// Numbers requests.
    last: u64,
}

/// A request of ours: what its event needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Op {
    pub(crate) data: u64,
    /// The address of the program's block.
    pub(crate) obj: u64,
    pub(crate) eventfd: Option<i32>,
    pub(crate) begun: Begun,
    pub(crate) kind: Kind,
    /// See [`State::owed`].
    pub(crate) owed: bool,
    pub(crate) number: u64,
}

impl Op {
    pub(crate) fn new(iocb: &Iocb, obj: u64, owed: bool, number: u64) -> Self {
        let (eventfd, kind) = (abi::eventfd(iocb), abi::kind_of(iocb.opcode));
        Self { data: iocb.data, obj, eventfd, begun: REPORT.begin(), kind, owed, number }
    }
}

impl Context {
    /// Of the kernel's context at `address`.
    pub(crate) fn backed(address: usize, pages: usize, id: u32, events: u32) -> Self {
        Self::new(address, Mode::Fresh, pages, (None, id), events)
    }

    /// Without one of the kernel's, with its ring at `address`.
    pub(crate) fn unbacked(address: usize, ring: Ring, id: u32, events: u32) -> Self {
        let pages = ring.pages();
        Self::new(address, Mode::Own, pages, (Some(ring), id), events)
    }

    fn new(
        address: usize,
        mode: Mode,
        pages: usize,
        ring: (Option<Ring>, u32),
        events: u32,
    ) -> Self {
        let (ring, id) = ring;
        let len = (pages * 4096 - 32) / size_of::<IoEvent>();
        let state = State {
            ring,
            id,
            inflight: 0,
            owed: 0,
            kernels: 0,
            draining: false,
            telling: 0,
            capacity: capacity(len as u32),
            waiters: 0,
            least: u32::MAX,
            away: BTreeMap::new(),
            last: 0,
        };
        Self {
            address: AtomicUsize::new(address),
            kernel: address,
            life: life::now(),
            mode: AtomicU8::new(mode as u8),
            gate: RwLock::new(()),
            backed: mode == Mode::Fresh,
            state: Mutex::new(state),
            bell: AtomicU32::new(0),
            traffic: Traffic::default(),
            kick: Kick::default(),
            passed: AtomicU64::new(0),
            passed_eventfd: AtomicU32::new(0),
            pages,
            events,
        }
    }

    #[inline]
    pub(crate) fn is_at(&self, address: usize) -> bool {
        address != 0 && self.address() == address
    }

    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.address.load(Ordering::Relaxed)
    }

    /// The program has moved its ring; or, 0, has destroyed it.
    pub(crate) fn move_to(&self, address: usize) {
        self.address.store(address, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn life(&self) -> u32 {
        self.life
    }

    #[inline]
    pub(crate) fn mode(&self) -> Mode {
        // Acquire: pairs with the release in `set_mode`.
        match self.mode.load(Ordering::Acquire) {
            0 => Mode::Fresh,
            1 => Mode::Kernel,
            2 => Mode::Own,
            _ => Mode::Dead,
        }
    }

    /// Duty: the gate is held for writing.
    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    pub(crate) fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// True if its ring is one of ours and has this identity.
    pub(crate) fn owns_ring(&self, id: u32) -> bool {
        self.mode() == Mode::Own && self.state().id == id
    }

    /// Puts a ring of ours where the kernel's is. Duty: the gate is held for writing.
    pub(crate) fn replace_ring(&self, state: &mut State) -> Result<(), isize> {
        let (id, at) = (state.id, Some(self.address()));
        // SAFETY: the kernel's ring of so many pages, which it made at io_setup. It uses its own mapping of it; at this
        // address it looks for the identity only, which stays.
        let (ring, _) = unsafe { Ring::new(id, self.pages, at) }.ok_or(error(libc::ENOMEM))?;
        state.ring = Some(ring);
        Ok(())
    }

    /// Makes room for the event of a request; gives the request's number.
    #[inline]
    pub(crate) fn reserve(&self, owed: bool) -> Result<u64, isize> {
        let mut state = self.state();
        let Some(ring) = &state.ring else { return Err(error(libc::EINVAL)) };
        if self.mode() == Mode::Dead {
            return Err(error(libc::EINVAL));
        }
        if state.inflight + ring.filled() >= state.capacity {
            return Err(error(libc::EAGAIN));
        }
        state.inflight += 1;
        state.owed += u32::from(owed);
        state.last += 1;
        Ok(state.last)
    }

    /// A request for which room was made was not accepted after all.
    #[cold]
    pub(crate) fn unreserve(&self, owed: bool) {
        let mut state = self.state();
        state.inflight -= 1;
        state.owed -= u32::from(owed);
        let wake = state.wakes(self);
        drop(state);
        self.wake(wake);
    }

    /// A request is over: its event goes into the ring, then its eventfd is told, then who waits.
    #[inline]
    pub(crate) fn complete(&self, op: &Op, res: i64, way: Way) {
        let mut state = self.state();
        state.inflight -= 1;
        state.owed -= u32::from(op.owed);
        if way != Way::Inline {
            state.away.remove(&(op.obj, op.number));
        }
        if self.mode() != Mode::Dead
            && let Some(ring) = &mut state.ring
        {
            ring.push(IoEvent { data: op.data, obj: op.obj, res, res2: 0 });
        }
        state.telling += u32::from(op.eventfd.is_some());
        let wake = state.wakes(self);
        drop(state);
        REPORT.end(op.begun, op.kind, way, res);
        if op.eventfd.is_some() {
            self.tell(op.eventfd);
        }
        self.wake(wake);
    }

    /// Tells an eventfd, if it is given, for which `telling` was counted: io_destroy waits for it, because after that
    /// the number is the program's to use for something else.
    pub(crate) fn tell(&self, eventfd: Option<i32>) {
        if let Some(eventfd) = eventfd {
            tell(eventfd);
        }
        let mut state = self.state();
        state.telling -= 1;
        let wake = state.telling == 0 && state.waiters > 0 && self.mode() == Mode::Dead;
        if wake {
            self.ring_bell();
        }
        drop(state);
        self.wake(wake);
    }

    /// Wakes everybody who waits. Duty: the lock is held.
    pub(crate) fn ring_bell(&self) {
        self.bell.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn wake(&self, wake: bool) {
        if wake {
            futex::wake(&self.bell, i32::MAX as u32);
        }
    }

    /// Waits for the bell, for `least` events, or for what changes otherwise. True: the kernel said `EINTR`.
    pub(crate) fn wait<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        least: u32,
        timeout: Option<&Timespec>,
    ) -> (MutexGuard<'a, State>, isize) {
        state.waiters += 1;
        state.least = state.least.min(least);
        let bell = self.bell.load(Ordering::SeqCst);
        drop(state);
        let answer = futex::wait(&self.bell, bell, timeout);
        let mut state = self.state();
        state.waiters -= 1;
        if state.waiters == 0 {
            state.least = u32::MAX;
        }
        (state, answer)
    }
}

impl State {
    /// Whether who waits should look. Duty: who asks wakes them, if so, after letting the lock go.
    #[inline]
    fn wakes(&self, context: &Context) -> bool {
        let filled = self.ring.as_ref().map_or(0, Ring::filled);
        let wake =
            self.waiters > 0 && (filled >= self.least || self.owed == 0 || self.inflight == 0);
        if wake {
            context.ring_bell();
        }
        wake
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn filled(&self) -> u32 {
        self.ring.as_ref().map_or(0, Ring::filled)
    }

    /// Takes out the request of a block, if the engine has it: the oldest, as the kernel does.
    pub(crate) fn take_away(&mut self, obj: u64) -> Option<Arc<Away>> {
        let (key, _) = self.away.range((obj, 0)..=(obj, u64::MAX)).next()?;
        let key = *key;
        self.away.remove(&key)
    }

    /// Takes out those that end when their context does: what waits for others. The rest is made, and waited for.
    pub(crate) fn take_parked(&mut self) -> Vec<Arc<Away>> {
        let (parked, away) =
            std::mem::take(&mut self.away).into_iter().partition(|(_, away)| away.is_parked());
        self.away = away;
        BTreeMap::into_values(parked).collect()
    }
}

/// Requests at a time, as many as one CPU gets of the kernel (fs/aio.c: `req_batch`).
fn capacity(len: u32) -> u32 {
    // SAFETY: asks for a number.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }.max(1) as u32;
    let batch = ((len - 1) / (cpus * 4)).max(1);
    (len - 1) / batch * batch
}

/// Adds one to an eventfd of the program's, unless it is full: the kernel leaves it so.
fn tell(eventfd: i32) {
    let one = 1u64;
    // The program may have closed it meanwhile, and the number mean something else.
    if crate::route::is_eventfd(eventfd) && has_room(eventfd) {
        // SAFETY: the kernel reads eight bytes of ours.
        unsafe { libc::write(eventfd, (&raw const one).cast(), size_of::<u64>()) };
    }
}

/// A write to an eventfd that is full would wait for who reads it.
fn has_room(eventfd: i32) -> bool {
    let mut entry = libc::pollfd { fd: eventfd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, which is live.
    unsafe { libc::poll(&raw mut entry, 1, 0) == 1 && entry.revents & libc::POLLOUT != 0 }
}
