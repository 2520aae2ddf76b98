//! Why a closure has no result.

use std::any::Any;
use std::{fmt, io};

/// What a closure panicked with.
type Payload = Box<dyn Any + Send + 'static>;

/// Why a closure that was given to [`unblock`](crate::unblock()) has no result: it panicked, or was aborted
/// before it began. What [`tokio::task::JoinError`] is to `spawn_blocking`.
pub struct UnblockError(Kind);

enum Kind {
    Cancelled,
    /// In a lock to be `Sync`, as `JoinError` is.
    Panic(std::sync::Mutex<Payload>),
}

impl UnblockError {
    pub(crate) fn cancelled() -> Self {
        Self(Kind::Cancelled)
    }

    pub(crate) fn panic(payload: Payload) -> Self {
        Self(Kind::Panic(std::sync::Mutex::new(payload)))
    }

    /// True if the closure was aborted before it began.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0, Kind::Cancelled)
    }

    /// True if the closure panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, Kind::Panic(_))
    }

    /// What the closure panicked with, for [`std::panic::resume_unwind`].
    ///
    /// # Panics
    ///
    /// If it did not panic.
    #[track_caller]
    pub fn into_panic(self) -> Payload {
        self.try_into_panic().expect("`UnblockError` is not of a panic")
    }

    /// What the closure panicked with.
    ///
    /// # Errors
    ///
    /// The error, if it did not panic.
    pub fn try_into_panic(self) -> Result<Payload, Self> {
        match self.0 {
            Kind::Panic(payload) => {
                Ok(payload.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
            }
            Kind::Cancelled => Err(self),
        }
    }

    /// The message, if the closure panicked with one.
    fn message(&self) -> Option<String> {
        let Kind::Panic(payload) = &self.0 else { return None };
        let payload = payload.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&'static str>().map(|&text| text.to_owned()))
    }
}

impl fmt::Display for UnblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, self.message()) {
            (Kind::Cancelled, _) => f.write_str("the closure was aborted"),
            (Kind::Panic(_), Some(message)) => {
                write!(f, "the closure panicked with message {message:?}")
            }
            (Kind::Panic(_), None) => f.write_str("the closure panicked"),
        }
    }
}

impl fmt::Debug for UnblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cancelled => f.write_str("UnblockError::Cancelled"),
            Kind::Panic(_) => f.debug_tuple("UnblockError::Panic").field(&self.message()).finish(),
        }
    }
}

impl std::error::Error for UnblockError {}

impl From<UnblockError> for io::Error {
    fn from(error: UnblockError) -> Self {
        Self::other(error)
    }
}
