//! Files and directories: results and errors are those of std.

/// What is dropped or cancelled early keeps its memory and gives its descriptors back.
mod dropped;
/// Open files: reading, writing, locking.
mod files;
/// Directories.
mod listing;
/// Any sequence of operations does what std does.
mod same;
