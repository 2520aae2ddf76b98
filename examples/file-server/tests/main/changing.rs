//! Files that change while they are served, and clients that go.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::served::{Served, WAYS, bytes};

/// More than sockets hold: the server cannot send it all before the client reads.
const LARGE: usize = 24 << 20;

#[test]
fn a_file_that_becomes_shorter_is_cut_off_and_not_made_up() {
    Served::each(|server| {
        let path = server.write("file", bytes(LARGE));
        let mut client = server.connect();
        client.send("GET", "/file", &[]);
        let mut other = server.connect();
        // Once a byte is there, the head is on its way with the old length.
        assert!(!client.is_closed());
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
        let answer = client.receive(true).unwrap();
        assert_eq!((answer.status, answer.length()), (200, Some(LARGE)));
        assert!(answer.cut_off, "{} bytes", answer.body.len());
        assert!(answer.body == bytes(answer.body.len()), "bytes were made up");
        assert!(client.is_closed());
        assert_eq!(other.get("/file", &[]).body.len(), 1 << 20, "others go on");
    });
}

#[test]
fn a_file_that_is_replaced_is_served_as_it_was() {
    Served::each(|server| {
        let path = server.write("file", bytes(LARGE));
        let mut client = server.connect();
        client.send("GET", "/file", &[]);
        assert!(!client.is_closed());
        fs::write(path.with_extension("new"), "other").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        assert!(client.receive(true).unwrap().body == bytes(LARGE), "bytes of another file");
        assert_eq!(client.get("/file", &[]).body, b"other");
    });
}

#[test]
fn a_file_that_grows_is_served_as_long_as_it_was() {
    Served::each(|server| {
        let path = server.write("file", bytes(LARGE));
        let mut client = server.connect();
        client.send("GET", "/file", &[]);
        assert!(!client.is_closed());
        fs::File::options().write(true).open(&path).unwrap().set_len(2 * LARGE as u64).unwrap();
        assert!(client.receive(true).unwrap().body == bytes(LARGE));
        assert_eq!(client.head("/file", &[]).length(), Some(2 * LARGE));
    });
}

/// Descriptors of this process that lead to something below `place`.
fn open_below(place: &std::path::Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let leads = |entry: std::io::Result<fs::DirEntry>| {
        fs::read_link(entry.ok()?.path()).ok().filter(|target| target.starts_with(place))
    };
    descriptors.filter_map(leads).count()
}

#[test]
fn clients_that_hang_up_leave_nothing_open() {
    Served::each(|server| {
        server.write("file", bytes(LARGE));
        for _ in 0..20 {
            let mut client = server.connect();
            client.send("GET", "/file", &[]);
            assert!(!client.is_closed());
            drop(client); // with most of the body unread
        }
        let start = Instant::now();
        while open_below(&server.root()) > 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "files are left open");
            std::thread::yield_now();
        }
        assert_eq!(server.connect().get("/file", &[]).body.len(), LARGE);
    });
}

#[test]
fn what_has_begun_is_answered_before_the_end() {
    for files in WAYS {
        let mut server = Served::start(files);
        server.write("file", bytes(LARGE));
        let (mut busy, mut idle) = (server.connect(), server.connect());
        assert_eq!(idle.head("/file", &[]).status, 200);
        busy.send("GET", "/file", &[]);
        assert!(!busy.is_closed());
        server.shut_down();
        assert!(idle.is_closed());
        assert!(busy.receive(true).unwrap().body == bytes(LARGE));
        server.join();
        assert!(TcpListener::bind(server.address()).is_ok(), "it listens no more");
    }
}

#[test]
fn who_takes_too_long_is_cut_off_at_the_end() {
    for files in WAYS {
        let mut server = Served::start_with(files, Duration::from_millis(100));
        server.write("file", bytes(LARGE));
        let mut busy = server.connect();
        busy.send("GET", "/file", &[]);
        assert!(!busy.is_closed()); // and reads no more
        server.shut_down();
        server.join();
        assert!(busy.receive(true).map_or(true, |answer| answer.cut_off));
    }
}

#[test]
fn a_server_that_can_open_nothing_more_says_so_and_goes_on() {
    // In a process of its own: the limit is the whole process's.
    if std::env::var_os("FILE_SERVER_TEST_FEW").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "changing::a_server_that_can_open_nothing_more_says_so_and_goes_on"])
            .env("FILE_SERVER_TEST_FEW", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    Served::each(|server| {
        server.write("file", "contents");
        let mut client = server.connect();
        assert_eq!(client.get("/file", &[]).status, 200);
        let mut all = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            all.push(file);
        }
        assert_eq!(client.get("/file", &[]).status, 500);
        drop(all);
        assert_eq!(client.get("/file", &[]).body, b"contents");
    });
}
