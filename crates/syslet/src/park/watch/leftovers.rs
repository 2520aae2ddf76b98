//! Watches that nobody listens to, left behind on desks.
//!
//! A source is taken back by its number, and the keeper hears of that up to a tenth of a second later. If the number
//! was closed by then, its file cannot be put on its desk and taken out: where it is open elsewhere (`dup`, `fork`) its
//! watch stays. Most files are open nowhere else, and the epoll has forgotten them; nothing tells which. So it is noted
//! that one *may* lie there, and others of its inode have other desks. If the first free ones all have some the epoll
//! is asked what it watches, by `/proc/PID/fdinfo`; that takes 0.2 us for each of its watches, so it is done once per
//! so many that were left behind. Without `/proc` the notes stay, and if all desks have some they are used
//! nevertheless.
//!
//! Sockets and pipes are told apart by their inodes, and need none of this.

use std::collections::HashMap;
use std::fs;

use syslet_sys::descriptor;

use super::{Id, WATCH, Watches, strike};
use crate::park::source::{File, Sort};

/// Noted desks: of more the epoll is asked as well, so that the notes end (each process has an inode of its own).
const MOST: usize = 1024;
/// The epoll is asked only if it has at most as many watches for each that was left behind since it was asked last.
const WATCHES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// How many may lie there: of this inode, on this desk.
    notes: HashMap<(Id, i32), u32>,
    /// The last: often its file comes again.
    last: Option<(Id, usize)>,
    /// How many were left behind since the epoll was asked.
    since: usize,
}

impl Leftovers {
    pub(super) fn may_lie(&self, id: Id, desk: usize) -> bool {
        self.notes.contains_key(&(id, desk as i32))
    }

    #[cfg(test)]
    pub(super) fn notes(&self) -> usize {
        self.notes.len()
    }

    /// One was taken out.
    pub(super) fn strike(&mut self, id: Id, desk: usize) {
        strike(&mut self.notes, (id, desk as i32));
    }
}

impl Watches {
    /// A watch of `file` could not be taken out.
    pub(super) fn leave_behind(&mut self, file: File, desk: usize) {
        if let Sort::Socket | Sort::Pipe(_) = file.sort {
            return;
        }
        *self.leftovers.notes.entry((file.id, desk as i32)).or_default() += 1;
        self.leftovers.last = Some((file.id, desk));
        self.leftovers.since += 1;
        if self.leftovers.notes.len() > MOST && self.may_look() && !self.look() {
            self.leftovers.notes.clear();
        }
    }

    /// Takes out what was left behind last, if it is this taken file.
    pub(super) fn take_out_leftover(&mut self, taken: i32, id: Id) {
        if let Some((of, desk)) = self.leftovers.last
            && of == id
        {
            self.leftovers.last = None;
            // Where a watch lies that has not ended, that may be the one that is taken out.
            let is_alone = !self.desks.is_occupied(id, desk);
            if is_alone && self.at_desk(taken, desk, descriptor::forget) == 0 {
                self.leftovers.strike(id, desk);
            }
        }
    }

    /// Has the notes say what there is; false if it is not time for that, or cannot be found out.
    pub(super) fn look_for_leftovers(&mut self) -> bool {
        self.may_look() && self.look()
    }

    fn may_look(&self) -> bool {
        let Leftovers { notes, since, .. } = &self.leftovers;
        *since > 0 && since * WATCHES >= self.entries.len() + notes.len()
    }

    fn look(&mut self) -> bool {
        self.leftovers.since = 0;
        let path = format!("/proc/thread-self/fdinfo/{}", self.epoll);
        let Ok(watched) = fs::read_to_string(path) else { return false };
        let mut found: HashMap<(u64, i32), u32> = HashMap::new();
        for (number, data, inode) in watched.lines().filter_map(watch) {
            if data & WATCH != 0 && !self.is_listened_to(data) {
                *found.entry((inode, number)).or_default() += 1;
            }
        }
        let desks = &self.desks;
        self.leftovers.notes.retain(|(id, desk), count| {
            *count = found.get(&(id.1, desks.number(*desk as usize))).copied().unwrap_or(0);
            *count > 0
        });
        true
    }
}

/// The number, the data and the inode of a line about a watch: proc(5).
fn watch(line: &str) -> Option<(i32, u64, u64)> {
    let (number, rest) = line.strip_prefix("tfd:")?.split_once("events:")?;
    let (data, rest) = rest.split_once("data:")?.1.split_once("pos:")?;
    let (inode, _) = rest.split_once("ino:")?.1.split_once("sdev:")?;
    let hex = |digits: &str| u64::from_str_radix(digits.trim(), 16).ok();
    Some((number.trim().parse().ok()?, hex(data)?, hex(inode)?))
}
