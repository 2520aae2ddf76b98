//! What `/proc` says of mounts.

use std::fs;

/// The type (`ext4`, `fuse.sshfs`) of the first mount of the caller's tree that `is` finds to be the one, by its number
/// and its device (`8:1`); `None` also where there is no `/proc`.
///
/// No file system is asked anything, as statfs(2) would ask it. A descriptor is open while the list is read.
///
/// # Blocking
///
/// Never, but the list of thousands of mounts takes milliseconds.
pub fn file_system(is: impl Fn(&str, &str) -> bool) -> Option<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
    find(&mounts, is).map(str::to_owned)
}

fn find(mounts: &str, is: impl Fn(&str, &str) -> bool) -> Option<&str> {
    mounts.lines().find_map(|mount| {
        // Spaces in paths are written in digits; the dash stands behind a number of words that differs.
        let (before, after) = mount.split_once(" - ")?;
        let mut words = before.split(' ');
        let (number, device) = (words.next()?, words.nth(1)?);
        if is(number, device) { after.split(' ').next() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_by_their_numbers_and_devices() {
        const MOUNTS: &str = "\
            25 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            40 25 0:33 / /mnt/a\\040-\\040b rw shared:7 master:1 - fuse.sshfs there: rw\n";
        assert_eq!(find(MOUNTS, |number, _| number == "25"), Some("ext4"));
        assert_eq!(find(MOUNTS, |_, device| device == "0:33"), Some("fuse.sshfs"));
        assert_eq!(find(MOUNTS, |number, _| number == "4"), None);
    }
}
