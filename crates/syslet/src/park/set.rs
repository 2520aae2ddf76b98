//! One poll for several descriptors: of an epoll that watches them all. It is made and closed in the keeper's table,
//! where no number is the program's. The poll keeps it if it is in a ring; if it is in the keeper's epoll, the keeper
//! does.

use syslet_sys::uapi::{EBADF, EEXIST, EPERM, EpollEvent};
use syslet_sys::{call, descriptor};

use super::keeper::Keeper;
use super::watch::From;

/// True if the files of `interests`, numbers of the program's, can be watched by an epoll in the keeper's table: none
/// is of signals, of which it would not tell (see this folder's README.md), and each may be taken.
pub(super) fn can_be_watched(keeper: &Keeper, interests: &[(i32, u32)]) -> bool {
    interests.iter().all(|(number, _)| match descriptor::stat(*number) {
        Ok(stat) if stat.is_anonymous() => !descriptor::may_be_signals(*number),
        Ok(stat) => keeper.may_take(&stat),
        // It was closed since the call was tried: it is not one of those that the call would wait for.
        Err(_) => true,
    })
}

/// An epoll in the running thread's table, closed when this is dropped.
#[derive(Debug)]
pub(super) struct Set {
    epoll: i32,
    /// Numbers of files that another number of the set's named too: an epoll tells its files apart by their numbers.
    taken: Vec<i32>,
}

impl Set {
    /// One that watches `files`, each for its events; what was not sent is taken from `process`. `None`: there can be
    /// none (no number is left, or no memory).
    pub(super) fn of(process: i32, files: Vec<(From, u32)>) -> Option<Self> {
        let epoll = descriptor::new_epoll() as i32;
        let mut set = Self { epoll, taken: Vec::new() };
        let mut all = epoll >= 0;
        for (file, events) in files {
            if all {
                all = set.add(process, file, events);
            } else {
                file.let_go();
            }
        }
        all.then_some(set)
    }

    /// Watches one more.
    fn add(&mut self, process: i32, file: From, events: u32) -> bool {
        loop {
            let taken = match file {
                From::Number(number) => descriptor::take_from(process, number) as i32,
                From::Sent(sent) => sent,
            };
            if taken < 0 {
                return taken == -(EBADF as i32); // closed meanwhile
            }
            let event = EpollEvent { events, data: 0 };
            let answer = -descriptor::watch(self.epoll, taken, event, false);
            // All that were sent have numbers of their own until they are in.
            if answer == EEXIST && matches!(file, From::Number(_)) {
                // As long as this number is taken the next one is another.
                self.taken.push(taken);
                continue;
            }
            call::close(taken);
            // A file, which is never waited for.
            return matches!(answer, 0 | EPERM);
        }
    }

    pub(super) fn number(&self) -> i32 {
        self.epoll
    }

    /// Its epoll's number, which is the caller's to close.
    pub(super) fn into_number(mut self) -> i32 {
        std::mem::replace(&mut self.epoll, -1)
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if self.epoll >= 0 {
            call::close(self.epoll);
        }
        self.taken.iter().copied().for_each(call::close);
    }
}
