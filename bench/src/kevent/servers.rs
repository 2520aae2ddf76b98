//! The servers: the same answers, waited for in four ways by one thread.

#![allow(unsafe_code, reason = "receives into buffers by plain calls")]

use std::io::{self, BufRead, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use syslet::{Attach, Call, CompletionQueue, Queued};
use syslet_kevent::{Flags, Queue, Source};

use super::answer::{answer, serve as answer_all};
use super::{ROOM, epoll, limit};
use crate::error::Trouble;
use crate::options::KeventWay;

/// Serves until the input ends. Says where on the output.
pub(crate) fn serve(way: KeventWay) -> Result<(), Trouble> {
    limit::raise();
    let trouble = |error| Trouble::Work("server", error);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(trouble)?;
    let address = listener.local_addr().map_err(trouble)?;
    println!("{address}");
    io::stdout().flush().map_err(trouble)?;
    let run = move || match way {
        KeventWay::Epoll => by_epoll(&listener),
        KeventWay::Kevent => by_kevent(&listener),
        KeventWay::Calls => by_calls(&listener),
        KeventWay::Threadlets => by_threadlets(&listener),
    };
    std::thread::spawn(move || {
        if let Err(error) = run() {
            eprintln!("bench: the server: {error}");
            std::process::exit(2);
        }
    });
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(trouble)?;
    Ok(())
}

/// Connections by descriptor.
#[derive(Default)]
struct Streams(Vec<Option<TcpStream>>);

impl Streams {
    fn add(&mut self, stream: TcpStream) {
        let at = stream.as_raw_fd() as usize;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at] = Some(stream);
    }

    fn get(&self, number: u64) -> Option<&TcpStream> {
        self.0.get(number as usize)?.as_ref()
    }
}

/// Takes all connections that have come; each is given to `add`.
fn accept_all(
    listener: &TcpListener,
    mut add: impl FnMut(TcpStream) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                add(stream)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn by_epoll(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let waits = epoll::Epoll::new()?;
    let edges = (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLRDHUP) as u32;
    waits.add(listener.as_raw_fd(), edges, u64::MAX)?;
    let (mut streams, mut room) = (Streams::default(), epoll::room(ROOM));
    loop {
        let count = waits.wait(&mut room)?;
        for event in &room[..count] {
            let number = event.u64;
            if number == u64::MAX {
                accept_all(listener, |stream| {
                    let number = stream.as_raw_fd();
                    streams.add(stream);
                    waits.add(number, edges, number as u64)
                })?;
            } else if let Some(stream) = streams.get(number)
                && !answer_all(stream)?
            {
                streams.0[number as usize] = None;
            }
        }
    }
}

fn by_kevent(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let queue = Queue::new()?;
    let accepts = Source::accept(listener).with(Flags::ET | Flags::ALWAYS_QUEUE);
    queue.add(accepts.user_data(u64::MAX))?;
    let (mut streams, mut events) = (Streams::default(), Vec::with_capacity(ROOM));
    loop {
        events.clear();
        queue.fetch(&mut events, 1, ROOM, None)?;
        for event in &events {
            if event.user_data == u64::MAX {
                let mut fresh = Vec::new();
                accept_all(listener, |stream| {
                    fresh.push(Source::recv(&stream).with(Flags::ET | Flags::ALWAYS_QUEUE));
                    streams.add(stream);
                    Ok(())
                })?;
                for added in queue.add_all(&fresh) {
                    added?;
                }
            } else if let Some(stream) = streams.get(event.id)
                && !answer_all(stream)?
            {
                queue.remove(Source::recv(stream).key())?;
                streams.0[event.id as usize] = None;
            }
        }
    }
}

/// Each connection has a receive under way.
fn by_calls(listener: &TcpListener) -> io::Result<()> {
    let guard = syslet::attach().map_err(io::Error::other)?;
    let queue = CompletionQueue::new(1 << 14)?.always_queue(true);
    let mut streams = Streams::default();
    let mut buffers: Vec<Box<[u8; 1024]>> = Vec::new();
    let accepts = |queue: &CompletionQueue| {
        let call = Call::new(libc::SYS_accept4 as usize, [listener.as_raw_fd() as usize, 0, 0, 0]);
        // SAFETY: it stores no address.
        unsafe { queue.submit(u64::MAX, call) }
    };
    let _ = accepts(&queue).map_err(|error| io::Error::other(error.to_string()))?;
    loop {
        queue.wait(1);
        while let Some(done) = queue.pop() {
            let number = if done.user_data == u64::MAX {
                let number =
                    done.ret().result().map_err(|_| io::ErrorKind::ConnectionAborted)? as i32;
                // SAFETY: it is new.
                let stream: TcpStream = unsafe { std::os::fd::FromRawFd::from_raw_fd(number) };
                stream.set_nodelay(true)?;
                streams.add(stream);
                if buffers.len() <= number as usize {
                    buffers.resize_with(number as usize + 1, || Box::new([0; 1024]));
                }
                let _ = accepts(&queue).map_err(|error| io::Error::other(error.to_string()))?;
                number as u64
            } else {
                let Some(stream) = streams.get(done.user_data) else { continue };
                if done.res <= 0 {
                    streams.0[done.user_data as usize] = None;
                    continue;
                }
                answer(stream, done.res as usize)?;
                done.user_data
            };
            let buffer = buffers[number as usize].as_mut_ptr() as usize;
            let call =
                Call::new(libc::SYS_recvfrom as usize, [number as usize, buffer, 1024, 0, 0, 0]);
            // SAFETY: the buffer is its connection's, and is never freed; one receive at a time.
            match unsafe { queue.submit(number, call) } {
                Ok(Queued::Done(_) | Queued::Queued(_)) => {}
                Err(error) => {
                    drop(guard);
                    return Err(io::Error::other(error.to_string()));
                }
            }
        }
    }
}

/// Each connection is a closure that reads and writes, as a thread would.
fn by_threadlets(listener: &TcpListener) -> io::Result<()> {
    // A thread for each connection: as many as there may be at most.
    let _guard = Attach::new().max_crew(4096).attach().map_err(io::Error::other)?;
    loop {
        // Waits as the guest itself: nothing else is to be done here.
        let (stream, _) = syslet::net::accept(listener).wait()?;
        stream.set_nodelay(true)?;
        drop(syslet::threadlet(move || while answer_all(&stream).is_ok_and(|more| more) {}));
    }
}
