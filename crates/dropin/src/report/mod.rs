//! The report: what went through a drop-in library, in a file that the processes of a program map and
//! add to, and that is read when the program has ended.
//!
//! A shared mapping, not a text written at the end: programs end by `_exit` (fio's workers) or are
//! killed, and what was counted until then is there. `SYSLET_REPORT` names the file, which
//! [`Summary::create`] has made; where it is not set nothing is counted and no clock is read. The file
//! is closed once it is mapped: no descriptor stays in the program's table.

mod layout;
mod page;
mod summary;
mod text;

pub use layout::{Kind, Library, Way};
pub use page::{Begun, Report};
pub use summary::{Cell, LibrarySummary, Summary};

/// The environment variable that names the file.
pub const VARIABLE: &str = "SYSLET_REPORT";
