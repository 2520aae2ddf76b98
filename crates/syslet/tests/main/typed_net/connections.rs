//! Connecting and accepting.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_executor::{LocalPool, block_on};
use futures_util::future::join_all;
use futures_util::task::LocalSpawnExt;
use syslet::net::{
    accept, connect, connect_timeout, connect_unix, connect_unix_addr, recv, send_all,
};

use super::{listener, talks};
use crate::util::calls;
use crate::util::child::Child;
use crate::util::temp::Folder;
use crate::util::{attached, skip};

/// Time that a connection attempt of these tests is given which must not succeed.
const SHORT: Duration = Duration::from_millis(60);

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it is bound")
}

/// Connects and accepts, whichever way round.
fn meet(listener: TcpListener, accept_first: bool) {
    let accepting = accept_first.then(|| accept(&listener));
    let client = connect(address(&listener)).wait().expect("somebody listens");
    let accepting = accepting.unwrap_or_else(|| accept(&listener));
    let (server, peer) = accepting.wait().expect("somebody has come");
    assert_eq!(peer, client.local_addr().expect("it is connected"));
    talks(&client, &server);
    talks(&server, &client);
}

#[test]
fn streams_are_connected_and_in_blocking_mode() {
    attached(|| {
        meet(listener(), true);
        meet(listener(), false);
        let listener = listener();
        let client = connect(address(&listener)).wait().expect("somebody listens");
        let (server, _) = listener.accept().expect("somebody has come");
        for stream in [&client, &server] {
            // In non-blocking mode the time limit would not be waited for.
            stream.set_read_timeout(Some(SHORT)).expect("it can be set");
            let begun = Instant::now();
            let error = std::io::Read::read(&mut &*stream, &mut [0]).expect_err("nothing comes");
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(begun.elapsed() >= SHORT / 2);
        }
    });
}

#[test]
fn internet_addresses_of_version_6() {
    attached(|| match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(listener) => meet(listener, true),
        Err(error) => skip(&format!("no IPv6 here: {error}")),
    });
}

#[test]
fn descriptors_are_closed_on_exec() {
    attached(|| {
        let listener = listener();
        let client = connect(address(&listener)).wait().expect("somebody listens");
        let (server, _) = accept(&listener).wait().expect("somebody has come");
        for fd in [client.as_raw_fd(), server.as_raw_fd()] {
            let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
            let flags = flags.expect("it is open");
            let flags = flags.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = i64::from_str_radix(flags.expect("a field").trim(), 8).expect("octal");
            assert_ne!(flags & i64::from(libc::O_CLOEXEC), 0);
            assert_eq!(flags & i64::from(libc::O_NONBLOCK), 0);
        }
    });
}

#[test]
fn unix_sockets_of_every_kind_of_name() {
    attached(|| {
        let folder = Folder::new();
        let by_path = UnixListener::bind(folder.at("socket")).expect("it can be bound");
        let accepting = accept(&by_path);
        let client = connect_unix(folder.at("socket")).wait().expect("somebody listens");
        let (server, peer) = accepting.wait().expect("somebody has come");
        assert!(peer.is_unnamed());
        let named = client.peer_addr().expect("it is connected");
        assert_eq!(named.as_pathname(), Some(folder.at("socket").as_path()));
        talks(&client, &server);

        let name = format!("syslet-test-{}", std::process::id());
        let name = net::SocketAddr::from_abstract_name(name).expect("it is short");
        let by_name = Arc::new(UnixListener::bind_addr(&name).expect("it can be bound"));
        let client = connect_unix_addr(&name).wait().expect("somebody listens");
        let (server, _) = accept(&by_name).wait().expect("somebody has come");
        talks(&server, &client);
    });
}

#[test]
fn errors_of_unix_sockets_are_those_of_std() {
    let path = "typed_net::connections::errors_of_unix_sockets_are_those_of_std";
    // Alone: a program that another test starts beside it holds copies of its sockets for a moment.
    let ended = Child::new().run(path, || {
        attached(|| {
            let folder = Folder::new();
            drop(UnixListener::bind(folder.at("gone")).expect("it can be bound"));
            std::fs::write(folder.at("file"), "").expect("it can be written");
            let long = "x".repeat(200);
            for path in ["gone", "file", "missing", &long] {
                let expected = net::UnixStream::connect(folder.at(path)).expect_err("nobody");
                let got = connect_unix(folder.at(path)).wait().expect_err("nobody");
                assert_eq!(
                    (got.kind(), got.raw_os_error()),
                    (expected.kind(), expected.raw_os_error())
                );
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn refused_and_unreachable_are_those_of_std() {
    let path = "typed_net::connections::refused_and_unreachable_are_those_of_std";
    // Alone: a program that another test starts beside it holds copies of its sockets for a moment.
    let ended = Child::new().run(path, || {
        attached(|| {
            let closed = address(&listener());
            let refused = connect(closed).wait().expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            for address in ["255.255.255.255:9", "240.0.0.1:9", "[ff02::1]:9", "[2001:db8::1]:9"] {
                let address: SocketAddr = address.parse().expect("an address");
                let expected = TcpStream::connect_timeout(&address, SHORT).map_err(|e| e.kind());
                let got = connect_timeout(address, SHORT).wait().map_err(|e| e.kind());
                let (got, expected) = (got.err(), expected.err());
                // Something far away may answer, or not in time, and one attempt says nothing of the next.
                if ![got, expected].contains(&Some(ErrorKind::TimedOut)) {
                    assert_eq!(got, expected, "{address}");
                }
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// A listener whose queue is full: further attempts hang.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = listener();
    calls::listen(listener.as_raw_fd(), 0);
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address(&listener), SHORT) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue is never full");
    }
    (listener, waiting)
}

#[test]
fn connecting_in_vain_times_out() {
    attached(|| {
        let (listener, _waiting) = full();
        let begun = Instant::now();
        let mut connecting = connect_timeout(address(&listener), SHORT);
        assert!(!connecting.is_done());
        let error = connecting.wait().expect_err("the queue is full");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() >= SHORT);
        let zero = connect_timeout(address(&listener), Duration::ZERO).wait();
        assert_eq!(zero.expect_err("not a time").kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn connecting_goes_on_when_there_is_room() {
    attached(|| {
        let (listener, waiting) = full();
        let mut connecting = connect_timeout(address(&listener), Duration::MAX);
        assert!(!connecting.is_done());
        for _ in 0..waiting.len() {
            drop(accept(&listener).wait().expect("somebody waits"));
        }
        // The kernel tries again after a second.
        let client = connecting.wait().expect("there is room");
        let (server, _) = accept(&listener).wait().expect("somebody has come");
        talks(&client, &server);
    });
}

#[test]
fn unix_connection_waits_for_room_in_the_queue() {
    attached(|| {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.at("socket")).expect("it can be bound");
        calls::listen(listener.as_raw_fd(), 0);
        let first = connect_unix(folder.at("socket")).wait().expect("there is room for one");
        let mut second = connect_unix(folder.at("socket"));
        assert!(!second.is_done());
        let (server, _) = accept(&listener).wait().expect("somebody has come");
        talks(&first, &server);
        let second = second.wait().expect("there is room now");
        let (server, _) = accept(&listener).wait().expect("somebody has come");
        talks(&second, &server);
    });
}

/// Connections at a time in the test below.
const CONNECTIONS: usize = 1000;

/// Serves one client, until it goes.
async fn echo(stream: Arc<TcpStream>) -> usize {
    let mut total = 0;
    let mut buf = vec![0; 16];
    loop {
        let (count, mut filled) = recv(&stream, buf).await;
        let count = count.expect("it can be received");
        if count == 0 {
            return total;
        }
        total += count;
        filled.truncate(count);
        let (sent, mut back) = send_all(&stream, filled).await;
        sent.expect("it can be sent");
        back.resize(16, 0);
        buf = back;
    }
}

/// Says something, and hears the same, a few times.
async fn client(address: SocketAddr, number: usize) {
    let stream = Arc::new(connect(address).await.expect("somebody listens"));
    for round in 0..3 {
        let text = format!("{number} {round}");
        send_all(&stream, text.clone()).await.0.expect("it can be sent");
        let mut heard = Vec::new();
        while heard.len() < text.len() {
            let (count, buf) = recv(&stream, vec![0; 16]).await;
            let count = count.expect("it can be received");
            assert_ne!(count, 0, "the server has gone");
            heard.extend_from_slice(&buf[..count]);
        }
        assert_eq!(heard, text.as_bytes());
    }
}

#[test]
fn thousand_connections_on_one_thread() {
    let path = "typed_net::connections::thousand_connections_on_one_thread";
    let ended = Child::new().run(path, || {
        calls::limit(libc::RLIMIT_NOFILE, 10_000);
        attached(|| {
            let listener = Arc::new(listener());
            // All come at once: with std's queue of 128 the kernel resets some on a busy machine.
            calls::listen(listener.as_raw_fd(), CONNECTIONS as i32);
            let address = address(&listener);
            let mut pool = LocalPool::new();
            let spawner = pool.spawner();
            let served = Rc::new(std::cell::Cell::new(0));
            let serving = Rc::clone(&served);
            let spawn = pool.spawner();
            let server = async move {
                for _ in 0..CONNECTIONS {
                    let (stream, _) = accept(&listener).await.expect("somebody comes");
                    let serving = Rc::clone(&serving);
                    let session = async move {
                        assert!(echo(Arc::new(stream)).await >= 9);
                        serving.set(serving.get() + 1);
                    };
                    spawn.spawn_local(session).expect("the pool runs");
                }
            };
            spawner.spawn_local(server).expect("the pool runs");
            let clients = join_all((0..CONNECTIONS).map(|number| client(address, number)));
            pool.run_until(clients);
            pool.run();
            assert_eq!(served.get(), CONNECTIONS);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn operations_are_futures_of_any_executor() {
    attached(|| {
        let listener = listener();
        let (client, accepted) = block_on(async {
            let accepting = accept(&listener);
            let connecting = connect(address(&listener));
            let client = connecting.await.expect("somebody listens");
            (client, accepting.await.expect("somebody has come").0)
        });
        talks(&client, &accepted);
    });
}
