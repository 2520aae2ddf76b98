//! Questions about descriptors, and calls on those of a thread's own table.

#![allow(unsafe_code, reason = "system calls; arguments are borrowed or plain numbers")]

use core::sync::atomic::{AtomicBool, Ordering};

use crate::arch::syscall;
use crate::uapi::{
    AT_EMPTY_PATH, AT_STATX_DONT_SYNC, CLOSE_RANGE_UNSHARE, EBADF, EFAULT, EPOLL_CLOEXEC,
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent, F_DUPFD_CLOEXEC, F_GETFL, F_SETFL,
    FIONREAD, IN_CLOEXEC_NONBLOCK, KCMP_FILE, Linger, O_CLOEXEC, POLLERR, POLLHUP, POLLIN,
    SEEK_CUR, SFD_CLOEXEC_NONBLOCK, SO_ATTACH_FILTER, SO_LINGER, SO_RCVLOWAT, SO_RCVTIMEO,
    SO_SNDTIMEO, SO_TYPE, SOCK_STREAM, SOL_SOCKET, STATX_INO, STATX_TYPE, SockFilter, SockFprog,
    Stat, Statx, Timeval, nr,
};

/// What kind of file `descriptor` is, and which: statx(2).
///
/// A server of the file (of FUSE, of NFS) is not asked, as fstat(2) would ask it: neither of the two changes, and it
/// may answer late. Where statx(2) is forbidden it is fstat(2) all the same.
///
/// # Errors
///
/// `-errno`.
pub fn stat(descriptor: i32) -> Result<Stat, isize> {
    // Without a path to look at it takes a tenth less.
    let nameless = !PATH_IS_NEEDED.load(Ordering::Relaxed);
    let found = if nameless { statx(descriptor, 0, AT_EMPTY_PATH) } else { Err(-EFAULT) };
    match found {
        Err(error) if error != -EBADF => stat_by_name(descriptor, error),
        found => found,
    }
}

/// The kernel takes no null for an empty path: it is older than Linux 6.11.
static PATH_IS_NEEDED: AtomicBool = AtomicBool::new(false);

#[cold]
fn stat_by_name(descriptor: i32, error: isize) -> Result<Stat, isize> {
    if error == -EFAULT {
        PATH_IS_NEEDED.store(true, Ordering::Relaxed);
    }
    match statx(descriptor, c"".as_ptr() as usize, AT_EMPTY_PATH) {
        Err(error) if error != -EBADF => stat_by_asking(descriptor),
        found => found,
    }
}

/// The same of the file that `path`, of a link in `/proc`, leads to. Where statx(2) is forbidden that is an error.
///
/// # Errors
///
/// `-errno`.
pub fn stat_of_path(path: &core::ffi::CStr) -> Result<Stat, isize> {
    statx(-1, path.as_ptr() as usize, 0)
}

/// `path` is the address of a string, or 0.
fn statx(descriptor: i32, path: usize, how: usize) -> Result<Stat, isize> {
    let mut found = Statx::default();
    let at = &raw mut found as usize;
    let wanted = STATX_TYPE | STATX_INO;
    let args = [descriptor as usize, path, how | AT_STATX_DONT_SYNC, wanted, at, 0];
    // SAFETY: the kernel reads the path, which is borrowed, and writes the structure, which is live.
    let answer = unsafe { syscall(nr::STATX, args) };
    if answer < 0 { Err(answer) } else { Ok(found.into()) }
}

#[cold]
fn stat_by_asking(descriptor: i32) -> Result<Stat, isize> {
    let mut stat = Stat::default();
    let args = [descriptor as usize, &raw mut stat as usize, 0, 0, 0, 0];
    // SAFETY: the kernel writes the structure, which is live.
    let answer = unsafe { syscall(nr::FSTAT, args) };
    if answer < 0 { Err(answer) } else { Ok(stat) }
}

/// What `/proc` calls `descriptor`: its path, or what the kernel says of a file without one (`pipe:[1234]`,
/// `anon_inode:[eventfd]`); as much of it as `room` takes.
///
/// # Errors
///
/// `-errno`.
pub fn name_of(descriptor: i32, room: &mut [u8]) -> Result<&[u8], isize> {
    const FOLDER: &[u8] = b"/proc/thread-self/fd/";
    let mut path = [0u8; FOLDER.len() + 11];
    path[..FOLDER.len()].copy_from_slice(FOLDER);
    // From the last digit on, and then moved to their place; a NUL is left behind them.
    let (mut digits, mut rest, mut first) = ([0u8; 10], descriptor as u32, 10);
    while first == 10 || rest > 0 {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    path[FOLDER.len()..FOLDER.len() + 10 - first].copy_from_slice(&digits[first..]);
    let args = [path.as_ptr() as usize, room.as_mut_ptr() as usize, room.len(), 0, 0, 0];
    // SAFETY: the kernel reads the path, which ends with a NUL, and writes at most as much as there is room for.
    let len = unsafe { syscall(nr::READLINK, args) };
    if len < 0 { Err(len) } else { Ok(&room[..len as usize]) }
}

/// True if `descriptor`, which [is anonymous](Stat::is_anonymous), is one of signalfd(2), or if `/proc` does not say
/// what it is. Who polls one is told of the signals of the thread that the kernel asks on, which is the kernel's own
/// where it polls for another.
pub fn may_be_signals(descriptor: i32) -> bool {
    may_be_one_of(descriptor, &[SIGNALS])
}

/// As [`may_be_signals`], or true if it is one of userfaultfd(2): a read of such a one may bring a descriptor
/// (`UFFD_EVENT_FORK`), which comes to the table of the thread that reads.
pub fn may_be_its_threads(descriptor: i32) -> bool {
    may_be_one_of(descriptor, &[SIGNALS, FAULTS])
}

const SIGNALS: &[u8] = b"anon_inode:[signalfd]";
const FAULTS: &[u8] = b"anon_inode:[userfaultfd]";

fn may_be_one_of(descriptor: i32, names: &[&[u8]]) -> bool {
    // One byte more than the longest.
    let mut room = [0u8; FAULTS.len() + 1];
    name_of(descriptor, &mut room).map_or(true, |name| names.contains(&name))
}

/// The status flags (`O_NONBLOCK` ...) of `descriptor`, or `-errno`.
pub fn status_flags(descriptor: i32) -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::FCNTL, [descriptor as usize, F_GETFL, 0, 0, 0, 0]) }
}

/// Sets the status flags of `descriptor`: of all who hold the file.
pub fn set_status_flags(descriptor: i32, flags: isize) -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::FCNTL, [descriptor as usize, F_SETFL, flags as usize, 0, 0, 0]) }
}

/// The seals of `descriptor` (fcntl(2)), which files of tmpfs, of memfd_create(2) and of hugetlbfs have; or `-errno`.
pub fn seals(descriptor: i32) -> isize {
    const F_GET_SEALS: usize = 1034; // linux/fcntl.h
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::FCNTL, [descriptor as usize, F_GET_SEALS, 0, 0, 0, 0]) }
}

/// True if `descriptor` is a socket that carries a stream.
pub fn is_stream_socket(descriptor: i32) -> bool {
    let (mut kind, mut len) = (0u32, size_of::<u32>() as u32);
    let at = &raw mut kind as usize;
    let args = [descriptor as usize, SOL_SOCKET, SO_TYPE, at, &raw mut len as usize, 0];
    // SAFETY: the kernel writes at most `len` bytes of the number, and the length.
    unsafe { syscall(nr::GETSOCKOPT, args) >= 0 && kind == SOCK_STREAM }
}

/// True if `descriptor` has a position: it is a file.
pub fn is_seekable(descriptor: i32) -> bool {
    // SAFETY: reads and writes no memory, and leaves the position where it is.
    unsafe { syscall(nr::LSEEK, [descriptor as usize, 0, SEEK_CUR, 0, 0, 0]) >= 0 }
}

/// True if the socket has a time limit of its own for receiving, or for sending.
pub fn has_socket_timeout(descriptor: i32, sending: bool) -> bool {
    let mut limit = Timeval::default();
    let mut len = size_of::<Timeval>() as u32;
    let option = if sending { SO_SNDTIMEO } else { SO_RCVTIMEO };
    let at = &raw mut limit as usize;
    let args = [descriptor as usize, SOL_SOCKET, option, at, &raw mut len as usize, 0];
    // SAFETY: the kernel writes at most `len` bytes of the structure, and the length.
    let answer = unsafe { syscall(nr::GETSOCKOPT, args) };
    answer >= 0 && (limit.sec != 0 || limit.usec != 0)
}

/// True if the last close of the socket waits until all is sent (`SO_LINGER`), or if it is not known.
pub fn lingers(socket: i32) -> bool {
    let mut linger = Linger::default();
    let mut len = size_of::<Linger>() as u32;
    let args = [
        socket as usize,
        SOL_SOCKET,
        SO_LINGER,
        &raw mut linger as usize,
        &raw mut len as usize,
        0,
    ];
    // SAFETY: the kernel writes at most `len` bytes of the structure, and the length.
    let answer = unsafe { syscall(nr::GETSOCKOPT, args) };
    answer < 0 || (linger.is_on != 0 && linger.seconds != 0)
}

/// Has the last close of the socket wait for nothing; or `-errno`.
pub fn do_not_linger(socket: i32) -> isize {
    let linger = Linger::default();
    let at = &raw const linger as usize;
    let args = [socket as usize, SOL_SOCKET, SO_LINGER, at, size_of::<Linger>(), 0];
    // SAFETY: the kernel reads the structure, which is live.
    unsafe { syscall(nr::SETSOCKOPT, args) }
}

/// Has the kernel throw away what is sent to the socket unless `filter` answers another number than 0; or `-errno`.
pub fn attach_filter(socket: i32, filter: &[SockFilter]) -> isize {
    let program = SockFprog { len: filter.len() as u16, filter: filter.as_ptr() };
    let at = &raw const program as usize;
    let args = [socket as usize, SOL_SOCKET, SO_ATTACH_FILTER, at, size_of::<SockFprog>(), 0];
    // SAFETY: the kernel reads the program, which is borrowed.
    unsafe { syscall(nr::SETSOCKOPT, args) }
}

/// True if a receive of the socket waits for more than one byte: `SO_RCVLOWAT`.
pub fn has_low_mark(descriptor: i32) -> bool {
    let (mut mark, mut len) = (0u32, size_of::<u32>() as u32);
    let at = &raw mut mark as usize;
    let args = [descriptor as usize, SOL_SOCKET, SO_RCVLOWAT, at, &raw mut len as usize, 0];
    // SAFETY: the kernel writes at most `len` bytes of the number, and the length.
    unsafe { syscall(nr::GETSOCKOPT, args) >= 0 && mark > 1 }
}

/// True if all that the socket has to tell is an error, which the next receive takes away. Notices in the error queue,
/// which a receive leaves where they are (`MSG_ZEROCOPY`, time stamps), are none; nor is what looks like one from
/// outside: an error of a connection that goes on (`IP_RECVERR`, kernel TLS).
pub fn has_but_an_error(descriptor: i32) -> bool {
    let mut unread = 0i32;
    let args = [descriptor as usize, FIONREAD, &raw mut unread as usize, 0, 0, 0];
    let told = poll(descriptor, POLLIN as u16, 0);
    told & POLLERR as isize != 0
        // Of a connection that was reset; of a notice there is nothing to receive.
        && told & (POLLIN | POLLHUP) as isize != 0
        // SAFETY: the kernel writes one number, which is live.
        && unsafe { syscall(nr::IOCTL, args) } == 0
        && unread == 0
}

/// Waits for `events` of one descriptor for at most `millis` (negative: for ever); returns what is
/// ready, or `-errno`.
///
/// **Blocking**: as said.
pub fn poll(descriptor: i32, events: u16, millis: i32) -> isize {
    let mut entry = [descriptor as u32, u32::from(events)];
    let args = [entry.as_mut_ptr() as usize, 1, millis as usize, 0, 0, 0];
    // SAFETY: the kernel reads and writes one `struct pollfd`, 8 bytes, which are live.
    let answer = unsafe { syscall(nr::POLL, args) };
    if answer <= 0 { answer } else { (entry[1] >> 16) as isize }
}

/// What poll(2) takes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct PollEntry {
    /// A descriptor; less than 0 is ignored.
    pub descriptor: i32,
    /// What is asked for.
    pub events: u16,
    /// What is ready.
    pub found: u16,
}

const _: () = assert!(size_of::<PollEntry>() == 8);

/// Looks at many descriptors without waiting; how many are ready, or `-errno`. Unlike that of the C library this is no
/// cancellation point of pthread_cancel(3).
pub fn poll_all(entries: &mut [PollEntry]) -> isize {
    let args = [entries.as_mut_ptr() as usize, entries.len(), 0, 0, 0, 0];
    // SAFETY: the kernel reads and writes as many as there are.
    unsafe { syscall(nr::POLL, args) }
}

/// Adds to the count of an eventfd; `-errno`. No cancellation point either.
pub fn add_to_eventfd(eventfd: i32, count: u64) -> isize {
    let args = [eventfd as usize, &raw const count as usize, size_of::<u64>(), 0, 0, 0];
    // SAFETY: the kernel reads eight bytes, which are live.
    unsafe { syscall(nr::WRITE, args) }
}

/// Gives the running task, which shares its descriptor table, one of its own, an empty one. Linux 5.9.
pub fn own_table() -> isize {
    let all = u32::MAX as usize;
    // SAFETY: what this thread's descriptors name is held by the program's own table.
    unsafe { syscall(nr::CLOSE_RANGE, [0, all, CLOSE_RANGE_UNSHARE, 0, 0, 0]) }
}

/// Closes nothing: whether close_range(2) can be made at all. Linux 5.9.
pub fn close_none() -> isize {
    let all = u32::MAX as usize;
    // SAFETY: no number of a descriptor is as high (fs.nr_open is below 2^31).
    unsafe { syscall(nr::CLOSE_RANGE, [all, all, 0, 0, 0, 0]) }
}

/// A descriptor for process or child `pid`, or `-errno`. Linux 5.3.
pub fn open_process(pid: i32) -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::PIDFD_OPEN, [pid as usize, 0, 0, 0, 0, 0]) }
}

/// A copy, in the running thread's table, of `descriptor` of the process that `process` names; or
/// `-errno`. Linux 5.6.
pub fn take_from(process: i32, descriptor: i32) -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::PIDFD_GETFD, [process as usize, descriptor as usize, 0, 0, 0, 0]) }
}

/// Whether `one`, in the running thread's table, and `other`, in that of thread `tid` of the same
/// process, are one open file: kcmp(2). `None` where that cannot be asked: Docker's and Podman's profiles forbid it,
/// and kernels may be without it (CONFIG_KCMP). A number that is not open is the same to it.
pub fn same_file(one: i32, tid: i32, other: i32) -> Option<bool> {
    let order = compare(one, tid, other);
    (order >= 0).then_some(order == 0)
}

/// The kernel's answer to [`same_file`]: 0 if they are the same, 1 to 3 if not, or `-errno`.
pub fn compare(one: i32, tid: i32, other: i32) -> isize {
    let own = crate::call::gettid();
    let args = [own as usize, tid as usize, KCMP_FILE, one as usize, other as usize, 0];
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::KCMP, args) }
}

/// A new epoll, closed on exec, or `-errno`.
pub fn new_epoll() -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::EPOLL_CREATE1, [EPOLL_CLOEXEC, 0, 0, 0, 0, 0]) }
}

/// Watches `descriptor`, a new one or (`again`) one that is watched already; 0 or `-errno`.
pub fn watch(epoll: i32, descriptor: i32, event: EpollEvent, again: bool) -> isize {
    let how = if again { EPOLL_CTL_MOD } else { EPOLL_CTL_ADD };
    let args = [epoll as usize, how, descriptor as usize, &raw const event as usize, 0, 0];
    // SAFETY: the kernel reads the event, which is live.
    unsafe { syscall(nr::EPOLL_CTL, args) }
}

/// Watches `descriptor` no more; 0 or `-errno`.
pub fn forget(epoll: i32, descriptor: i32) -> isize {
    let args = [epoll as usize, EPOLL_CTL_DEL, descriptor as usize, 0, 0, 0];
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::EPOLL_CTL, args) }
}

/// Takes what is ready; returns how many, or `-errno`. While it waits the signals blocked are those of
/// `mask`, if one is given.
///
/// **Blocking**: until something is ready, for at most `millis` (negative: for ever).
pub fn ready(epoll: i32, events: &mut [EpollEvent], millis: i32, mask: Option<u64>) -> isize {
    let room = events.len();
    let mask = mask.as_ref().map_or(0, |mask| mask as *const u64 as usize);
    let args = [epoll as usize, events.as_mut_ptr() as usize, room, millis as usize, mask, 8];
    // SAFETY: the kernel reads the mask of 8 bytes, and writes at most as many events as there is room
    // for.
    unsafe { syscall(nr::EPOLL_PWAIT, args) }
}

/// Makes `to` another number of the file of `from`, closing what it was before.
///
/// The caller knows `to` to be its own.
pub fn name_as(from: i32, to: i32) -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::DUP3, [from as usize, to as usize, O_CLOEXEC, 0, 0, 0]) }
}

/// Another number of the file of `from`, closed on exec, or `-errno`.
pub fn duplicate(from: i32) -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::FCNTL, [from as usize, F_DUPFD_CLOEXEC, 0, 0, 0, 0]) }
}

/// A new inotify, which does not wait; or `-errno`.
pub fn new_inotify() -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::INOTIFY_INIT1, [IN_CLOEXEC_NONBLOCK, 0, 0, 0, 0, 0]) }
}

/// Watches the file that `path` leads to for the events of `mask`; the watch's number, or `-errno`.
pub fn watch_inode(inotify: i32, path: &core::ffi::CStr, mask: u32) -> isize {
    let args = [inotify as usize, path.as_ptr() as usize, mask as usize, 0, 0, 0];
    // SAFETY: the kernel reads the path, which is borrowed.
    unsafe { syscall(nr::INOTIFY_ADD_WATCH, args) }
}

/// Ends a watch of an inotify.
pub fn forget_inode(inotify: i32, watch: i32) -> isize {
    // SAFETY: reads and writes no memory.
    unsafe { syscall(nr::INOTIFY_RM_WATCH, [inotify as usize, watch as usize, 0, 0, 0, 0]) }
}

/// A signalfd for the signals of `mask`: a new one (`descriptor` is -1), or a change of one. `-errno`.
pub fn signals(descriptor: i32, mask: u64) -> isize {
    let mask = &raw const mask as usize;
    let args = [descriptor as usize, mask, 8, SFD_CLOEXEC_NONBLOCK, 0, 0];
    // SAFETY: the kernel reads the mask of 8 bytes, which is live.
    unsafe { syscall(nr::SIGNALFD4, args) }
}

/// Reads into `bytes`; how many, or `-errno`.
///
/// **Blocking**: as the file does.
pub fn read(descriptor: i32, bytes: &mut [u8]) -> isize {
    let args = [descriptor as usize, bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0];
    // SAFETY: the kernel writes at most as many bytes as there are.
    unsafe { syscall(nr::READ, args) }
}
