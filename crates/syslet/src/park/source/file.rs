//! Which file a number meant, and how far its inode tells it from others.

use syslet_sys::descriptor;
use syslet_sys::uapi::{O_ACCMODE, S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK, Stat};

use super::mounts::file_system;
use crate::park::keeper::TERMINALS;
use crate::sync::{AtomicU64, Ordering};

/// `/dev/net/tun`: admin-guide/devices.txt.
const TUN: (u32, u32) = (10, 200);

/// The device of pipes; 0: not known yet.
static PIPES: AtomicU64 = AtomicU64::new(0);

/// Which file a number meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct File {
    /// Device and inode.
    pub id: (u64, u64),
    /// How far they tell it from other open files.
    pub sort: Sort,
}

/// How far its inode tells a file from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// A socket: its inode has one open file.
    Socket,
    /// An end of a pipe, with its access mode: of each mode its inode has one open file, but for what was opened again
    /// through `/proc/self/fd`, which counts as the same.
    Pipe(u8),
    /// Other open files have its inode, or may: an eventfd, timerfd, signalfd, epoll and its kin, which have nothing
    /// but their inode in common; a FIFO, a terminal, a TUN; processes. See [`are_same`](super::are_same).
    Alike,
    /// As that, but to ask what it is would mean to open and close it in another table, which not every file system
    /// and driver takes as nothing (`flush`): a message queue forgets its notification, an input device its effects, a
    /// server of FUSE is asked. So its inode must do.
    #[default]
    Other,
}

impl File {
    /// The file that `number` means now.
    ///
    /// # Errors
    ///
    /// `-errno`.
    pub fn of(number: i32) -> Result<Self, isize> {
        let stat = descriptor::stat(number)?;
        Ok(Self { id: (stat.dev, stat.ino), sort: Sort::of(number, &stat) })
    }

    pub(in crate::park) fn is_socket(&self) -> bool {
        self.sort == Sort::Socket
    }

    /// Only the keeper tells it from others.
    pub fn is_alike(&self) -> bool {
        self.sort == Sort::Alike
    }

    /// A program answers for it (FUSE), which whoever asks what is ready waits for.
    pub(in crate::park) fn is_served(&self) -> bool {
        let dev = self.id.0;
        let (major, minor) = (dev >> 8 & 0xfff, dev & 0xff | dev >> 12 & !0xff);
        let device = format!("{major}:{minor}");
        // Not statfs(2), which asks the program.
        file_system(|_, of| of == device)
            .is_some_and(|kind| kind.starts_with("fuse") || kind.starts_with("virtiofs"))
    }
}

impl Sort {
    fn of(number: i32, stat: &Stat) -> Self {
        match stat.mode & S_IFMT {
            0 => Self::Alike,
            S_IFSOCK => Self::Socket,
            S_IFIFO if is_pipe(number, stat) => {
                let flags = descriptor::status_flags(number);
                if flags < 0 { Self::Alike } else { Self::Pipe((flags & O_ACCMODE as isize) as u8) }
            }
            S_IFIFO => Self::Alike,
            S_IFCHR if TERMINALS.contains(&stat.major()) => Self::Alike,
            S_IFCHR if (stat.major(), stat.minor()) == TUN => Self::Alike,
            _ => Self::Other,
        }
    }
}

/// Whether `number`, which is `stat`, a FIFO, is one of pipe(2), without a name. There is one file system of these, so
/// its device is asked for once; not of statfs(2), which may ask a server.
fn is_pipe(number: i32, stat: &Stat) -> bool {
    match PIPES.load(Ordering::Relaxed) {
        0 => is_first_pipe(number, stat),
        known => known == stat.dev,
    }
}

#[cold]
fn is_first_pipe(number: i32, stat: &Stat) -> bool {
    const NAME: &[u8] = b"pipe:[";
    let mut room = [0; NAME.len()];
    let name = descriptor::name_of(number, &mut room);
    // What has a path begins with a slash. The number may have become another file's in between.
    let is_pipe = name.is_ok_and(|name| name == NAME)
        && descriptor::stat(number).is_ok_and(|now| (now.dev, now.ino) == (stat.dev, stat.ino));
    if is_pipe {
        PIPES.store(stat.dev, Ordering::Relaxed);
    }
    is_pipe
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd;

    use super::*;

    fn sort(file: &impl AsRawFd) -> Sort {
        File::of(file.as_raw_fd()).expect("it is open").sort
    }

    #[test]
    fn inodes_tell_sockets_and_ends_of_pipes_from_others() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("there are sockets");
        let (reader, writer) = std::io::pipe().expect("there are pipes");
        let ends = [sort(&reader), sort(&writer)];
        assert_eq!((sort(&socket), ends), (Sort::Socket, [Sort::Pipe(0), Sort::Pipe(1)]));
    }

    #[test]
    fn others_are_alike_unless_it_does_something_to_close_them() {
        let alike = ["/dev/ptmx", "/dev/tty0", "/dev/net/tun"];
        for file in alike.iter().filter_map(|path| fs::File::open(path).ok()) {
            assert_eq!(sort(&file), Sort::Alike);
        }
        let process = descriptor::open_process(std::process::id() as i32) as i32;
        assert_eq!(sort(&process), Sort::Alike);
        syslet_sys::call::close(process);
        let zero = fs::File::open("/dev/zero").expect("it is there");
        let mounts = fs::File::open("/proc/self/mounts").expect("it is there");
        assert_eq!([sort(&zero), sort(&mounts)], [Sort::Other; 2]);
    }
}
