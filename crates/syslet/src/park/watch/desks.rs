//! Desks: the numbers by which files are put into the keeper's epoll.
//!
//! The epoll knows what it watches by open file and number. So a file on another desk is another watch, and of files
//! that lie alone, each on a desk of its own, it says whether one is that file: see `identity`. A desk is a number in
//! the keeper's table, and nothing else. It is made when it is needed, and then stays; files of different inodes share
//! it. (Of the ends of one pipe each lies alone, however many watch it, so that a place is found without trying desks.)
//!
//! # Safety
//!
//! Clause *live*: the kernel writes to a local variable.

#![allow(unsafe_code, reason = "getrlimit(2)")]

use std::collections::HashMap;

use syslet_sys::descriptor;

use super::Id;
use crate::park::source::{File, Sort};

/// Most desks on which files of one inode lie alone. A free one is looked for from the first on, 4,096 counts in two
/// microseconds.
const MOST: usize = 4096;
/// One number in so many of the keeper's table, where that is less: the files that are held and watched for calls go
/// there too. Beyond it files of one inode share desks, and more are made only as they are needed.
const PART: usize = 4;

#[derive(Debug)]
struct Desk {
    number: i32,
    /// A file may lie there.
    littered: bool,
}

#[derive(Debug)]
pub(super) struct Desks {
    /// A desk is a name of this while nothing lies there.
    epoll: i32,
    all: Vec<Desk>,
    /// Those where a file may lie.
    littered: Vec<usize>,
    /// How many watches of each inode are on which desk, but for sockets. Several open files may have one inode.
    counts: HashMap<Id, Vec<u32>>,
    most: usize,
}

impl Desks {
    pub(super) fn new(epoll: i32) -> Self {
        Self::with_most(epoll, MOST)
    }

    /// As [`new`](Self::new), with so many on which files of one inode lie alone.
    pub(super) fn with_most(epoll: i32, most: usize) -> Self {
        Self { epoll, all: Vec::new(), littered: Vec::new(), counts: HashMap::new(), most }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Inodes of which there are watches.
    #[cfg(test)]
    pub(super) fn inodes(&self) -> usize {
        self.counts.len()
    }

    /// The number of one that there is.
    pub(super) fn number(&self, desk: usize) -> i32 {
        self.all[desk].number
    }

    /// Makes this one, the next, if there is none; 0, or `-errno`.
    pub(super) fn ensure(&mut self, desk: usize) -> isize {
        if desk < self.all.len() {
            return 0;
        }
        let number = descriptor::duplicate(self.epoll);
        if number >= 0 {
            self.all.push(Desk { number: number as i32, littered: false });
        }
        number.min(0)
    }

    /// Puts a taken file on a desk: its number, or `-errno`.
    pub(super) fn put(&mut self, taken: i32, at: usize) -> Result<i32, isize> {
        let desk = &mut self.all[at];
        let named = descriptor::name_as(taken, desk.number);
        if !std::mem::replace(&mut desk.littered, true) {
            self.littered.push(at);
        }
        if named < 0 { Err(named) } else { Ok(desk.number) }
    }

    /// Lets go of every file that lies on a desk.
    pub(super) fn tidy(&mut self) {
        for at in self.littered.drain(..) {
            let desk = &mut self.all[at];
            desk.littered = false;
            descriptor::name_as(self.epoll, desk.number);
        }
    }

    /// True if a watch of this inode is there.
    pub(super) fn is_occupied(&self, id: Id, desk: usize) -> bool {
        self.counts.get(&id).and_then(|counts| counts.get(desk)).is_some_and(|count| *count > 0)
    }

    /// Those where no watch of this file's inode is, from the first on.
    pub(super) fn free(&self, file: &File) -> impl Iterator<Item = usize> {
        let counts = self.counts.get(&file.id).map_or(&[][..], Vec::as_slice);
        let most = match file.sort {
            Sort::Pipe(_) => usize::MAX,
            _ => self.most.min(table_limit() / PART),
        };
        (0..most).filter(|desk| counts.get(*desk).is_none_or(|count| *count == 0))
    }

    /// There is one watch more of this inode.
    pub(super) fn occupy(&mut self, id: Id, desk: usize) {
        let counts = self.counts.entry(id).or_default();
        if counts.len() <= desk {
            counts.resize(desk + 1, 0);
        }
        counts[desk] += 1;
    }

    /// There is one less.
    pub(super) fn vacate(&mut self, id: Id, desk: usize) {
        let Some(counts) = self.counts.get_mut(&id) else { return };
        if let Some(count) = counts.get_mut(desk) {
            *count = count.saturating_sub(1);
        }
        while counts.last() == Some(&0) {
            counts.pop();
        }
        if counts.is_empty() {
            self.counts.remove(&id);
        }
    }
}

/// Most numbers that a descriptor table may have now: getrlimit(2), `RLIMIT_NOFILE`. 0 if that is not known.
fn table_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: clause *live*.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0;
    if known { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) } else { 0 }
}
