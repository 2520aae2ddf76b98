//! Files sent to the keeper, where it may not take them: `SCM_RIGHTS`, see unix(7).
//!
//! `pidfd_getfd(2)` is denied by Docker's default profile. There the keeper has a *box*: a Unix datagram socket in
//! its own table, with a name that the kernel has chosen in the abstract name space. Who wants a file watched makes a
//! socket, sends the file to the box and closes the socket again: so nothing of ours stays in the program's table.
//! The message bears a *ticket*, by which the request that goes the usual way finds its files.
//!
//! Anybody in the same network namespace may write to the box, whose name is in `/proc/net/unix`. What he sends must
//! not be let in: it would fill the box, and who closes the last descriptor of a file may have to wait (for the peer of
//! a socket with `SO_LINGER`, for a server of FUSE). So a message begins with a secret, and a filter has the kernel
//! throw away others where they are sent (`secret.rs`). The kernel also says which process has sent a message: a child
//! has the secret of its parent's box. What comes from another one all the same, because the box could have no filter,
//! is closed by another thread (`closing.rs`).
//!
//! # Safety
//!
//! Clause *live*: what the kernel reads and writes are local variables, or borrowed, of the sizes it is told. Clause
//! *new*: a descriptor that was just received or made is nobody else's.

#![allow(unsafe_code, reason = "system calls; see the header")]

mod gate;
mod in_use;
mod secret;

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::ptr;

use syslet_sys::call as kernel;
use syslet_sys::uapi::{EAGAIN, EINTR};

use self::in_use::InUse;
pub(crate) use self::in_use::{after_fork, before_fork, forked};
use self::secret::{MESSAGE, Secret};
use super::closing;
use crate::sync::{AtomicU64, Ordering};

/// Files of one message; the kernel takes 253 (SCM_MAX_FD).
pub(super) const MOST: usize = 128;
/// A ticket of nothing.
pub(super) const LOST: u64 = u64::MAX;
/// Seconds that who sends waits for the box to be emptied, which takes microseconds.
const PATIENCE: i64 = 2;
/// Messages that are taken in at a time.
const ROUND: usize = 64;
/// Bytes of control messages: files, and who has sent them. In words, so that they are aligned.
const CONTROL: usize = 16 + 4 * MOST + 16 + size_of::<libc::ucred>() + 32;
type Control = [u64; CONTROL.div_ceil(8)];

/// Where the keeper's box is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address {
    name: libc::sockaddr_un,
    len: libc::socklen_t,
    secret: Secret,
}

/// The next ticket: of all boxes, so that one of before a fork is of no other.
static TICKETS: AtomicU64 = AtomicU64::new(1);

fn errno() -> isize {
    -(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) as isize)
}

fn new_socket() -> i32 {
    // SAFETY: no memory.
    unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }
}

/// Sets an option of a socket.
fn set<T>(socket: i32, option: i32, value: T) -> bool {
    let (at, len) = ((&raw const value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: clause *live*.
    unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, at, len) == 0 }
}

/// A message of one part, with its control messages at `control`.
fn message(part: &mut libc::iovec, control: &mut Control, len: usize) -> libc::msghdr {
    // SAFETY: zeroes are one, without any parts.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = len;
    message
}

/// Sends files of the running thread's table to the box; the ticket by which they are found, or `-errno`.
///
/// **Blocking**: until the box has room, at most [`PATIENCE`].
pub(super) fn send(to: &Address, numbers: &[i32]) -> Result<u64, isize> {
    let (socket, used) = InUse::new()?;
    set(socket, libc::SO_SNDTIMEO, libc::timeval { tv_sec: PATIENCE, tv_usec: 0 });
    let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
    let mut bytes = to.secret.message(ticket);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control: Control = [0; _];
    let size = size_of_val(numbers) as u32;
    // SAFETY: no memory.
    let len = unsafe { libc::CMSG_SPACE(size) } as usize;
    let mut message = message(&mut part, &mut control, len);
    let mut name = to.name;
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = to.len;
    // SAFETY: clause *live*: there is room for one header.
    let head = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: null, or that header.
    let head = unsafe { head.as_mut() };
    if let Some(head) = head {
        head.cmsg_level = libc::SOL_SOCKET;
        head.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: no memory.
        head.cmsg_len = unsafe { libc::CMSG_LEN(size) } as usize;
        // SAFETY: clause *live*: behind the header.
        let data = unsafe { libc::CMSG_DATA(head) };
        // SAFETY: as above, and there is room for the numbers.
        unsafe { ptr::copy_nonoverlapping(numbers.as_ptr().cast(), data, size as usize) };
    }
    let answer = loop {
        let at = &raw const message;
        // By the plain call: the C library's is one where threads are cancelled.
        // SAFETY: clause *live*.
        let sent = unsafe { libc::syscall(libc::SYS_sendmsg, socket, at, libc::MSG_NOSIGNAL) };
        match if sent < 0 { errno() } else { 0 } {
            error if error == -EINTR => {}
            answer => break answer,
        }
    };
    used.close();
    if answer < 0 { Err(answer) } else { Ok(ticket) }
}

/// The keeper's side: what only its thread touches.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) socket: i32,
    secret: Secret,
    /// Files that have come, and were not asked for yet.
    arrived: HashMap<u64, Vec<i32>>,
}

impl Inbox {
    /// A box in the running thread's table, with its address; none if there can be none.
    pub(super) fn new() -> Option<(Self, Address)> {
        let socket = new_socket();
        if socket < 0 {
            return None;
        }
        // Before it has a name: nothing comes in without having passed them.
        let secret = Secret::guarding(socket);
        let told = set(socket, libc::SO_PASSCRED, 1i32);
        let made = Self { socket, secret, arrived: HashMap::new() };
        // SAFETY: zeroes are one.
        let mut name: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
        name.sun_family = libc::AF_UNIX as u16;
        // The family alone: the kernel chooses a name.
        let len = size_of::<libc::sa_family_t>() as libc::socklen_t;
        // SAFETY: clause *live*.
        let bound = unsafe { libc::bind(socket, (&raw const name).cast(), len) };
        let mut len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: clause *live*.
        let named = unsafe { libc::getsockname(socket, (&raw mut name).cast(), &mut len) };
        (bound == 0 && named == 0 && told).then_some((made, Address { name, len, secret }))
    }

    /// The files of a ticket, `count` of them: descriptors here, or `-errno`.
    pub(super) fn claim(&mut self, ticket: u64, count: usize) -> Vec<i32> {
        // In the order in which they were sent: what comes behind it may wait.
        while ticket != LOST && !self.arrived.contains_key(&ticket) && self.take() {}
        let mut files = self.arrived.remove(&ticket).unwrap_or_default();
        // What found no place in the table did not come.
        files.resize(count, -libc::EMFILE);
        files
    }

    /// Takes in what there is, as far as it is not too much: anybody may send something. The rest is told again.
    pub(super) fn empty(&mut self) {
        for _ in 0..ROUND {
            if !self.take() {
                return;
            }
        }
    }

    /// Takes in a message, if there is one.
    fn take(&mut self) -> bool {
        let Some((ticket, files)) = self.receive() else { return false };
        match ticket {
            Some(ticket) => drop(self.arrived.insert(ticket, files)),
            None => closing::close_strangers(files),
        }
        true
    }

    /// The next message: its ticket, if this process has sent it, and its files.
    fn receive(&self) -> Option<(Option<u64>, Vec<i32>)> {
        let mut bytes = [0u8; MESSAGE];
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut control: Control = [0; _];
        let mut message = message(&mut part, &mut control, size_of::<Control>());
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let count = loop {
            // SAFETY: clause *live*.
            let count = unsafe { libc::recvmsg(self.socket, &raw mut message, flags) };
            match if count < 0 { errno() } else { 0 } {
                error if error == -EINTR => {}
                error if error == -EAGAIN => return None,
                0 => break count as usize,
                _ => return None,
            }
        };
        let (mut files, mut sender) = (Vec::new(), None);
        // SAFETY: clause *live*: the kernel has written the control messages.
        let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        // SAFETY: null, or within the control messages.
        while let Some(head) = unsafe { at.as_ref() } {
            // SAFETY: as above.
            let data = unsafe { libc::CMSG_DATA(at) };
            // SAFETY: no memory.
            let len = head.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
            match (head.cmsg_level, head.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    for index in 0..len / size_of::<i32>() {
                        let number = data.cast::<i32>().wrapping_add(index);
                        // SAFETY: within the message.
                        files.push(unsafe { number.read_unaligned() });
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    // SAFETY: the kernel has written one.
                    let who: libc::ucred = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                    sender = Some(who.pid);
                }
                _ => {}
            }
            // SAFETY: clause *live*.
            at = unsafe { libc::CMSG_NXTHDR(&raw const message, at) };
        }
        let is_own = sender == Some(kernel::getpid());
        let ticket = if is_own { self.secret.ticket(&bytes[..count]) } else { None };
        Some((ticket, files))
    }
}
