//! Accepting connections.
//!
//! # Safety
//!
//! Clause *owned*: the task holds the listener and a boxed address in a [`Lent`].

#![allow(unsafe_code, reason = "vouches for a call and takes a new descriptor; see the header")]

use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::net::{self, UnixListener, UnixStream};
use std::sync::Arc;

use super::address::{Address, FromKernel};
use super::socket::{Held, Socket};
use crate::Operation;
use crate::call::{Call, Ret};
use crate::op::{Lent, Step, Task};

/// A socket that accepts connections: [`TcpListener`], [`UnixListener`], or an [`Arc`] of one. Sealed.
pub trait Listener: Socket {
    /// What it accepts.
    type Stream: From<OwnedFd> + Send + 'static;
    /// Its addresses.
    type Addr: FromKernel + Send + 'static;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Addr = SocketAddr;
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Addr = net::SocketAddr;
}

impl<S: Listener + AsFd + Send + Sync + 'static> Listener for Arc<S> {
    type Stream = S::Stream;
    type Addr = S::Addr;
}

/// Accepts a connection: a stream in blocking mode, and who is at its other end.
///
/// A `&Arc` of the listener saves the duplicate that a plain reference takes, which for this call is made
/// each time: whether it has to wait cannot be known before.
pub fn accept<L: Listener>(listener: &L) -> Operation<io::Result<(L::Stream, L::Addr)>> {
    match listener.hold() {
        Ok(listener) => Operation::of_task(Accept::<L::Stream, L::Addr> {
            listener,
            peer: Lent::new(Box::new(Address::room())),
            kind: PhantomData,
        }),
        Err(error) => Operation::ready(Err(error)),
    }
}

/// accept4(2).
struct Accept<S, A> {
    listener: Held,
    peer: Lent<Box<Address>>,
    kind: PhantomData<fn() -> (S, A)>,
}

// SAFETY: *owned*.
unsafe impl<S, A> Task for Accept<S, A>
where
    S: From<OwnedFd> + Send + 'static,
    A: FromKernel + Send + 'static,
{
    type Output = io::Result<(S, A)>;
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        *self.peer.as_mut() = Address::room();
        let (address, len) = self.peer.pointers();
        let listener = self.listener.raw() as usize;
        let flags = libc::SOCK_CLOEXEC as usize;
        Call::new(libc::SYS_accept4 as usize, [listener, address, len, flags])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        let accepted = ret.result().and_then(|descriptor| {
            // SAFETY: the call has just made it, and nobody else has it.
            let stream = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
            Ok((S::from(stream), A::from_kernel(&self.peer)?))
        });
        Step::Done(accepted)
    }
}
