//! Of which kind the file system of a descriptor's file is.
//!
//! Whoever submits must not wait for a server that does not answer, and statfs(2) asks it, of FUSE and of NFS. So the
//! file is asked for its mount, which the kernel knows, and the mount for its file system: statmount(2), where that
//! is there (Linux 6.8), else `/proc/thread-self/mountinfo`. What nobody says anything about is not taken for local.
//!
//! A mount is asked about once, as long as others do not take its place in a table: whoever has many files of it asks
//! each for its mount only.

use std::sync::atomic::{AtomicU64, Ordering};

use syslet::source::file_system;
use syslet_sys::mount::{self, Mount};
use syslet_sys::uapi::{S_IFDIR, S_IFREG};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its writes go to memory first.
    Local,
    /// It is nothing but memory.
    Ram,
    /// Others, also those of servers, and what is not known.
    Other,
}

/// The types of local ones, with their magic numbers (linux/magic.h).
const LOCAL: [(&str, u64); 7] = [
    ("ext4", 0xef53),
    ("ext3", 0xef53),
    ("ext2", 0xef53),
    ("xfs", 0x5846_5342),
    ("btrfs", 0x9123_683e),
    ("f2fs", 0xf2f5_2010),
    ("overlay", 0x794c_7630),
];
/// And of those that are nothing but memory.
const RAM: [(&str, u64); 4] = [
    ("tmpfs", 0x0102_1994),
    ("devtmpfs", 0x0102_1994),
    ("ramfs", 0x8584_58f6),
    ("hugetlbfs", 0x9584_58f6),
];

/// Mounts that are remembered: their keys, and the kinds in the two lowest bits. 0: none.
static MOUNTS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// True if a descriptor names a file that is nowhere but in memory. It is asked for its mount each time: the
/// number may have named another file before, and a guess that is wrong would have every read of a slow one wait.
///
/// # Blocking
///
/// Never.
pub fn is_in_ram(descriptor: i32) -> bool {
    kind_of(descriptor) == Kind::Ram
}

/// Of which kind the file system of the file is that a descriptor names now.
///
/// # Blocking
///
/// Never, but the first time on kernels before Linux 6.8 a list of all mounts is read.
pub fn kind_of(descriptor: i32) -> Kind {
    let Ok(mount) = mount::of(descriptor) else { return Kind::Other };
    if ![S_IFREG, S_IFDIR].contains(&mount.file) {
        return Kind::Other; // a device's node is in memory, and what it stands for is not
    }
    let key = key(&mount);
    let place = &MOUNTS[spread(key)];
    let known = place.load(Ordering::Relaxed);
    if known >> 2 == key && known & 3 != 0 {
        return [Kind::Local, Kind::Ram, Kind::Other][(known & 3) as usize - 1];
    }
    let kind = look(descriptor, &mount);
    // Not if the number means another file by now: what was found may be of that one. (Where the mount cannot be asked
    // by its number one could have come and gone.)
    if mount::of(descriptor).is_ok_and(|now| self::key(&now) == key) {
        place.store(key << 2 | (kind as u64 + 1), Ordering::Relaxed);
    }
    kind
}

/// A place for each key: mounts of the same kind have numbers that differ by little, or by a power of two.
fn spread(key: u64) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15; // of Fibonacci hashing
    (key.wrapping_mul(SPREAD) >> 58) as usize
}

/// What tells a mount from others, in 62 bits. Where the kernel has no numbers that are used once (before Linux 6.8)
/// another may have it when this one is gone, and its first write wait in vain.
fn key(mount: &Mount) -> u64 {
    if mount.is_unique {
        return mount.number << 2 >> 2;
    }
    let (major, minor) = mount.device;
    u64::from(major & 0xfff) << 50 | u64::from(minor & 0xf_ffff) << 30 | mount.number & 0x3fff_ffff
}

/// Of which kind `mount` is. Asked by its number first, which is not another's meanwhile. What is found by the
/// descriptor is that of whatever file that means just then.
#[cold]
fn look(descriptor: i32, mount: &Mount) -> Kind {
    if mount.is_unique
        && let Ok(magic) = mount::magic(mount.number)
    {
        return kind(|(_, known)| *known == magic);
    }
    if is_memory(descriptor) {
        return Kind::Ram;
    }
    as_listed(descriptor).map_or(Kind::Other, |name| kind(|(known, _)| *known == name))
}

/// What `/proc` calls the file system. Without numbers of mounts (before Linux 5.8) the device must do.
fn as_listed(descriptor: i32) -> Option<String> {
    let mount = mount::as_listed(descriptor).ok()?;
    let (number, device) = (mount.number.to_string(), mount.device);
    let device = format!("{}:{}", device.0, device.1);
    file_system(|of, on| if mount.number == 0 { on == device } else { of == number })
}

fn kind(is: impl Fn(&(&str, u64)) -> bool) -> Kind {
    match () {
        () if RAM.iter().any(&is) => Kind::Ram,
        () if LOCAL.iter().any(&is) => Kind::Local,
        () => Kind::Other,
    }
}

/// True for files of tmpfs, and for those of memfd_create(2), whose mount is in nobody's list: they have seals.
fn is_memory(descriptor: i32) -> bool {
    syslet_sys::descriptor::seals(descriptor) >= 0
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_list_and_the_kernel_say_the_same_of_every_mount() {
        let paths = ["/", "/proc", "/dev", "/dev/shm", "/tmp", "/sys", env!("CARGO_MANIFEST_DIR")];
        for path in paths {
            let Ok(file) = File::open(path) else { continue };
            let mount = mount::of(file.as_raw_fd()).expect("it is open");
            let Ok(magic) = mount::magic(mount.number) else {
                return syslet_testfs::skip("no statmount(2) here");
            };
            let name = as_listed(file.as_raw_fd()).unwrap_or_default();
            let told = kind(|(_, known)| *known == magic);
            assert_eq!(kind(|(known, _)| *known == name), told, "{path} is {name}, {magic:#x}");
        }
    }

    #[test]
    fn a_file_that_has_the_number_for_a_moment_says_nothing_of_a_mount() {
        let disk = File::open("/proc/self/stat").expect("it is there");
        let mount = mount::of(disk.as_raw_fd()).expect("it is open");
        if !mount.is_unique || mount::magic(mount.number).is_err() {
            return syslet_testfs::skip("no statmount(2) here");
        }
        let path = format!("/dev/shm/syslet-disks-{}", std::process::id());
        let Ok(memory) = File::create(&path) else {
            return syslet_testfs::skip("no /dev/shm here");
        };
        std::fs::remove_file(path).expect("it was made");
        assert!(is_memory(memory.as_raw_fd()));
        assert_eq!(look(memory.as_raw_fd(), &mount), Kind::Other);
    }

    #[test]
    fn what_is_in_memory_or_no_file_at_all_is_known() {
        let (pipe, _other) = std::io::pipe().expect("there are descriptors");
        assert_eq!(kind_of(pipe.as_raw_fd()), Kind::Other);
        assert_eq!(kind_of(-1), Kind::Other);
        let proc = File::open("/proc/self/stat").expect("it is there");
        assert_eq!([(); 2].map(|()| kind_of(proc.as_raw_fd())), [Kind::Other; 2]);
        let device = File::open("/dev/null").expect("it is there");
        assert_eq!(kind_of(device.as_raw_fd()), Kind::Other, "its node is on a devtmpfs");
        if let Ok(memory) = File::open("/dev/shm") {
            assert_eq!(kind_of(memory.as_raw_fd()), Kind::Ram);
        }
    }
}
