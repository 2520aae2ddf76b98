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
    /// Reading them has failed, which is still to be said.
    Failed(u64, io::Error),
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
        match self.rest {
            Rest::None => 0,
            Rest::Left(left, _) | Rest::Reading(left, _) | Rest::Failed(left, _) => left,
        }
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
        let Rest::Reading(left, reading) = &mut self.rest else {
            let rest = mem::replace(&mut self.rest, Rest::None);
            let Rest::Failed(_, error) = rest else { return Poll::Ready(None) };
            return Poll::Ready(Some(Err(error)));
        };
        let left = *left;
        let result = ready!(reading.as_mut().poll(context));
        self.rest = Rest::None;
        let (source, bytes) = match result {
            Ok(read) => read,
            // hyper drops what it has not sent yet when it is told, also the head, and the client would not learn what
            // the server meant to send: it may send that first.
            Err(error) => {
                self.rest = Rest::Failed(left, error);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
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
            Self::Failed(left, error) => f.debug_tuple("Failed").field(left).field(error).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::files::Files;
    use crate::serve::runtime;

    #[test]
    fn what_was_read_can_be_sent_before_a_failure_is_told() {
        let runtime = runtime(Files::Unblock, 1).expect("it can be built");
        let task = runtime.spawn(async {
            let folder = tempfile::tempdir().expect("there is room");
            // To be written only: reading it fails at once.
            let file = std::fs::File::create(folder.path().join("file")).expect("it can be made");
            let mut body = FileBody::of_file("first".into(), 10, Some(Source::Unblock(file)));
            let mut poll = async || {
                poll_fn(|context| Poll::Ready(Pin::new(&mut body).poll_frame(context))).await
            };
            let first = poll().await.map_ok(|frame| frame.into_data().ok());
            assert!(matches!(first, Poll::Ready(Some(Ok(Some(data)))) if data == "first"));
            assert!(poll().await.is_pending());
            assert!(!body.is_end_stream());
            let told = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            assert!(told.is_some_and(|frame| frame.is_err()));
        });
        runtime.block_on(task).expect("it ends");
    }
}
