//! What tests say that cannot be made here: past their harness, which keeps to itself what tests print that pass.

use std::io::Write;
use std::panic::Location;

/// Says, in a line of its own on standard error, that a test cannot be made here, or a part of it:
/// `skipped: FILE:LINE: WHY`. CI counts these lines (`ci/counted.sh`).
#[track_caller]
pub fn skip(why: &str) {
    let place = Location::caller();
    pass_on(&format!("{}:{}: {why}", place.file(), place.line()));
}

/// The same of what another process has said after `skipped: `.
pub fn pass_on(what: &str) {
    // In one write: other threads write to the same pipe. The harness may have begun a line.
    let _ = std::io::stderr().write_all(format!("\nskipped: {what}\n").as_bytes());
}
