//! Counting, in the process of the program.
//!
//! # Safety
//!
//! Clause *page*: a mapping of [`Page`]'s size of a file that is at least as large, shared, and never taken
//! away. All that is written to are atomic numbers; other processes, and whoever else has the
//! file, can make the figures wrong but nothing else. (A file that is cut short meanwhile is a SIGBUS: it is
//! the command's own, in a folder of its own.)

#![allow(unsafe_code, reason = "maps a file; see the header")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::VARIABLE;
use super::layout::{ERRORS, Kind, Library, MAGIC, Page, Section, Way, bucket_of};
use crate::clock::now;

/// The counters of one library, for a static.
#[derive(Debug)]
pub struct Report {
    library: Library,
    page: AtomicPtr<Page>,
}

/// When an operation began; nothing if nobody wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun(u64);

impl Report {
    /// Counts nothing until it is opened.
    pub const fn new(library: Library) -> Self {
        Self { library, page: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Begins to count, if the environment names a file that can be used. When the library is loaded.
    pub fn open(&self) {
        let Some(path) = std::env::var_os(VARIABLE) else { return };
        let Ok(page) = map(Path::new(&path)) else { return };
        // Release: pairs with the acquire in `section`.
        self.page.store(page, Ordering::Release);
        if let Some(section) = self.section() {
            section.processes.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[inline]
    fn section(&self) -> Option<&Section> {
        // SAFETY: null, or clause *page*.
        let page = unsafe { self.page.load(Ordering::Acquire).as_ref() };
        page.map(|page| &page.sections[self.library as usize])
    }

    /// An operation begins.
    #[inline]
    pub fn begin(&self) -> Begun {
        if !self.is_open() {
            return Begun::default();
        }
        Begun(now())
    }

    /// True if somebody wants to know: for who would have to look at something for it.
    #[inline]
    pub fn is_open(&self) -> bool {
        !self.page.load(Ordering::Relaxed).is_null()
    }

    /// An operation that the kernel has taken, whose end nobody tells us of.
    pub fn passed_on(&self, kind: Kind) {
        if let Some(section) = self.section() {
            let latency = &section.operations[kind as usize][Way::Kernel as usize];
            latency.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An answer of an operation that is counted elsewhere, or that was refused.
    pub fn answered(&self, res: i64) {
        if let Some(section) = self.section() {
            note(section, res);
        }
    }

    /// It has ended with `res`, an answer as the kernel gives it.
    #[inline]
    pub fn end(&self, begun: Begun, kind: Kind, way: Way, res: i64) {
        if let Some(section) = self.section() {
            count(section, begun, kind, way, res);
        }
    }
}

#[cold]
fn count(section: &Section, begun: Begun, kind: Kind, way: Way, res: i64) {
    let nanos = now().saturating_sub(begun.0);
    let latency = &section.operations[kind as usize][way as usize];
    latency.count.fetch_add(1, Ordering::Relaxed);
    latency.sum.fetch_add(nanos, Ordering::Relaxed);
    latency.max.fetch_max(nanos, Ordering::Relaxed);
    latency.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
    note(section, res);
}

/// Counts what is an error.
fn note(section: &Section, res: i64) {
    if res < 0 {
        let errno = usize::try_from(res.unsigned_abs()).unwrap_or(usize::MAX);
        section.errors[errno.min(ERRORS - 1)].fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes the file.
pub(super) fn create(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    file.set_len(size_of::<Page>() as u64)?;
    let page = map_file(&file)?;
    let head = [MAGIC, size_of::<Page>() as u64];
    // SAFETY: clause *page*; the two words before the counters, and nobody else has the file yet.
    unsafe { page.cast::<[u64; 2]>().write(head) };
    // SAFETY: mapped above, and not used any more.
    unsafe { libc::munmap(page.cast(), size_of::<Page>()) };
    Ok(())
}

/// Maps a file that [`create`] has made.
pub(super) fn map(path: &Path) -> io::Result<*mut Page> {
    let flags = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != size_of::<Page>() as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a report"));
    }
    let page = map_file(&file)?;
    // SAFETY: clause *page*.
    let head = unsafe { page.cast::<[u64; 2]>().read() };
    if head != [MAGIC, size_of::<Page>() as u64] {
        // SAFETY: mapped above, and not used any more.
        unsafe { libc::munmap(page.cast(), size_of::<Page>()) };
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a report"));
    }
    Ok(page)
}

fn map_file(file: &File) -> io::Result<*mut Page> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let size = size_of::<Page>();
    // SAFETY: new memory, wherever there is room.
    let page = unsafe {
        libc::mmap(ptr::null_mut(), size, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(page.cast()) }
}
