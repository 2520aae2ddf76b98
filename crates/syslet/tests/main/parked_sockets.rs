//! What waits on sockets in its own ways needs no thread: connections, and messages that are wanted whole.

#![allow(unsafe_code, reason = "system calls; see `util::calls`")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};

use syslet::{Call, Submitted};
use syslet_sys::descriptor;

use crate::util::calls::{Block, Words, go, listen, number_call, pending, plain, set_nonblocking};
use crate::util::child::Child;
use crate::util::parking::{let_others_act, parked};
use crate::util::{attached, eventually, late, soon};

/// A socket that is not connected.
pub(crate) fn stream_socket() -> OwnedFd {
    let args = [libc::AF_INET as usize, libc::SOCK_STREAM as usize, 0, 0, 0, 0];
    let fd = plain(libc::SYS_socket as usize, args);
    assert!(fd >= 0, "{fd}");
    // SAFETY: just made, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

pub(crate) fn connect_call(socket: &OwnedFd, port: u16) -> Call {
    let family = u64::from(libc::AF_INET as u16);
    let local = u64::from(u32::from_ne_bytes([127, 0, 0, 1]));
    let address = Words::leak([family | u64::from(port.to_be()) << 16 | local << 32, 0]);
    number_call(libc::SYS_connect, [socket.as_raw_fd() as usize, address.address(), 16])
}

/// A listener whose queue is full, and those who are in it.
pub(crate) fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
    listen(listener.as_raw_fd(), 0);
    let address = listener.local_addr().expect("it is bound");
    let first = TcpStream::connect(address).expect("there is room for one");
    (listener, vec![first])
}

fn flags(socket: &OwnedFd) -> isize {
    let args = [socket.as_raw_fd() as usize, libc::F_GETFL as usize, 0, 0, 0, 0];
    plain(libc::SYS_fcntl as usize, args)
}

#[test]
fn a_connection_that_waits_is_parked() {
    attached(|| {
        let (listener, _queued) = full_listener();
        let port = listener.local_addr().expect("it is bound").port();
        let socket = stream_socket();
        let before = flags(&socket);
        let wait = parked(connect_call(&socket, port));
        assert_eq!(flags(&socket), before, "the flags are as they were");
        assert!(!wait.is_done());
        drop(listener.accept().expect("one is queued"));
        // The kernel asks again after a second.
        assert_eq!(wait.wait().raw(), 0);
        let (mut there, _) = listener.accept().expect("the second one");
        let mut here = TcpStream::from(socket);
        here.write_all(b"hello").expect("it is connected");
        let mut heard = [0; 5];
        there.read_exact(&mut heard).expect("it is connected");
        assert_eq!(&heard, b"hello");
    });
}

#[test]
fn a_connection_of_a_nonblocking_socket_is_not_waited_for() {
    attached(|| {
        let (listener, _queued) = full_listener();
        let port = listener.local_addr().expect("it is bound").port();
        let socket = stream_socket();
        set_nonblocking(socket.as_raw_fd(), true);
        let begun = go(connect_call(&socket, port));
        assert_eq!(begun.wait().errno(), Some(libc::EINPROGRESS));
        assert_ne!(flags(&socket) & libc::O_NONBLOCK as isize, 0, "the flag is as it was");
        assert_eq!(go(connect_call(&socket, port)).wait().errno(), Some(libc::EALREADY));
    });
}

#[test]
fn a_connection_that_nobody_wants_is_refused() {
    attached(|| {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
            listener.local_addr().expect("it is bound").port()
        };
        let socket = stream_socket();
        let ret = go(connect_call(&socket, port)).wait();
        assert_eq!(ret.errno(), Some(libc::ECONNREFUSED));
        // And one that is refused while it waits.
        let (listener, queued) = full_listener();
        let port = listener.local_addr().expect("it is bound").port();
        let wait = parked(connect_call(&socket, port));
        drop((listener, queued));
        assert_eq!(wait.wait().errno(), Some(libc::ECONNREFUSED));
    });
}

#[test]
fn a_connection_that_waits_can_be_cancelled() {
    attached(|| {
        let (listener, _queued) = full_listener();
        let port = listener.local_addr().expect("it is bound").port();
        let socket = stream_socket();
        let wait = parked(connect_call(&socket, port));
        let _ = wait.cancel();
        assert!(wait.wait().is_cancelled());
    });
}

fn receive_all(socket: RawFd, block: &Block, len: usize) -> Call {
    let flags = libc::MSG_WAITALL as usize;
    number_call(libc::SYS_recvfrom, [socket as usize, block.address(), len, flags, 0, 0])
}

#[test]
fn all_that_is_asked_for_of_a_stream_comes_without_a_thread() {
    attached(|| {
        let (mut writer, reader) = UnixStream::pair().expect("sockets can be made");
        let block = Block::leak();
        let wait = parked(receive_all(reader.as_raw_fd(), block, 4000));
        for part in [1, 999, 2500, 500] {
            assert!(!wait.is_done());
            writer.write_all(&vec![part as u8; part]).expect("it has room");
        }
        assert_eq!(wait.wait().raw(), 4000);
        let bytes = block.bytes();
        assert_eq!((bytes[0], bytes[1], bytes[1000], bytes[3999]), (1, 231, 196, 244));
        // A part is there already when it begins; the other end stops.
        writer.write_all(&[7; 10]).expect("it has room");
        let wait = parked(receive_all(reader.as_raw_fd(), block, 4000));
        writer.write_all(&[8; 10]).expect("it has room");
        writer.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(wait.wait().raw(), 20);
        assert_eq!((block.bytes()[9], block.bytes()[10]), (7, 8));
    });
}

#[test]
fn a_datagram_is_all_that_is_asked_for() {
    attached(|| {
        let (writer, reader) = UnixDatagram::pair().expect("sockets can be made");
        let block = Block::leak();
        let wait = pending(go(receive_all(reader.as_raw_fd(), block, 4000)));
        writer.send(&[9; 10]).expect("it has room");
        assert_eq!(wait.wait().raw(), 10);
    });
}

#[test]
fn a_message_that_opens_its_connection_waits_for_it() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
        let port = listener.local_addr().expect("it is bound").port();
        let socket = stream_socket();
        let connect = connect_call(&socket, port);
        let [_, address, len] = [0, 1, 2].map(|at| connect.args()[at]);
        let hello = Block::with(b"hello");
        let flags = libc::MSG_FASTOPEN as usize;
        let args = [socket.as_raw_fd() as usize, hello.address(), 5, flags, address, len];
        assert_eq!(go(number_call(libc::SYS_sendto, args)).wait().raw(), 5);
        let (mut there, _) = listener.accept().expect("it is connected");
        let mut heard = [0; 5];
        there.read_exact(&mut heard).expect("it was sent");
        assert_eq!(&heard, b"hello");
    });
}

#[test]
fn connecting_what_is_connected_changes_nothing_for_others() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
        let port = listener.local_addr().expect("it is bound").port();
        let socket = stream_socket();
        let call = connect_call(&socket, port);
        assert_eq!(go(call).wait().raw(), 0);
        // Another thread would be told that nothing is there, instead of waiting.
        let before = flags(&socket);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut changed = 0;
                while !over.load(Ordering::Relaxed) {
                    changed += usize::from(flags(&socket) != before);
                }
                changed
            });
            for _ in 0..20_000 {
                assert_eq!(go(call).wait().errno(), Some(libc::EISCONN));
            }
            over.store(true, Ordering::Relaxed);
            assert_eq!(watcher.join().expect("it only looks"), 0);
        });
    });
}

#[test]
fn who_sent_is_told_of_the_first_part() {
    attached(|| {
        let (mut writer, reader) = UnixStream::pair().expect("sockets can be made");
        // A name in the abstract space, chosen by the kernel.
        let name = Words::leak([libc::AF_UNIX as u64]);
        let args = [writer.as_raw_fd() as usize, name.address(), 2, 0, 0, 0];
        assert_eq!(plain(libc::SYS_bind as usize, args), 0);
        let (block, from, len) = (Block::leak(), Block::leak(), Words::leak([110]));
        let call = receive_all(reader.as_raw_fd(), block, 20);
        let mut args = [0; 6];
        args[..4].copy_from_slice(&call.args()[..4]);
        (args[4], args[5]) = (from.address(), len.address());
        let wait = parked(number_call(libc::SYS_recvfrom, args));
        writer.write_all(&[1; 10]).expect("it has room");
        assert!(eventually(|| block.bytes()[9] == 1));
        drop(writer);
        assert_eq!(wait.wait().raw(), 10);
        assert_eq!((from.bytes()[0], len.get(0)), (libc::AF_UNIX as u8, 8));
    });
}

#[test]
fn what_is_received_aside_is_not_waited_for() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
        let address = listener.local_addr().expect("it is bound");
        let client = TcpStream::connect(address).expect("somebody listens");
        let socket = client.as_raw_fd() as usize;
        for flag in [libc::MSG_ERRQUEUE, libc::MSG_OOB] {
            let args = [socket, Block::leak().address(), 10, flag as usize, 0, 0];
            let plain = plain(libc::SYS_recvfrom as usize, args);
            assert!(plain < 0, "there is nothing");
            let call = number_call(libc::SYS_recvfrom, args);
            let ret = match go(call) {
                Submitted::Done(ret) => ret,
                // Another test may have all crew threads for a while.
                Submitted::Pending(pending) => {
                    pending.wait_deadline(late()).expect("it does not wait")
                }
            };
            assert_eq!(ret.raw(), plain);
        }
    });
}

#[test]
fn what_is_received_aside_is_not_waited_for_where_a_terminal_was() {
    let path = "parked_sockets::what_is_received_aside_is_not_waited_for_where_a_terminal_was";
    let ended = Child::new().run(path, || {
        attached(|| {
            // SAFETY: numbers.
            let number = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY) };
            assert!(number >= 0, "there are terminals");
            let wrote = number_call(libc::SYS_write, [number as usize, Block::leak().address(), 1]);
            assert_eq!(go(wrote).wait().raw(), 1);
            let (one, _other) = UnixStream::pair().expect("a pair");
            // SAFETY: both are ours.
            assert_eq!(unsafe { libc::dup2(one.as_raw_fd(), number) }, number);
            let args = [number as usize, Block::leak().address(), 10, libc::MSG_OOB as usize, 0, 0];
            let plain = plain(libc::SYS_recvfrom as usize, args);
            assert!(plain < 0, "there is nothing");
            let ret = match go(number_call(libc::SYS_recvfrom, args)) {
                Submitted::Done(ret) => ret,
                // A guest that is held up for long goes on without its answer.
                Submitted::Pending(pending) => {
                    pending.wait_deadline(late()).expect("it does not wait")
                }
            };
            assert_eq!(ret.raw(), plain);
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_receive_waits_for_as_much_as_its_socket_says() {
    // In a process of its own: of numbers that were sockets before it is not noticed before one has waited.
    let path = "parked_sockets::a_receive_waits_for_as_much_as_its_socket_says";
    let ended = Child::new().run(path, || {
        attached(|| {
            let (one, mut other) = UnixStream::pair().expect("a pair");
            set_low_mark(one.as_raw_fd(), 10);
            let number = one.as_raw_fd() as usize;
            let memory = Block::leak().address();
            let calls = [
                number_call(libc::SYS_read, [number, memory, 100, 0, 0, 0]),
                number_call(libc::SYS_recvfrom, [number, memory, 100, 0, 0, 0]),
            ];
            for call in calls {
                other.write_all(&[7; 3]).expect("there is room");
                let receive = pending(go(call));
                assert!(receive.wait_deadline(soon(20)).is_err_and(|receive| {
                    other.write_all(&[7; 8]).expect("there is room");
                    receive.wait().raw() == 11
                }));
            }
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_mark_that_is_set_later_holds_from_the_first_wait_on() {
    attached(|| {
        let (one, mut other) = UnixStream::pair().expect("a pair");
        let number = one.as_raw_fd();
        let memory = Block::leak().address();
        let read = |len| number_call(libc::SYS_read, [number as usize, memory, len, 0, 0, 0]);
        // What the number is, is known from here on.
        other.write_all(&[7]).expect("there is room");
        assert_eq!(done_or_over(go(read(100))), 1);
        set_low_mark(number, 10);
        // The first waits with nothing there; others find a part. None is short, but asks for no more either.
        for parts in [[0, 10], [3, 7], [9, 1]] {
            other.write_all(&vec![7; parts[0]]).expect("there is room");
            let receive = pending(go(read(10)));
            let_others_act();
            assert!(!receive.is_done(), "{} bytes are below the mark", parts[0]);
            other.write_all(&vec![8; parts[1]]).expect("there is room");
            assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), 10);
        }
    });
}

#[test]
fn a_part_does_not_cost_the_error_that_ended_it() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
        let address = listener.local_addr().expect("it is bound");
        let mut client = TcpStream::connect(address).expect("somebody listens");
        let (server, _) = listener.accept().expect("somebody has come");
        let args = [
            server.as_raw_fd() as usize,
            Block::leak().address(),
            100,
            libc::MSG_WAITALL as usize,
            0,
            0,
        ];
        let receive = pending(go(number_call(libc::SYS_recvfrom, args)));
        client.write_all(&[7; 3]).expect("there is room");
        assert!(eventually(|| unread(server.as_raw_fd()) == 0), "a part is taken");
        // What is closed so resets the connection.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let (at, len) = ((&raw const linger).cast(), size_of::<libc::linger>() as u32);
        let level = (libc::SOL_SOCKET, libc::SO_LINGER);
        // SAFETY: the kernel reads the structure, which is live.
        let set = unsafe { libc::setsockopt(client.as_raw_fd(), level.0, level.1, at, len) };
        assert_eq!(set, 0);
        drop(client);
        assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), 3);
        let again = go(number_call(libc::SYS_recvfrom, args));
        assert_eq!(done_or_over(again), -(libc::ECONNRESET as isize));
    });
}

/// A receive leaves such a notice where it is, and waits on.
#[test]
fn a_notice_in_the_error_queue_ends_no_receive() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let client = TcpStream::connect(listener.local_addr().expect("it is bound"));
        let client = client.expect("somebody listens");
        let (mut server, _) = listener.accept().expect("somebody connects");
        let on = 1i32;
        let (at, len) = ((&raw const on).cast(), size_of::<i32>() as u32);
        let (level, option) = (libc::SOL_SOCKET, libc::SO_ZEROCOPY);
        // SAFETY: the kernel reads one live number.
        let set = unsafe { libc::setsockopt(client.as_raw_fd(), level, option, at, len) };
        assert_eq!(set, 0);
        let sent = [7u8; 1000];
        let at = sent.as_ptr().cast();
        // SAFETY: the kernel reads the bytes, which live until it has told of them.
        let sent = unsafe { libc::send(client.as_raw_fd(), at, sent.len(), libc::MSG_ZEROCOPY) };
        assert_eq!(sent, 1000);
        let mut taken = [0; 1000];
        server.read_exact(&mut taken).expect("it comes");
        let tells = || descriptor::poll(client.as_raw_fd(), libc::POLLIN as u16, 0);
        assert!(eventually(|| tells() == libc::POLLERR as isize), "{}", tells());

        let block = Block::leak();
        let receive = pending(go(receive_all(client.as_raw_fd(), block, 100)));
        server.write_all(&[8; 10]).expect("it has room");
        assert!(eventually(|| unread(client.as_raw_fd()) == 0), "a part is taken");
        server.write_all(&[9; 90]).expect("it has room");
        assert_eq!(receive.wait_deadline(late()).expect("it ends").raw(), 100);
        assert_eq!((block.bytes()[9], block.bytes()[10]), (8, 9));
    });
}

/// The answer of a call that does not wait.
fn done_or_over(submitted: Submitted) -> isize {
    match submitted {
        Submitted::Done(ret) => ret.raw(),
        Submitted::Pending(pending) => pending.wait_deadline(late()).expect("it ends").raw(),
    }
}

fn set_low_mark(socket: RawFd, mark: i32) {
    let (at, len) = ((&raw const mark).cast(), size_of::<i32>() as u32);
    // SAFETY: the kernel reads one live number.
    let set = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, at, len) };
    assert_eq!(set, 0);
}

/// Bytes that a receive would find.
fn unread(socket: RawFd) -> i32 {
    let mut count = -1i32;
    // SAFETY: the kernel writes one number, which is live.
    assert_eq!(unsafe { libc::ioctl(socket, libc::FIONREAD, &raw mut count) }, 0);
    count
}
