//! How the command ends: 0 done, 1 a negative answer, 2 trouble; a reader that went away is no
//! trouble. `syslet run` ends as the program that it runs.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// What the command answers to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The work was done, and the answer is no: some files could not be read.
    Negative,
    /// The work could not be done.
    Trouble,
    /// As a program that was run.
    Status(u8),
}

impl Exit {
    /// Prints the chain of causes, except where the reader of the output has gone.
    pub(crate) fn of_trouble(trouble: Trouble) -> Self {
        if trouble.is_broken_pipe() {
            return Self::Done;
        }
        let mut text = format!("syslet: {trouble}");
        let mut cause = trouble.source();
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "{text}");
        Self::Trouble
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Negative => 1,
            Exit::Trouble => 2,
            Exit::Status(status) => status,
        })
    }
}

/// What went wrong, in the user's words, and why.
#[derive(Debug)]
pub(crate) struct Trouble {
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Trouble {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// For `map_err`: what was being done when `cause` came.
    pub(crate) fn at<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |cause| Self { what: what.into(), cause: Some(cause.into()) }
    }

    fn is_broken_pipe(&self) -> bool {
        let cause = self.cause.as_deref().and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Trouble {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// Writes a finished text to standard output.
pub(crate) fn print(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Trouble::at("standard output"))
}

/// Prints `value` as one JSON object on standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Trouble> {
    let mut text = serde_json::to_string_pretty(value).map_err(Trouble::at("JSON"))?;
    text.push('\n');
    print(&text)
}
