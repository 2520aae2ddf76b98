//! Watches of directories: one inotify in the keeper's table, and those who are told of each inode.

use std::ffi::CString;
use std::sync::Arc;

use syslet_sys::uapi::{ENOENT, IN_IGNORED, IN_MASK_ADD, IN_Q_OVERFLOW, INOTIFY_EVENT};
use syslet_sys::{call as kernel, descriptor};

use super::{From, INODES, InodeReaders, Watches};
use crate::park::source::{Begun, Order, WatchId};

impl Watches {
    /// Begins to watch an inode.
    pub(in crate::park) fn begin_inode(&mut self, order: Order, from: From) -> Begun {
        let taken = self.take(from, order.file)?;
        if self.inotify < 0 {
            let made = descriptor::new_inotify();
            if made < 0 {
                kernel::close(taken);
                return Err(made);
            }
            self.inotify = made as i32;
            self.watch_own(self.inotify, INODES);
        }
        let path = CString::new(format!("/proc/thread-self/fd/{taken}"));
        let path = path.expect("there is no zero in it");
        let watch = descriptor::watch_inode(self.inotify, &path, order.events | IN_MASK_ADD);
        kernel::close(taken);
        if watch < 0 {
            return Err(watch);
        }
        self.serial += 1;
        let readers = &mut self.inodes.entry(watch as i32).or_default().0;
        readers.push((self.serial, order.who, order.events));
        let (index, serial) = (watch as u32, self.serial);
        if let Some(old) = order.instead_of {
            self.leave_inode(old);
        }
        Ok((WatchId { index, generation: 0, serial }, 0))
    }

    pub(in crate::park) fn leave_inode(&mut self, watch: WatchId) {
        let number = watch.index as i32;
        let Some(InodeReaders(readers)) = self.inodes.get_mut(&number) else { return };
        readers.retain(|(serial, ..)| *serial != watch.serial);
        if readers.is_empty() {
            self.inodes.remove(&number);
            descriptor::forget_inode(self.inotify, number);
        }
    }

    pub(super) fn read_inodes(&mut self) {
        let mut bytes = [0; 4096];
        let count = descriptor::read(self.inotify, &mut bytes).max(0) as usize;
        let mut rest = &bytes[..count];
        while let Some((head, after)) = rest.split_first_chunk::<INOTIFY_EVENT>() {
            let word = |at: usize| {
                u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
            };
            let (watch, mask, len) = (word(0) as i32, word(4), word(12) as usize);
            self.inode_told(watch, mask);
            rest = after.get(len..).unwrap_or_default();
        }
    }

    fn inode_told(&mut self, watch: i32, mask: u32) {
        if mask & IN_Q_OVERFLOW != 0 {
            // Something has happened, nobody knows where: it may be everything.
            for (_, who, events) in self.inodes.values().flat_map(|readers| &readers.0) {
                let _ = Arc::clone(who).ready(*events);
            }
        } else if mask & IN_IGNORED != 0 {
            for (_, who, _) in self.inodes.remove(&watch).unwrap_or_default().0 {
                who.broken(ENOENT as i32);
            }
        } else if let Some(InodeReaders(readers)) = self.inodes.get(&watch) {
            for (_, who, events) in readers {
                if mask & events != 0 {
                    let _ = Arc::clone(who).ready(mask & events);
                }
            }
        }
    }
}
