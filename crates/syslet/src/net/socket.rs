//! What a socket is, and how an operation holds it while it waits.

use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;

/// A socket of std's, an [`OwnedFd`], a [`BorrowedFd`], or an [`Arc`] of one.
///
/// An operation that waits shares an `Arc`, and duplicates the descriptor of anything else: see
/// [the module](crate::net). Sealed; what else has a descriptor can be given by its
/// [`as_fd`](AsFd::as_fd).
pub trait Socket: Hold {}

/// How a socket is held.
#[expect(unnameable_types, reason = "seals a public trait")]
pub trait Hold {
    /// Its descriptor.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// What keeps the socket open for an operation that waits.
    fn hold(&self) -> io::Result<Held>;
}

/// What keeps a socket open.
#[expect(unnameable_types, reason = "seals a public trait")]
pub enum Held {
    /// A descriptor of the operation's own.
    Own(OwnedFd),
    /// A socket that is shared.
    Shared(Arc<dyn AsFd + Send + Sync>),
}

impl Held {
    /// Its descriptor, which stays open while this lives.
    pub(super) fn raw(&self) -> RawFd {
        match self {
            Self::Own(descriptor) => descriptor.as_raw_fd(),
            Self::Shared(socket) => socket.as_fd().as_raw_fd(),
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.raw()).finish()
    }
}

macro_rules! sockets {
    ($($type:ty),*) => {$(
        impl Hold for $type {
            fn descriptor(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }

            fn hold(&self) -> io::Result<Held> {
                Ok(Held::Own(self.as_fd().try_clone_to_owned()?))
            }
        }
        impl Socket for $type {}
    )*};
}

sockets!(TcpStream, TcpListener, UdpSocket, UnixStream, UnixListener, UnixDatagram, OwnedFd);
sockets!(BorrowedFd<'_>);

impl<S: Socket + AsFd + Send + Sync + 'static> Hold for Arc<S> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn hold(&self) -> io::Result<Held> {
        Ok(Held::Shared(Arc::<S>::clone(self)))
    }
}

impl<S: Socket + AsFd + Send + Sync + 'static> Socket for Arc<S> {}
