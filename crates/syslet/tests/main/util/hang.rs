//! What a test that hangs says: where every thread is, what the library counts, and which descriptors have
//! bytes to read. The last tells a wake-up that was lost from bytes that somebody else has taken.

#![allow(unsafe_code, reason = "an ioctl")]

use std::ffi::c_int;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The state of this process.
pub(super) fn describe() -> String {
    let mut text = format!("{:#?}\n", syslet::stats());
    for task in entries("/proc/self/task") {
        let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
        let (name, place, call) = (read("comm"), read("wchan"), read("syscall"));
        let _ = writeln!(text, "{}: {}, {place}: {}", id(&task), name.trim(), call.trim());
    }
    for link in entries("/proc/self/fd") {
        let target = fs::read_link(&link).unwrap_or_default();
        let bytes = id(&link).parse().map_or(-1, readable);
        if bytes >= 0 {
            let _ = writeln!(text, "descriptor {}: {}, {bytes} bytes", id(&link), target.display());
        }
    }
    text
}

fn entries(folder: &str) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn id(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Bytes that can be read from descriptor `fd`; -1 if that cannot be asked.
fn readable(fd: c_int) -> c_int {
    let mut bytes: c_int = 0;
    // SAFETY: writes one int, which is live.
    let answer = unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) };
    if answer < 0 { -1 } else { bytes }
}
