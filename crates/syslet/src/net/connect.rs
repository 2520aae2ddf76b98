//! Connecting.
//!
//! # Safety
//!
//! Clause *owned*: each task owns its socket, and a boxed structure in a [`Lent`].

#![allow(unsafe_code, reason = "vouches for calls; see the header")]

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{self, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::address::{Address, ToKernel};
use super::now;
use crate::Operation;
use crate::call::{Call, Ret};
use crate::op::{Lent, Step, Task};

/// Connects to `address`; gives the stream in blocking mode.
///
/// It waits as long as the kernel tries: two minutes for a host that does not answer.
pub fn connect(address: SocketAddr) -> Operation<io::Result<TcpStream>> {
    start(address, None).unwrap_or_else(|error| Operation::ready(Err(error)))
}

/// As [`connect`], and gives up with `TimedOut` after `timeout`.
///
/// A timeout of zero is an error (`InvalidInput`), as in std.
pub fn connect_timeout(address: SocketAddr, timeout: Duration) -> Operation<io::Result<TcpStream>> {
    if timeout.is_zero() {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the timeout is zero");
        return Operation::ready(Err(error));
    }
    // A time that cannot be reached is none.
    let deadline = Instant::now().checked_add(timeout);
    start(address, deadline).unwrap_or_else(|error| Operation::ready(Err(error)))
}

fn start(
    address: SocketAddr,
    deadline: Option<Instant>,
) -> io::Result<Operation<io::Result<TcpStream>>> {
    let mut address = address.to_kernel();
    let socket = now::socket(address.family(), libc::SOCK_NONBLOCK)?;
    let ret = now::connect(socket.as_fd(), &mut address);
    match ret.errno() {
        None => Ok(Operation::ready(in_blocking_mode(socket.into()))),
        Some(libc::EINPROGRESS) => {
            let poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
            let poll = Lent::new(Box::new(poll));
            Ok(Operation::of_task(Connect { socket: socket.into(), poll, deadline }))
        }
        Some(_) => ret.result().map(|_| unreachable!("it has failed")),
    }
}

fn in_blocking_mode(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Connects to the socket at `path`; gives the stream in blocking mode. It waits while the listener's
/// queue is full.
pub fn connect_unix(path: impl AsRef<Path>) -> Operation<io::Result<UnixStream>> {
    match net::SocketAddr::from_pathname(path) {
        Ok(address) => connect_unix_addr(&address),
        Err(error) => Operation::ready(Err(error)),
    }
}

/// As [`connect_unix`], to any address that a Unix socket can have.
pub fn connect_unix_addr(address: &net::SocketAddr) -> Operation<io::Result<UnixStream>> {
    match now::socket(libc::AF_UNIX, 0) {
        Ok(socket) => {
            let address = Lent::new(Box::new(address.to_kernel()));
            Operation::of_task(ConnectUnix { socket, address })
        }
        Err(error) => Operation::ready(Err(error)),
    }
}

/// poll(2) for the end of a connect(2) that is in progress.
struct Connect {
    socket: TcpStream,
    poll: Lent<Box<libc::pollfd>>,
    deadline: Option<Instant>,
}

impl Connect {
    /// Milliseconds that are left, rounded up; -1 is for ever.
    fn millis_left(&self) -> i32 {
        let Some(deadline) = self.deadline else { return -1 };
        let left = deadline.saturating_duration_since(Instant::now());
        i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    }

    fn outcome(self) -> io::Result<TcpStream> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        in_blocking_mode(self.socket)
    }
}

// SAFETY: *owned*.
unsafe impl Task for Connect {
    type Output = io::Result<TcpStream>;
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        let poll = std::ptr::from_mut(self.poll.as_mut()) as usize;
        Call::new(libc::SYS_poll as usize, [poll, 1, self.millis_left() as usize])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        match ret.result() {
            Err(error) => Step::Done(Err(error)),
            Ok(0) if self.millis_left() == 0 => Step::Done(Err(io::ErrorKind::TimedOut.into())),
            Ok(0) => Step::Again(self),
            Ok(_) => Step::Done(self.outcome()),
        }
    }
}

/// connect(2) of a Unix socket in blocking mode. There is nothing to poll for: with a full queue,
/// non-blocking mode says `EAGAIN` and forgets about it.
struct ConnectUnix {
    socket: OwnedFd,
    address: Lent<Box<Address>>,
}

// SAFETY: *owned*.
unsafe impl Task for ConnectUnix {
    type Output = io::Result<UnixStream>;
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        let (address, len) = (self.address.pointers().0, self.address.len());
        Call::new(libc::SYS_connect as usize, [self.socket.as_raw_fd() as usize, address, len])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done(ret.result().map(|_| UnixStream::from(self.socket)))
    }
}
