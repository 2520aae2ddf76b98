//! The works that do not wait: what is called, and on what.
//!
//! # Safety
//!
//! The arguments of every call here are numbers, descriptors, and addresses inside [`Memory`], which
//! is leaked and never accessed but by the kernel. So a call is sound whenever it happens and on
//! whatever thread, also after its work is done (clause *memory*). A descriptor that is closed by a
//! work was opened by that work (clause *descriptor*).

#![allow(unsafe_code, reason = "makes system calls by number, as the library's users do")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use syslet::{Arg, Call, Chain, When};
use syslet_sys::arch;

use crate::error::Trouble;
use crate::inline::Way;

/// Bytes that a read or write moves.
const BLOCK: usize = 4096;

/// A way to make a system call.
pub(crate) trait Make {
    /// Makes the call and waits for its answer: `-errno` on failure.
    ///
    /// # Safety
    ///
    /// 1. The call is sound at any time until it ends, on any thread of the process.
    unsafe fn make(&self, nr: libc::c_long, args: [usize; 6]) -> isize;
}

/// The bare instruction: the strictest reference, cheaper than the C library's wrapper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plain;

impl Make for Plain {
    #[inline(always)]
    unsafe fn make(&self, nr: libc::c_long, args: [usize; 6]) -> isize {
        // SAFETY: duty 1.
        unsafe { arch::syscall(nr as usize, args) }
    }
}

/// The library's `submit`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submit;

impl Make for Submit {
    #[inline(always)]
    unsafe fn make(&self, nr: libc::c_long, args: [usize; 6]) -> isize {
        // SAFETY: duty 1.
        match unsafe { syslet::submit(Call::new(nr as usize, args)) } {
            Ok(submitted) => submitted.wait().raw(),
            Err(_) => -(libc::ENOSYS as isize),
        }
    }
}

/// Something that is measured many times over.
pub(crate) trait Work: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    /// How many of its system calls the library protects: those that can wait.
    const PROTECTED: u64 = 1;

    /// The ways in which it is measured; the first is the plain one.
    const WAYS: &'static [Way] = &Way::ALL;

    /// Does it once. Negative if a call failed.
    fn once(self, make: &impl Make) -> isize;

    /// Does it once as one chain, where that is among its ways. Negative if a call failed.
    fn chained(self) -> isize {
        -(libc::ENOSYS as isize)
    }
}

/// A call that can never wait, which the library makes without protection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Getppid;

impl Work for Getppid {
    const NAME: &'static str = "getppid";
    const PROTECTED: u64 = 0;

    #[inline(always)]
    fn once(self, make: &impl Make) -> isize {
        // SAFETY: takes nothing.
        unsafe { make.make(libc::SYS_getppid, [0; 6]) }
    }
}

/// A protected call that does next to nothing: the cost of protection itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lseek {
    fd: usize,
}

impl Work for Lseek {
    const NAME: &'static str = "lseek";

    #[inline(always)]
    fn once(self, make: &impl Make) -> isize {
        // SAFETY: takes numbers; nobody uses the file's position.
        unsafe { make.make(libc::SYS_lseek, [self.fd, 0, libc::SEEK_CUR as usize, 0, 0, 0]) }
    }
}

/// Reads a block that is in the page cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pread {
    fd: usize,
    buffer: Memory,
}

impl Work for Pread {
    const NAME: &'static str = "pread4k";

    #[inline(always)]
    fn once(self, make: &impl Make) -> isize {
        // SAFETY: clause memory: a block of it.
        unsafe { make.make(libc::SYS_pread64, [self.fd, self.buffer.0, BLOCK, 0, 0, 0]) }
    }
}

/// Overwrites a block that is in the page cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pwrite {
    fd: usize,
    buffer: Memory,
}

impl Work for Pwrite {
    const NAME: &'static str = "pwrite4k";

    #[inline(always)]
    fn once(self, make: &impl Make) -> isize {
        // SAFETY: clause memory: a block of it.
        unsafe { make.make(libc::SYS_pwrite64, [self.fd, self.buffer.0, BLOCK, 0, 0, 0]) }
    }
}

/// Asks for a file's metadata by its path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statx {
    path: Memory,
    buffer: Memory,
}

impl Work for Statx {
    const NAME: &'static str = "statx";

    #[inline(always)]
    fn once(self, make: &impl Make) -> isize {
        let (here, mask) = (libc::AT_FDCWD as usize, libc::STATX_BASIC_STATS as usize);
        // SAFETY: clause memory: a path with its final zero, and more than a `struct statx`.
        unsafe { make.make(libc::SYS_statx, [here, self.path.0, 0, mask, self.buffer.0, 0]) }
    }
}

/// The arguments of openat(2): the file at `path`, for reading.
fn to_open(path: Memory) -> [usize; 3] {
    [libc::AT_FDCWD as usize, path.0, (libc::O_RDONLY | libc::O_CLOEXEC) as usize]
}

/// Opens the file at `path` for reading: its descriptor, or `-errno`.
#[inline(always)]
fn open(make: &impl Make, path: Memory) -> isize {
    let [here, path, flags] = to_open(path);
    // SAFETY: clause memory: a path with its final zero.
    unsafe { make.make(libc::SYS_openat, [here, path, flags, 0, 0, 0]) }
}

/// Opens a file and closes it: two calls, each protected for itself, or both in one threadlet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenClose {
    path: Memory,
}

impl Work for OpenClose {
    const NAME: &'static str = "open_close";
    const PROTECTED: u64 = 2;

    #[inline(always)]
    fn once(self, make: &impl Make) -> isize {
        let fd = open(make, self.path);
        if fd < 0 {
            return fd;
        }
        // SAFETY: clause descriptor.
        unsafe { make.make(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) }
    }
}

/// Opens a file, reads it and closes it: three calls, each protected for itself, all in one threadlet,
/// or one chain, which is built anew each time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenReadClose {
    path: Memory,
    buffer: Memory,
}

impl Work for OpenReadClose {
    const NAME: &'static str = "open_read_close";
    const PROTECTED: u64 = 3;
    const WAYS: &'static [Way] = &[Way::Plain, Way::Submit, Way::Threadlet, Way::Chain];

    #[inline(always)]
    fn once(self, make: &impl Make) -> isize {
        let fd = open(make, self.path);
        if fd < 0 {
            return fd;
        }
        // SAFETY: clause memory: a block of it.
        let n = unsafe { make.make(libc::SYS_read, [fd as usize, self.buffer.0, BLOCK, 0, 0, 0]) };
        // SAFETY: clause descriptor.
        let closed = unsafe { make.make(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
        n.min(closed)
    }

    #[inline(always)]
    fn chained(self) -> isize {
        let mut chain = Chain::new();
        let open = chain.push(libc::SYS_openat as usize, to_open(self.path).map(Arg::Value));
        chain.stop_on(open, When::Negative);
        let (buffer, len) = (Arg::Value(self.buffer.0), Arg::Value(BLOCK));
        let read = chain.push(libc::SYS_read as usize, [open.into(), buffer, len]);
        let close = chain.push(libc::SYS_close as usize, [open.into()]);
        // SAFETY: clauses memory and descriptor.
        let Ok(submitted) = (unsafe { syslet::submit_chain(chain) }) else {
            return -(libc::ENOSYS as isize);
        };
        let result = submitted.wait();
        let answers = [open, read, close].map(|step| result.ret(step).map_or(0, |ret| ret.raw()));
        answers.into_iter().fold(0, isize::min)
    }
}

/// The address of a block that is given to the kernel for good.
#[derive(Debug, Clone, Copy)]
struct Memory(usize);

impl Memory {
    /// A block that begins with `bytes`; the rest is zero.
    fn with(bytes: &[u8]) -> Self {
        let mut block = vec![0u64; BLOCK / 8];
        for (word, bytes) in block.iter_mut().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_ne_bytes(whole);
        }
        Self(Box::into_raw(block.into_boxed_slice()).cast::<u64>() as usize)
    }
}

/// The files that the works need, in a directory of their own, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    path: PathBuf,
    /// Kept open for the works, which know its number.
    file: File,
}

impl Files {
    /// Makes them under `dir`.
    pub(crate) fn make(dir: &Path) -> Result<Self, Trouble> {
        let dir = dir.join(format!("syslet-bench-{}", std::process::id()));
        fs::create_dir(&dir).map_err(Trouble::io("making a directory for the files"))?;
        Self::make_file(&dir).map_err(|error| {
            let _ = fs::remove_dir_all(&dir); // the first error is the one to report
            Trouble::Io("making the files", error)
        })
    }

    fn make_file(dir: &Path) -> io::Result<Self> {
        let path = dir.join("block");
        fs::write(&path, [0; BLOCK])?;
        let file = File::options().read(true).write(true).open(&path)?;
        // Nothing is left to be written back, which would hold up a write now and then.
        file.sync_all()?;
        Ok(Self { dir: dir.to_owned(), path, file })
    }

    fn fd(&self) -> usize {
        self.file.as_raw_fd() as usize
    }

    fn path(&self) -> Memory {
        let bytes = self.path.as_os_str().as_bytes();
        assert!(bytes.len() < BLOCK, "the kernel takes no longer path: PATH_MAX");
        Memory::with(bytes)
    }

    pub(crate) fn lseek(&self) -> Lseek {
        Lseek { fd: self.fd() }
    }

    pub(crate) fn pread(&self) -> Pread {
        Pread { fd: self.fd(), buffer: Memory::with(&[]) }
    }

    pub(crate) fn pwrite(&self) -> Pwrite {
        Pwrite { fd: self.fd(), buffer: Memory::with(&[]) }
    }

    pub(crate) fn statx(&self) -> Statx {
        Statx { path: self.path(), buffer: Memory::with(&[]) }
    }

    pub(crate) fn open_close(&self) -> OpenClose {
        OpenClose { path: self.path() }
    }

    pub(crate) fn open_read_close(&self) -> OpenReadClose {
        OpenReadClose { path: self.path(), buffer: Memory::with(&[]) }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir); // a file left behind is not worth an error
    }
}
