//! Closing files of the program's in the keeper's table.
//!
//! Who closes the last descriptor of a file may have to wait: for the peer of a socket with `SO_LINGER`, for a serial
//! line that is stopped, for the server of a file of FUSE. The program's own close does not wait while the keeper holds
//! the file. If the keeper waited, all would that need it. So what may have to wait is closed by a thread that is
//! made for it, in the same table. If the program has the file open still that one does not wait, and whoever asked for
//! the close hears of its end: the program's close, which comes after it, is the last then.

use std::sync::Arc;

use syslet_sys::uapi::{S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK, Stat};
use syslet_sys::{call as kernel, descriptor};

use super::keeper::Reply;
use crate::crew::start_thread;
use crate::sync::{AtomicU32, Ordering};

/// Threads that close at a time.
const MOST: u32 = 32;
/// Pseudo-terminals, whose close waits for nothing: their major numbers, and that of /dev/ptmx with its minor one.
/// admin-guide/devices.txt.
const PSEUDO: std::ops::RangeInclusive<u32> = 136..=143;
const PTMX: (u32, u32) = (5, 2);

/// Threads that close now.
static AT_IT: AtomicU32 = AtomicU32::new(0);

/// Closes what was held, or asked for: socket, pipe, terminal, process, or what has no type.
pub(super) fn close(number: i32) {
    close_and_tell(number, None);
}

/// The same; `reply` is told of its end.
pub(super) fn close_and_tell(number: i32, reply: Option<Arc<Reply>>) {
    if !may_wait(number) || !has_begun(&[number], &reply) {
        kernel::close(number);
        reply.inspect(|reply| reply.done());
    }
}

/// True if closing what was held, or asked for, may have to wait.
pub(super) fn may_wait(number: i32) -> bool {
    descriptor::stat(number).is_ok_and(|stat| may_have_to_wait(number, &stat))
}

/// Closes what others than the program have sent: anything.
pub(super) fn close_strangers(files: Vec<i32>) {
    let may_wait = |number: &i32| {
        descriptor::stat(*number).is_ok_and(|stat| match stat.mode & S_IFMT {
            0 | S_IFIFO => false,
            S_IFSOCK => descriptor::lingers(*number),
            _ => true,
        })
    };
    if !files.iter().any(may_wait) || !has_begun(&files, &None) {
        files.into_iter().for_each(kernel::close);
    }
}

fn may_have_to_wait(number: i32, stat: &Stat) -> bool {
    match stat.mode & S_IFMT {
        S_IFSOCK => descriptor::lingers(number),
        S_IFCHR => !PSEUDO.contains(&stat.major()) && (stat.major(), stat.minor()) != PTMX,
        _ => false,
    }
}

/// A thread closes them. If not: no socket among them lingers any more.
fn has_begun(files: &[i32], reply: &Option<Arc<Reply>>) -> bool {
    // Relaxed: only the keeper begins them, so there are not more.
    let has_room = AT_IT.load(Ordering::Relaxed) < MOST;
    if has_room {
        AT_IT.fetch_add(1, Ordering::Relaxed);
        reply.as_deref().inspect(|reply| reply.begun());
        let (files, told) = (files.to_vec(), reply.clone());
        let run = move || {
            files.into_iter().for_each(kernel::close);
            AT_IT.fetch_sub(1, Ordering::Relaxed);
            told.inspect(|reply| reply.done());
        };
        if start_thread(b"syslet-close\0\0\0\0", None, run).is_ok() {
            return true;
        }
        AT_IT.fetch_sub(1, Ordering::Relaxed);
    }
    for number in files {
        descriptor::do_not_linger(*number);
    }
    false
}

/// In a child, where none is.
pub(crate) fn forked() {
    AT_IT.store(0, Ordering::Relaxed);
}
