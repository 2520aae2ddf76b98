//! Answering the kernel.

use std::ffi::OsStr;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, IoctlFlags,
    LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, ReplyAttr, ReplyData,
    ReplyDirectory, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite,
    WriteFlags,
};

use crate::content::fill;
use crate::delayed::Delayed;
use crate::faults::{Answer, Fault, Request};
use crate::gate::Gate;
use crate::mounted::{Counters, File};

/// How long the kernel may remember names and sizes, if it may: they never change.
const REMEMBER: Duration = Duration::from_secs(3600);

/// Number of the inode of the first file; 1 is the root's.
const FIRST: u64 = 2;

/// What the program says becomes of a request.
pub(crate) type Script = Box<dyn Fn(&Request) -> Answer + Send + Sync>;

/// The mounted side of [`TestFs`](crate::TestFs).
pub(crate) struct Served {
    pub(crate) files: Vec<File>,
    pub(crate) script: Script,
    pub(crate) counters: Arc<Counters>,
    pub(crate) delayed: Delayed,
    pub(crate) gate: Arc<Gate>,
    /// The gate of the answers to statfs(2).
    pub(crate) figures: Arc<Gate>,
    /// Files may be written to.
    pub(crate) writes: bool,
    pub(crate) born: SystemTime,
}

impl Served {
    fn file(&self, inode: INodeNo) -> Option<(usize, &File)> {
        let number = usize::try_from(inode.0.checked_sub(FIRST)?).ok()?;
        Some((number, self.files.get(number)?))
    }

    /// How long the kernel may remember what it is told.
    fn remember(&self) -> Duration {
        let forgotten = self.counters.forgotten.load(Ordering::Relaxed);
        if forgotten { Duration::ZERO } else { REMEMBER }
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match self.file(inode) {
            Some((_, file)) if self.writes => (FileType::RegularFile, 0o644, file.size),
            Some((_, file)) => (FileType::RegularFile, 0o444, file.size),
            None if inode == INodeNo::ROOT => (FileType::Directory, 0o555, 0),
            None => return None,
        };
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let (time, blocks) = (self.born, size.div_ceil(512));
        let attributes = FileAttr {
            ino: inode,
            size,
            blocks,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: 1,
            uid,
            gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        Some(attributes)
    }

    /// Puts a request to the script, counts what it says, and has `reply` do it when it is time.
    fn answer(&self, request: &Request, reply: impl FnOnce(Option<Fault>) + Send + 'static) {
        let Answer { delay, fault } = (self.script)(request);
        self.counters.count(request, delay, fault);
        if delay.is_zero() {
            match request {
                Request::Open { .. } => reply(fault),
                Request::Read { .. } => self.gate.pass(Box::new(move || reply(fault))),
            }
        } else {
            self.delayed.after(delay, move || reply(fault));
        }
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &fuser::Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let at = self.files.iter().position(|file| OsStr::new(&file.name) == name);
        let inode = at.map(|at| INodeNo(FIRST + at as u64)).filter(|_| parent == INodeNo::ROOT);
        match inode.and_then(|inode| self.attributes(inode)) {
            Some(attributes) => reply.entry(&self.remember(), &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &fuser::Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.counters.attributes.fetch_add(1, Ordering::Relaxed);
        if self.counters.breaks_off() {
            return reply.error(Errno::EINTR);
        }
        match self.attributes(ino) {
            Some(attributes) => reply.attr(&self.remember(), &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &fuser::Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let Some((file, _)) = self.file(ino) else { return reply.error(Errno::ENOENT) };
        let counters = Arc::clone(&self.counters);
        self.answer(&Request::Open { file }, move |fault| match fault {
            Some(Fault::Failed) => reply.error(Errno::EIO),
            Some(Fault::Interrupted) => reply.error(Errno::EINTR),
            _ => {
                counters.open.fetch_add(1, Ordering::Relaxed);
                reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
        });
    }

    fn release(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: fuser::ReplyEmpty,
    ) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
        reply.ok();
    }

    fn flush(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        reply: fuser::ReplyEmpty,
    ) {
        self.counters.flushes.fetch_add(1, Ordering::Relaxed);
        match self.counters.flush_nanos.load(Ordering::Relaxed) {
            0 => reply.error(Errno::ENOSYS), // never again: closing is not to wait for this process
            nanos => {
                let gate = Arc::clone(&self.gate);
                self.delayed.after(Duration::from_nanos(nanos), move || {
                    gate.pass(Box::new(move || reply.error(Errno::EINTR)));
                });
            }
        }
    }

    fn poll(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        self.counters.polls.fetch_add(1, Ordering::Relaxed);
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &fuser::Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some((file, &File { size: end, .. })) = self.file(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let length = u64::from(size).min(end.saturating_sub(offset)) as usize;
        self.answer(&Request::Read { file, offset, length }, move |fault| {
            let length = match fault {
                Some(Fault::Failed) => return reply.error(Errno::EIO),
                Some(Fault::Interrupted) => return reply.error(Errno::EINTR),
                Some(Fault::Shorter(less)) => length.saturating_sub(less),
                None => length,
            };
            let mut bytes = vec![0; length];
            fill(file, offset, &mut bytes);
            reply.data(&bytes);
        });
    }

    fn write(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        reply.written(data.len() as u32);
    }

    fn statfs(&self, _: &fuser::Request, _: INodeNo, reply: ReplyStatfs) {
        self.counters.figures.fetch_add(1, Ordering::Relaxed);
        self.figures.pass(Box::new(move || reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096)));
    }

    fn ioctl(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        self.counters.ioctls.fetch_add(1, Ordering::Relaxed);
        // So long that it is seen to sleep.
        let broken_off = self.counters.breaks_off();
        self.delayed.after(Duration::from_millis(3), move || match broken_off {
            true => reply.error(Errno::EINTR),
            false => reply.ioctl(0, &[]),
        });
    }

    fn readdir(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for (at, file) in self.files.iter().enumerate().skip(offset as usize) {
            let next = at as u64 + 1;
            if reply.add(INodeNo(FIRST + at as u64), next, FileType::RegularFile, &file.name) {
                break; // full
            }
        }
        reply.ok();
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("files", &self.files).finish_non_exhaustive()
    }
}
