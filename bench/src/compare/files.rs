//! The files that the works are done to.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{Advice, XattrFlags, fadvise};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::error::Trouble;
use crate::options::CompareWork;
use crate::scratch::Scratch;

/// Most that are under way at once: each has names and memory of its own.
pub(super) const DEPTH: usize = 32;
/// Bytes of the largest read.
pub(super) const LARGEST: usize = 1 << 20;
/// Files of the directory that is listed.
pub(super) const LISTED: usize = 100;
/// Cold blocks and files; no batch has more works, so none comes twice.
pub(super) const COLD: usize = 256;
/// From one cold block to the next: so far that reading one brings nothing of another.
const APART: u64 = 128 << 10;
/// The attribute that is asked for.
pub(super) const ATTRIBUTE: &CStr = c"user.bench";

/// Names and inodes are forgotten by root only, and all at once.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// A directory of files, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct Files {
    targets: &'static Targets,
    _scratch: Scratch,
}

/// A file's name, for functions and for calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) path: &'static Path,
    pub(super) text: &'static CStr,
}

impl Name {
    fn new(dir: &Path, name: &str) -> Self {
        let path: &'static Path = Box::leak(dir.join(name).into_boxed_path());
        let text = CString::new(path.as_os_str().as_bytes());
        let text = text.expect("the names of directories have no zeroes");
        Self { path, text: Box::leak(text.into_boxed_c_str()) }
    }

    /// Its address, for a call.
    pub(super) fn address(self) -> usize {
        self.text.as_ptr().expose_provenance()
    }
}

/// What works are done to. Names, descriptor and memory are never freed, so a call of them is sound whenever it
/// happens and on whatever thread.
#[derive(Debug)]
pub(super) struct Targets {
    /// A file of [`LARGEST`] bytes.
    pub(super) file: Name,
    /// A directory with [`LISTED`] files.
    pub(super) listed: Name,
    /// A file that is read as a whole.
    pub(super) whole: Name,
    /// A file with [`COLD`] blocks that are fetched from the disk.
    pub(super) cold: Name,
    /// The same, open.
    cold_open: File,
    /// Files in directories of their own, whose names and inodes are fetched from the disk.
    cold_files: Vec<Name>,
    /// Cold works of the batch so far.
    cold_next: AtomicUsize,
    /// The file, open for reading and writing.
    open: File,
    /// Where the next write goes that makes the file longer.
    end: AtomicU64,
    slots: [Slot; DEPTH],
}

/// What one of those under way has for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// There is none of that name; to make something of.
    pub(super) new: Name,
    /// A file to be renamed, and its other name.
    pub(super) moving: Name,
    pub(super) other: Name,
    /// A file that is written as a whole.
    pub(super) written: Name,
    /// Address of [`LARGEST`] bytes, which nothing but calls access.
    pub(super) memory: usize,
}

impl Targets {
    pub(super) fn fd(&self) -> RawFd {
        self.open.as_raw_fd()
    }

    /// Where a work writes. If it syncs too, the file becomes longer: then the sync has something to do for certain.
    /// (A new time of change would not do. Within one tick of the kernel's clock there is none, so who was fast would
    /// go on to be.)
    pub(super) fn write_at(&self, work: CompareWork) -> u64 {
        match work {
            CompareWork::Fsync => self.end.fetch_add(work.bytes() as u64, Ordering::Relaxed),
            _ => 0,
        }
    }

    /// The file that a work reads.
    pub(super) fn fd_of(&self, work: CompareWork) -> RawFd {
        if work.is_cold() { self.cold_open.as_raw_fd() } else { self.fd() }
    }

    /// Where a work reads: cold blocks come in no order.
    pub(super) fn read_at(&self, work: CompareWork) -> u64 {
        match work.is_cold() {
            true => (self.next_cold() * 167 % COLD) as u64 * APART,
            false => 0,
        }
    }

    /// The file that a work asks the metadata of.
    pub(super) fn named(&self, work: CompareWork) -> Name {
        if work.is_cold() { self.cold_files[self.next_cold() % COLD] } else { self.file }
    }

    fn next_cold(&self) -> usize {
        self.cold_next.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes the file as long as it was at first; the next batch begins with the first cold block.
    pub(super) fn begin_anew(&self) -> io::Result<()> {
        self.cold_next.store(0, Ordering::Relaxed);
        self.end.store(LARGEST as u64, Ordering::Relaxed);
        self.open.set_len(LARGEST as u64)
    }

    /// Has the kernel forget what it has of the files of a cold work.
    pub(super) fn forget(&self, work: CompareWork) -> io::Result<()> {
        match work {
            CompareWork::ColdMetadata => fs::write(DROP_CACHES, "3"),
            CompareWork::ColdRead4k | CompareWork::ColdRead64k => {
                Ok(fadvise(&self.cold_open, 0, None, Advice::DontNeed)?)
            }
            _ => Ok(()),
        }
    }

    /// What the one at `slot` has.
    pub(super) fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }
}

impl Files {
    pub(super) fn make(dir: &Path) -> Result<Self, Trouble> {
        let scratch = Scratch::make(dir, "compare")?;
        let targets = fill(scratch.path()).map_err(Trouble::io("making the files"))?;
        Ok(Self { targets: Box::leak(Box::new(targets)), _scratch: scratch })
    }

    pub(super) fn targets(&self) -> &'static Targets {
        self.targets
    }
}

fn fill(dir: &Path) -> io::Result<Targets> {
    let file = Name::new(dir, "file");
    fs::write(file.path, vec![1; LARGEST])?;
    // Where there are no attributes, the works ask for one that is not there.
    let _ = rustix::fs::setxattr(file.path, ATTRIBUTE, b"value", XattrFlags::empty());
    let listed = Name::new(dir, "listed");
    fs::create_dir(listed.path)?;
    (0..LISTED).try_for_each(|at| fs::write(listed.path.join(format!("file-{at}")), ""))?;
    let whole = Name::new(dir, "whole");
    fs::write(whole.path, vec![1; CompareWork::ReadFile.bytes()])?;
    let (cold, cold_open, cold_files) = fill_cold(dir)?;
    let slot = |at: usize| {
        let [new, moving, other, written] = ["new", "moving", "other", "written"]
            .map(|name| Name::new(dir, &format!("{name}-{at}")));
        fs::write(moving.path, "")?;
        let memory: &'static mut [u8] = vec![1; LARGEST].leak();
        let memory = memory.as_mut_ptr().expose_provenance();
        io::Result::Ok(Slot { new, moving, other, written, memory })
    };
    let slots: Vec<Slot> = (0..DEPTH).map(slot).collect::<io::Result<_>>()?;
    let slots = slots.try_into().expect("one for each");
    let open = File::options().read(true).write(true).open(file.path)?;
    // Nothing is left to be written back, which would hold up a write now and then.
    open.sync_all()?;
    let (end, cold_next) = (AtomicU64::new(LARGEST as u64), AtomicUsize::new(0));
    Ok(Targets { file, listed, whole, cold, cold_open, cold_files, cold_next, open, end, slots })
}

/// The files of the cold works, written to the disk.
fn fill_cold(dir: &Path) -> io::Result<(Name, File, Vec<Name>)> {
    let cold = Name::new(dir, "cold");
    let open = File::options().read(true).write(true).create_new(true).open(cold.path)?;
    // Only what is read is written: what lies between is never looked at.
    let block = vec![1; CompareWork::ColdRead64k.bytes()];
    (0..COLD as u64).try_for_each(|at| open.write_all_at(&block, at * APART))?;
    let file = |at| {
        fs::create_dir(dir.join(format!("cold-{at}")))?;
        let name = Name::new(dir, &format!("cold-{at}/file"));
        fs::write(name.path, "").map(|()| name)
    };
    let files = (0..COLD).map(file).collect::<io::Result<_>>()?;
    rustix::fs::syncfs(&open)?;
    Ok((cold, open, files))
}

/// An overlayfs over a directory of its own.
#[derive(Debug)]
pub(super) struct Overlay {
    scratch: Scratch,
}

impl Overlay {
    pub(super) fn mount(dir: &Path) -> Result<Self, Trouble> {
        let overlay = Self { scratch: Scratch::make(dir, "overlay")? };
        let at = |name: &str| overlay.scratch.path().join(name);
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(at(name)).map_err(Trouble::io("making a directory"))?;
        }
        let [lower, upper, work] =
            ["lower", "upper", "work"].map(|name| at(name).display().to_string());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let options = CString::new(options).expect("the names of directories have no zeroes");
        let flags = MountFlags::empty();
        let mounted = mount("overlay", at("merged"), "overlay", flags, Some(options.as_c_str()));
        mounted.map_err(|errno| Trouble::Io("mounting an overlayfs", errno.into()))?;
        Ok(overlay)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.scratch.path().join("merged")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Detached: files of it may be open until the program ends. Not mounted, if making it failed half-way.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}
