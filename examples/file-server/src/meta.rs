//! What is told of a file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a response needs to know of its file.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) size: u64,
    /// The entity tag, with its quotes.
    pub(crate) tag: String,
    /// To the second, as HTTP has it. Nothing before 1970.
    pub(crate) modified: Option<SystemTime>,
}

impl Meta {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        // The time of change cannot be set by anybody, that of modification can.
        let (seconds, nanos) = (metadata.ctime(), metadata.ctime_nsec());
        let tag = format!("\"{:x}-{:x}-{seconds:x}.{nanos:x}\"", metadata.ino(), metadata.size());
        let modified = u64::try_from(metadata.mtime()).ok().map(Duration::from_secs);
        Self { size: metadata.size(), tag, modified: modified.map(|since| UNIX_EPOCH + since) }
    }
}
