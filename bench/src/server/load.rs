//! The load: connections that have one request under way each, on one thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

use super::ONE_IN;
use super::places::contents;
use crate::dice::Dice;
use crate::error::Trouble;
use crate::samples::Samples;

/// Connections for the other file: enough for a thousand slow requests in a second.
const OTHERS: usize = 64;

/// Longest head of a response that is understood.
const HEAD: usize = 4096;

/// Files that can be asked for.
pub(super) type Pages = Arc<[Page]>;

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) path: String,
    request: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Page {
    /// The file with the contents of that number.
    pub(super) fn new(path: &str, number: usize, size: u64) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").into_bytes();
        Self { path: path.to_owned(), request, body: contents(number, size) }
    }
}

/// What some requests gave.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// From the request to the last byte, in nanoseconds.
    pub(super) latency: Samples,
    /// Of the requests for the other file.
    pub(super) other: Samples,
    /// How long it took.
    pub(super) time: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Load(Runtime);

impl Load {
    pub(super) fn new() -> Result<Self, Trouble> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self(runtime.map_err(Trouble::io("building a runtime"))?))
    }

    /// Asks for random pages for a while, and after the first, and every 99 later, for `other`.
    pub(super) fn hot(
        &self,
        server: SocketAddr,
        connections: usize,
        pages: &Pages,
        other: &Page,
        time: Duration,
    ) -> Result<Segment, Trouble> {
        self.run(async {
            let segment = Rc::new(RefCell::new(Segment::default()));
            let (ask, asked) = mpsc::unbounded_channel::<()>();
            let asked = Rc::new(tokio::sync::Mutex::new(asked));
            let count = Rc::new(Cell::new(0));
            let mut tasks = JoinSet::new();
            for _ in 0..OTHERS {
                let mut connection = Connection::open(server).await?;
                let (asked, segment) = (Rc::clone(&asked), Rc::clone(&segment));
                let other = other.clone();
                tasks.spawn_local(async move {
                    loop {
                        let next = asked.lock().await.recv().await;
                        let Some(()) = next else { return Ok(()) };
                        let nanos = connection.timed(&other).await?;
                        segment.borrow_mut().other.push(nanos);
                    }
                });
            }
            let mut connected = Vec::new();
            for _ in 0..connections {
                connected.push(Connection::open(server).await?);
            }
            let start = Instant::now();
            for (at, mut connection) in connected.into_iter().enumerate() {
                let (segment, pages) = (Rc::clone(&segment), Arc::clone(pages));
                let (ask, count) = (ask.clone(), Rc::clone(&count));
                tasks.spawn_local(async move {
                    let mut dice = Dice(at as u64);
                    while start.elapsed() < time {
                        let nanos = connection.timed(dice.choose(&pages)).await?;
                        segment.borrow_mut().latency.push(nanos);
                        if count.replace(count.get() + 1) % (ONE_IN - 1) == 0 {
                            let _ = ask.send(()); // received until all senders have gone
                        }
                    }
                    Ok::<_, io::Error>(())
                });
            }
            drop(ask);
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            let mut segment = segment.take();
            segment.time = time;
            Ok(segment)
        })
    }

    /// Asks for each page once.
    pub(super) fn once(
        &self,
        server: SocketAddr,
        connections: usize,
        pages: &Pages,
    ) -> Result<Segment, Trouble> {
        self.run(async {
            let segment = Rc::new(RefCell::new(Segment::default()));
            let next = Rc::new(Cell::new(0));
            let mut tasks = JoinSet::new();
            for _ in 0..connections {
                let mut connection = Connection::open(server).await?;
                let (segment, pages) = (Rc::clone(&segment), Arc::clone(pages));
                let next = Rc::clone(&next);
                tasks.spawn_local(async move {
                    while let Some(page) = pages.get(next.replace(next.get() + 1)) {
                        let nanos = connection.timed(page).await?;
                        segment.borrow_mut().latency.push(nanos);
                    }
                    Ok::<_, io::Error>(())
                });
            }
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            Ok(segment.take())
        })
    }

    /// Drives a future and the tasks that it spawns on this thread.
    pub(super) fn run<T>(&self, future: impl Future<Output = io::Result<T>>) -> Result<T, Trouble> {
        LocalSet::new().block_on(&self.0, future).map_err(|error| Trouble::Work("server", error))
    }
}

/// A connection, and what was read from it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) length: u64,
    pub(super) tag: Option<String>,
}

impl Connection {
    pub(super) async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(HEAD) })
    }

    /// Asks for a page and compares it. How long that took, in nanoseconds.
    async fn timed(&mut self, page: &Page) -> io::Result<f64> {
        let start = Instant::now();
        let (status, length) = self.ask(&page.request).await?;
        if status != 200 || length != page.body.len() as u64 {
            return Err(io::Error::other(format!("{}: {status}, {length} bytes", page.path)));
        }
        self.fill(page.body.len()).await?;
        let nanos = start.elapsed().as_nanos() as f64;
        if self.read[..] != page.body[..] {
            return Err(io::Error::other(format!("{}: wrong bytes", page.path)));
        }
        self.read.clear();
        Ok(nanos)
    }

    /// Sends a request and receives the head of the response: status and length. What was read of the
    /// body is kept.
    async fn ask(&mut self, request: &[u8]) -> io::Result<(u16, u64)> {
        let text = self.head(request).await?;
        let parsed = parse(&self.read[..text]).ok_or(io::ErrorKind::InvalidData)?;
        self.read.drain(..text);
        Ok(parsed)
    }

    /// The same with all that is of interest.
    pub(super) async fn ask_all(&mut self, request: &[u8]) -> io::Result<Head> {
        let text = self.head(request).await?;
        let (status, length) = parse(&self.read[..text]).ok_or(io::ErrorKind::InvalidData)?;
        let tag = value(&self.read[..text], b"\netag: ");
        let tag = tag.map(|tag| String::from_utf8_lossy(tag).into_owned());
        self.read.drain(..text);
        Ok(Head { status, length, tag })
    }

    /// Sends a request and receives at least the head of the response: how long that is.
    async fn head(&mut self, request: &[u8]) -> io::Result<usize> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                return Ok(at + 4);
            }
            if self.read.len() > HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.more().await?;
        }
    }

    /// Reads until so many bytes are there.
    async fn fill(&mut self, count: usize) -> io::Result<()> {
        self.read.reserve(count.saturating_sub(self.read.len()));
        while self.read.len() < count {
            self.more().await?;
        }
        Ok(())
    }

    /// Some bytes of a body, at most `left`.
    pub(super) async fn some(&mut self, left: u64) -> io::Result<Vec<u8>> {
        if self.read.is_empty() {
            self.read.reserve(64 << 10);
            self.more().await?;
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.read.len());
        Ok(self.read.drain(..count).collect())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Status and length in the head of a response.
fn parse(head: &[u8]) -> Option<(u16, u64)> {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<u64>().ok();
    let status = number(head.get(9..12)?)? as u16;
    let length = match value(head, b"\ncontent-length: ") {
        Some(value) => number(value)?,
        None => 0,
    };
    Some((status, length))
}

/// The value of a header, whose name is written as hyper does.
fn value<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = head.windows(name.len()).position(|bytes| bytes == name)? + name.len();
    head[at..].split(|&byte| byte == b'\r').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_understood() {
        let head = b"HTTP/1.1 206 Partial Content\r\netag: \"x\"\r\ncontent-length: 12\r\n\r\n";
        assert_eq!(parse(head), Some((206, 12)));
        assert_eq!(value(head, b"\netag: "), Some(&b"\"x\""[..]));
        assert_eq!(parse(b"HTTP/1.1 304 Not Modified\r\n\r\n"), Some((304, 0)));
        assert_eq!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), None);
        assert_eq!(parse(b"nonsense"), None);
    }
}
