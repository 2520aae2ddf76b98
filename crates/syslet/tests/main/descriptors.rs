//! A descriptor that a call makes belongs to who takes its answer, and is closed if nobody does.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use syslet::{Call, CancelOutcome};

use crate::context::use_stack;
use crate::util::calls::{accepted, go, number_call, pending};
use crate::util::temp::Folder;
use crate::util::{LIMIT, attached, eventually, late};

fn accept_of(listener: &TcpListener) -> Call {
    let flags = libc::SOCK_CLOEXEC as usize;
    number_call(libc::SYS_accept4, [listener.as_raw_fd() as usize, 0, 0, flags])
}

fn connect(listener: &TcpListener) -> TcpStream {
    let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("connects");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
    stream
}

/// True if the other end was closed.
fn is_closed(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

/// Opens a FIFO for reading, which waits for a writer.
fn open_of(fifo: &Path) -> Call {
    let path = CString::new(fifo.as_os_str().as_bytes()).expect("a path").into_raw();
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    number_call(libc::SYS_openat, [libc::AT_FDCWD as usize, path as usize, flags, 0])
}

/// The writing end, once somebody opens the other.
fn writer(fifo: &Path) -> File {
    let mut found = None;
    let open = || {
        found = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(fifo).ok();
        found.is_some()
    };
    assert!(eventually(open), "nobody opens the other end");
    found.expect("it was opened")
}

/// True once nobody has the reading end.
fn is_broken(mut writer: &File) -> bool {
    eventually(|| writer.write(b"x").is_err_and(|error| error.kind() == ErrorKind::BrokenPipe))
}

#[test]
fn a_descriptor_that_comes_after_its_handle_is_closed() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        drop(pending(go(accept_of(&listener))));
        assert!(is_closed(&connect(&listener)), "accept: a descriptor is left");
        let folder = Folder::new();
        let fifo = folder.fifo("fifo");
        drop(pending(go(open_of(&fifo))));
        assert!(is_broken(&writer(&fifo)), "open: a descriptor is left");
    });
}

#[test]
fn a_descriptor_that_was_there_before_its_handle_went_is_closed() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let accept = pending(go(accept_of(&listener)));
        let client = connect(&listener);
        assert!(eventually(|| accept.is_done()));
        drop(accept);
        assert!(is_closed(&client), "accept: a descriptor is left");
        let folder = Folder::new();
        let fifo = folder.fifo("fifo");
        let open = pending(go(open_of(&fifo)));
        let writer = writer(&fifo);
        assert!(eventually(|| open.is_done()));
        drop(open);
        assert!(is_broken(&writer), "open: a descriptor is left");
    });
}

#[test]
fn a_call_that_is_away_needs_nothing_of_its_callers_stack() {
    attached(|| {
        let folder = Folder::new();
        let fifo = folder.fifo("fifo");
        // What it has made is closed because of what it was.
        drop(pending(go(open_of(&fifo))));
        black_box(use_stack(8));
        assert!(is_broken(&writer(&fifo)), "the call was forgotten, and a descriptor is left");
    });
}

#[test]
fn a_cancel_that_comes_too_late_changes_nothing() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        // Who takes the answer has the descriptor.
        let accept = pending(go(accept_of(&listener)));
        let mut client = connect(&listener);
        assert!(eventually(|| accept.is_done()));
        assert_eq!(accept.cancel(), CancelOutcome::TooLate);
        let ret = accept.wait_deadline(late()).expect("it is over");
        let mut server = accepted(ret.raw());
        server.write_all(b"y").expect("the descriptor is open");
        client.read_exact(&mut [0]).expect("the other end writes");
        // Cancelled late, and dropped: it is closed.
        let accept = pending(go(accept_of(&listener)));
        let client = connect(&listener);
        assert!(eventually(|| accept.is_done()));
        let _ = accept.cancel();
        drop(accept);
        assert!(is_closed(&client), "a descriptor is left");
    });
}

#[test]
fn a_cancel_just_as_the_descriptor_comes_leaks_none() {
    attached(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        for round in 0..200 {
            let accept = pending(go(accept_of(&listener)));
            let address = listener.local_addr().expect("it is bound");
            let connecting = std::thread::spawn(move || TcpStream::connect(address));
            let _ = accept.cancel();
            drop(accept);
            let client = connecting.join().expect("it only connects").expect("it connects");
            // Accepted in vain and closed, or still waiting to be accepted.
            listener.set_nonblocking(true).expect("a listener can be asked");
            let waits = listener.accept();
            listener.set_nonblocking(false).expect("a listener can wait");
            client.set_read_timeout(Some(LIMIT)).expect("a limit can be set");
            drop(waits);
            assert!(is_closed(&client), "round {round}: a descriptor is left");
        }
    });
}
