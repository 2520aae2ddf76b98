//! Which mount a file is on, and what its file system is, without a question to that file system: statfs(2) asks its
//! server (of FUSE, of NFS), which may answer late or never.

#![allow(unsafe_code, reason = "system calls; arguments are borrowed or plain numbers")]

use crate::arch::syscall;
use crate::uapi::{AT_EMPTY_PATH, AT_STATX_DONT_SYNC, S_IFMT, STATX_TYPE, Statx, nr};

/// Of statx(2), linux/stat.h: the number of the mount, as `/proc/self/mountinfo` has it (Linux 5.8).
const STATX_MNT_ID: usize = 0x1000;
/// And one that no other mount has had or will have (Linux 6.8), which is what it says if it knows both.
const STATX_MNT_ID_UNIQUE: usize = 0x4000;
/// statmount(2): Linux 6.8.
const STATMOUNT: usize = 457;
/// Of that, linux/mount.h: the file system's magic number and device.
const STATMOUNT_SB_BASIC: u64 = 1;

/// A mount, as a file on it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mount {
    /// Its number, 0 if the kernel does not say (before Linux 5.8).
    pub number: u64,
    /// The number will not be another's: this kernel has such numbers.
    pub is_unique: bool,
    /// The device of the file, which is not always that of the mount (btrfs, overlayfs).
    pub device: (u32, u32),
    /// What the file is: `S_IFMT` of its mode.
    pub file: u32,
}

/// The mount of `descriptor`'s file.
///
/// # Errors
///
/// `-errno`; also where statx(2) is forbidden.
pub fn of(descriptor: i32) -> Result<Mount, isize> {
    ask(descriptor, STATX_MNT_ID | STATX_MNT_ID_UNIQUE | STATX_TYPE)
}

/// The same with the number that `/proc/self/mountinfo` has.
///
/// # Errors
///
/// As [`of`].
pub fn as_listed(descriptor: i32) -> Result<Mount, isize> {
    ask(descriptor, STATX_MNT_ID | STATX_TYPE)
}

fn ask(descriptor: i32, wanted: usize) -> Result<Mount, isize> {
    let mut found = Statx::default();
    let (path, at) = (c"".as_ptr() as usize, &raw mut found as usize);
    let how = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    // SAFETY: the kernel reads a constant, and writes the structure, which is live.
    let answer = unsafe { syscall(nr::STATX, [descriptor as usize, path, how, wanted, at, 0]) };
    if answer < 0 {
        return Err(answer);
    }
    let mask = found.mask as usize;
    let number = if mask & (STATX_MNT_ID | STATX_MNT_ID_UNIQUE) != 0 { found.mount } else { 0 };
    let is_unique = mask & STATX_MNT_ID_UNIQUE != 0;
    let device = (found.dev_major, found.dev_minor);
    Ok(Mount { number, is_unique, device, file: u32::from(found.mode) & S_IFMT })
}

/// `struct mnt_id_req`, its first version.
#[repr(C)]
struct Request {
    size: u32,
    spare: u32,
    mount: u64,
    wanted: u64,
}

/// `struct statmount`, whose first fields are all that is asked for.
#[repr(C)]
struct About {
    size: u32,
    spare: u32,
    mask: u64,
    device: [u32; 2],
    magic: u64,
    rest: [u64; 60],
}

const _: () = {
    assert!(size_of::<Request>() == 24);
    assert!(size_of::<About>() == 512);
};

/// What statfs(2) would call the file system of a mount with that unique number.
///
/// # Errors
///
/// `-errno`: of kernels before Linux 6.8, of sandboxes that forbid statmount(2), and for mounts that are not in the
/// caller's tree.
pub fn magic(number: u64) -> Result<u64, isize> {
    const SIZE: u32 = size_of::<Request>() as u32;
    let request = Request { size: SIZE, spare: 0, mount: number, wanted: STATMOUNT_SB_BASIC };
    let (size, device) = (0, [0; 2]);
    let mut about = About { size, spare: 0, mask: 0, device, magic: 0, rest: [0; 60] };
    let (asked, told) = (&raw const request as usize, &raw mut about as usize);
    // SAFETY: the kernel reads the request, and writes at most as much as the structure has room for.
    let answer = unsafe { syscall(STATMOUNT, [asked, told, size_of::<About>(), 0, 0, 0]) };
    match answer {
        0 if about.mask & STATMOUNT_SB_BASIC != 0 => Ok(about.magic),
        0 => Err(-crate::uapi::ENOSYS),
        error => Err(error),
    }
}
