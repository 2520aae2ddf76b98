//! An open file: tokio's, with its contracts.
//!
//! One operation at a time is in progress through [`AsyncRead`], [`AsyncWrite`] and [`AsyncSeek`]: it has
//! the buffer. If it finishes inline, the poll that began it has its result. If it goes away, then as in
//! tokio: a read's bytes stay in the buffer for whoever asks next, a write was acknowledged and its error
//! comes out of the next operation or flush.

#![allow(unsafe_code, reason = "`FromRawFd` is an unsafe trait; its duty is the caller's")]

use std::fmt;
use std::fs::{Metadata, Permissions};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};

use super::buffer::{Buffer, slices};
use super::run::{again, proceed, run};
use super::{FileTimes, OpenOptions};
use crate::budget::{self, Timer};
use crate::unblock::{launch, run as begin};
use crate::{Unblock, outstanding, worker};

type StdFile = std::fs::File;

/// Most bytes of one read or write, as in tokio.
const DEFAULT_MAX_BUF_SIZE: usize = 2 * 1024 * 1024;

/// An open file: `tokio::fs::File`, and [`read_at`](Self::read_at) and [`write_at`](Self::write_at).
///
/// Reads and writes by the traits go through a buffer of the file's. A write that does not sleep has
/// reached the kernel when it returns, and its error is its own. Otherwise the contract is tokio's: it is
/// acknowledged, the next operation or `flush` tells its error, and the runtime does not end before it is
/// made.
pub struct File {
    std: Arc<StdFile>,
    inner: Mutex<Inner>,
    max_buf_size: usize,
    /// An acknowledged write may be away: who reads or writes at a position waits for it.
    writing: AtomicBool,
}

struct Inner {
    state: State,
    /// Of a write that was acknowledged.
    last_write_err: Option<io::ErrorKind>,
    /// Where the last seek has led.
    pos: u64,
}

enum State {
    Idle(Buffer),
    Busy(Busy),
}

/// An operation and its buffer, when it is over.
type Over = (Operation, Buffer);

/// What is in progress.
enum Busy {
    /// A read or a seek.
    Closure(Unblock<Over>),
    /// A write that was acknowledged.
    Duty(oneshot::Receiver<thread::Result<Over>>),
}

enum Operation {
    Read(io::Result<usize>),
    /// How many bytes were written, and what happened then.
    Write(usize, io::Result<()>),
    Seek(io::Result<u64>),
}

impl Busy {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Over>> {
        match self {
            Self::Closure(closure) => closure.poll_result(context).map_err(io::Error::from),
            Self::Duty(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|told| told.ok().and_then(Result::ok).ok_or_else(failed)),
        }
    }
}

fn failed() -> io::Error {
    io::Error::other("background task failed")
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::open`].
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        Self::options().read(true).open(path).await
    }

    /// Opens a file for writing; makes it, or makes it empty.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::create`].
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        Self::options().write(true).create(true).truncate(true).open(path).await
    }

    /// Makes a file, and fails if it exists; for reading and writing.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::create_new`].
    pub async fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        Self::options().read(true).write(true).create_new(true).open(path).await
    }

    /// How a file is opened.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// A file of std's.
    pub fn from_std(std: StdFile) -> File {
        File {
            std: Arc::new(std),
            inner: Mutex::new(Inner {
                state: State::Idle(Buffer::default()),
                last_write_err: None,
                pos: 0,
            }),
            max_buf_size: DEFAULT_MAX_BUF_SIZE,
            writing: AtomicBool::new(false),
        }
    }

    /// Reads at `offset`, whatever the file's position is, into all of `buf`; says how many bytes there
    /// were, and gives the buffer back. 0 is the end of the file. Several may be in progress at once.
    ///
    /// # Panics
    ///
    /// With the panic of `buf`'s `as_mut`.
    pub async fn read_at<B>(&self, mut buf: B, offset: u64) -> (io::Result<usize>, B)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        self.settle().await;
        proceed().await;
        let file = Arc::clone(&self.std);
        let read = move || {
            let result = again(|| file.read_at(buf.as_mut(), offset));
            (result, buf)
        };
        let mut result = None;
        let away = begin([], |[]| read(), Timer::start, &mut result);
        positioned(result, away).await
    }

    /// Writes `buf` at `offset`, whatever the file's position is; says how many bytes were written, and
    /// gives the buffer back. (At the end, in a file opened for appending: pwrite(2).) Nothing is
    /// acknowledged before it is made. Several may be in progress at once, in any order.
    ///
    /// # Panics
    ///
    /// With the panic of `buf`'s `as_ref`.
    pub async fn write_at<B>(&self, buf: B, offset: u64) -> (io::Result<usize>, B)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        self.settle().await;
        proceed().await;
        let file = Arc::clone(&self.std);
        let write = move || {
            let result = again(|| file.write_at(buf.as_ref(), offset));
            (result, buf)
        };
        let mut result = None;
        let away = begin([], |[]| write(), Timer::start, &mut result);
        positioned(result, away).await
    }

    /// Brings data and metadata to the disk.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::sync_all`].
    pub async fn sync_all(&self) -> io::Result<()> {
        self.inner.lock().await.complete_inflight().await;
        self.on(StdFile::sync_all).await
    }

    /// Brings data, and what is needed to find it, to the disk.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::sync_data`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.inner.lock().await.complete_inflight().await;
        self.on(StdFile::sync_data).await
    }

    /// Cuts it off, or fills it up with zeros.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::set_len`].
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        proceed().await;
        let mut inner = self.inner.lock().await;
        inner.complete_inflight().await;
        let mut buf = inner.take_buffer();
        let seek = (!buf.is_empty()).then(|| SeekFrom::Current(buf.discard_read()));
        let std = Arc::clone(&self.std);
        inner.state = State::Busy(Busy::Closure(launch(move || {
            let sought = seek.map_or(Ok(0), |seek| (&*std).seek(seek));
            let result = sought.and_then(|_| again(|| std.set_len(size)));
            (Operation::Seek(result.map(|()| 0)), buf) // the value is discarded
        })));
        match poll_fn(|context| inner.poll_over(context)).await? {
            Operation::Seek(result) => result.map(|pos| inner.pos = pos),
            Operation::Read(_) | Operation::Write(..) => unreachable!("nothing else was begun"),
        }
    }

    /// What the file system knows of it.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::metadata`].
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.on(StdFile::metadata).await
    }

    /// Another handle for the same open file, with the same position.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::try_clone`].
    pub async fn try_clone(&self) -> io::Result<File> {
        self.inner.lock().await.complete_inflight().await;
        let mut file = File::from_std(self.on(StdFile::try_clone).await?);
        file.set_max_buf_size(self.max_buf_size);
        Ok(file)
    }

    /// The file for std, after what is in progress is over. If an operation of its own, like
    /// [`read_at`](Self::read_at) or [`metadata`](Self::metadata), was given up before its end and goes on, it
    /// keeps the descriptor, and this is a duplicate.
    ///
    /// # Panics
    ///
    /// If there has to be a duplicate and there can be none, because too many descriptors are open.
    pub async fn into_std(mut self) -> StdFile {
        self.inner.get_mut().complete_inflight().await;
        Arc::try_unwrap(self.std).unwrap_or_else(|in_use| {
            in_use.try_clone().expect("a descriptor can be duplicated while few are open")
        })
    }

    /// The file for std, if nothing is in progress.
    ///
    /// # Errors
    ///
    /// The file, if something is.
    #[expect(clippy::result_large_err, reason = "tokio's signature")]
    pub fn try_into_std(mut self) -> Result<StdFile, Self> {
        match Arc::try_unwrap(self.std) {
            Ok(file) => Ok(file),
            Err(std) => {
                self.std = std;
                Err(self)
            }
        }
    }

    /// Changes its permissions.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::set_permissions`].
    pub async fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        self.on(move |file| file.set_permissions(perm.clone())).await
    }

    /// Changes its time stamps, after what is in progress is over.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::set_times`].
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.inner.lock().await.complete_inflight().await;
        let times = times.into_std();
        self.on(move |file| file.set_times(times)).await
    }

    /// Changes when it was last written.
    ///
    /// # Errors
    ///
    /// As [`set_times`](Self::set_times).
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }

    /// Most bytes of one read or write by the traits: 2 MiB if not set.
    ///
    /// # Panics
    ///
    /// If it is 0.
    #[track_caller]
    pub fn set_max_buf_size(&mut self, max_buf_size: usize) {
        assert!(max_buf_size > 0, "`max_buf_size` must be greater than 0");
        self.max_buf_size = max_buf_size;
    }

    /// Most bytes of one read or write by the traits.
    pub fn max_buf_size(&self) -> usize {
        self.max_buf_size
    }

    #[inline]
    async fn on<T: Send + 'static>(
        &self,
        f: impl Fn(&StdFile) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let file = Arc::clone(&self.std);
        run!([], move |[]| f(&file))
    }

    /// Waits for a write that was acknowledged.
    #[inline]
    async fn settle(&self) {
        if self.writing.load(Ordering::Relaxed) {
            self.inner.lock().await.complete_inflight().await;
            self.writing.store(false, Ordering::Relaxed);
        }
    }

    fn poll_write_slices<'a>(
        &mut self,
        cx: &mut Context<'_>,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let inner = self.inner.get_mut();
        if let Some(error) = inner.last_write_err.take() {
            return Poll::Ready(Err(error.into()));
        }
        if let State::Busy(_) = inner.state
            && let Operation::Write(_, result) = ready!(inner.poll_over(cx))?
        {
            // Of a read only the position is left, which is what matters here; and of a seek.
            result?;
        }
        // Before the write, which cannot be taken back.
        ready!(budget::poll_proceed(cx));
        let mut buf = inner.take_buffer();
        let seek = (!buf.is_empty()).then(|| SeekFrom::Current(buf.discard_read()));
        let count = buf.copy_from(slices, self.max_buf_size);
        let std = Arc::clone(&self.std);
        let write = move || {
            let sought = seek.map_or(Ok(0), |seek| (&*std).seek(seek));
            let (written, result) = match sought {
                Ok(_) => buf.write_to(&*std),
                Err(error) => (0, Err(error)),
            };
            (Operation::Write(written, result), buf)
        };
        let (written, result) = match begin_write(write) {
            Ok((Operation::Write(written, result), buf)) => {
                inner.state = State::Idle(buf);
                (written, result)
            }
            Ok(_) => unreachable!("nothing else was begun"),
            Err(busy) => {
                inner.state = State::Busy(busy);
                self.writing.store(true, Ordering::Relaxed);
                (count, Ok(()))
            }
        };
        Poll::Ready(match result {
            Err(error) if written == 0 && count != 0 => Err(error),
            Err(error) => {
                inner.last_write_err = Some(error.kind());
                Ok(written)
            }
            Ok(()) => Ok(written),
        })
    }
}

/// The answer of an operation with a position.
#[inline]
async fn positioned<R: Send + 'static>(
    result: Option<thread::Result<R>>,
    away: Option<Unblock<R>>,
) -> R {
    match (result, away) {
        (Some(result), _) => result.unwrap_or_else(|panic| resume_unwind(panic)),
        (None, Some(away)) => away.await.unwrap_or_else(|error| resume_unwind(error.into_panic())),
        (None, None) => unreachable!("a closure is inline or away"),
    }
}

/// Begins a write that is acknowledged when this returns, unless it is over. What is not made yet is made
/// before the runtime ends.
fn begin_write<F>(write: F) -> Result<Over, Busy>
where
    F: FnOnce() -> Over + Send + 'static,
{
    if !worker::is_guest() {
        return Err(match Handle::try_current() {
            Ok(runtime) => Busy::Duty(outstanding::see_through(&runtime, || Ok(write()))),
            Err(_) => Busy::Closure(launch(write)),
        });
    }
    let mut result = None;
    match (begin([], |[]| write(), Timer::start, &mut result), result) {
        (None, Some(Ok(over))) => Ok(over),
        (None, Some(Err(panic))) => resume_unwind(panic),
        (None, None) => unreachable!("a closure is inline or away"),
        (Some(away), _) => Err(match Handle::try_current() {
            Ok(runtime) if !away.is_seen_through() => {
                Busy::Duty(outstanding::see_through(&runtime, || away.wait()))
            }
            _ => Busy::Closure(away),
        }),
    }
}

impl Inner {
    /// The buffer, to go with an operation. Only while none is in progress.
    fn take_buffer(&mut self) -> Buffer {
        match &mut self.state {
            State::Idle(buf) => std::mem::take(buf),
            State::Busy(_) => unreachable!("the operation in progress has the buffer"),
        }
    }

    /// Waits for the operation in progress, which there is, and takes its buffer back.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Operation>> {
        let State::Busy(busy) = &mut self.state else {
            unreachable!("asked of what is in progress")
        };
        let over = ready!(busy.poll(context));
        Poll::Ready(match over {
            Ok((operation, buf)) => {
                self.state = State::Idle(buf);
                Ok(operation)
            }
            Err(error) => {
                self.state = State::Idle(Buffer::default());
                Err(error)
            }
        })
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.last_write_err.take() {
            return Poll::Ready(Err(error.into()));
        }
        if let State::Idle(_) = self.state {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(match ready!(self.poll_over(context))? {
            Operation::Write(_, result) => result,
            Operation::Read(_) | Operation::Seek(_) => Ok(()),
        })
    }

    /// Waits for what is in progress; keeps a write's error for the next operation.
    async fn complete_inflight(&mut self) {
        if let State::Idle(_) = self.state {
            return;
        }
        let over = poll_fn(|context| self.poll_over(context)).await;
        if let Err(error) | Ok(Operation::Write(_, Err(error))) = over {
            // The first is told.
            self.last_write_err.get_or_insert(error.kind());
        }
    }
}

impl AsyncRead for File {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        dst: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let inner = me.inner.get_mut();
        loop {
            if let State::Idle(buf) = &mut inner.state {
                if !buf.is_empty() || dst.remaining() == 0 {
                    buf.copy_to(dst);
                    return Poll::Ready(Ok(()));
                }
                ready!(budget::poll_proceed(cx));
                let mut buf = std::mem::take(buf);
                let std = Arc::clone(&me.std);
                let most = dst.remaining().min(me.max_buf_size);
                inner.state = State::Busy(Busy::Closure(launch(move || {
                    let result = buf.read_from(&*std, most);
                    (Operation::Read(result), buf)
                })));
            }
            match ready!(inner.poll_over(cx))? {
                Operation::Read(Ok(_)) => {
                    if let State::Idle(buf) = &mut inner.state {
                        buf.copy_to(dst);
                    }
                    return Poll::Ready(Ok(()));
                }
                Operation::Read(Err(error)) => return Poll::Ready(Err(error)),
                Operation::Write(_, Ok(())) => {}
                Operation::Write(_, Err(error)) => inner.last_write_err = Some(error.kind()),
                Operation::Seek(result) => {
                    if let Ok(pos) = result {
                        inner.pos = pos;
                    }
                }
            }
        }
    }
}

impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, mut position: SeekFrom) -> io::Result<()> {
        let me = self.get_mut();
        let inner = me.inner.get_mut();
        let State::Idle(buf) = &mut inner.state else {
            return Err(io::Error::other(
                "other file operation is pending, call poll_complete before start_seek",
            ));
        };
        let mut buf = std::mem::take(buf);
        // What was read and not fetched moves the kernel's position only.
        let mut back = None;
        if !buf.is_empty() {
            let unread = buf.discard_read();
            if let SeekFrom::Current(offset) = &mut position {
                match offset.checked_add(unread) {
                    Some(sum) => *offset = sum,
                    None => back = Some(SeekFrom::Current(unread)),
                }
            }
        }
        let std = Arc::clone(&me.std);
        inner.state = State::Busy(Busy::Closure(launch(move || {
            let sought = back.map_or(Ok(0), |back| (&*std).seek(back));
            (Operation::Seek(sought.and_then(|_| (&*std).seek(position))), buf)
        })));
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let inner = self.get_mut().inner.get_mut();
        while let State::Busy(_) = inner.state {
            // A seek that is over already is answered in the task's next turn.
            ready!(budget::poll_proceed(cx));
            match ready!(inner.poll_over(cx))? {
                Operation::Read(_) | Operation::Write(_, Ok(())) => {}
                Operation::Write(_, Err(error)) => inner.last_write_err = Some(error.kind()),
                Operation::Seek(result) => {
                    if let Ok(pos) = result {
                        inner.pos = pos;
                    }
                    return Poll::Ready(result);
                }
            }
        }
        Poll::Ready(Ok(inner.pos))
    }
}

impl AsyncWrite for File {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        src: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, std::iter::once(src))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_slices(cx, slices(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().inner.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl From<StdFile> for File {
    fn from(std: StdFile) -> Self {
        Self::from_std(std)
    }
}

impl From<OwnedFd> for File {
    fn from(descriptor: OwnedFd) -> Self {
        Self::from_std(StdFile::from(descriptor))
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.std.as_raw_fd()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

impl FromRawFd for File {
    unsafe fn from_raw_fd(descriptor: RawFd) -> Self {
        // SAFETY: the duty of the caller is the same.
        Self::from_std(unsafe { StdFile::from_raw_fd(descriptor) })
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("std", &self.std).finish_non_exhaustive()
    }
}
