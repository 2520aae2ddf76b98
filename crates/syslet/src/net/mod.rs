//! Sockets: connecting, accepting, receiving and sending with std's own types.
//!
//! Sockets stay what they are in std: `TcpStream`, `TcpListener`, `UdpSocket`, `UnixStream` and so on, in
//! blocking mode, passed by reference; see [`Socket`]. Each function first tries the call without
//! waiting, on the thread that it is called from, attached or not: that costs what the plain call costs.
//! Only if it would have to wait, it goes on as an [`Operation`](crate::Operation) that waits elsewhere.
//!
//! ```
//! use std::net::{Ipv4Addr, TcpListener};
//! use std::sync::Arc;
//! use syslet::net;
//!
//! # fn main() -> std::io::Result<()> {
//! let listener = Arc::new(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
//! let accepting = net::accept(&listener); // nobody is there yet
//! let client = net::connect(listener.local_addr()?).wait()?;
//! let (server, _peer) = accepting.wait()?;
//!
//! let receiving = net::recv(&server, vec![0; 100]);
//! net::send_all(&client, "hello").wait().0?;
//! let (count, buf) = receiving.wait();
//! assert_eq!(&buf[..count?], b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! Names are not looked up: `threadlet(|| ("host", 80).to_socket_addrs())` does that.
//!
//! A socket in non-blocking mode answers `WouldBlock`, as in std, and the time limits of
//! `set_read_timeout` and `set_write_timeout` hold.
//!
//! **What it costs to wait**: an operation that waits must hold the socket, because the caller may close
//! it meanwhile. One that is given as `&Arc<TcpStream>` is shared; one that is given as `&TcpStream` is
//! duplicated, which takes a descriptor for as long as it waits (and fails with `EMFILE` if there is
//! none).
//!
//! **Dropped**, an operation is asked to end. What it had received by then is lost.
//!
//! **Blocking**: no, but at the bound [`Limits::parked`](crate::Limits::parked). What waits is parked, without
//! a thread, where that is possible; a Unix socket that waits for room in a listener's queue keeps a crew
//! thread, and is queued if none is left.

mod accept;
mod address;
mod connect;
mod datagram;
mod now;
mod socket;
mod stream;

pub use accept::{Listener, accept};
pub use connect::{connect, connect_timeout, connect_unix, connect_unix_addr};
pub use datagram::{DatagramSocket, recv_from, send_to};
pub use socket::Socket;
pub use stream::{recv, send, send_all};
