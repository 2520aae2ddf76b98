//! Desks: the numbers by which files are put into the keeper's epoll.
//!
//! The epoll knows what it watches by open file and number. So a file on another desk is another watch, and of files
//! that lie alone, each on a desk of its own, it says whether one is that file: see `identity`. A desk is a number in
//! the keeper's table, and nothing else. It is made when it is needed, and then stays; files of different inodes share
//! it.

#![allow(unsafe_code, reason = "getrlimit(2)")]

use std::collections::HashMap;

use syslet_sys::descriptor;

use super::Id;

/// Most desks on which files of one inode lie alone: so a free one is found within microseconds.
const MOST: usize = 4096;
/// The part of the keeper's table that they may take, where that is less: what is watched and held goes there too.
const PART: usize = 4;

/// Numbers that a descriptor table may have just now.
fn table() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is live.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0;
    if known { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) } else { 0 }
}

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
    lying: HashMap<Id, Vec<u32>>,
    most: usize,
}

impl Desks {
    pub(super) fn new(epoll: i32) -> Self {
        Self::with(epoll, MOST)
    }

    /// As [`new`](Self::new), with so many for one inode.
    pub(super) fn with(epoll: i32, most: usize) -> Self {
        Self { epoll, all: Vec::new(), littered: Vec::new(), lying: HashMap::new(), most }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// The number of one that there is.
    pub(super) fn number(&self, desk: usize) -> i32 {
        self.all[desk].number
    }

    /// Makes this one, if there is none; 0, or `-errno`.
    pub(super) fn have(&mut self, desk: usize) -> isize {
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
    pub(super) fn has(&self, id: Id, desk: usize) -> bool {
        self.lying.get(&id).and_then(|counts| counts.get(desk)).is_some_and(|count| *count > 0)
    }

    /// Those where no watch of this inode is, from the first on; of most inodes one file is watched once.
    pub(super) fn free(&self, id: Id) -> impl Iterator<Item = usize> {
        let counts = self.lying.get(&id).map_or(&[][..], Vec::as_slice);
        let most = self.most.min(table() / PART);
        (0..most).filter(|desk| counts.get(*desk).is_none_or(|count| *count == 0))
    }

    /// There is a watch more of this inode.
    pub(super) fn add(&mut self, id: Id, desk: usize) {
        let counts = self.lying.entry(id).or_default();
        if counts.len() <= desk {
            counts.resize(desk + 1, 0);
        }
        counts[desk] += 1;
    }

    /// There is one less.
    pub(super) fn strike(&mut self, id: Id, desk: usize) {
        let Some(counts) = self.lying.get_mut(&id) else { return };
        if let Some(count) = counts.get_mut(desk) {
            *count -= 1;
        }
        while counts.last() == Some(&0) {
            counts.pop();
        }
        if counts.is_empty() {
            self.lying.remove(&id);
        }
    }

    /// Inodes of which there are watches.
    #[cfg(test)]
    pub(super) fn inodes(&self) -> usize {
        self.lying.len()
    }
}
