//! Requests that want what they should not get.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use crate::served::Served;

#[test]
fn nothing_above_the_root_is_served() {
    Served::each(|server| {
        fs::write(server.outside().join("secret"), "secret").unwrap();
        fs::create_dir(server.outside().join("root-2")).unwrap();
        fs::write(server.outside().join("root-2/secret"), "secret").unwrap();
        server.write("dir/file", "");
        let mut client = server.connect();
        let absolute = server.outside().join("secret").display().to_string();
        for path in [
            "/../secret",
            "/dir/../../secret",
            "/%2e%2e/secret",
            "/dir/%2e%2E/%2e./secret",
            "/..%2fsecret",
            "/dir%2f..%2f..%2fsecret",
            "/../root-2/secret",
            "/..%00/secret",
            &format!("/{absolute}"),
            &format!("/{}", absolute.replace('/', "%2f")),
            &format!("//{absolute}"),
        ] {
            let answer = client.get(path, &[]);
            assert!(matches!(answer.status, 400 | 403 | 404), "{path}: {}", answer.status);
            assert!(!answer.body.windows(6).any(|bytes| bytes == b"secret"), "{path}");
        }
    });
}

#[test]
fn links_that_lead_out_are_refused_and_others_followed() {
    Served::each(|server| {
        fs::write(server.outside().join("secret"), "secret").unwrap();
        fs::create_dir(server.outside().join("root-2")).unwrap();
        fs::write(server.outside().join("root-2/secret"), "secret").unwrap();
        server.write("dir/file", "inside");
        let link = |target: &str, name: &str| symlink(target, server.root().join(name)).unwrap();
        link("../secret", "up");
        link("/etc/passwd", "passwd");
        link("../root-2", "neighbour");
        link("/", "dir/slash");
        link("dir/file", "within");
        link("circle", "circle");
        link("nowhere", "dangling");
        let mut client = server.connect();
        for path in ["/up", "/passwd", "/neighbour/secret", "/dir/slash/etc/passwd", "/circle"] {
            let answer = client.get(path, &[]);
            assert_eq!((answer.status, &*answer.body), (403, &b"403 Forbidden\n"[..]), "{path}");
            assert_eq!(client.head(path, &[]).status, 403, "{path}");
        }
        assert_eq!(client.get("/within", &[]).body, b"inside");
        assert_eq!(client.get("/dangling", &[]).status, 404);
    });
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    Served::each(|server| {
        make_fifo(&server.root().join("fifo"));
        let _socket = UnixListener::bind(server.root().join("socket")).unwrap();
        symlink("/dev/zero", server.root().join("zero")).unwrap();
        let mut client = server.connect();
        for path in ["/fifo", "/socket", "/zero"] {
            assert_eq!(client.get(path, &[]).status, 403, "{path}");
        }
    });
}

fn make_fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn nonsense_ends_its_connection_only() {
    Served::each(|server| {
        server.write("file", "contents");
        let mut client = server.connect();
        for nonsense in [&b"\x16\x03\x01\x00\xff"[..], b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\0\0\0"]
        {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.write_all(nonsense).unwrap();
            drop(stream);
        }
        assert_eq!(client.get("/file", &[]).body, b"contents");
    });
}
