//! What is asked and answered: one line each, and how a server does it on a socket that does not wait.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A request.
pub(super) const REQUEST: &[u8] = b"GET /page HTTP/1.1\r\nHost: bench\r\n\r\n";
/// Its response.
pub(super) const RESPONSE: &[u8; 128] = &{
    let mut text = [b' '; 128];
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 81\r\n\r\n";
    let mut at = 0;
    while at < head.len() {
        text[at] = head[at];
        at += 1;
    }
    text
};

/// Answers what was asked in `count` bytes that were read; requests come whole, because each waits for its answer.
pub(super) fn answer(mut stream: &TcpStream, count: usize) -> io::Result<()> {
    for _ in 0..count / REQUEST.len() {
        stream.write_all(RESPONSE)?;
    }
    Ok(())
}

/// Answers all that can be read; false at the end.
pub(super) fn serve(mut stream: &TcpStream) -> io::Result<bool> {
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                answer(stream, count)?;
                if count < bytes.len() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}
