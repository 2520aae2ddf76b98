//! The body of a response.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::files::{Source, read};

/// Bytes that are there, and those of a file that are still to be read.
#[derive(Debug)]
pub(crate) struct FileBody {
    ready: Bytes,
    rest: Rest,
}

enum Rest {
    None,
    /// So many are left, of this file.
    Left(u64, Source),
    /// They are being read; so many are left with them.
    Reading(u64, Reading),
}

type Reading = Pin<Box<dyn Future<Output = io::Result<(Source, Bytes)>> + Send>>;

impl FileBody {
    pub(crate) fn of(ready: impl Into<Bytes>) -> Self {
        Self { ready: ready.into(), rest: Rest::None }
    }

    /// Bytes of the file, `length` in all, of which the first are there.
    pub(crate) fn of_file(first: Bytes, length: u64, source: Option<Source>) -> Self {
        let left = length - first.len() as u64;
        Self { ready: first, rest: source.map_or(Rest::None, |source| Rest::Left(left, source)) }
    }

    fn left(&self) -> u64 {
        let (Rest::Left(left, _) | Rest::Reading(left, _)) = self.rest else { return 0 };
        left
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.ready.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.ready)))));
        }
        if let Rest::Left(..) = self.rest
            && let Rest::Left(left, source) = mem::replace(&mut self.rest, Rest::None)
        {
            self.rest = Rest::Reading(left, Box::pin(read(source, left)));
        }
        let Rest::Reading(left, reading) = &mut self.rest else { return Poll::Ready(None) };
        let left = *left;
        let result = ready!(reading.as_mut().poll(context));
        self.rest = Rest::None;
        let (source, bytes) = result?;
        if let Some(left @ 1..) = left.checked_sub(bytes.len() as u64) {
            self.rest = Rest::Left(left, source);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.ready.len() as u64 + self.left())
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Left(left, _) => f.debug_tuple("Left").field(left).finish_non_exhaustive(),
            Self::Reading(left, _) => f.debug_tuple("Reading").field(left).finish_non_exhaustive(),
        }
    }
}
