//! Sockets.

/// Connecting and accepting.
mod connections;
/// Datagrams and their addresses.
mod datagrams;
/// What is dropped or cancelled early.
mod dropped;
/// Receiving and sending.
mod streams;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

/// A listener on a free port.
fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free")
}

/// Two connected streams.
fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair can be made")
}

/// What one side writes, by std, the other reads, by std.
fn talks(mut one: impl Write, mut other: impl Read) {
    one.write_all(b"hello").expect("it can be written");
    let mut buf = [0; 5];
    other.read_exact(&mut buf).expect("it can be read");
    assert_eq!(&buf, b"hello");
}

/// Two connected streams, over TCP.
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = listener();
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).expect("somebody listens");
    (client, listener.accept().expect("somebody has come").0)
}
