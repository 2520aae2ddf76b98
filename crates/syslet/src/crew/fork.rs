//! `fork`: the child has one thread, and none of ours.
//!
//! The child forgets its parent's engine and starts its own on first use. The forking code goes on
//! as an ordinary thread there: what it had been, guest or crew thread, is forgotten, its rseq area
//! is registered again, and the alternate signal stack of a guest is put back. Whatever was away
//! stays with the parent; its handles say so in the child, by the generation.

#![allow(unsafe_code, reason = "atfork handlers")]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::MutexGuard;

use syslet_sys::{arch, call};

use super::engine::{STARTING, forget};
use super::member::Crew;
use super::{local, rseq};
use crate::sync::{AtomicBool, AtomicU32, Ordering, lock};

/// Counts forks from the first process on.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Of which life of the process the running code is.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

thread_local! {
    /// Held over a fork, so that no engine is half-started in the child.
    /// Without a destructor: a thread may fork while its thread-locals are being destroyed.
    static HELD: ManuallyDrop<RefCell<Option<MutexGuard<'static, ()>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

/// Registers the handlers.
///
/// Twice, if two threads come at once: a `Once` would stay half-done in a child for ever if a third
/// forked meanwhile. So each handler may run more than once for a fork.
pub(crate) fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if !INSTALLED.load(Ordering::Acquire) {
        // SAFETY: handlers that may run in any thread that forks.
        unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
        INSTALLED.store(true, Ordering::Release);
    }
}

unsafe extern "C" fn prepare() {
    HELD.with(|held| {
        held.borrow_mut().get_or_insert_with(|| lock(&STARTING));
    });
    crate::park::mail::before_fork();
}

unsafe extern "C" fn parent() {
    crate::park::mail::after_fork();
    HELD.with(|held| *held.borrow_mut() = None);
}

/// What the running code had been is forgotten: it is an ordinary thread.
#[inline(never)]
fn become_plain() {
    // SAFETY: null, or a record, which is never freed.
    if let Some(guest) = unsafe { local::current_guest().as_ref() } {
        super::transfer::put_back_signal_stack(guest);
        call::set_name(&guest.manners().name);
        rseq::enter();
    }
    local::set_guest(std::ptr::null());
    super::attach::forget_attachment();
    super::last::register();
}

/// Forked inside a closure. If its guest has not gone on, the child's only thread will return to the
/// guest's context and must find itself an ordinary thread there. Otherwise it ends with the closure,
/// see `Crew::end_in_child`; until then it is an ordinary thread with the crew's own thread-locals.
fn child_of_threadlet(crew: &Crew) {
    local::set_crew(std::ptr::null());
    let own = arch::thread_pointer();
    let Some(guest) = crew.guest_in_call() else {
        rseq::forked(own);
        rseq::enter();
        return;
    };
    rseq::forked(guest.thread_pointer());
    // SAFETY: the guest's thread, suspended below this closure; `become_plain` is not inlined, and
    // nothing else is done before the thread pointer is put back.
    unsafe { arch::set_thread_pointer(guest.thread_pointer()) };
    become_plain();
    // SAFETY: back to what it was.
    unsafe { arch::set_thread_pointer(own) };
    rseq::forked_in_closure(guest.thread_pointer());
}

unsafe extern "C" fn child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    forget();
    super::thread::forget_listed();
    crate::park::mail::forked();
    crate::park::closing::forked();
    // SAFETY: null, or a record, which is never freed.
    if let Some(crew) = unsafe { local::current_crew().as_ref() } {
        child_of_threadlet(crew);
    } else {
        rseq::forked(arch::thread_pointer());
        become_plain();
    }
    HELD.with(|held| *held.borrow_mut() = None);
}
