//! Requests that the engine has: they wait for readiness, for a thread, or for the disk.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use syslet::CancelOutcome;
use syslet_dropin::call::{Late, Started};
use syslet_dropin::report::{Kind, Way};

use crate::abi::error;
use crate::context::{Context, Mode, Op};
use crate::writes;

/// See the module.
#[derive(Debug)]
pub(crate) struct Away {
    context: Arc<Context>,
    op: Op,
    way: Way,
    /// The descriptor that it is counted as a write of.
    written: Option<i32>,
    /// Its answer is decided. Who sets it completes it.
    over: AtomicBool,
    /// The call, once the engine has it.
    call: OnceLock<Arc<Late>>,
}

impl Away {
    /// Of a request whose call is about to be made. `written`: the descriptor, if it is a write to a file.
    pub(crate) fn new(context: &Arc<Context>, op: Op, way: Way, written: Option<i32>) -> Arc<Self> {
        let context = Arc::clone(context);
        let (over, call) = (AtomicBool::new(false), OnceLock::new());
        Arc::new(Self { context, op, way, written, over, call })
    }

    /// True if it waits for others and not for the disk.
    pub(crate) fn is_parked(&self) -> bool {
        self.way == Way::Parked
    }

    /// The engine has taken its call: counts it.
    pub(crate) fn enter(&self) {
        if let Some(descriptor) = self.written {
            writes::enter(descriptor);
        }
    }

    /// It is over, with this result, unless it was before.
    pub(crate) fn end(&self, res: i64) {
        if self.over.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(descriptor) = self.written {
            writes::leave(descriptor);
        }
        self.context.complete(&self.op, res, self.way);
    }

    /// Notes its call, so that it can be cancelled. Gives the answer of one that is over already.
    pub(crate) fn follow(self: &Arc<Self>, started: Started) -> Option<isize> {
        let late = match started {
            Started::Done(ret) => return Some(ret.raw()),
            Started::Refused => return Some(error(libc::EINVAL)),
            Started::Pending(late) => late,
        };
        let _ = self.call.set(late); // there is one call
        let mut state = self.context.state();
        // If it is over already, it was taken out before it was put in.
        if self.over.load(Ordering::SeqCst) {
            return None;
        }
        if self.is_parked() && self.context.mode() == Mode::Dead {
            // Destroyed meanwhile, which has cancelled what it found and waits for the rest.
            drop(state);
            self.cancel();
            return None;
        }
        state.away.insert((self.op.obj, self.op.number), Arc::clone(self));
        None
    }

    /// Asks it to end. Its event comes in any case, and says what happened. False: it is over. Duty: it was taken out
    /// of the context's requests, or is not among them.
    pub(crate) fn cancel(&self) -> bool {
        let outcome = self.call.get().map_or(CancelOutcome::TooLate, Late::cancel);
        if outcome == CancelOutcome::NotBegun {
            // Its call will not be made: whoever finds that out may be long in coming.
            self.end(self.cancelled());
        }
        outcome != CancelOutcome::TooLate
    }

    /// The result of one that was cancelled. Of a poll the kernel says that nothing was found.
    fn cancelled(&self) -> i64 {
        if self.op.kind == Kind::Poll { 0 } else { error(libc::ECANCELED) as i64 }
    }
}
