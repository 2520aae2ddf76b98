//! The guard of an attached thread.

#![allow(unsafe_code, reason = "guest records are handed out by raw pointers")]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::{fmt, io};

use syslet_sys::call;

use super::affinity::CpuSet;
use super::attach::{Attachment, Mode, detach_now, read_manners};
use super::guest::Guest;
use super::{fork, local};
use crate::AttachError;

/// Keeps the thread attached; detaches when the last one of the thread is dropped.
///
/// Neither `Send` nor `Sync`: it speaks for the thread that made it.
///
/// ```compile_fail
/// let guard = syslet::attach().unwrap();
/// std::thread::spawn(move || drop(guard));
/// ```
#[must_use = "the thread is detached when the guard is dropped"]
pub struct AttachGuard {
    mode: Mode,
    generation: u32,
    _thread: PhantomData<*mut ()>,
}

impl AttachGuard {
    pub(super) fn new(mode: Mode) -> Self {
        Self { mode, generation: fork::generation(), _thread: PhantomData }
    }

    /// How the thread works: attached, or by the pool and why.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Reads signal mask, nice value, policy, timer slack and affinity of the running kernel thread
    /// again: what the program has changed since it attached is taken over by those who carry it
    /// from now on. Does nothing in pool mode.
    ///
    /// # Errors
    ///
    /// If the kernel refuses to say.
    pub fn refresh(&self) -> Result<(), AttachError> {
        let Some(guest) = self.guest() else { return Ok(()) };
        let affinity = CpuSet::of_this_thread()
            .map_err(|error| AttachError::Io("sched_getaffinity", error))?;
        read_manners(guest, affinity)?;
        guest.home.remask(call::getpid(), guest.manners().signal_mask);
        Ok(())
    }

    /// Restricts the guest, and the threads that carry it, to these CPUs. On its return home the
    /// thread has the affinity that it had.
    ///
    /// # Errors
    ///
    /// If the kernel refuses the set.
    pub fn set_affinity(&self, cpus: &CpuSet) -> io::Result<()> {
        cpus.apply(0)?;
        if let Some(guest) = self.guest() {
            guest.change_manners(|manners| manners.affinity = *cpus);
        }
        Ok(())
    }

    /// Names the thread, as ps(1) and top(1) show it, and children that it forks. By prctl(2) and
    /// `pthread_setname_np` of itself a guest names only the kernel thread that carries it.
    ///
    /// # Errors
    ///
    /// `ERANGE` for more than 15 bytes, as pthread_setname_np(3); if `/proc` cannot be written to.
    pub fn set_name(&self, name: &CStr) -> io::Result<()> {
        let mut bytes = [0; 16];
        let bytes_of_it = name.to_bytes();
        let room = bytes[..15].get_mut(..bytes_of_it.len());
        room.ok_or_else(|| io::Error::from_raw_os_error(libc::ERANGE))?
            .copy_from_slice(bytes_of_it);
        match self.guest() {
            None => _ = call::set_name(&bytes),
            Some(guest) => {
                // With the zero: else nothing would be written of an empty one.
                let path = format!("/proc/self/task/{}/comm", guest.home.tid());
                std::fs::write(path, &bytes[..=bytes_of_it.len()])?;
                guest.change_manners(|manners| manners.name = bytes);
            }
        }
        Ok(())
    }

    fn guest(&self) -> Option<&'static Guest> {
        if self.generation != fork::generation() {
            return None;
        }
        // SAFETY: null, or a record, which is never freed.
        unsafe { local::current_guest().as_ref() }
    }
}

impl fmt::Debug for AttachGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachGuard").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Drop for AttachGuard {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let last = Attachment::with(|attachment| {
            let depth = attachment.depth.get().saturating_sub(1);
            attachment.depth.set(depth);
            if depth == 0 {
                attachment.mode.take();
            }
            depth == 0
        });
        if last {
            detach_now();
        }
    }
}
