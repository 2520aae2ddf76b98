//! The status flags of descriptors, asked for once in a while only: asking costs half as much as a read from the
//! page cache.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use syslet_sys::descriptor;

/// Beside the status flags: it has no positions.
pub const STREAM: i32 = 1 << 30;

/// Descriptors whose flags are remembered; higher ones share their places.
const NUMBERS: usize = 1024;
/// How often the flags of a descriptor are used before it is asked again: then asking costs some nanoseconds each time.
const USES: u32 = 64;

/// A descriptor, its flags, and how often they may still be used: the number in the upper half.
static FLAGS: [AtomicU64; NUMBERS] = [const { AtomicU64::new(0) }; NUMBERS];
static LEFT: [AtomicU32; NUMBERS] = [const { AtomicU32::new(0) }; NUMBERS];

/// The status flags of a descriptor (fcntl(2)), negative if it has none; those it had some requests ago at worst.
/// A directory has `O_PATH`, because it is good for no transfer either, and what has no positions [`STREAM`].
///
/// Old flags are a wrong guess, and must cost time only: the number may name another file by now, and others may
/// change its flags. Before something is refused because of them, [`forget`] them.
///
/// # Blocking
///
/// Never.
pub fn status_flags(number: i32) -> i32 {
    let place = number as usize % NUMBERS;
    let known = FLAGS[place].load(Ordering::Relaxed);
    let left = LEFT[place].load(Ordering::Relaxed);
    if left > 0 && known >> 32 == number as u64 {
        LEFT[place].store(left - 1, Ordering::Relaxed);
        return known as i32;
    }
    look(number, place)
}

#[cold]
fn look(number: i32, place: usize) -> i32 {
    let mut flags = descriptor::status_flags(number) as i32;
    if flags >= 0 {
        match descriptor::stat(number).map(|stat| stat.mode & libc::S_IFMT) {
            Ok(libc::S_IFDIR) => flags |= libc::O_PATH,
            Ok(mode) if is_stream_mode(mode) => flags |= STREAM,
            _ => {}
        }
        FLAGS[place].store((number as u64) << 32 | u64::from(flags as u32), Ordering::Relaxed);
        LEFT[place].store(USES, Ordering::Relaxed);
    }
    flags
}

/// Has a descriptor asked when its flags are needed next: for who is about to refuse something because of old ones.
///
/// # Blocking
///
/// Never.
#[cold]
pub fn forget(number: i32) {
    LEFT[number as usize % NUMBERS].store(0, Ordering::Relaxed);
}

/// True if a descriptor has no positions now: a pipe, a socket, or one of the kernel's own kind.
pub fn is_stream(number: i32) -> bool {
    descriptor::stat(number).is_ok_and(|stat| is_stream_mode(stat.mode & libc::S_IFMT))
}

fn is_stream_mode(mode: u32) -> bool {
    matches!(mode, libc::S_IFIFO | libc::S_IFSOCK | 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    // One test: numbers that others have just closed are remembered too.
    #[test]
    fn flags_are_remembered_for_some_uses() {
        let (read, _write) = std::io::pipe().expect("there are descriptors");
        let number = read.as_raw_fd();
        assert_eq!(status_flags(number), libc::O_RDONLY | STREAM);
        descriptor::set_status_flags(number, libc::O_NONBLOCK as isize);
        let stays = (0..USES).take_while(|_| status_flags(number) & libc::O_NONBLOCK == 0).count();
        assert_eq!(stays, USES as usize, "they are remembered");
        assert_ne!(status_flags(number) & libc::O_NONBLOCK, 0, "but not for ever");
        descriptor::set_status_flags(number, 0);
        forget(number);
        assert_eq!(status_flags(number), libc::O_RDONLY | STREAM);

        let folder = File::open("/").expect("there is one");
        assert_ne!(status_flags(folder.as_raw_fd()) & libc::O_PATH, 0);
        assert!(status_flags(-1) < 0 && status_flags(i32::MAX) < 0);
    }
}
