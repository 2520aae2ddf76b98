//! Children: a `waitid` that leaves them to be waited for, parked like any other.

#![allow(unsafe_code, reason = "submits waitid")]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use syslet::{Call, Queued};
use syslet_sys::uapi::{P_PID, WEXITED, WNOWAIT, nr};

use crate::completions::Purpose;
use crate::core::{Core, On};
use crate::event::Happened;
use crate::node::Node;

/// `si_status` in a `siginfo_t`, as a word of four bytes.
const STATUS: usize = 6;
/// `si_code`.
const CODE: usize = 2;

/// Has the end of the child told; true if it has ended already.
pub(crate) fn enter(core: &Core, node: &Arc<Node>, pid: i32) -> Result<bool, i32> {
    let completions = core.completions().map_err(|_| libc::EAGAIN)?;
    let mut info = Box::new([0u64; 16]);
    let at = (&raw mut *info) as usize;
    let number = completions.note(Purpose::Child(Arc::clone(node), info));
    let _ = node.wait.set(number);
    let call = Call::new(nr::WAITID, [P_PID, pid as usize, at, WEXITED | WNOWAIT, 0]);
    // SAFETY: it writes to the structure, which is kept until it has answered.
    match unsafe { completions.queue.submit(number, call) } {
        Ok(Queued::Done(ret)) => {
            let Some(Purpose::Child(_, info)) = completions.strike(number) else {
                return Ok(true);
            };
            if ret.raw() < 0 {
                return Err(-ret.raw() as i32);
            }
            node.said.store(said(&info), Ordering::Relaxed);
            Ok(true)
        }
        Ok(Queued::Queued(id)) => {
            if node.is_gone() {
                completions.queue.cancel(id);
            }
            Ok(false)
        }
        Err(_) => {
            completions.strike(number);
            Err(libc::EPERM)
        }
    }
}

/// Status and how it ended, as waitid(2) says them.
fn said(info: &[u64; 16]) -> u64 {
    let word = |at: usize| (info[at / 2] >> (32 * (at % 2))) as u32;
    u64::from(word(STATUS)) | u64::from(word(CODE)) << 32
}

/// The wait is over.
pub(crate) fn ended(node: &Arc<Node>, info: &[u64; 16], answer: isize, on: On) {
    if answer < 0 {
        return node.breaks(-answer as i32, on);
    }
    node.said.store(said(info), Ordering::Relaxed);
    let _ = node.tell(Happened::EXITED, 1, on);
}

/// The source is none any more: its wait is called off.
pub(crate) fn leave(core: &Core, node: &Arc<Node>) {
    let Some(completions) = core.completions.get() else { return };
    let Some(&number) = node.wait.get() else { return };
    // One that is over is not looked for among all others.
    let is_under_way = completions.under_way().1.contains_key(&number);
    if is_under_way {
        completions.queue.cancel_all(number);
    }
}
