//! Datagrams with addresses.
//!
//! # Safety
//!
//! Clause *owned*: each task holds the socket, its buffer and a boxed address in a [`Lent`], and looks at
//! them only before a call and after its answer.

#![allow(unsafe_code, reason = "vouches for calls; see the header")]

use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{self, UnixDatagram};
use std::sync::Arc;

use super::address::{Address, FromKernel, ToKernel};
use super::now;
use super::socket::{Held, Socket};
use super::stream::must_wait;
use crate::call::{Call, Ret};
use crate::op::{Lent, Step, Task};
use crate::{IoBuf, IoBufMut, Operation};

/// A socket for datagrams: [`UdpSocket`], [`UnixDatagram`], or an [`Arc`] of one. Sealed.
pub trait DatagramSocket: Socket {
    /// Its addresses.
    type Addr: FromKernel + ToKernel + Send + 'static;
}

impl DatagramSocket for UdpSocket {
    type Addr = SocketAddr;
}

impl DatagramSocket for UnixDatagram {
    type Addr = net::SocketAddr;
}

impl<S: DatagramSocket + AsFd + Send + Sync + 'static> DatagramSocket for Arc<S> {
    type Addr = S::Addr;
}

/// What comes of receiving a datagram into a buffer `B` on a socket `S`.
type Received<S, B> = (io::Result<(usize, <S as DatagramSocket>::Addr)>, B);

/// Receives a datagram, up to the buffer's length (the rest of it is lost), and who has sent it.
pub fn recv_from<S: DatagramSocket, B: IoBufMut>(
    socket: &S,
    mut buf: B,
) -> Operation<Received<S, B>> {
    let mut from = Address::room();
    let ret = now::receive(socket.descriptor(), buf.bytes_mut(), Some(&mut from));
    if !must_wait(ret) {
        return Operation::ready((with_address(ret, &from), buf));
    }
    match socket.hold() {
        Ok(held) => Operation::of_task(ReceiveFrom::<S::Addr, B> {
            socket: held,
            buf: Lent::new(buf),
            from: Lent::new(Box::new(Address::room())),
            kind: PhantomData,
        }),
        Err(error) => Operation::ready((Err(error), buf)),
    }
}

fn with_address<A: FromKernel>(ret: Ret, from: &Address) -> io::Result<(usize, A)> {
    Ok((ret.result()?, A::from_kernel(from)?))
}

/// Sends a datagram to `to`.
pub fn send_to<S: DatagramSocket, B: IoBuf>(
    socket: &S,
    buf: B,
    to: &S::Addr,
) -> Operation<(io::Result<usize>, B)> {
    let mut to = to.to_kernel();
    let ret = now::send(socket.descriptor(), buf.bytes(), Some(&mut to));
    if !must_wait(ret) {
        return Operation::ready((ret.result(), buf));
    }
    match socket.hold() {
        Ok(socket) => {
            let to = Lent::new(Box::new(to));
            Operation::of_task(SendTo { socket, buf: Lent::new(buf), to })
        }
        Err(error) => Operation::ready((Err(error), buf)),
    }
}

/// recvfrom(2).
struct ReceiveFrom<A, B> {
    socket: Held,
    buf: Lent<B>,
    from: Lent<Box<Address>>,
    kind: PhantomData<fn() -> A>,
}

// SAFETY: *owned*.
unsafe impl<A: FromKernel + 'static, B: IoBufMut> Task for ReceiveFrom<A, B> {
    type Output = (io::Result<(usize, A)>, B);
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        let bytes = self.buf.bytes_mut();
        let (start, len) = (bytes.as_mut_ptr() as usize, bytes.len());
        let (address, address_len) = self.from.pointers();
        let socket = self.socket.raw() as usize;
        Call::new(libc::SYS_recvfrom as usize, [socket, start, len, 0, address, address_len])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done((with_address(ret, &self.from), self.buf.into_inner()))
    }
}

/// sendto(2).
struct SendTo<B> {
    socket: Held,
    buf: Lent<B>,
    to: Lent<Box<Address>>,
}

// SAFETY: *owned*.
unsafe impl<B: IoBuf> Task for SendTo<B> {
    type Output = (io::Result<usize>, B);
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        let bytes = self.buf.bytes();
        let (start, len) = (bytes.as_ptr() as usize, bytes.len());
        let (address, address_len) = (self.to.pointers().0, self.to.len());
        let flags = libc::MSG_NOSIGNAL as usize;
        let socket = self.socket.raw() as usize;
        Call::new(libc::SYS_sendto as usize, [socket, start, len, flags, address, address_len])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done((ret.result(), self.buf.into_inner()))
    }
}
