//! waitid(2) with WNOWAIT: the child is reaped only by who fetches its status.
//!
//! # Safety
//!
//! Clause *owned*: each task owns the structure that the kernel fills, boxed, in a [`Lent`].

#![allow(unsafe_code, reason = "vouches for a call; reads a status")]

use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{Child, ExitStatus};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::Operation;
use crate::call::{Call, CancelOutcome, Ret};
use crate::op::{Lent, Step, Task};

/// Waits until the child ends; closes its standard input first, if that is a pipe, as
/// [`Child::wait`] does.
///
/// The status stays with the child: waiting again gives it again. Dropped early, the child is as before,
/// but for its standard input.
pub fn wait(child: &mut Child) -> Wait<'_> {
    drop(child.stdin.take());
    let exit = match child.try_wait() {
        Ok(None) => Operation::of_task(Exit(Ended::new(child.id()))),
        // `finish` asks once more, and gets the same.
        Ok(Some(_)) | Err(_) => Operation::ready(Ok(())),
    };
    Wait { child, exit }
}

/// Waits until the child `pid` ends, and reaps it. Dropped or cancelled early, the child is not reaped.
///
/// Not for a [`Child`] of std's, which would not know of it.
pub fn wait_pid(pid: u32) -> Operation<io::Result<ExitStatus>> {
    Operation::of_task(Reap(Ended::new(pid)))
}

/// The operation of [`wait()`]: an [`Operation`] that borrows the child.
#[derive(Debug)]
#[must_use = "dropping it gives the wait up"]
pub struct Wait<'a> {
    child: &'a mut Child,
    exit: Operation<io::Result<()>>,
}

impl Wait<'_> {
    /// True if the child had ended when the operation was handed out.
    pub fn was_inline(&self) -> bool {
        self.exit.was_inline()
    }

    /// True once the child has ended.
    pub fn is_done(&mut self) -> bool {
        self.exit.is_done()
    }

    /// The child's status.
    ///
    /// # Errors
    ///
    /// As [`Child::wait`], and `ECANCELED`.
    ///
    /// # Blocking
    ///
    /// Until the child ends.
    pub fn wait(self) -> io::Result<ExitStatus> {
        let exit = self.exit.wait();
        finish(self.child, exit)
    }

    /// The child's status, or the operation back if the child has not ended by `deadline`.
    ///
    /// # Errors
    ///
    /// The operation.
    ///
    /// # Blocking
    ///
    /// Until the child ends or the deadline comes.
    pub fn wait_deadline(self, deadline: Instant) -> Result<io::Result<ExitStatus>, Self> {
        match self.exit.wait_deadline(deadline) {
            Ok(exit) => Ok(finish(self.child, exit)),
            Err(exit) => Err(Self { child: self.child, exit }),
        }
    }

    /// Asks the operation to end, as [`Operation::cancel`]. The child goes on.
    pub fn cancel(&self) -> CancelOutcome {
        self.exit.cancel()
    }
}

impl Future for Wait<'_> {
    type Output = io::Result<ExitStatus>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let exit = ready!(Pin::new(&mut self.exit).poll(context));
        Poll::Ready(finish(self.child, exit))
    }
}

/// The status of a child that has ended.
fn finish(child: &mut Child, exit: io::Result<()>) -> io::Result<ExitStatus> {
    exit?;
    // It has ended: this does not wait.
    child.wait()
}

/// The call that waits until a child has ended, and leaves it as it is.
struct Ended {
    pid: u32,
    /// Room for a `siginfo_t`: without it the answer does not say whether a child has ended.
    info: Lent<Box<[u64; size_of::<libc::siginfo_t>() / 8]>>,
}

impl Ended {
    fn new(pid: u32) -> Self {
        Self { pid, info: Lent::new(Box::default()) }
    }

    fn call(&mut self) -> Call {
        let options = (libc::WEXITED | libc::WNOWAIT) as usize;
        let info = self.info.as_mut_ptr() as usize;
        let kind = libc::P_PID as usize;
        Call::new(libc::SYS_waitid as usize, [kind, self.pid as usize, info, options, 0])
    }
}

/// waitid(2).
struct Exit(Ended);

// SAFETY: *owned*; who is waited for without being reaped does not notice.
unsafe impl Task for Exit {
    type Output = io::Result<()>;
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        self.0.call()
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done(ret.result().map(|_| ()))
    }
}

/// waitid(2), then wait4(2), which does not wait.
struct Reap(Ended);

// SAFETY: as `Exit`.
unsafe impl Task for Reap {
    type Output = io::Result<ExitStatus>;
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        self.0.call()
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        if let Err(error) = ret.result() {
            return Step::Done(Err(error));
        }
        let mut status = 0;
        // SAFETY: writes to a local variable.
        match unsafe { libc::waitpid(self.0.pid as i32, &mut status, libc::WNOHANG) } {
            // Somebody else was faster, and the number belongs to another child.
            0 => Step::Again(self),
            -1 => Step::Done(Err(io::Error::last_os_error())),
            _ => Step::Done(Ok(ExitStatus::from_raw(status))),
        }
    }
}
