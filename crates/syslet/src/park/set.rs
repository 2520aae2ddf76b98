//! One poll for several descriptors: of an epoll that watches them all, which has a number in the
//! program's table only while its poll is armed. The poll keeps it.

use syslet_sys::uapi::{EBADF, EPERM, EpollEvent};
use syslet_sys::{call, descriptor};

/// An epoll, closed when this is dropped.
#[derive(Debug)]
pub(super) struct Set(i32);

impl Set {
    /// One that watches `interests`. `None`: there can be none (no number is left, or no memory), or it would not
    /// tell: of signals, see this folder's README.md.
    pub(super) fn of(interests: &[(i32, u32)]) -> Option<Self> {
        let epoll = descriptor::new_epoll() as i32;
        if epoll < 0 {
            return None;
        }
        let set = Self(epoll);
        for (number, events) in interests {
            let anonymous = descriptor::stat(*number).is_ok_and(|stat| stat.is_anonymous());
            if anonymous && descriptor::may_be_signals(*number) {
                return None;
            }
            let event = EpollEvent { events: *events, data: 0 };
            match -descriptor::watch(epoll, *number, event, false) {
                // A file, which is never waited for; or it was closed since the call was tried: then
                // the number is not one of those that the call would wait for.
                0 | EPERM | EBADF => {}
                _ => return None,
            }
        }
        Some(set)
    }

    pub(super) fn number(&self) -> i32 {
        self.0
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        call::close(self.0);
    }
}
