//! Receiving and sending.
//!
//! # Safety
//!
//! Clause *owned*: each task holds the socket, and its buffer in a [`Lent`], and looks at it only before
//! a call and after its answer.

#![allow(unsafe_code, reason = "vouches for calls; see the header")]

use std::io;

use super::now;
use super::socket::{Held, Socket};
use crate::call::{Call, Ret};
use crate::op::{Lent, Step, Task};
use crate::{IoBuf, IoBufMut, Operation};

/// Receives, up to the buffer's length. 0 is the end of the stream, or an empty datagram.
pub fn recv<B: IoBufMut>(
    socket: &(impl Socket + ?Sized),
    mut buf: B,
) -> Operation<(io::Result<usize>, B)> {
    let ret = now::receive(socket.descriptor(), buf.bytes_mut(), None);
    if !must_wait(ret) {
        return Operation::ready((ret.result(), buf));
    }
    match socket.hold() {
        Ok(socket) => Operation::of_task(Receive { socket, buf: Lent::new(buf) }),
        Err(error) => Operation::ready((Err(error), buf)),
    }
}

/// Sends; says how many bytes were taken: of a stream, those that there was room for.
pub fn send<B: IoBuf>(
    socket: &(impl Socket + ?Sized),
    buf: B,
) -> Operation<(io::Result<usize>, B)> {
    let ret = now::send(socket.descriptor(), buf.bytes(), None);
    if !must_wait(ret) {
        return Operation::ready((ret.result(), buf));
    }
    match socket.hold() {
        Ok(socket) => Operation::of_task(Send { socket, buf: Lent::new(buf) }),
        Err(error) => Operation::ready((Err(error), buf)),
    }
}

/// Sends all of it, in as many calls as it takes. Dropped or cancelled early, some of it may have been
/// sent.
pub fn send_all<B: IoBuf>(
    socket: &(impl Socket + ?Sized),
    buf: B,
) -> Operation<(io::Result<()>, B)> {
    let mut sent = 0;
    while sent < buf.bytes().len() {
        let ret = now::send(socket.descriptor(), &buf.bytes()[sent..], None);
        let result = match ret.result() {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                sent += count;
                continue;
            }
            Err(_) if must_wait(ret) => socket.hold(),
            Err(error) => Err(error),
        };
        return match result {
            Ok(socket) => Operation::of_task(SendAll { socket, buf: Lent::new(buf), sent }),
            Err(error) => Operation::ready((Err(error), buf)),
        };
    }
    Operation::ready((Ok(()), buf))
}

pub(super) fn must_wait(ret: Ret) -> bool {
    ret.errno() == Some(libc::EAGAIN)
}

/// recvfrom(2) without an address.
struct Receive<B> {
    socket: Held,
    buf: Lent<B>,
}

// SAFETY: *owned*.
unsafe impl<B: IoBufMut> Task for Receive<B> {
    type Output = (io::Result<usize>, B);
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        let socket = self.socket.raw() as usize;
        let bytes = self.buf.bytes_mut();
        let (start, len) = (bytes.as_mut_ptr() as usize, bytes.len());
        Call::new(libc::SYS_recvfrom as usize, [socket, start, len])
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done((ret.result(), self.buf.into_inner()))
    }
}

/// The call that sends what comes after `sent`.
fn send_call<B: IoBuf>(socket: &Held, buf: &B, sent: usize) -> Call {
    let bytes = &buf.bytes()[sent..];
    let (start, len) = (bytes.as_ptr() as usize, bytes.len());
    let flags = libc::MSG_NOSIGNAL as usize;
    Call::new(libc::SYS_sendto as usize, [socket.raw() as usize, start, len, flags])
}

/// sendto(2) without an address, once.
struct Send<B> {
    socket: Held,
    buf: Lent<B>,
}

// SAFETY: *owned*.
unsafe impl<B: IoBuf> Task for Send<B> {
    type Output = (io::Result<usize>, B);
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        send_call(&self.socket, &*self.buf, 0)
    }

    fn answer(self, ret: Ret) -> Step<Self> {
        Step::Done((ret.result(), self.buf.into_inner()))
    }
}

/// sendto(2) without an address, until nothing is left.
struct SendAll<B> {
    socket: Held,
    buf: Lent<B>,
    sent: usize,
}

impl<B: IoBuf> SendAll<B> {
    fn done(self, result: io::Result<()>) -> Step<Self> {
        Step::Done((result, self.buf.into_inner()))
    }
}

// SAFETY: *owned*.
unsafe impl<B: IoBuf> Task for SendAll<B> {
    type Output = (io::Result<()>, B);
    const CANCEL_IF_DROPPED: bool = true;

    fn call(&mut self) -> Call {
        send_call(&self.socket, &*self.buf, self.sent)
    }

    fn answer(mut self, ret: Ret) -> Step<Self> {
        match ret.result() {
            Ok(0) => self.done(Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                self.sent += count;
                if self.sent == self.buf.bytes().len() {
                    self.done(Ok(()))
                } else {
                    Step::Again(self)
                }
            }
            Err(error) => self.done(Err(error)),
        }
    }
}
