//! Ranges are what std reads there.

use std::cell::RefCell;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use crate::served::{Served, bytes};

/// A file that takes several reads.
const SIZE: u64 = 700_000;

/// A range as a header, and what RFC 9110 says of it: the bytes, or that there are none.
fn range() -> impl Strategy<Value = (String, Option<std::ops::Range<u64>>)> {
    let place = prop_oneof![0..SIZE + 10, Just(0), Just(SIZE - 1), Just(SIZE), Just(256 << 10)];
    let length = prop_oneof![0..SIZE + 10, 0..5u64, Just(256 << 10)];
    prop_oneof![
        (place.clone(), length.clone()).prop_map(|(first, length)| {
            let last = first + length;
            let range = (first < SIZE).then(|| first..(last + 1).min(SIZE));
            (format!("bytes={first}-{last}"), range)
        }),
        place.prop_map(|first| (format!("bytes={first}-"), (first < SIZE).then_some(first..SIZE))),
        length.prop_map(|count| {
            let range = (count > 0).then(|| SIZE.saturating_sub(count)..SIZE);
            (format!("bytes=-{count}"), range)
        }),
    ]
}

#[test]
fn any_range_is_what_std_reads_there() {
    Served::each(|server| {
        let path = server.write("file", bytes(SIZE as usize));
        let file = std::fs::File::open(path).unwrap();
        let client = RefCell::new(server.connect());
        let config = ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() };
        proptest!(config, |((header, range) in range())| {
            let answer = client.borrow_mut().get("/file", &[("Range", &header)]);
            let Some(range) = range else {
                prop_assert_eq!(answer.status, 416, "{}", header);
                prop_assert_eq!(answer.header("content-range"), Some("bytes */700000"));
                return Ok(());
            };
            prop_assert_eq!(answer.status, 206, "{}", &header);
            let said = format!("bytes {}-{}/{SIZE}", range.start, range.end - 1);
            prop_assert_eq!(answer.header("content-range"), Some(said.as_str()));
            let mut right = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut right, range.start).unwrap();
            prop_assert!(answer.body == right, "{}: the bytes differ", header);
        });
    });
}

#[test]
fn what_is_no_range_is_the_whole_file() {
    Served::each(|server| {
        server.write("file", "0123456789");
        server.write("empty", "");
        let mut client = server.connect();
        for header in ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=x-", "bytes"] {
            let answer = client.get("/file", &[("Range", header)]);
            assert_eq!((answer.status, &*answer.body), (200, &b"0123456789"[..]), "{header}");
        }
        assert_eq!(client.get("/empty", &[("Range", "bytes=0-")]).status, 416);
        let head = client.head("/file", &[("Range", "bytes=0-1")]);
        assert_eq!((head.status, head.length()), (200, Some(10)), "HEAD has no ranges");
    });
}
