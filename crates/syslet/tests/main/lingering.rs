//! The last close of a socket may wait for its peer (`SO_LINGER`). Nobody waits with it who needs the keeper.
//!
//! # Safety
//!
//! Clause *numbers*: no argument is a pointer. Clause *live*: the kernel reads and writes what is live.

#![allow(unsafe_code, reason = "system calls; see the header")]

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use syslet::{CancelOutcome, Pending, hold_files_at_once, stats};

use crate::container::deny_socket_filters;
use crate::parked_without_aio::{deny_taking, use_up_aio};
use crate::util::calls::{Landing, Words, number_call, read_call};
use crate::util::child::Child;
use crate::util::parking::{eventually_held, parked};
use crate::util::pipe::Pipe;
use crate::util::{attached, eventually, late};

/// A socket whose last close waits for its peer longer than any test, and the peer, which does not read.
fn lingering() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
    let address = listener.local_addr().expect("it is bound");
    let mut socket = TcpStream::connect(address).expect("somebody listens");
    let (peer, _) = listener.accept().expect("somebody has come");
    let linger = libc::linger { l_onoff: 1, l_linger: 1000 };
    let (at, len) = ((&raw const linger).cast(), size_of_val(&linger) as u32);
    // SAFETY: clause *live*.
    let set =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, len) };
    assert_eq!(set, 0);
    socket.set_nonblocking(true).expect("it can be set");
    while socket.write(&[0; 1 << 16]).is_ok() {}
    socket.set_nonblocking(false).expect("it can be set");
    (socket, peer)
}

/// A wait for two descriptors, which the keeper arms.
fn expect_the_keeper_to_work() {
    let pipes = [Pipe::new(), Pipe::new()];
    let entry = |pipe: &Pipe| pipe.read_end() as u64 | (libc::POLLIN as u64) << 32;
    let polls = Words::leak(pipes.iter().map(entry));
    let wait = parked(number_call(libc::SYS_poll, [polls.address(), 2, 60_000]));
    pipes[1].put(1);
    assert_eq!(wait.wait_deadline(late()).expect("it is told").raw(), 1);
}

/// The sockets in the keeper's table, by their inodes.
fn keepers_sockets() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("it is there");
    let is_keeper = |name: String| name == "syslet-keeper\n";
    let keeper = tasks
        .map(|task| task.expect("an entry").path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(is_keeper))
        .expect("there is a keeper");
    let files = fs::read_dir(keeper.join("fd")).expect("it is ours");
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let sockets = links.filter_map(|link| {
        Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    });
    sockets.collect()
}

/// The address of the keeper's box, as everybody finds it who looks.
fn boxes_address() -> (libc::sockaddr_un, u32) {
    let sockets = keepers_sockets();
    let list = fs::read_to_string("/proc/net/unix").expect("it is there");
    let name = list
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace().skip(6);
            let (inode, name) = (words.next()?, words.next()?.strip_prefix('@')?);
            sockets.iter().any(|socket| socket == inode).then_some(name)
        })
        .next()
        .expect("the box has a name");
    // SAFETY: zeroes are one.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (place, byte) in address.sun_path[1..].iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    (address, (size_of::<libc::sa_family_t>() + 1 + name.len()) as u32)
}

/// Copies of the file in a message, so that who takes it is at it for longer than its sender needs to go on.
const COPIES: usize = 200;
/// Messages, of which as many go as the box has room for.
const MESSAGES: usize = 10;

/// In a process of its own: sends the socket to the box, and closes it, once there is a byte in `start`: nobody else
/// has it open then.
fn send_and_close(socket: RawFd, start: RawFd, mut to: libc::sockaddr_un, len: u32) -> ! {
    let mut byte = 0u8;
    // SAFETY: clause *live*.
    unsafe { libc::read(start, (&raw mut byte).cast(), 1) };
    let mut bytes = [0u8; 24];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // `struct cmsghdr`, and the descriptors.
    let mut control = [(socket as u64) << 32 | socket as u64; 2 + COPIES / 2];
    control[0] = (16 + 4 * COPIES) as u64;
    control[1] = (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64;
    // SAFETY: zeroes are one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut to).cast();
    message.msg_namelen = len;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: clause *numbers*.
    let sender = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
    for _ in 0..MESSAGES {
        // SAFETY: clause *live*.
        unsafe { libc::sendmsg(sender, &raw const message, libc::MSG_DONTWAIT) };
    }
    // SAFETY: clause *numbers*.
    unsafe { libc::close(socket) };
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) };
}

/// Another process sends a socket that lingers to the box. `is_let_in`: the box takes what anybody sends.
fn expect_strangers_to_be_harmless(is_let_in: bool) {
    deny_taking();
    attached(move || {
        expect_the_keeper_to_work();
        let (address, len) = boxes_address();
        let (socket, peer) = lingering();
        let start = Pipe::new();
        // SAFETY: the child makes system calls only.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            send_and_close(socket.as_raw_fd(), start.read_end(), address, len);
        }
        drop(socket);
        start.put(1);
        let is_in_close = || {
            let call = fs::read_to_string(format!("/proc/{child}/syscall")).unwrap_or_default();
            call.starts_with(&format!("{} ", libc::SYS_close))
        };
        let is_over = || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.contains(") Z ")
        };
        // What is not let in is closed by who has sent it, and he waits.
        assert!(eventually(|| is_in_close() || is_let_in && is_over()), "it is over");
        (0..3).for_each(|_| expect_the_keeper_to_work());
        assert!(is_let_in || is_in_close(), "somebody else has closed it");
        // SAFETY: clause *numbers*.
        unsafe { libc::kill(child, libc::SIGKILL) };
        // SAFETY: as above: no status is asked for.
        assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child);
        drop(peer);
    });
}

#[test]
fn a_socket_that_another_process_sends_lingers_there() {
    let path = "lingering::a_socket_that_another_process_sends_lingers_there";
    let ended = Child::new().run(path, || expect_strangers_to_be_harmless(false));
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_socket_that_another_process_sends_holds_nobody_up_where_there_are_no_filters() {
    let path =
        "lingering::a_socket_that_another_process_sends_holds_nobody_up_where_there_are_no_filters";
    let ended = Child::new().run(path, || {
        deny_socket_filters();
        expect_strangers_to_be_harmless(true);
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_socket_that_was_closed_while_its_call_was_parked_holds_nobody_up() {
    let path = "lingering::a_socket_that_was_closed_while_its_call_was_parked_holds_nobody_up";
    let ended = Child::new().run(path, || {
        attached(|| {
            // So that nobody but the keeper has the file.
            use_up_aio();
            let (socket, peer) = lingering();
            let read = parked(read_call(socket.as_raw_fd(), Landing::leak()));
            if !eventually_held(1) {
                return;
            }
            drop(socket);
            assert_eq!(read.cancel(), CancelOutcome::Asked);
            assert!(read.wait_deadline(late()).expect("it was cancelled").is_cancelled());
            expect_the_keeper_to_work();
            drop(peer);
        });
    });
    ended.expect("this is the parent").expect_done();
}

/// Rounds in which the socket of a parked call that is over, because of `end`, must be nobody's but the program's.
fn expect_a_lingering_socket_for_itself(
    rounds: usize,
    is_held: fn() -> bool,
    end: fn(&Pending, &TcpStream),
) {
    let closing = format!("{} ", libc::SYS_close);
    let mut alone = 0;
    for _ in 0..rounds {
        let (socket, peer) = lingering();
        let read = parked(read_call(socket.as_raw_fd(), Landing::leak()));
        if !is_held() {
            return;
        }
        let (closes, closed) = (&AtomicI32::new(0), &AtomicBool::new(false));
        let closing = &closing;
        let (give, take) = channel();
        thread::scope(|scope| {
            // True: the close waits for its peer, as the last one does. While another has it open none does.
            let waits = scope.spawn(move || {
                let peer: TcpStream = take.recv().expect("it is given");
                let is_in_close = || {
                    let call = format!("/proc/self/task/{}/syscall", closes.load(Ordering::SeqCst));
                    fs::read_to_string(call).is_ok_and(|call| call.starts_with(closing))
                };
                let is_closed = || closed.load(Ordering::SeqCst);
                assert!(eventually(|| is_closed() || is_in_close()));
                let waits = !is_closed();
                drop(peer);
                waits
            });
            end(&read, &peer);
            give.send(peer).expect("it is awaited");
            read.wait_deadline(late()).expect("it is over");
            // SAFETY: clause *numbers*.
            closes.store(unsafe { libc::gettid() }, Ordering::SeqCst);
            drop(socket);
            closed.store(true, Ordering::SeqCst);
            alone += usize::from(waits.join().expect("it has seen it"));
        });
    }
    // But if the thread that closes it has no CPU for half a second.
    assert!(alone + 1 >= rounds, "{alone} times of {rounds}");
}

#[test]
fn a_socket_that_lingers_is_the_programs_alone_once_its_call_is_over() {
    let path = "lingering::a_socket_that_lingers_is_the_programs_alone_once_its_call_is_over";
    let ended = Child::new().run(path, || {
        attached(|| {
            use_up_aio();
            expect_a_lingering_socket_for_itself(
                20,
                || eventually_held(1),
                |read, _| assert_eq!(read.cancel(), CancelOutcome::Asked),
            );
        });
    });
    ended.expect("this is the parent").expect_done();
}

#[test]
fn a_socket_that_lingers_and_is_held_at_once_is_the_programs_alone_once_its_call_is_over() {
    let path = "lingering::a_socket_that_lingers_and_is_held_at_once_is_the_programs_alone_once_its_call_is_over";
    let ended = Child::new().run(path, || {
        hold_files_at_once(true);
        attached(|| {
            expect_a_lingering_socket_for_itself(
                200,
                || {
                    assert_eq!(stats().held, 1, "its file is held");
                    true
                },
                |_, mut peer| peer.write_all(&[7]).expect("there is room"),
            );
        });
    });
    ended.expect("this is the parent").expect_done();
}
