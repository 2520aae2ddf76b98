//! A static-file HTTP server, to see what blocking calls cost in a real program: its files go through
//! `syslet_tokio::fs`, `tokio::fs`, or closures in `syslet_tokio::unblock` or `spawn_blocking`, by a flag.
//! The code of the first two is the same but for one `use`.
//!
//! GET and HEAD; single ranges; conditional requests by entity tag and date; `index.html` for directories.
//! What is asked for is named, opened, looked at and then served: what was opened is what is checked.
//!
//! # What is served
//!
//! Regular files below the root. `..` is refused, in any encoding. Symbolic links are followed, and where they
//! have led is asked of the opened file: if that is not below the root the answer is 403, however the
//! names have been changed in the meantime. FIFOs and devices are not waited for and not served. The root must not be
//! moved while it is served.
//!
//! # Files that change
//!
//! The entity tag is made of the inode, the size and the time of the last change. A body has the length
//! that its file had when it was opened; if the file ends sooner, the answer is 500, or the connection is
//! closed if the head was sent. A file that is replaced is served as it was; one that is written to in place may be
//! served in a mixture, as by any server that does not lock.

mod body;
mod condition;
mod files;
mod media;
mod meta;
mod range;
mod respond;
mod root;
mod serve;
mod target;

pub use self::{
    files::Files,
    serve::{Config, runtime, serve},
};
