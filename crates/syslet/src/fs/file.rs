//! An open file.

use std::fmt;
use std::fs::{FileTimes, Metadata, Permissions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use super::OpenOptions;
use super::again::disk;
use super::tasks::{Lock, Read, Write, WriteAll};
use crate::{IoBuf, IoBufMut, Operation};

/// An open file: [`std::fs::File`], shared with the operations that are in progress on it. It is closed
/// when it and they are gone.
///
/// A file of any kind will do, also a pipe or a terminal: make one from a
/// [`std::fs::File`] or an [`OwnedFd`].
///
/// ```
/// use syslet::fs::File;
///
/// let (reader, writer) = std::io::pipe()?;
/// let file = File::from(std::os::fd::OwnedFd::from(reader));
/// let mut read = file.read(vec![0; 10]); // waits for a writer, the caller does not
/// assert!(!read.is_done());
///
/// std::io::Write::write_all(&mut &writer, b"now")?;
/// let (count, buf) = read.wait();
/// assert_eq!(&buf[..count?], b"now");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct File(Arc<std::fs::File>);

impl File {
    /// Opens a file for reading.
    pub fn open(path: impl AsRef<Path>) -> Operation<io::Result<Self>> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing; makes it, or makes it empty.
    pub fn create(path: impl AsRef<Path>) -> Operation<io::Result<Self>> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, and fails if it exists; for reading and writing.
    pub fn create_new(path: impl AsRef<Path>) -> Operation<io::Result<Self>> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// How a file is opened.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Reads at the file's position, and moves it, up to the buffer's length. 0 is the end of the file.
    pub fn read<B: IoBufMut>(&self, buf: B) -> Operation<(io::Result<usize>, B)> {
        Operation::of_task(Read::new(self.share(), buf, None))
    }

    /// Reads at `offset`, up to the buffer's length. 0 is the end of the file.
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> Operation<(io::Result<usize>, B)> {
        Operation::of_task(Read::new(self.share(), buf, Some(offset)))
    }

    /// Writes at the file's position, and moves it; says how many bytes were written.
    pub fn write<B: IoBuf>(&self, buf: B) -> Operation<(io::Result<usize>, B)> {
        Operation::of_task(Write::new(self.share(), buf, None))
    }

    /// Writes at `offset`; says how many bytes were written. (At the end, in a file opened for
    /// appending: pwrite(2).)
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> Operation<(io::Result<usize>, B)> {
        Operation::of_task(Write::new(self.share(), buf, Some(offset)))
    }

    /// Writes all of it at the file's position.
    pub fn write_all<B: IoBuf>(&self, buf: B) -> Operation<(io::Result<()>, B)> {
        self.all(buf, None)
    }

    /// Writes all of it at `offset`.
    pub fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> Operation<(io::Result<()>, B)> {
        self.all(buf, Some(offset))
    }

    fn all<B: IoBuf>(&self, buf: B, offset: Option<u64>) -> Operation<(io::Result<()>, B)> {
        match WriteAll::new(self.share(), buf, offset).unless_empty() {
            Ok(task) => Operation::of_task(task),
            Err(buf) => Operation::ready((Ok(()), buf)),
        }
    }

    /// Moves the file's position; says where it is.
    pub fn seek(&self, position: SeekFrom) -> Operation<io::Result<u64>> {
        self.on(move |mut file| file.seek(position))
    }

    /// What the file system knows of it.
    pub fn metadata(&self) -> Operation<io::Result<Metadata>> {
        self.on(std::fs::File::metadata)
    }

    /// Brings data and metadata to the disk.
    pub fn sync_all(&self) -> Operation<io::Result<()>> {
        self.on(std::fs::File::sync_all)
    }

    /// Brings data, and what is needed to find it, to the disk.
    pub fn sync_data(&self) -> Operation<io::Result<()>> {
        self.on(std::fs::File::sync_data)
    }

    /// Cuts it off, or fills it up with zeros.
    pub fn set_len(&self, size: u64) -> Operation<io::Result<()>> {
        self.on(move |file| file.set_len(size))
    }

    /// Changes its permissions.
    pub fn set_permissions(&self, permissions: Permissions) -> Operation<io::Result<()>> {
        self.on(move |file| file.set_permissions(permissions.clone()))
    }

    /// Changes its time stamps.
    pub fn set_times(&self, times: FileTimes) -> Operation<io::Result<()>> {
        self.on(move |file| file.set_times(times))
    }

    /// Locks it against all others (flock(2)). Dropped early, it gives the attempt up; if it has the lock by then, that
    /// stays until it is [released](Self::unlock) or the file closed.
    pub fn lock(&self) -> Operation<io::Result<()>> {
        Operation::of_task(Lock::new(self.share(), libc::LOCK_EX))
    }

    /// Locks it against those who [`lock`](Self::lock) it. Dropped early, it is as `lock`.
    pub fn lock_shared(&self) -> Operation<io::Result<()>> {
        Operation::of_task(Lock::new(self.share(), libc::LOCK_SH))
    }

    /// Releases the lock.
    pub fn unlock(&self) -> Operation<io::Result<()>> {
        Operation::of_task(Lock::new(self.share(), libc::LOCK_UN))
    }

    /// Another handle for the same open file, with the same position.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::try_clone`].
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::from(self.0.try_clone()?))
    }

    /// The file for std, if no operation is in progress on it.
    ///
    /// # Errors
    ///
    /// The file, if one is.
    pub fn try_into_std(self) -> Result<std::fs::File, Self> {
        Arc::try_unwrap(self.0).map_err(Self)
    }

    fn share(&self) -> Arc<std::fs::File> {
        Arc::clone(&self.0)
    }

    fn on<T: Send + 'static>(
        &self,
        f: impl Fn(&std::fs::File) -> io::Result<T> + Send + 'static,
    ) -> Operation<io::Result<T>> {
        let file = self.share();
        disk(move || f(&file))
    }
}

impl From<std::fs::File> for File {
    fn from(file: std::fs::File) -> Self {
        Self(Arc::new(file))
    }
}

impl From<OwnedFd> for File {
    fn from(descriptor: OwnedFd) -> Self {
        Self::from(std::fs::File::from(descriptor))
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
