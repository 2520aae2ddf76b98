//! Directories: what inotify(7) says, in kevent's words.

use crate::event::Happened;

const COMES: u32 = libc::IN_CREATE | libc::IN_MOVED_TO;
const GOES: u32 = libc::IN_DELETE | libc::IN_MOVED_FROM | libc::IN_DELETE_SELF;

/// What inotify is asked for.
pub(crate) fn events(asked: u32) -> u32 {
    let comes = if asked & Happened::CREATE != 0 { COMES } else { 0 };
    let goes = if asked & Happened::REMOVE != 0 { GOES } else { 0 };
    comes | goes
}

/// What it has said.
pub(crate) fn happened(events: u32) -> u32 {
    let comes = if events & COMES != 0 { Happened::CREATE } else { 0 };
    let goes = if events & GOES != 0 { Happened::REMOVE } else { 0 };
    comes | goes
}
