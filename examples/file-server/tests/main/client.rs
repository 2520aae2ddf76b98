//! A client that sees every byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest that any answer takes: a test fails then, and does not hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that is used for one request after the other.
#[derive(Debug)]
pub(crate) struct Client(BufReader<TcpStream>);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The connection ended before the body did.
    pub(crate) cut_off: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn length(&self) -> Option<usize> {
        self.header("content-length").map(|value| value.parse().expect("a number"))
    }
}

impl Client {
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Sends the head of a request.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.0.get_mut().write_all(head.as_bytes()).expect("the server reads");
    }

    pub(crate) fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers);
        self.receive(true).expect("an answer")
    }

    pub(crate) fn head(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("HEAD", path, headers);
        self.receive(false).expect("an answer")
    }

    /// The next answer, with its body if there is one.
    pub(crate) fn receive(&mut self, with_body: bool) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut answer = Answer { status, headers: Vec::new(), body: Vec::new(), cut_off: false };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            answer.headers.push((name.to_owned(), value.trim().to_owned()));
        }
        if with_body && status != 304 {
            let length = answer.length().expect("every body has a length");
            self.0.by_ref().take(length as u64).read_to_end(&mut answer.body)?;
            answer.cut_off = answer.body.len() < length;
        }
        Ok(answer)
    }

    /// True if the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.0.fill_buf(), Ok(&[]))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
