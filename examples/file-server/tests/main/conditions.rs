//! Conditional requests over the wire. What decides is tested with it, in the library.

use std::fs;

use crate::served::Served;

#[test]
fn what_the_client_has_is_not_sent_again() {
    Served::each(|server| {
        let path = server.write("file", "one");
        let mut client = server.connect();
        let first = client.get("/file", &[]);
        let tag = first.header("etag").unwrap().to_owned();
        let date = first.header("last-modified").unwrap().to_owned();
        for (name, value) in [("If-None-Match", &tag), ("If-Modified-Since", &date)] {
            let answer = client.get("/file", &[(name, value)]);
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{name}");
            assert_eq!(answer.header("etag"), Some(&*tag));
        }
        assert_eq!(client.head("/file", &[("If-None-Match", &tag)]).status, 304);
        assert_eq!(client.get("/file", &[("If-Match", "\"other\"")]).status, 412);

        // Another file by the same name, of the same length, within the same second.
        fs::write(path.with_extension("new"), "two").unwrap();
        fs::rename(path.with_extension("new"), &path).unwrap();
        let answer = client.get("/file", &[("If-None-Match", &tag)]);
        assert_eq!((answer.status, &*answer.body), (200, &b"two"[..]));
        assert_ne!(answer.header("etag"), Some(&*tag));
        assert_eq!(client.get("/file", &[("If-Match", &tag)]).status, 412);
    });
}

#[test]
fn a_part_of_another_file_is_never_given() {
    Served::each(|server| {
        let path = server.write("file", "first version");
        let mut client = server.connect();
        let tag = client.get("/file", &[]).header("etag").unwrap().to_owned();
        let part = [("Range", "bytes=6-"), ("If-Range", &tag)];
        let answer = client.get("/file", &part);
        assert_eq!((answer.status, &*answer.body), (206, &b"version"[..]));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other version").unwrap();
        let answer = client.get("/file", &part);
        assert_eq!((answer.status, &*answer.body), (200, &b"other version"[..]));
    });
}
