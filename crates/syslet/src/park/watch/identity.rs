//! Whether a number still means the file that is watched.
//!
//! Inodes tell sockets and the ends of pipes apart (`Sort`). Anonymous files have one in common, and so have all that
//! were opened by one name, as terminals are. What else the kernel says of these does not serve: the `eventfd-id` of
//! `/proc/PID/fdinfo` is given to the next eventfd as soon as one is closed, the others have none, and kcmp(2), which
//! containers forbid, compares with a file that somebody holds, which a watch must not.
//!
//! But the keeper's epoll knows what it watches by open file and desk, and forgets it when the file is closed. So the
//! number's file is put on the watch's desk and added there: if it can be it is another, and is taken out again. If it
//! is there already it is the same, or one that another watch has on this desk, or had. Therefore files of one inode
//! lie alone, each on a desk of its own, as long as there are desks (`desks`: 4,096, or a quarter of `RLIMIT_NOFILE`),
//! and keep away from desks where one was left behind (`leftovers`): then what is on a desk is told from all others,
//! also from one that is watched by another number and was copied to this one (`dup2`), and taking a watch out by its
//! number never takes out the watch of what has that number by now. More of them share desks: then those that were
//! begun by one number are on different ones, and a copy of one on the same desk is taken for it, or its watch taken
//! out. Of a watch whose number is known to mean another file the number is forgotten, so that this does not happen.
//!
//! A rendezvous with the keeper takes 5-10 us, so what its inode tells apart, or can be asked without it, is.

use std::ffi::CString;

use syslet_sys::uapi::{EBADF, EpollEvent};
use syslet_sys::{call as kernel, descriptor};

use super::{From, Watches};
use crate::park::source::{File, WatchId, may_be_same};

/// False if a number of the program's is known to mean another file, which is not taken to find that out: what is
/// closed when it was taken may be told (`flush`), and a server of FUSE be waited for.
fn may_be(number: i32, file: File) -> bool {
    let path = CString::new(format!("/proc/self/fd/{number}")).expect("no zero in it");
    descriptor::stat_of_path(&path).map_or(true, |stat| (stat.dev, stat.ino) == file.id)
}

impl Watches {
    /// As [`take`](Self::take), of a number that may have become another file's long since.
    pub(super) fn take_again(&self, from: From, file: File) -> Result<i32, isize> {
        match from {
            From::Number(number) if !may_be(number, file) => Err(-EBADF),
            from => self.take(from, file),
        }
    }

    /// The file that is to be had there, in the keeper's table, if it still is `file`.
    pub(super) fn take(&self, from: From, file: File) -> Result<i32, isize> {
        let taken = match from {
            From::Number(number) => descriptor::take_from(self.process, number) as i32,
            From::Sent(sent) => sent,
        };
        if taken < 0 {
            return Err(taken as isize);
        }
        if File::of(taken).is_ok_and(|found| found == file) {
            return Ok(taken);
        }
        kernel::close(taken);
        Err(-EBADF)
    }

    /// Whether a number of the program's, where a file is to be had, means the file of this watch; true if that cannot
    /// be found out.
    pub(in crate::park) fn is_its(&mut self, watch: WatchId, from: From) -> bool {
        let known = self.find(watch).and_then(|entry| Some((entry.desk as usize, entry.file?)));
        let Some((desk, file)) = known else {
            from.let_go();
            return true; // it was ended meanwhile, and is not asked about
        };
        let taken = match self.take_again(from, file) {
            Ok(taken) => taken,
            Err(error) => return may_be_same(error),
        };
        // Of no event, and out again before anything is told.
        let added = self.at_desk(taken, desk, |epoll, at| {
            let added = descriptor::watch(epoll, at, EpollEvent::default(), false);
            if added == 0 {
                descriptor::forget(epoll, at);
            }
            added
        });
        kernel::close(taken);
        added != 0
    }
}
