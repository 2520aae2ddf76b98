//! What keeps a measure from being taken at all.

use std::error::Error;
use std::{fmt, io};

use syslet::AttachError;

/// A step that failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A step of the preparation or of the measure.
    Io(&'static str, io::Error),
    /// The thread could not be attached.
    Attach(AttachError),
    /// The work itself answered with an error number.
    Work(&'static str, io::Error),
    /// Measures of `bench all` that could not be taken.
    NotTaken(Vec<&'static str>),
    /// The library refused the call of this work.
    Refused(&'static str, String),
}

impl Trouble {
    /// For `map_err`: the name of the step goes before the error.
    pub(crate) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io(step, error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(step, _) => write!(f, "{step} failed"),
            Self::Attach(_) => f.write_str("the thread cannot be attached"),
            Self::Work(work, _) => write!(f, "work {work} failed"),
            Self::NotTaken(parts) => write!(f, "not taken: {}", parts.join(", ")),
            Self::Refused(work, why) => write!(f, "work {work} was refused: {why}"),
        }
    }
}

impl Error for Trouble {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(_, error) | Self::Work(_, error) => Some(error),
            Self::Attach(error) => Some(error),
            Self::NotTaken(_) | Self::Refused(..) => None,
        }
    }
}

impl From<AttachError> for Trouble {
    fn from(error: AttachError) -> Self {
        Self::Attach(error)
    }
}
