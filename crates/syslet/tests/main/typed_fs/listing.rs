//! Directories.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::fs::{DirEntryExt, MetadataExt};

use futures_executor::block_on;
use syslet::fs;

use crate::util::attached;
use crate::util::temp::Folder;

/// More than a few batches.
const MANY: usize = 2500;

fn many() -> Folder {
    let folder = Folder::new();
    for number in 0..MANY {
        let name = folder.at(&format!("entry-{number}"));
        match number % 3 {
            0 => std::fs::write(name, "x").expect("a file can be made"),
            1 => std::fs::create_dir(name).expect("a folder can be made"),
            _ => std::os::unix::fs::symlink("nowhere", name).expect("a link can be made"),
        }
    }
    folder
}

#[test]
fn every_entry_is_seen_once_with_its_type_and_number() {
    attached(|| {
        let folder = many();
        let expected: BTreeMap<OsString, _> = std::fs::read_dir(folder.path())
            .expect("it can be read")
            .map(|entry| entry.expect("an entry"))
            .map(|e| (e.file_name(), (e.path(), e.file_type().expect("a type"), e.ino())))
            .collect();
        assert_eq!(expected.len(), MANY);
        let facts =
            |e: fs::DirEntry| (e.file_name(), (e.path(), e.file_type().expect("a type"), e.ino()));

        let entries = fs::read_dir(folder.path()).wait().expect("it can be read");
        let iterated: Vec<_> = entries.map(|entry| facts(entry.expect("an entry"))).collect();
        assert_eq!(iterated.len(), MANY);
        assert_eq!(iterated.into_iter().collect::<BTreeMap<_, _>>(), expected);

        let awaited = block_on(async {
            let mut entries = fs::read_dir(folder.path()).await.expect("it can be read");
            let mut all = Vec::new();
            while let Some(entry) = entries.next_entry().await.expect("an entry") {
                all.push(facts(entry));
            }
            assert!(entries.next_entry().await.expect("still the end").is_none());
            all
        });
        assert_eq!(awaited.len(), MANY);
        assert_eq!(awaited.into_iter().collect::<BTreeMap<_, _>>(), expected);
    });
}

#[test]
fn future_of_an_entry_may_be_dropped() {
    attached(|| {
        let folder = many();
        let mut entries = fs::read_dir(folder.path()).wait().expect("it can be read");
        let mut seen = 0;
        let waker = std::task::Waker::noop();
        loop {
            // Polled once and dropped, again and again, and now and then waited for.
            let once = entries.poll_next_entry(&mut std::task::Context::from_waker(waker));
            match once {
                std::task::Poll::Ready(entry) => match entry.expect("an entry") {
                    Some(_) => seen += 1,
                    None => break,
                },
                std::task::Poll::Pending => {
                    seen += usize::from(entries.next().is_some_and(|entry| entry.is_ok()));
                }
            }
        }
        assert_eq!(seen, MANY);
    });
}

#[test]
fn metadata_of_an_entry_does_not_follow_links() {
    attached(|| {
        let folder = Folder::new();
        std::fs::write(folder.at("file"), "four").expect("a file can be made");
        std::os::unix::fs::symlink("file", folder.at("link")).expect("a link can be made");
        let entries = fs::read_dir(folder.path()).wait().expect("it can be read");
        let mut kinds: Vec<_> = entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let metadata = entry.metadata().wait().expect("it is there");
                assert_eq!(metadata.ino(), entry.ino());
                (entry.file_name(), metadata.is_symlink(), metadata.len())
            })
            .collect();
        kinds.sort();
        assert_eq!(kinds, [("file".into(), false, 4), ("link".into(), true, 4)]);
    });
}

#[test]
fn folder_that_is_empty_missing_or_none() {
    attached(|| {
        let folder = Folder::new();
        assert_eq!(fs::read_dir(folder.path()).wait().expect("it can be read").count(), 0);
        let missing = fs::read_dir(folder.at("missing")).wait().expect_err("it is not there");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        std::fs::write(folder.at("file"), "").expect("a file can be made");
        let file = fs::read_dir(folder.at("file")).wait().expect_err("it is a file");
        assert_eq!(file.kind(), ErrorKind::NotADirectory);
    });
}

#[test]
fn entries_of_a_folder_that_has_gone_are_errors_of_their_own() {
    attached(|| {
        let folder = Folder::new();
        std::fs::write(folder.at("file"), "").expect("a file can be made");
        let mut entries = fs::read_dir(folder.path()).wait().expect("it can be read");
        let entry = entries.next().expect("one").expect("an entry");
        std::fs::remove_file(folder.at("file")).expect("it can be removed");
        let gone = entry.metadata().wait().expect_err("it has gone");
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        assert!(entry.file_type().expect("known since it was read").is_file());
    });
}
