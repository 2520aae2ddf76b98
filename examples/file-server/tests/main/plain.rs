//! Requests without conditions.

use std::fs;
use std::time::UNIX_EPOCH;

use crate::served::{Served, bytes};

#[test]
fn get_is_what_std_reads() {
    Served::each(|server| {
        let mut client = server.connect();
        // Around the size of the first read, and far beyond it.
        let chunk = 256 << 10;
        for size in [0, 1, 4096, 100_000, chunk - 1, chunk, chunk + 1, 3 * chunk, 5_000_000] {
            let path = server.write("file.bin", bytes(size));
            let answer = client.get("/file.bin", &[]);
            assert_eq!((answer.status, answer.cut_off), (200, false));
            assert!(answer.body == fs::read(path).unwrap(), "{size} bytes differ");
        }
    });
}

#[test]
fn head_is_get_without_the_body() {
    Served::each(|server| {
        server.write("page.html", bytes(300_000));
        let mut client = server.connect();
        let (get, head) = (client.get("/page.html", &[]), client.head("/page.html", &[]));
        assert_eq!(head.status, 200);
        for name in ["content-length", "content-type", "etag", "last-modified", "accept-ranges"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
            assert!(head.header(name).is_some(), "{name}");
        }
        assert_eq!(head.header("content-type"), Some("text/html; charset=utf-8"));
        // The connection goes on: no body was sent.
        assert_eq!(client.get("/page.html", &[]).body.len(), 300_000);
    });
}

#[test]
fn last_modified_is_the_files() {
    Served::each(|server| {
        let path = server.write("old", "");
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(784_111_777)).unwrap();
        let answer = server.connect().get("/old", &[]);
        assert_eq!(answer.header("last-modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    });
}

#[test]
fn directories_are_their_index() {
    Served::each(|server| {
        server.write("index.html", "top");
        server.write("a b/index.html", "below");
        server.write("empty/other.html", "");
        let mut client = server.connect();
        assert_eq!(client.get("/", &[]).body, b"top");
        assert_eq!(client.get("/a%20b/", &[]).body, b"below");
        assert_eq!(client.get("/empty/", &[]).status, 404, "it is not listed");
        let moved = client.get("/a%20b?x=1", &[]);
        assert_eq!((moved.status, moved.header("location")), (301, Some("/a%20b/?x=1")));
        let moved = client.get("//empty", &[]);
        assert_eq!(moved.header("location"), Some("/empty/"), "not another server's");
        assert_eq!(client.get("/index.html/", &[]).status, 404);
        assert_eq!(client.get("/?query", &[]).body, b"top");
    });
}

#[test]
fn names_of_any_bytes_are_found() {
    Served::each(|server| {
        server.write("a+b & 100%.txt", "1");
        server.write("käse", "2");
        let mut client = server.connect();
        assert_eq!(client.get("/a+b%20&%20100%25.txt", &[]).body, b"1");
        assert_eq!(client.get("/k%C3%A4se", &[]).body, b"2");
    });
}

#[test]
fn errors_say_what_is_wrong() {
    Served::each(|server| {
        server.write("file", "");
        let mut client = server.connect();
        assert_eq!(client.get("/missing", &[]).status, 404);
        assert_eq!(client.get(&format!("/{}", "x".repeat(300)), &[]).status, 404);
        assert_eq!(client.get("/file%", &[]).status, 400);
        client.send("DELETE", "/file", &[]);
        let answer = client.receive(true).unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
        assert_eq!(client.head("/missing", &[]).status, 404);
        assert_eq!(client.get("/file", &[]).status, 200, "the connection goes on");
    });
}
